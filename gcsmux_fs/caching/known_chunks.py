"""Remembers which chunks have a file, so that a miss does not have to ask the disk.

Theory of operation. Most ranges that the cache does not have are of chunks without a file. On a
slow disk, even this answer takes long: it waits behind the writes. So each directory of chunks is
listed once, by the thread that first looks for a chunk in it, and the names are kept in 4 bytes
each. They are complete as long as the directory has the same modification time, which the kernel
tells without the disk. A change by this process is noted, and the time with it. A change by another
mount makes the next miss ask the disk again.

Invariants:
1. A chunk that has a file is taken for absent only in two cases: the names of two chunks of one
   directory have the same CRC32C, and one of them was removed; or another mount has created the
   file in the moment in which this mount has listed or changed the same directory. Such a moment
   is one step of the kernel's clock: 4 ms before Linux 6.13. Both cases cost one request.
2. `is_absent_now` never blocks.
3. A directory that others change again and again is not listed for each miss: the misses since the
   last listing have opened as many files as take as long as a listing.
"""

from __future__ import annotations

import contextlib
import threading
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from crc32c import crc32c

from gcsmux_fs.caching.chunk_format import SHARDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.caching.cache_files import CacheFiles
    from gcsmux_fs.caching.chunk_format import ChunkId

__all__ = ["KnownChunks"]

_CHUNKS = "chunks"

# To look for a file that does not exist takes as long as to list this number of names.
_NAMES_PER_MISS = 32


class _Folder:
    """The names in one directory. The marks of names are never changed, but replaced."""

    __slots__ = ("marks", "modified_at", "undecided_misses")

    def __init__(self, marks: array[int], modified_at: float) -> None:
        self.marks = marks
        self.modified_at = modified_at
        #: Number of misses since the last listing that had to ask the disk.
        self.undecided_misses = 0

    def has(self, mark: int) -> bool:
        """Return whether a name may be in the directory."""
        marks = self.marks
        place = bisect_left(marks, mark)
        return place < len(marks) and marks[place] == mark


class KnownChunks:
    """The chunks that have a file, in one cache directory. All threads may use this."""

    def __init__(self, files: CacheFiles) -> None:
        self._files = files
        self._folders: dict[str, _Folder] = {}
        self._knows_missing_folders = False
        # Held while a folder is changed in memory, never during a call to the disk.
        self._lock = threading.Lock()

    def is_absent_now(self, chunk: ChunkId) -> bool:
        """Return whether a chunk has no file; False also if only the disk can tell."""
        path, name = _split(chunk)
        folder = self._folders.get(path)
        # Read before the names, because another thread may add a name and change the time.
        known_at = None if folder is None else folder.modified_at
        if folder is not None and folder.has(_mark(name)):
            return False
        try:
            modified_at = self._files.status_cached(path).modified_at
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return known_at == modified_at

    def is_absent(self, chunk: ChunkId) -> bool:
        """Return whether a chunk has no file; False if its file must be opened. May block."""
        path, name = _split(chunk)
        try:
            status = self._files.path_status(path)
            if status is None:
                self._note_missing_folders()
                return True
            folder = self._folders.get(path)
            if folder is None or folder.modified_at != status.modified_at:
                if folder is not None and not _is_listing_due(folder):
                    return False
                folder = self._list(path, status.modified_at)
        except OSError:
            return False
        return not folder.has(_mark(name))

    @contextlib.contextmanager
    def adding(self, chunk: ChunkId) -> Iterator[None]:
        """Note that a file is created within the `with` block. May block."""
        path, name = _split(chunk)
        with self._changing(path):
            yield
            mark = _mark(name)
            with self._lock:
                folder = self._folders.get(path)
                if folder is not None and not folder.has(mark):
                    place = bisect_left(folder.marks, mark)
                    folder.marks = folder.marks[:place] + array("I", [mark]) + folder.marks[place:]

    def remove(self, chunk: ChunkId) -> bool:
        """Remove the file of a chunk; False if it does not exist.

        Raises:
            OSError: the disk fails.
        """
        path, name = _split(chunk)
        with self._changing(path):
            is_removed = self._files.remove(chunk.path)
            mark = _mark(name)
            with self._lock:
                folder = self._folders.get(path)
                if folder is not None and folder.has(mark):
                    place = bisect_left(folder.marks, mark)
                    folder.marks = folder.marks[:place] + folder.marks[place + 1 :]
        return is_removed

    def clear(self) -> None:
        """Forget everything, because the directory was replaced."""
        with self._lock:
            self._folders.clear()
            self._knows_missing_folders = False

    @contextlib.contextmanager
    def _changing(self, path: str) -> Iterator[None]:
        """Take over the modification time of a directory after a change of this process.

        If anything else has changed the directory before, its names are not complete, and stay so.
        """
        if path not in self._folders:
            yield
            return
        before = self._files.path_status(path)
        yield
        after = self._files.path_status(path)
        with self._lock:
            folder = self._folders.get(path)
            if folder and before and after and folder.modified_at == before.modified_at:
                folder.modified_at = after.modified_at

    def _list(self, path: str, modified_at: float) -> _Folder:
        marks = array("I", sorted([_mark(name) for name in self._files.names(path)]))
        with self._lock:
            folder = self._folders[path] = _Folder(marks, modified_at)
        return folder

    def _note_missing_folders(self) -> None:
        """Let the kernel remember which directories do not exist yet."""
        if not self._knows_missing_folders:
            self._knows_missing_folders = True
            existing = set(self._files.names(_CHUNKS))
            for number in range(SHARDS):
                if f"{number:02x}" not in existing:
                    self._files.path_status(f"{_CHUNKS}/{number:02x}")


def _split(chunk: ChunkId) -> tuple[str, str]:
    path, _, name = chunk.path.rpartition("/")
    return path, name


def _mark(name: str) -> int:
    return crc32c(name.encode(errors="surrogateescape"))


def _is_listing_due(folder: _Folder) -> bool:
    folder.undecided_misses += 1
    return folder.undecided_misses * _NAMES_PER_MISS >= len(folder.marks)
