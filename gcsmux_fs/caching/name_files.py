"""Files of kept names on a disk: read, replace, append, remove, and keep their size bounded.

All methods may block, so they run in threads. A file is written under another name and renamed, so
a reader sees the old or the new content. Nothing is synced: after a power cut a file may be torn,
and its checksum shows this. A file whose name ends with `.marks` has invalidations, and is never
removed to save space.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gcsmux_fs.caching.cache_files import CacheFiles
    from gcsmux_fs.caching.name_counters import KeptNameCounters

__all__ = ["NameFiles", "NameFilesPolicy"]

_FOLDER = "names/"
# Maximum size of a file that is read. A listing of 300,000 names of 300 bytes has 100 MB.
_MAX_FILE_BYTES = 256 * 1024 * 1024
_NEW_MARK = "new-"
_UNREMOVED_END = ".marks"
# A file that was not renamed by then was left by a process that was killed.
_LEFT_BEHIND_SECONDS = 600.0
# The part of the space that stays used after old files were removed.
_KEPT_FRACTION = 0.75
# All files are counted again after this part of the space was written.
_RECOUNT_FRACTION = 1 / 8


@dataclass(frozen=True, slots=True)
class NameFilesPolicy:
    """Limits: the space of all files together, and the free space that is left to others."""

    max_bytes: int
    min_free_bytes: int = 0


class NameFiles:
    """The files of kept names in a cache.

    One thread at a time calls the methods that write.

    Args:
        files: the operations below the directory of the cache.
        policy: limits of the space.
        day_seconds: returns the time of day, in seconds since the Unix epoch.
        counters: count what is removed.
    """

    def __init__(
        self,
        files: CacheFiles,
        policy: NameFilesPolicy,
        day_seconds: Callable[[], float],
        counters: KeptNameCounters,
    ) -> None:
        self._counters = counters
        self._files = files
        self._policy = policy
        self._day_seconds = day_seconds
        self._number = 0
        # Bytes that may still be written before the files are counted again.
        self._until_recount = 0

    def read(
        self, name: str, head_bytes: int, wanted: Callable[[memoryview], bool]
    ) -> memoryview | None:
        """Return a file; None if it does not exist, or is not wanted.

        `wanted` gets the first `head_bytes` bytes of the file, and decides whether to read it.

        Raises:
            OSError: the disk failed.
        """
        try:
            descriptor = self._files.open(_FOLDER + name, os.O_RDONLY)
        except OSError as error:
            # ELOOP: the name is a symbolic link.
            if error.errno in (errno.ENOENT, errno.ELOOP):
                return None
            raise
        try:
            status = self._files.status(descriptor)
            if not status.is_regular or status.size_bytes > _MAX_FILE_BYTES:
                return None
            if not wanted(self._files.read(descriptor, head_bytes, 0)):
                return None
            return self._files.read(descriptor, status.size_bytes, 0)
        finally:
            self._files.close(descriptor)

    def replace(self, name: str, parts: Sequence[bytes]) -> bool:
        """Write a file, or replace it; return False if there is no room for it.

        Raises:
            OSError: the disk failed.
        """
        size = sum(map(len, parts))
        if not self._has_room(size):
            return False
        self._number += 1
        temporary = f"{_FOLDER}{_NEW_MARK}{os.getpid()}-{id(self)}-{self._number}"
        try:
            self._write(temporary, parts)
            self._files.rename(temporary, _FOLDER + name)
        except BaseException:
            with suppress(OSError):
                self._files.remove(temporary)
            raise
        self._until_recount -= size
        return True

    def append(self, name: str, line: bytes) -> None:
        """Append a line to a file.

        Raises:
            OSError: the disk failed.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = self._files.open(_FOLDER + name, flags)
        try:
            self._files.append(descriptor, line)
        finally:
            self._files.close(descriptor)

    def remove(self, name: str) -> None:
        """Remove a file, if it exists.

        Raises:
            OSError: the disk failed.
        """
        self._files.remove(_FOLDER + name)

    def remove_all(self, prefix: str) -> None:
        """Remove all files whose names begin with `prefix`, except for invalidations.

        Raises:
            OSError: the disk failed.
        """
        for name in self._names():
            if name.startswith(prefix) and not name.endswith(_UNREMOVED_END):
                self._files.remove(_FOLDER + name)

    def _names(self) -> Iterator[str]:
        # A directory that changes while it is read may yield a name twice or not at all.
        yield from list(self._files.names(_FOLDER.removesuffix("/")))

    def _write(self, path: str, parts: Sequence[bytes]) -> None:
        descriptor = self._files.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            offset = 0
            for part in parts:
                self._files.write(descriptor, part, offset)
                offset += len(part)
        finally:
            self._files.close(descriptor)

    def _has_room(self, size: int) -> bool:
        if size > self._policy.max_bytes * (1 - _KEPT_FRACTION):
            return False
        if self._files.free_bytes() - size < self._policy.min_free_bytes:
            return False
        if self._until_recount < size:
            self._clean()
        return True

    def _clean(self) -> None:
        """Count all files; if there are too many, remove those that were written first."""
        now = self._day_seconds()
        found: list[tuple[float, int, str]] = []
        for name in self._names():
            path = _FOLDER + name
            status = self._files.path_status(path)
            if status is None or name.endswith(_UNREMOVED_END):
                continue
            if name.startswith(_NEW_MARK) and now - status.modified_at > _LEFT_BEHIND_SECONDS:
                self._files.remove(path)
            else:
                found.append((status.modified_at, status.allocated_bytes, path))
        used = sum(size for _, size, _ in found)
        limit = self._policy.max_bytes
        if used > limit * (1 - _RECOUNT_FRACTION):
            for _, size, path in sorted(found):
                if used <= limit * _KEPT_FRACTION:
                    break
                self._files.remove(path)
                self._counters.kept_names_removed += 1
                used -= size
        self._until_recount = int(limit * _RECOUNT_FRACTION)
