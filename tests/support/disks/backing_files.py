"""The files behind a faulty disk: inodes, attributes, and the space that the files occupy.

Each inode holds an O_PATH descriptor of its file. So no other file gets the inode number, and the
file stays reachable after it was renamed or removed.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, TypeVar

import pyfuse3

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BackingFiles"]

Answer = TypeVar("Answer")

# How long the kernel keeps names and attributes if the disk is cached. Otherwise it asks each time.
_KEPT_SECONDS = 3600.0
_BLOCK_BYTES = 4096
# The unit of st_blocks (see stat(2)).
_SECTOR_BYTES = 512


class BackingFiles:
    """The files below the directory `root`, with a limit of the bytes that they may occupy."""

    def __init__(self, root: str, *, cached: bool) -> None:
        self.capacity_bytes = 0
        self.full_errno = errno.ENOSPC
        self._root = os.path.realpath(root)
        self._kept_seconds = _KEPT_SECONDS if cached else 0.0
        self._descriptors: dict[int, int] = {pyfuse3.ROOT_INODE: os.open(self._root, os.O_PATH)}
        self._lookups: dict[int, int] = {pyfuse3.ROOT_INODE: 1}
        self._root_number = os.stat(self._root).st_ino
        self._used_bytes = sum(
            _occupied_bytes(os.lstat(os.path.join(folder, name)))
            for folder, _, names in os.walk(self._root)
            for name in names
        )

    # -- inodes

    def descriptor(self, inode: int) -> int:
        """Return the O_PATH descriptor of an inode."""
        return self._descriptors[inode]

    def reopening(self, inode: int) -> str:
        """Return a path that leads to the file of an inode, wherever it is now."""
        return f"/proc/self/fd/{self._descriptors[inode]}"

    def path(self, inode: int) -> str:
        """Return the path of an inode below the root."""
        return os.readlink(self.reopening(inode)).removeprefix(self._root).lstrip("/")

    def attributes(self, descriptor: int) -> pyfuse3.EntryAttributes:
        """Return the attributes of an open file."""
        status = os.fstat(descriptor)
        entry = pyfuse3.EntryAttributes()
        for name in ("mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks"):
            setattr(entry, f"st_{name}", getattr(status, f"st_{name}"))
        for name in ("atime_ns", "mtime_ns", "ctime_ns"):
            setattr(entry, f"st_{name}", getattr(status, f"st_{name}"))
        is_root = status.st_ino == self._root_number
        entry.st_ino = pyfuse3.ROOT_INODE if is_root else pyfuse3.InodeT(status.st_ino)
        entry.generation = 0
        entry.entry_timeout = entry.attr_timeout = self._kept_seconds
        return entry

    def look_up(self, parent: int, name: bytes) -> pyfuse3.EntryAttributes:
        """Return the attributes of an entry, and count a lookup of its inode."""
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=self._descriptors[parent])
        entry = self.attributes(descriptor)
        if entry.st_ino in self._descriptors:
            os.close(descriptor)
        else:
            self._descriptors[entry.st_ino] = descriptor
            self._lookups[entry.st_ino] = 0
        self._lookups[entry.st_ino] += 1
        return entry

    def forget(self, inode: int, lookups: int) -> None:
        """Subtract lookups of an inode; after the last one, close its descriptor."""
        self._lookups[inode] -= lookups
        if self._lookups[inode] or inode == pyfuse3.ROOT_INODE:
            return
        del self._lookups[inode]
        descriptor = self._descriptors.pop(inode)
        status = os.fstat(descriptor)
        if not status.st_nlink:
            self._used_bytes -= _occupied_bytes(status)
        os.close(descriptor)

    # -- space

    @property
    def free_bytes(self) -> int:
        """The number of bytes that files may still occupy."""
        return max(0, self.capacity_bytes - self._used_bytes)

    def allocate(self, action: Callable[[], Answer], new_bytes: int, changed: int | str) -> Answer:
        """Run an action that adds at most `new_bytes` to the file `changed`.

        Raises:
            OSError: the disk would exceed its capacity, or the action failed.
        """
        rounded = -(-new_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
        if new_bytes and self.capacity_bytes and rounded > self.free_bytes:
            raise OSError(self.full_errno, os.strerror(self.full_errno))
        before = _occupied_bytes(os.stat(changed))
        answer = action()
        self._used_bytes += _occupied_bytes(os.stat(changed)) - before
        return answer

    def unlink(self, parent: int, name: bytes) -> None:
        """Remove an entry. A file that is still known occupies space until it is forgotten."""
        folder = self._descriptors[parent]
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        os.unlink(name, dir_fd=folder)
        if status.st_ino not in self._descriptors and status.st_nlink == 1:
            self._used_bytes -= _occupied_bytes(status)

    def space(self) -> pyfuse3.StatvfsData:
        """Return what statvfs(2) tells about the disk."""
        behind = os.statvfs(self._root)
        answer = pyfuse3.StatvfsData()
        for name in ("frsize", "bsize", "blocks", "bfree", "bavail", "files", "ffree", "favail"):
            setattr(answer, f"f_{name}", getattr(behind, f"f_{name}"))
        answer.f_namemax = 255
        if self.capacity_bytes:
            answer.f_frsize = answer.f_bsize = _BLOCK_BYTES
            answer.f_blocks = self.capacity_bytes // _BLOCK_BYTES
            answer.f_bfree = answer.f_bavail = self.free_bytes // _BLOCK_BYTES
        return answer


def _occupied_bytes(status: os.stat_result) -> int:
    return status.st_blocks * _SECTOR_BYTES if stat.S_ISREG(status.st_mode) else 0
