"""The kernel's mount table, read from /proc/self/mountinfo (proc(5)). The read never hangs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gcsmux_fs.model.errors import ConfigError

__all__ = [
    "FSTYPE",
    "SUBTYPE",
    "MountEntry",
    "covering_mount",
    "device_of",
    "mount_table",
    "parse_mountinfo",
    "top_mount",
]

SUBTYPE = "gcsmux-mount"
"""The file system type of this program's mounts, without the prefix `fuse.`. The type is also the
name of this program's mount command, because mount(8) finds the mount helper by the type. For
example, `mount -o remount` takes the type from the mount table, and `mount -a` from fstab."""

FSTYPE = f"fuse.{SUBTYPE}"
"""The file system type of this program's mounts in the mount table."""

# The file system type of mounts by version 0.1. Such a mount may still exist after an upgrade.
_FORMER_FSTYPE = "fuse.gcsmux"

_MOUNTINFO = Path("/proc/self/mountinfo")
# The kernel writes some characters as a backslash and three octal digits: space, tab, newline,
# backslash, and in the source of a mount also #.
_ESCAPE = re.compile(rb"\\([0-7]{3})")
# The options of a FUSE mount name the user who made it (fuse_show_options() in the kernel).
_OWNER = re.compile(rb"(?:^|,)user_id=(\d+)")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of the mount table.

    `root` is the directory of the file system that appears at `path`. `owner` is the user who made
    a FUSE mount; None for other file systems, which only root may unmount. `is_shared` is true if
    other mount namespaces may have the same mount, because it is propagated to them.
    """

    mount_id: int
    parent_id: int
    major: int
    minor: int
    root: str
    path: str
    fstype: str
    source: str
    owner: int | None = None
    is_shared: bool = False

    @property
    def is_gcsmux(self) -> bool:
        """Whether this program made the mount."""
        return self.fstype in (FSTYPE, _FORMER_FSTYPE)

    @property
    def device(self) -> int:
        """The `st_dev` of the files in this mount."""
        return os.makedev(self.major, self.minor)


def parse_mountinfo(content: bytes) -> tuple[MountEntry, ...]:
    """Return the entries of a mount table, in the order of its lines."""
    return tuple(_parse_line(line) for line in content.split(b"\n") if line)


def _parse_line(line: bytes) -> MountEntry:
    # A field that is only a dash ends the optional fields, whose number varies.
    before, _, after = line.partition(b" - ")
    mount_id, parent_id, device, root, path, _, *optional = before.split(b" ")
    fstype, source, *options = after.split(b" ")
    owner = _OWNER.search(options[-1]) if options and fstype.startswith(b"fuse") else None
    major, _, minor = device.partition(b":")
    return MountEntry(
        mount_id=int(mount_id),
        parent_id=int(parent_id),
        major=int(major),
        minor=int(minor),
        root=_unescape(root),
        path=_unescape(path),
        fstype=_unescape(fstype),
        source=_unescape(source),
        owner=int(owner[1]) if owner else None,
        is_shared=any(field.startswith(b"shared:") for field in optional),
    )


def _unescape(field: bytes) -> str:
    plain = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)
    return os.fsdecode(plain)


def top_mount(table: tuple[MountEntry, ...], path: str) -> MountEntry | None:
    """Return the topmost mount at `path`.

    If several mounts are at one path, each is the parent of the mount above it. The order of the
    lines does not show which mount is on top.
    """
    here = [entry for entry in table if entry.path == path]
    covered = {entry.parent_id for entry in here}
    return next((entry for entry in here if entry.mount_id not in covered), None)


def covering_mount(table: tuple[MountEntry, ...], path: str) -> MountEntry | None:
    """Return the mount in which `path` lies. `path` is absolute and has no symbolic links."""
    directory = Path(path)
    mounts = (top_mount(table, os.fspath(above)) for above in (directory, *directory.parents))
    return next((entry for entry in mounts if entry is not None), None)


def mount_table() -> tuple[MountEntry, ...]:
    """Return the current mount table of this process."""
    return parse_mountinfo(_MOUNTINFO.read_bytes())


def device_of(mountpoint: Path) -> tuple[int, int]:
    """Return the device number, major and minor, of this program's mount at `mountpoint`.

    `mountpoint` is an absolute path without symbolic links. The number names the mount in sysfs:
    /sys/class/bdi/MAJOR:MINOR and /sys/fs/fuse/connections/MINOR.

    Raises:
        ConfigError: the mount has been removed.
    """
    entry = top_mount(mount_table(), os.fspath(mountpoint))
    if entry is None or not entry.is_gcsmux:
        raise ConfigError(f"another process has unmounted {mountpoint}: mount it again.")
    return entry.major, entry.minor
