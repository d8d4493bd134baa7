"""Finds file systems that are mounted on directories of a mount, in all mount namespaces.

The mount tables of other namespaces are read through /proc/PID/mountinfo, so a namespace without a
process is not seen. The read never hangs, because it looks at no mount.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.fuse.mountinfo import parse_mountinfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcsmux_fs.fuse.mountinfo import MountEntry

__all__ = ["all_mount_tables", "has_submounts"]

_PROC = Path("/proc")


def has_submounts(device: int, tables: Iterable[Iterable[MountEntry]]) -> bool:
    """Return whether a file system is mounted on a directory of the file system `device`.

    A mount on the root directory of `device` does not count, because the kernel never looks up the
    name of a root directory.
    """
    for table in tables:
        entries = {entry.mount_id: entry for entry in table}
        for entry in entries.values():
            parent = entries.get(entry.parent_id)
            if parent is None or parent.device != device:
                continue
            if parent.root != "/" or entry.path != parent.path:
                return True
    return False


def all_mount_tables(proc: Path = _PROC) -> Iterator[tuple[MountEntry, ...]]:
    """Yield the mount tables of all processes, each different table once."""
    seen: set[int] = set()
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            content = (process / "mountinfo").read_bytes()
        except OSError:
            continue  # The process has ended, or this user may not see its mounts.
        digest = hash(content)
        if digest not in seen:
            seen.add(digest)
            yield parse_mountinfo(content)
