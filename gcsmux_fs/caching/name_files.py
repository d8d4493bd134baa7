"""Files of kept names on a disk: read, replace, append, remove, and keep their size bounded.

All methods may block, so they run in threads. A file is written under another name and renamed, so
a reader sees the old or the new content. Nothing is synced: after a power cut a file may be torn,
and its checksum shows this. Only lines of invalidations are synced, because an answer that a user
has dropped must not come back.

Files are opened relative to the directory, and links are not followed. A file whose name ends with
`.marks` has invalidations, and is never removed to save space.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.metrics.registry import counter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.metrics.registry import Registry

__all__ = ["MAX_FILE_BYTES", "NameFiles", "NameFilesPolicy"]

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Maximum size of a file that is read: more than a listing of 300,000 long names takes."""

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW
_FILE_MODE = 0o600
_BLOCK_BYTES = 512
_NEW_MARK = ".new-"
_UNREMOVED_END = ".marks"
# A file that was not renamed by then was left by a process that was killed.
_LEFT_BEHIND_SECONDS = 600.0
# A file is touched when it is read, at most this often, so that used files are removed last.
_TOUCH_SECONDS = 3600.0
# The part of the space that stays used after old files were removed.
_KEPT_FRACTION = 0.75
# All files are counted again after this part of the space was written.
_RECOUNT_FRACTION = 1 / 8


@dataclass(frozen=True, slots=True)
class NameFilesPolicy:
    """Limits: the space of all files together, and the free space that is left to others."""

    max_bytes: int
    min_free_bytes: int = 0


@dataclass(slots=True)
class NameFileCounters:
    """Counters of the files of kept names."""

    name_files_written: int = counter("files", "Files of kept names that were written.")
    name_files_removed: int = counter("files", "Files of kept names removed to save space.")


class NameFiles:
    """The files in the open directory `fd`. One thread at a time calls the methods that write."""

    def __init__(self, fd: int, policy: NameFilesPolicy, wall_clock: Callable[[], float]) -> None:
        self.counters = NameFileCounters()
        self._fd = fd
        self._policy = policy
        self._wall_clock = wall_clock
        self._number = 0
        # Bytes that may still be written before the files are counted again.
        self._until_recount = 0

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of the files."""
        registry.fields(self.counters)

    def read(self, name: str, head_bytes: int, wanted: Callable[[bytes], bool]) -> bytes | None:
        """Return a file; None if it does not exist, or is not wanted.

        `wanted` gets the first `head_bytes` bytes of the file, and decides whether to read it.

        Raises:
            OSError: the disk failed.
        """
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _FLAGS, dir_fd=self._fd)
        except OSError as error:
            # ELOOP: the name is a symbolic link.
            if error.errno in (errno.ENOENT, errno.ELOOP):
                return None
            raise
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
                return None
            head = os.read(fd, head_bytes)
            if not wanted(head):
                return None
            parts = [head]
            while part := os.read(fd, MAX_FILE_BYTES):
                parts.append(part)
            now = self._wall_clock()
            if now - status.st_mtime > _TOUCH_SECONDS:
                # The file of another user cannot be touched.
                with suppress(OSError):
                    os.utime(fd)
            return b"".join(parts)
        finally:
            os.close(fd)

    def replace(self, name: str, parts: Sequence[bytes]) -> bool:
        """Write a file, or replace it; return False if there is no room for it.

        Raises:
            OSError: the disk failed.
        """
        size = sum(map(len, parts))
        if not self._has_room(size):
            return False
        self._number += 1
        temporary = f"{_NEW_MARK}{os.getpid()}-{self._number}"
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _FILE_MODE, dir_fd=self._fd
        )
        try:
            try:
                for part in parts:
                    _write_all(fd, part)
            finally:
                os.close(fd)
            os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except BaseException:
            self.remove(temporary)
            raise
        self.counters.name_files_written += 1
        self._until_recount -= size
        return True

    def append(self, name: str, line: bytes) -> None:
        """Append a line to a file, and wait until the disk has it.

        Raises:
            OSError: the disk failed.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _FLAGS
        fd = os.open(name, flags, _FILE_MODE, dir_fd=self._fd)
        try:
            os.write(fd, line)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def remove(self, name: str) -> None:
        """Remove a file, if it exists.

        Raises:
            OSError: the disk failed.
        """
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def remove_all(self, prefix: str) -> None:
        """Remove all files whose names begin with `prefix`, except for invalidations.

        Raises:
            OSError: the disk failed.
        """
        with os.scandir(self._fd) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(prefix)]
        for name in names:
            if not name.endswith(_UNREMOVED_END):
                self.remove(name)

    def _has_room(self, size: int) -> bool:
        if size > self._policy.max_bytes * (1 - _KEPT_FRACTION):
            return False
        disk = os.fstatvfs(self._fd)
        if disk.f_bavail * disk.f_frsize - size < self._policy.min_free_bytes:
            return False
        if self._until_recount < size:
            self._clean()
        return True

    def _clean(self) -> None:
        """Count all files; if there are too many, remove those that were unused for longest."""
        now = self._wall_clock()
        found: list[tuple[float, int, str]] = []
        with os.scandir(self._fd) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    is_new = entry.name.startswith(_NEW_MARK)
                    if is_new and now - status.st_mtime > _LEFT_BEHIND_SECONDS:
                        self.remove(entry.name)
                    elif not entry.name.endswith(_UNREMOVED_END):
                        size = status.st_blocks * _BLOCK_BYTES
                        found.append((status.st_mtime, size, entry.name))
        used = sum(size for _, size, _ in found)
        limit = self._policy.max_bytes
        if used > limit * (1 - _RECOUNT_FRACTION):
            for _, size, name in sorted(found):
                if used <= limit * _KEPT_FRACTION:
                    break
                self.remove(name)
                self.counters.name_files_removed += 1
                used -= size
        self._until_recount = int(limit * _RECOUNT_FRACTION)


def _write_all(fd: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(fd, view) :]
