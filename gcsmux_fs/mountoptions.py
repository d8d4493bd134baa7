"""The comma-separated options of `-o`, as mount(8), fstab and systemd pass them.

Three kinds come mixed: those of mount(8) itself, which are no file system's business and are
dropped; those that libfuse hands to the kernel; and our own long options by name, so that a line
of fstab can say everything that the command line can.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MountOptions", "nearest", "sort_options", "split_options"]

# Read by mount(8), systemd or the boot scripts; or what a read-only file system without access
# times does anyway. `rw` is mount(8)'s own default and cannot be held against anybody; `dev` and
# `suid` are added by mount.fuse3, and no object is a device or runs as another user.
# fmt: off
_IGNORED = frozenset({
    "_netdev", "async", "atime", "auto", "defaults", "dev", "diratime", "dirsync", "exec",
    "group", "iversion", "lazytime", "loud", "mand", "noauto", "nodiratime", "nofail",
    "nogroup", "noiversion", "nolazytime", "nomand", "noowner", "norelatime", "nostrictatime",
    "nouser", "nousers", "owner", "quiet", "relatime", "ro", "rw", "silent", "strictatime",
    "suid", "sync", "user", "users",
})
# fmt: on
_IGNORED_PREFIXES = ("x-", "X-", "comment=", "helper=", "uhelper=", "user=")

# What may make sense and the libfuse of Debian 12 (3.14) takes; checked one by one.
_FOR_LIBFUSE = frozenset(
    {"allow_root", "auto_unmount", "default_permissions", "noatime", "nodev", "noexec", "nosuid"}
)
_FOR_LIBFUSE_VALUED = re.compile(r"max_read=[0-9]+|(fs|def|root)?context=.+")


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The options that mean something: ours as (name, value), libfuse's as they were."""

    own: tuple[tuple[str, str | None], ...] = ()
    fuse: tuple[str, ...] = ()


def split_options(text: str) -> list[str]:
    r"""Split at commas; `\,` is a comma within a value and `\\` a backslash, as in libfuse."""
    parts = [""]
    escaped = False
    for character in text:
        if escaped:
            parts[-1] += character if character in ",\\" else "\\" + character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            parts.append("")
        else:
            parts[-1] += character
    if escaped:
        parts[-1] += "\\"
    return [part for part in parts if part]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was most likely meant to be, if any is near."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)


def sort_options(
    texts: Iterable[str], takes_value: Mapping[str, bool], *, tolerant: bool = False
) -> MountOptions:
    """Sort the options of all `-o` by whose they are.

    `takes_value` names our own long options, written with `-`. With `tolerant` (mount -s) what
    nobody knows is dropped instead of refused.
    """
    own: list[tuple[str, str | None]] = []
    fuse: list[str] = []
    for option in (option for text in texts for option in split_options(text)):
        name, equals, value = option.partition("=")
        long_name = name.replace("_", "-")
        if long_name in takes_value:
            if takes_value[long_name] and not equals:
                raise ConfigError(f"-o {name} lacks its value: write -o {name}=VALUE.")
            if equals and not takes_value[long_name]:
                raise ConfigError(f"-o {name} takes no value: write -o {name} alone.")
            own.append((long_name, value if equals else None))
        elif option in _FOR_LIBFUSE or _FOR_LIBFUSE_VALUED.fullmatch(option):
            fuse.append(option)
        elif not (tolerant or option in _IGNORED or option.startswith(_IGNORED_PREFIXES)):
            raise ConfigError(_unknown(name, takes_value))
    return MountOptions(tuple(own), tuple(dict.fromkeys(fuse)))


def _unknown(name: str, takes_value: Mapping[str, bool]) -> str:
    known = {own: own.replace("-", "_") for own in takes_value}
    known |= {other.replace("_", "-"): other for other in _IGNORED | _FOR_LIBFUSE}
    guess = nearest(name.replace("_", "-"), known)
    hint = f"did you mean {known[guess]}?" if guess else "--help lists what there is."
    return f"unknown mount option -o {name}: {hint}"
