"""File operations of a cache that are carried out and recorded, for a simulated power cut.

The recorder wraps the real file operations of one directory. What the directory contains already is
recorded first, as if it had just been created: a power cut may lose this, too.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from .disk_history import ROOT, DiskHistory, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcsmux_fs.caching.cache_files import CacheFiles, FileStatus

__all__ = ["RecordingFiles"]


class RecordingFiles:
    """The operations of `files` on the directory `below` of `root`, recorded in `history`.

    The history contains the whole tree of `root`. Another recorder of the same directory may share
    the history, so that the operations of two mounts are recorded in their order.
    """

    def __init__(
        self,
        files: CacheFiles,
        root: Path,
        *,
        below: str = "",
        beside: RecordingFiles | None = None,
    ) -> None:
        self._files = files
        self._root = root / below
        self.history: DiskHistory = beside.history if beside else DiskHistory()
        #: The number of each inode in the history, by its number on the real file system.
        self._numbers: dict[int, int] = beside._numbers if beside else {root.stat().st_ino: ROOT}
        self._opened: dict[int, int] = {}
        if not beside:
            self._record_tree(root)

    # Operations that change the disk.

    def open(self, path: str, flags: int) -> int:
        """Open a file, and record whether this has created the file."""
        existed = not flags & os.O_CREAT or self._files.path_status(path) is not None
        descriptor = self._files.open(path, flags)
        status = os.fstat(descriptor)
        if not existed:
            self._record_new(self._root / path, status)
        self._opened[descriptor] = self._numbers[status.st_ino]
        return descriptor

    def write(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        """Write bytes and record them."""
        self._files.write(descriptor, content, offset)
        self._record("write", self._opened[descriptor], offset, bytes(content))

    def append(self, descriptor: int, content: bytes | memoryview) -> None:
        """Append bytes and record the place to which they were appended."""
        offset = os.fstat(descriptor).st_size
        self._files.append(descriptor, content)
        self._record("write", self._opened[descriptor], offset, bytes(content))

    def truncate(self, descriptor: int, size: int) -> None:
        """Set the length and record it."""
        self._files.truncate(descriptor, size)
        self._record("truncate", self._opened[descriptor], size)

    def remove(self, path: str) -> bool:
        """Remove a name and record this."""
        removed = self._files.remove(path)
        if removed:
            self._record_name("unname", self._root / path)
        return removed

    def remove_directory(self, path: str) -> bool:
        """Remove a directory and record this."""
        removed = self._files.remove_directory(path)
        if removed:
            self._record_name("unname", self._root / path)
        return removed

    def rename(self, path: str, target: str) -> None:
        """Rename a file and record this."""
        number = self._numbers[(self._root / path).lstat().st_ino]
        self._files.rename(path, target)
        self._record_name("unname", self._root / path)
        self._record_name("name", self._root / target, number)

    def make_directory(self, path: str) -> None:
        """Create a directory, and record whether this has created it."""
        existed = self._files.path_status(path) is not None
        self._files.make_directory(path)
        if not existed:
            self._record_new(self._root / path, (self._root / path).lstat())

    # Operations that only read.

    def open_cached(self, path: str) -> int:
        """Open a file from memory."""
        descriptor = self._files.open_cached(path)
        self._opened[descriptor] = self._numbers[os.fstat(descriptor).st_ino]
        return descriptor

    def read_cached(self, descriptor: int, length: int, offset: int) -> memoryview | None:
        """Read from memory."""
        return self._files.read_cached(descriptor, length, offset)

    def status_cached(self, path: str) -> FileStatus:
        """Return the status of a path from memory."""
        return self._files.status_cached(path)

    def read(self, descriptor: int, length: int, offset: int) -> memoryview:
        """Read bytes."""
        return self._files.read(descriptor, length, offset)

    def status(self, descriptor: int) -> FileStatus:
        """Return the status of an open file."""
        return self._files.status(descriptor)

    def try_lock(self, descriptor: int) -> bool:
        """Lock a file; a power cut releases all locks."""
        return self._files.try_lock(descriptor)

    def unlock(self, descriptor: int) -> None:
        """Release a lock."""
        self._files.unlock(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        del self._opened[descriptor]
        self._files.close(descriptor)

    def path_status(self, path: str) -> FileStatus | None:
        """Return the status of a path."""
        return self._files.path_status(path)

    def names(self, path: str) -> Iterator[str]:
        """Yield the names in a directory."""
        return self._files.names(path)

    def statuses(self, path: str) -> Iterator[tuple[str, FileStatus]]:
        """Yield the names in a directory with their statuses."""
        return self._files.statuses(path)

    def free_bytes(self) -> int:
        """Return the free space."""
        return self._files.free_bytes()

    # The record.

    def _record(self, kind: str, inode: int, number: int = 0, content: bytes = b"") -> None:
        self.history.operations.append(Operation(kind, inode, number, content))

    def _record_name(self, kind: str, place: Path, number: int = 0) -> None:
        directory = self._numbers[place.parent.stat().st_ino]
        self.history.operations.append(Operation(kind, directory, number, name=place.name))

    def _record_new(self, path: Path, status: os.stat_result) -> None:
        # The file system may use the number of a removed inode again.
        number = self._numbers[status.st_ino] = self.history.new_inode()
        kind = "mkdir" if stat.S_ISDIR(status.st_mode) else "create"
        self._record(kind, number, stat.S_IMODE(status.st_mode))
        self._record_name("name", path, number)

    def _record_tree(self, directory: Path) -> None:
        for path in sorted(directory.iterdir()):
            self._record_new(path, path.lstat())
            if path.is_dir():
                self._record_tree(path)
            elif content := path.read_bytes():
                self._record("write", self._numbers[path.lstat().st_ino], 0, content)
