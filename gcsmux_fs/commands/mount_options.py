"""The comma-separated options of `-o`, as mount(8), fstab and systemd pass them.

Three kinds come mixed: those of mount(8) itself, which are no file system's business and are
dropped; those that libfuse hands to the kernel; and our own long options by name, so that a line
of fstab can say everything that the command line can. Options of other FUSE file systems that
cannot be passed on are refused by name, with what to write instead.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.shell_commands import unmount_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["MountOptions", "check_options", "nearest", "sort_options", "split_options"]

# What `mount -o remount` adds to the options that are to be changed.
_REMOUNT = "remount"

# Read by mount(8), systemd or the boot scripts; or what a read-only file system without access
# times does anyway. `rw` is mount(8)'s own default and cannot be held against anybody; `dev` and
# `suid` are added by mount.fuse3, and no object is a device or runs as another user.
# fmt: off
_IGNORED = frozenset({
    "_netdev", "async", "atime", "auto", "defaults", "dev", "diratime", "dirsync", "exec",
    "group", "iversion", "lazytime", "loud", "mand", "noauto", "nodiratime", "nofail",
    "nogroup", "noiversion", "nolazytime", "nomand", "noowner", "norelatime", "nostrictatime",
    "nouser", "nousers", "owner", "quiet", "relatime", "ro", "rw", "silent", "strictatime",
    "suid", "symfollow", "sync", "user", "users",
})
# fmt: on
_IGNORED_PREFIXES = ("x-", "X-", "comment=", "helper=", "uhelper=", "user=")

# What may make sense and the libfuse of Debian 12 (3.14) takes; checked one by one.
_FOR_LIBFUSE = frozenset(
    {"allow_root", "auto_unmount", "default_permissions", "noatime", "nodev", "noexec", "nosuid"}
)
# Labels of SELinux. mount(8) drops them where the kernel has no SELinux, which would refuse them.
_FOR_SELINUX = re.compile(r"(fs|def|root)?context=.+")

# What other FUSE file systems take, and what to do about it.
_NOT_OFFERED = {
    **dict.fromkeys(("attr_timeout", "entry_timeout", "ac_attr_timeout"), "metadata_ttl=60s"),
    "negative_timeout": "negative_ttl=5s",
    "umask": "file_mode=644,dir_mode=755",
    "fmask": "file_mode=644",
    "dmask": "dir_mode=755",
    "debug": "log_level=debug",
}
# fmt: off
_DECIDED_HERE = frozenset({
    "async_dio", "async_read", "atomic_o_trunc", "auto_cache", "big_writes", "blkdev", "blksize",
    "clone_fd", "congestion_threshold", "direct_io", "fd", "fsname", "group_id", "hard_remove",
    "intr", "intr_signal", "kernel_cache", "large_read", "max_background", "max_idle_threads",
    "max_read", "max_readahead", "max_threads", "max_write", "modules", "no_remote_flock",
    "no_remote_lock", "no_remote_posix_lock", "no_splice_move", "no_splice_read",
    "no_splice_write", "noauto_cache", "noforget", "nonempty", "nopath", "nosymfollow",
    "readdir_ino", "remember", "rootmode", "splice_move", "splice_read", "splice_write", "subtype",
    "sync_read", "use_ino", "user_id", "writeback_cache",
})
# fmt: on
_REASONS = {
    "max_read": "libfuse and the mount have to agree on it, and --kernel-read-ahead sets how much"
    " the kernel reads at once",
    "nonempty": "a mount would hide what is in the directory",
    "nosymfollow": "libfuse does not pass it on",
}


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
    texts: Iterable[str],
    takes_value: Mapping[str, bool],
    *,
    tolerant: bool = False,
    selinux: bool = False,
) -> MountOptions:
    """Sort the options of all `-o` by whose they are.

    `takes_value` names our own long options, written with `-`. With `tolerant` (mount -s) what
    nobody knows is dropped instead of refused. `selinux` tells whether the kernel has SELinux.

    Raises:
        ConfigError: an option that cannot be meant, and what to write instead.
    """
    own: list[tuple[str, str | None]] = []
    fuse: list[str] = []
    options = [option for text in texts for option in split_options(text)]
    if _REMOUNT in options:
        # With it mount(8) passes what it finds in the mount table, such as user_id=0.
        return MountOptions(fuse=(_REMOUNT,))
    for option in options:
        name, equals, value = option.partition("=")
        long_name = name.replace("_", "-")
        if long_name in takes_value:
            if takes_value[long_name] and not equals:
                raise ConfigError(f"-o {name} lacks its value: write -o {name}=VALUE.")
            if equals and not takes_value[long_name]:
                raise ConfigError(f"-o {name} takes no value: write -o {name} alone.")
            own.append((long_name, value if equals else None))
        elif option in _FOR_LIBFUSE:
            fuse.append(option)
        elif _FOR_SELINUX.fullmatch(option):
            fuse += [option] if selinux else []
        elif not (tolerant or option in _IGNORED or option.startswith(_IGNORED_PREFIXES)):
            raise ConfigError(_not_offered(name) or _unknown(name, takes_value))
    return MountOptions(tuple(own), tuple(dict.fromkeys(fuse)))


def check_options(
    options: Sequence[str], mountpoint: Path, *, allow_other: bool, user: int
) -> None:
    """Check the options for libfuse against what `sort_options` does not know.

    Raises:
        ConfigError: they are for a mount that exists, or exclude each other.
    """
    if _REMOUNT in options:
        unmount = unmount_command(mountpoint, user=user, owner=user)
        raise ConfigError(
            f"the options of a mount cannot be changed: unmount it first by {unmount}, then mount"
            " it with the new ones."
        )
    if allow_other and "allow_root" in options:
        raise ConfigError(
            "allow_other and allow_root exclude each other: leave allow_root out, as allow_other"
            " lets root in too."
        )


def _not_offered(name: str) -> str | None:
    if name in _NOT_OFFERED:
        return f"-o {name} is not offered: write -o {_NOT_OFFERED[name]} instead."
    if name in _DECIDED_HERE:
        reason = _REASONS.get(name, "gcsmux-mount decides it by itself")
        return f"-o {name} is not offered, because {reason}: leave it out."
    return None


def _unknown(name: str, takes_value: Mapping[str, bool]) -> str:
    known = {own: own.replace("-", "_") for own in takes_value}
    known |= {other.replace("_", "-"): other for other in _IGNORED | _FOR_LIBFUSE}
    guess = nearest(name.replace("_", "-"), known)
    hint = f"did you mean {known[guess]}?" if guess else "--help lists what there is."
    return f"unknown mount option -o {name}: {hint}"
