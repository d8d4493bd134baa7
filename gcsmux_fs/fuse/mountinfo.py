"""What is mounted where, read from /proc/self/mountinfo (proc(5)), which never hangs."""

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

# The name of the command: `mount -o remount` looks for a mount helper of the name that it finds in
# the mount table, as `mount -a` does for the name in fstab.
SUBTYPE = "gcsmux-mount"
FSTYPE = f"fuse.{SUBTYPE}"
# What 0.1 wrote there: such a mount may still serve, or be left behind, after an upgrade.
_FORMER_FSTYPE = "fuse.gcsmux"

_MOUNTINFO = Path("/proc/self/mountinfo")
# The kernel writes space, tab, newline, backslash and, in sources, # as three octal digits.
_ESCAPE = re.compile(rb"\\([0-7]{3})")
# fuse_show_options() in the kernel's fs/fuse/inode.c.
_OWNER = re.compile(rb"(?:^|,)user_id=(\d+)")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of the table.

    `root` is the directory of the file system that is shown; `owner` is the user who mounted, or
    None where the file system is not FUSE and only root may unmount.
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

    @property
    def is_ours(self) -> bool:
        """Whether this program made the mount."""
        return self.fstype in (FSTYPE, _FORMER_FSTYPE)

    @property
    def device(self) -> int:
        """The `st_dev` of what is in this mount."""
        return os.makedev(self.major, self.minor)


def parse_mountinfo(content: bytes) -> tuple[MountEntry, ...]:
    """Return the entries of a table in its order."""
    return tuple(_parse_line(line) for line in content.split(b"\n") if line)


def _parse_line(line: bytes) -> MountEntry:
    # A variable number of optional fields ends with a lone dash.
    before, _, after = line.partition(b" - ")
    mount_id, parent_id, device, root, path, *_ = before.split(b" ")
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
    )


def _unescape(field: bytes) -> str:
    plain = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)
    return os.fsdecode(plain)


def top_mount(table: tuple[MountEntry, ...], path: str) -> MountEntry | None:
    """Return what is mounted at `path` on top of everything else there.

    Mounts stacked on one path are each other's parents; the order of the lines tells nothing.
    """
    here = [entry for entry in table if entry.path == path]
    covered = {entry.parent_id for entry in here}
    return next((entry for entry in here if entry.mount_id not in covered), None)


def covering_mount(table: tuple[MountEntry, ...], path: str) -> MountEntry | None:
    """Return the mount that `path`, an absolute path without links, is at or below."""
    place = Path(path)
    found = (top_mount(table, os.fspath(above)) for above in (place, *place.parents))
    return next((entry for entry in found if entry is not None), None)


def mount_table() -> tuple[MountEntry, ...]:
    """Return what is mounted now, as this process sees it."""
    return parse_mountinfo(_MOUNTINFO.read_bytes())


def device_of(mountpoint: Path) -> tuple[int, int]:
    """Return the device number of our mount at `mountpoint`, an absolute path without links.

    It names the mount in sysfs: /sys/class/bdi/MAJOR:MINOR and /sys/fs/fuse/connections/MINOR.

    Raises:
        ConfigError: somebody has unmounted it meanwhile.
    """
    entry = top_mount(mount_table(), os.fspath(mountpoint))
    if entry is None or not entry.is_ours:
        raise ConfigError(f"{mountpoint} was unmounted again by somebody else.")
    return entry.major, entry.minor
