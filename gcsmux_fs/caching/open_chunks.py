"""The chunk files that a process has open: bounded, the least recently used ones are closed.

A file that the cleaner of any mount removes has no name, but exists while a descriptor is open. To
read from it is correct. But it uses disk space that no mount counts, so `close_removed` closes such
files, and nothing is written to them.

No lock is held: each operation on the dictionary is one step for other threads. A descriptor is
closed only after the last thread that uses it has dropped its `OpenChunk`. It is closed on the next
thread that may block, because closing a removed file frees its disk space, which takes time.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from gcsmux_fs.caching.chunk_format import HEADER_BYTES, ChunkHeader, HeaderState

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.caching.cache_files import CacheFiles, FileStatus
    from gcsmux_fs.caching.chunk_format import ChunkId
    from gcsmux_fs.caching.known_chunks import KnownChunks
    from gcsmux_fs.caching.store_counters import StoreCounters

__all__ = ["OpenChunk", "OpenChunks"]

# Errors of an open that do not mean that the disk fails: the name has another type of file, a link,
# or a file of another user.
_FOREIGN_ERRORS = {
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENODEV,
    errno.ENOTDIR,
    errno.ENXIO,
    errno.EPERM,
    errno.EXDEV,
}

# Errors of an open if the process or the machine has too many open files.
_TOO_MANY_ERRORS = {errno.EMFILE, errno.ENFILE}

# Errors with which a file can still be opened for reading.
_READ_ONLY_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS}

# How often to open a file for writing: once more after an invalid file has been removed. Another
# mount may do the same meanwhile.
_ATTEMPTS = 3


class OpenChunk:
    """An open chunk file. The descriptor is closed after the last use.

    Attributes:
        descriptor: the descriptor.
        header: the header, as last read and written.
        writable: whether the descriptor allows writing.
        allocated_bytes: disk space of the file when it was opened.
    """

    __slots__ = ("_unused", "allocated_bytes", "descriptor", "header", "writable")

    def __init__(
        self, descriptor: int, header: ChunkHeader, unused: deque[int], *, writable: bool
    ) -> None:
        self.descriptor = descriptor
        self.header = header
        self.writable = writable
        self.allocated_bytes = 0
        self._unused = unused

    def __del__(self) -> None:
        """Let a thread that may block close the descriptor."""
        self._unused.append(self.descriptor)


class OpenChunks:
    """The open files of the chunks of one cache.

    Args:
        files: The file operations.
        counters: Counts damaged files.
        limit: Number of descriptors, those included that no thread has closed yet.
        owner: If not None: files of other users are not read.
        known: Learns which files are created and removed.
        removed: Is called after each removal with the chunk and the disk space of its file.
    """

    def __init__(
        self,
        files: CacheFiles,
        counters: StoreCounters,
        limit: int,
        owner: int | None,
        known: KnownChunks,
        removed: Callable[[ChunkId, int], object],
    ) -> None:
        self._files = files
        self._counters = counters
        self._unused_limit = max(1, limit // 4)
        self._limit = limit - self._unused_limit
        self._owner = owner
        self._known = known
        self._removed = removed
        self._chunks: OrderedDict[tuple[bytes, int], OpenChunk] = OrderedDict()
        self._unused: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def unused_descriptors(self) -> int:
        """Number of descriptors that the next call of `close_unused` closes."""
        return len(self._unused)

    def get(self, chunk: tuple[bytes, int]) -> OpenChunk | None:
        """Return the open file of a chunk, and mark it as the most recently used; never blocks."""
        opened = self._chunks.get(chunk)
        if opened is not None:
            # Another thread may have removed the chunk meanwhile. `suppress` would take 0.6 us.
            try:  # noqa: SIM105
                self._chunks.move_to_end(chunk)
            except KeyError:
                pass
        return opened

    def open_cached(self, chunk: ChunkId, size: int) -> OpenChunk:
        """Open the file of a chunk for reading, without blocking.

        Raises:
            BlockingIOError: only `open` can answer.
            FileNotFoundError: the chunk has no file.
        """
        if len(self._unused) >= self._unused_limit:
            # A thread that may block closes them.
            raise BlockingIOError
        descriptor = self._files.open_cached(chunk.path)
        opened = OpenChunk(descriptor, ChunkHeader(chunk, size), self._unused, writable=False)
        if not self._is_own(self._files.status(descriptor)):
            raise BlockingIOError
        data = self._files.read_cached(descriptor, HEADER_BYTES, 0)
        if data is None or not self._accept(opened, data):
            raise BlockingIOError
        self._keep(chunk, opened)
        return opened

    def open(
        self, chunk: ChunkId, size: int, *, create: bool = False, keep: bool = True
    ) -> OpenChunk | None:
        """Open the file of a chunk for reading and writing; None if it does not exist.

        With `keep`, the file stays open. A file that is not valid is removed; with `create`, a new
        file replaces it. Without `create`, a file that cannot be written is opened for reading.
        None with `create` means that something at this name cannot be removed.

        Raises:
            OSError: the disk fails, or `create` is set and the directory cannot be written.
        """
        self.close_unused()
        for _ in range(_ATTEMPTS):
            try:
                opened = self._open(chunk, size, create=create)
            except FileNotFoundError:
                if create:
                    raise
                return None
            except OSError as error:
                if error.errno in _TOO_MANY_ERRORS and self._chunks:
                    # The rest of the mount needs descriptors, too.
                    self.close_all()
                    continue
                if error.errno not in _FOREIGN_ERRORS:
                    raise
                opened = None
            if opened is not None:
                if keep:
                    self._keep(chunk, opened)
                return opened
            if not self._remove_invalid(chunk, required=create) or not create:
                return None
        return None

    def refresh(self, opened: OpenChunk, *, may_block: bool) -> bool:
        """Read the header again, which other mounts may have changed; False if not possible."""
        if may_block:
            data = self._files.read(opened.descriptor, HEADER_BYTES, 0)
        else:
            cached = self._files.read_cached(opened.descriptor, HEADER_BYTES, 0)
            if cached is None:
                return False
            data = cached
        return self._accept(opened, data)

    def close(self, chunk: tuple[bytes, int]) -> None:
        """Close the file of a chunk after its last use."""
        self._chunks.pop(chunk, None)

    def remove(self, chunk: ChunkId) -> int | None:
        """Remove the file of a chunk; return its disk space, or None if it does not exist.

        Raises:
            OSError: the disk fails.
        """
        self.close(chunk)
        status = self._files.path_status(chunk.path)
        if status is None or not self._known.remove(chunk):
            return None
        self._removed(chunk, status.allocated_bytes)
        return status.allocated_bytes

    def close_removed(self) -> None:
        """Close the files that have been removed, so that the file system frees their space."""
        removed = [
            chunk
            for chunk, opened in list(self._chunks.items())
            if not self._files.status(opened.descriptor).links
        ]
        for chunk in removed:
            self.close(chunk)
        self.close_unused()

    def close_all(self) -> None:
        """Close all files."""
        self._chunks.clear()
        self.close_unused()

    def close_unused(self) -> None:
        """Close the descriptors that no thread uses."""
        with contextlib.suppress(IndexError):
            while True:
                self._files.close(self._unused.popleft())

    def _open(self, chunk: ChunkId, size: int, *, create: bool) -> OpenChunk | None:
        """Open a file once; None if it is not valid."""
        writable = True
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        try:
            if create:
                with self._known.adding(chunk):
                    descriptor = self._open_in_shard(chunk, flags)
            else:
                descriptor = self._files.open(chunk.path, flags)
        except OSError as error:
            if create or error.errno not in _READ_ONLY_ERRORS:
                raise
            writable = False
            descriptor = self._files.open(chunk.path, os.O_RDONLY)
        opened = OpenChunk(descriptor, ChunkHeader(chunk, size), self._unused, writable=writable)
        status = self._files.status(descriptor)
        if not self._is_own(status):
            return None
        opened.allocated_bytes = status.allocated_bytes
        # A new file has no header to read.
        if status.size_bytes and not self.refresh(opened, may_block=True):
            return None
        return opened

    def _open_in_shard(self, chunk: ChunkId, flags: int) -> int:
        try:
            return self._files.open(chunk.path, flags)
        except FileNotFoundError:
            pass
        shard = chunk.path.rpartition("/")[0]
        with contextlib.suppress(FileNotFoundError):
            self._files.make_directory(shard)
            return self._files.open(chunk.path, flags)
        # A user has removed the content of the cache.
        self._files.make_directory(shard.rpartition("/")[0])
        self._files.make_directory(shard)
        return self._files.open(chunk.path, flags)

    def _is_own(self, status: FileStatus) -> bool:
        return status.is_regular and self._owner in {None, status.owner}

    def _accept(self, opened: OpenChunk, data: memoryview) -> bool:
        """Take over the header of a file; False if the header is damaged."""
        header = opened.header
        if header.state_of(data) is HeaderState.DAMAGED:
            return False
        header.data = bytearray(data).ljust(HEADER_BYTES, b"\0")
        return True

    def _remove_invalid(self, chunk: ChunkId, *, required: bool) -> bool:
        self._counters.disk_cache_files_damaged += 1
        try:
            self.remove(chunk)
        except OSError as error:
            if required and error.errno != errno.EISDIR:
                raise
            return False
        return True

    def _keep(self, chunk: ChunkId, opened: OpenChunk) -> None:
        self._chunks[chunk] = opened
        while len(self._chunks) > self._limit:
            with contextlib.suppress(KeyError):
                self._chunks.popitem(last=False)
