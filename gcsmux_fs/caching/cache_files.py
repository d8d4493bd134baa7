"""The file operations below the directory of a cache, as a port.

Paths are relative to the directory. No operation follows a symbolic link or leaves the directory,
so a hostile link in a shared cache leads nowhere. `real_cache_files` has the real file system;
tests use directories in memory, and disks that fail.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CacheFiles", "FileStatus"]


class FileStatus(NamedTuple):
    """What the file system knows of a file.

    Attributes:
        links: number of names; 0 after the file was removed.
        size_bytes: length.
        allocated_bytes: disk space, which is less than the length for a sparse file.
        owner: ID of the user.
        mode: type and permission bits.
        modified_at: time of the last change, in seconds since the Unix epoch.
    """

    links: int
    size_bytes: int
    allocated_bytes: int
    owner: int
    mode: int
    modified_at: float

    @property
    def is_regular(self) -> bool:
        """Whether this is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return stat.S_ISDIR(self.mode)


class CacheFiles(Protocol):
    """File operations below one directory. All may be called on any thread, and raise OSError."""

    # These operations never block.

    def open_cached(self, path: str) -> int:
        """Open a file for reading.

        Raises:
            BlockingIOError: only `open` can answer.
            FileNotFoundError: no file has this path.
        """

    def read_cached(self, descriptor: int, length: int, offset: int) -> memoryview | None:
        """Read from memory; None if a byte is not in memory. Shorter at the end of the file."""

    def status_cached(self, path: str) -> FileStatus:
        """Return the status of a path from memory.

        Raises:
            BlockingIOError: only `path_status` can answer.
            FileNotFoundError: nothing has this path.
        """

    # These operations may block.

    def open(self, path: str, flags: int) -> int:
        """Open a file with the flags of `os.open`. O_CREAT creates a missing file."""

    def read(self, descriptor: int, length: int, offset: int) -> memoryview:
        """Read `length` bytes; fewer at the end of the file."""

    def write(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        """Write all bytes at an offset."""

    def append(self, descriptor: int, content: bytes | memoryview) -> None:
        """Write all bytes at the end of a file that was opened with O_APPEND, in one call.

        Raises:
            OSError: ENOSPC if only a part was written.
        """

    def truncate(self, descriptor: int, size: int) -> None:
        """Set the length of a file."""

    def status(self, descriptor: int) -> FileStatus:
        """Return the status of an open file."""

    def try_lock(self, descriptor: int) -> bool:
        """Take the exclusive lock (`flock`) of a file without waiting; False if it is taken."""

    def unlock(self, descriptor: int) -> None:
        """Release the lock of a file."""

    def close(self, descriptor: int) -> None:
        """Close a file. This may block if the file was removed."""

    def path_status(self, path: str) -> FileStatus | None:
        """Return the status of a path, not of what it links to; None if it does not exist."""

    def remove(self, path: str) -> bool:
        """Remove a file; False if it does not exist."""

    def remove_directory(self, path: str) -> bool:
        """Remove an empty directory; False if it does not exist or is not empty."""

    def rename(self, path: str, target: str) -> None:
        """Rename a file; an existing file `target` is replaced."""

    def make_directory(self, path: str) -> None:
        """Create a directory, if it does not exist."""

    def names(self, path: str) -> Iterator[str]:
        """Yield the names in a directory, in no order; no name if the directory does not exist."""

    def statuses(self, path: str) -> Iterator[tuple[str, FileStatus]]:
        """Yield the names in a directory with their statuses, in no order, as `names` does."""

    def free_bytes(self) -> int:
        """Return the free space of the file system for this user."""
