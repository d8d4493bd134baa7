"""The comma-separated options of `-o`, as mount(8), fstab and systemd pass them.

The list contains options of three kinds. Options for mount(8) itself do not concern a file system
and are dropped. Options for the kernel are passed to libfuse. Long options of gcsmux-mount have the
same effect as on the command line, so that a line of fstab can set every option. An option of
another FUSE file system is refused, with a message that names the option to write instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.shell_commands import unmount_command
from gcsmux_fs.settings.similar_names import closest_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["MountOptions", "check_options", "is_for_selinux", "sort_options", "split_options"]

# The option that `mount -o remount` passes, together with the options to change.
_REMOUNT = "remount"

# The options that are dropped. Some are for mount(8), systemd or the boot scripts. The others have
# no effect on a read-only file system without access times. `rw` is dropped because mount(8) passes
# `rw` by default, even if the user does not ask for write access. `dev` and `suid` are dropped
# because mount.fuse3 adds both. Neither has an effect, because no object is a device or a
# set-user-ID program.
# fmt: off
_IGNORED = frozenset({
    "_netdev", "async", "atime", "auto", "defaults", "dev", "diratime", "dirsync", "exec",
    "group", "iversion", "lazytime", "loud", "mand", "noauto", "nodiratime", "nofail",
    "nogroup", "noiversion", "nolazytime", "nomand", "noowner", "norelatime", "nostrictatime",
    "nouser", "nousers", "owner", "quiet", "relatime", "ro", "rw", "silent", "strictatime",
    "suid", "symfollow", "sync", "user", "users",
})
# fmt: on
# An option that begins with one of these texts is dropped too.
_IGNORED_PREFIXES = ("x-", "X-", "comment=", "helper=", "uhelper=", "user=")

# The options that are passed to libfuse: libfuse 3.14 (Debian 12) accepts them, and they work with
# a read-only mount.
_FOR_LIBFUSE = frozenset(
    {"allow_root", "auto_unmount", "default_permissions", "noatime", "nodev", "noexec", "nosuid"}
)
# Options that set SELinux labels. A kernel without SELinux refuses these options. On such a kernel
# mount(8) drops these options, and so does gcsmux-mount.
_FOR_SELINUX = re.compile(r"(fs|def|root)?context=.+")

# Options of other FUSE file systems, each with the options of gcsmux-mount to write instead.
_REPLACEMENTS = {
    **dict.fromkeys(("attr_timeout", "entry_timeout", "ac_attr_timeout"), "metadata_ttl=60s"),
    "negative_timeout": "negative_ttl=5s",
    "umask": "file_mode=644,dir_mode=755",
    "fmask": "file_mode=644",
    "dmask": "dir_mode=755",
    "debug": "log_level=debug",
}
# Options of libfuse and of other FUSE file systems that are refused without a replacement.
# fmt: off
_FIXED = frozenset({
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

# Why an option of `_FIXED` is refused. For an option that is not listed here, the reason is that
# gcsmux-mount itself sets the value.
_REASONS = {
    "max_read": "libfuse and gcsmux-mount must use the same value, and --kernel-read-ahead sets"
    " how much the kernel reads at once",
    "nonempty": "a mount would hide the files in the directory",
    "nosymfollow": "libfuse does not pass it to the kernel",
}


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The options of gcsmux-mount as pairs (name, value or None), and the options for libfuse."""

    own: tuple[tuple[str, str | None], ...] = ()
    fuse: tuple[str, ...] = ()


def split_options(text: str) -> list[str]:
    r"""Split the text of `-o` at commas. As in libfuse, `\,` is a comma and `\\` a backslash."""
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


def is_for_selinux(option: str) -> bool:
    """Return whether an option sets SELinux labels, which a kernel without SELinux refuses."""
    return _FOR_SELINUX.fullmatch(option) is not None


def sort_options(
    texts: Iterable[str],
    takes_value: Mapping[str, bool],
    *,
    tolerant: bool = False,
) -> MountOptions:
    """Split the texts of all `-o` into options for gcsmux-mount, for libfuse, and to drop.

    `takes_value` contains the name of each long option of gcsmux-mount, such as `only-dir`, and
    whether the option takes a value. If `tolerant` is true (mount -s), an unknown option is dropped
    instead of refused.

    Raises:
        ConfigError: an option is unknown or not supported.
    """
    own: list[tuple[str, str | None]] = []
    fuse: list[str] = []
    options = [option for text in texts for option in split_options(text)]
    if _REMOUNT in options:
        # Ignore the other options. For a remount, mount(8) also passes options from the mount
        # table, such as user_id=0, and the message would be about such an option instead of the
        # remount.
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
        elif option in _FOR_LIBFUSE or is_for_selinux(option):
            fuse.append(option)
        elif not (tolerant or option in _IGNORED or option.startswith(_IGNORED_PREFIXES)):
            raise ConfigError(_not_supported(name) or _unknown(name, takes_value))
    return MountOptions(tuple(own), tuple(dict.fromkeys(fuse)))


def check_options(
    options: Sequence[str], mountpoint: Path, *, allow_other: bool, user: int
) -> None:
    """Check the options for libfuse that `sort_options` returned.

    Raises:
        ConfigError: `-o` contains remount, or allow_root together with allow_other.
    """
    if _REMOUNT in options:
        unmount = unmount_command(mountpoint, user=user, owner=user)
        raise ConfigError(
            f"the options of a mount cannot be changed: unmount it first by {unmount}, then mount"
            " it with the new options."
        )
    if allow_other and "allow_root" in options:
        raise ConfigError(
            "allow_other and allow_root exclude each other: leave allow_root out, because"
            " allow_other admits root too."
        )


def _not_supported(name: str) -> str | None:
    if name in _REPLACEMENTS:
        return f"-o {name} is not supported: write -o {_REPLACEMENTS[name]} instead."
    if name in _FIXED:
        reason = _REASONS.get(name, "gcsmux-mount sets it")
        return f"-o {name} is not supported, because {reason}: leave it out."
    return None


def _unknown(name: str, takes_value: Mapping[str, bool]) -> str:
    known = {own: own.replace("-", "_") for own in takes_value}
    known |= {other.replace("_", "-"): other for other in _IGNORED | _FOR_LIBFUSE}
    guess = closest_name(name.replace("_", "-"), known)
    hint = f"did you mean {known[guess]}?" if guess else "--help lists all options."
    return f"unknown mount option -o {name}: {hint}"
