"""Reads and writes the content of objects in chunk files; synchronous.

Reads return only bytes that agree with a CRC32C in the file (see `chunk_format`, invariant F1).
Everything else is a miss, and not an error: a file that does not exist, is damaged, cut off or
exchanged. OSError means that the disk fails.

Writes store whole granules: first the content, then the entries. Nothing is flushed to the disk.
Several threads and several mounts may read and write the same chunk at the same time. The worst
result is a lost entry, which is a miss.

`read_now` never blocks, so trio's thread may call it. The other methods may block.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import resource
from typing import TYPE_CHECKING, NamedTuple

from crc32c import crc32c

from gcsmux_fs.caching.chunk_format import (
    CHUNK_BYTES,
    CHUNK_SLOT,
    GRANULE_BYTES,
    HEADER_BYTES,
    ChunkId,
    HeaderState,
    chunk_count,
    encode_absent,
    granule_slot,
)
from gcsmux_fs.caching.granule_ranges import (
    chunk_ranges,
    dependent_slots,
    differing_granules,
    granule_count,
    new_entries,
    present_ranges,
    ranges_without,
)
from gcsmux_fs.caching.known_chunks import KnownChunks
from gcsmux_fs.caching.object_check import ObjectCheck, ObjectVerdict
from gcsmux_fs.caching.open_chunks import OpenChunks
from gcsmux_fs.caching.store_counters import StoreCounters

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.caching.cache_files import CacheFiles
    from gcsmux_fs.caching.open_chunks import OpenChunk

__all__ = ["ChunkStore", "Presence", "Written", "open_files_limit"]

# The most files that stay open. Three quarters of them serve 3 GiB without an open, which takes
# 40 us, more than the rest of a hit. Each uses 6 KiB of memory. A mount needs descriptors for
# sockets and other files, so it keeps at most a quarter.
_OPEN_FILES = 1024
_SHARE_OF_LIMIT = 4


class Presence(enum.Enum):
    """Why `read_now` returned no bytes."""

    ABSENT = "absent"  # no byte of the range is on disk
    UNKNOWN = "unknown"  # only `read` can answer


class Written(NamedTuple):
    """The result of a write.

    Attributes:
        allocated_bytes: disk space that the file of the chunk uses now; 0 if it has no name now.
        added_bytes: by how much the write increased this space.
        complete: whether all bytes of the chunk are on disk now, and have not been compared with
            the CRC of the whole object. Then `check_object` may have something to do.
    """

    allocated_bytes: int
    added_bytes: int
    complete: bool


_NOTHING_WRITTEN = Written(0, 0, complete=False)


def open_files_limit() -> int:
    """Return how many chunk files a store may keep open in this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _OPEN_FILES
    return max(1, min(_OPEN_FILES, soft // _SHARE_OF_LIMIT))


class ChunkStore:
    """The content of objects in the directory of one cache.

    Args:
        files: The file operations.
        open_files: Number of files that stay open.
        owner: If not None: files of other users are not read.
        removed: Is called after each removal with the chunk and the disk space of its file, on the
            thread that removed it.
    """

    def __init__(
        self,
        files: CacheFiles,
        *,
        open_files: int = _OPEN_FILES,
        owner: int | None = None,
        removed: Callable[[ChunkId, int], object] = lambda chunk, freed_bytes: None,
    ) -> None:
        self.counters = StoreCounters()
        self._files = files
        #: The chunks that have a file.
        self.known = KnownChunks(files)
        self._chunks = OpenChunks(files, self.counters, open_files, owner, self.known, removed)
        self._object_check = ObjectCheck(files, self._chunks)

    def read_now(
        self, identity: bytes, size: int, offset: int, length: int
    ) -> memoryview | Presence:
        """Return verified bytes of the range, if all of them are in memory; never blocks.

        `offset` is a multiple of `GRANULE_BYTES`. So is the end of the range, or it is the end of
        the object. A range that crosses the end of a chunk is `UNKNOWN`.
        """
        number, start = divmod(offset, CHUNK_BYTES)
        if start + length > CHUNK_BYTES:
            return Presence.UNKNOWN
        try:
            opened = self._chunks.get((identity, number))
            crc = None if opened is None else opened.header.range_crc(start, length)
            if opened is None or crc is None:
                found = self._find_now(ChunkId(identity, number), size, start, length)
                if isinstance(found, Presence):
                    return found
                opened, crc = found
            content = self._files.read_cached(opened.descriptor, length, HEADER_BYTES + start)
        except FileNotFoundError:
            return Presence.ABSENT
        except OSError:
            # `read` will report the error, if it is an error of the disk.
            return Presence.UNKNOWN
        if content is None or len(content) < length or crc32c(content) != crc:
            return Presence.UNKNOWN
        counters = self.counters
        counters.disk_cache_reads += 1
        counters.disk_cache_memory_reads += 1
        counters.disk_cache_read_bytes += length
        return content

    def is_absent_now(self, identity: bytes, size: int, offset: int, length: int) -> bool:
        """Return whether no byte of a range is on disk; False also if only `read` can answer.

        The range is one for `read_now`. Never blocks.
        """
        number, start = divmod(offset, CHUNK_BYTES)
        opened = self._chunks.get((identity, number))
        if opened is None:
            return self.known.is_absent_now(ChunkId(identity, number))
        return _lacks(opened, start, length) and (
            # Another mount may have written the granules.
            self._chunks.refresh(opened, may_block=False) and _lacks(opened, start, length)
        )

    def read(
        self, identity: bytes, size: int, offset: int, length: int
    ) -> list[tuple[int, memoryview]]:
        """Return the parts of a range that are on disk, verified, as (offset, bytes), in order.

        The parts are read-only, consist of whole granules, and do not overlap.

        Raises:
            OSError: the disk fails.
        """
        self.counters.disk_cache_reads += 1
        parts: list[tuple[int, memoryview]] = []
        for chunk, start, end in chunk_ranges(identity, size, offset, length):
            try:
                parts += self._read_chunk(chunk, size, start, end)
            except OSError as error:
                if error.errno == errno.EIO:
                    # The disk cannot read this file. Without the file, no later read fails.
                    with contextlib.suppress(OSError):
                        self.remove(chunk)
                raise
        self.counters.disk_cache_read_bytes += sum(len(part) for _, part in parts)
        return parts

    def write(self, identity: bytes, size: int, offset: int, content: memoryview) -> Written:
        """Store the whole granules of `content`, which is within one chunk.

        Raises:
            OSError: the disk fails or is full.
        """
        ranges = list(chunk_ranges(identity, size, offset, len(content)))
        if not ranges:
            return _NOTHING_WRITTEN
        ((chunk, start, end),) = ranges
        opened = self._open_for_writing(chunk, size)
        if opened is None:
            return _NOTHING_WRITTEN
        header = opened.header
        bytes_before = opened.allocated_bytes
        if header.missing(start // GRANULE_BYTES, granule_count(end - start)):
            skipped = chunk.number * CHUNK_BYTES + start - offset
            self._write_content(opened, start, content[skipped : skipped + end - start])
        after = self._files.status(opened.descriptor)
        if not after.links:
            # The cleaner has removed the file meanwhile.
            return _NOTHING_WRITTEN
        return Written(
            after.allocated_bytes,
            after.allocated_bytes - bytes_before,
            complete=header.is_complete() and header.crc(CHUNK_SLOT) is None,
        )

    def check_object(self, identity: bytes, size: int, expected_crc32c: int) -> ObjectVerdict:
        """Compare the CRC of a whole object with the expected one, if all its bytes are on disk.

        If the CRC differs, all chunks of the object are removed.

        Raises:
            OSError: the disk fails.
        """
        verdict = self._object_check.run(identity, size, expected_crc32c)
        if verdict is ObjectVerdict.SAME:
            self.counters.disk_cache_objects_verified += 1
        elif verdict is ObjectVerdict.DIFFERENT:
            self.counters.disk_cache_objects_dropped += 1
            self.drop_object(identity, size)
        return verdict

    def drop_object(self, identity: bytes, size: int) -> int:
        """Remove all chunks of an object, and return their number.

        Raises:
            OSError: the disk fails.
        """
        return sum(
            self.remove(ChunkId(identity, number)) is not None
            for number in range(chunk_count(size))
        )

    def remove(self, chunk: ChunkId) -> int | None:
        """Remove the file of a chunk; return its disk space, or None if it does not exist.

        Threads that read the chunk go on, with valid bytes.

        Raises:
            OSError: the disk fails.
        """
        return self._chunks.remove(chunk)

    def close_removed(self) -> None:
        """Close the files that other mounts have removed. A thread calls this about once a second.

        Raises:
            OSError: the disk fails.
        """
        self._chunks.close_removed()

    def close(self) -> None:
        """Close all files, and forget which files exist."""
        self._chunks.close_all()
        self.known.clear()

    def statistics(self) -> dict[str, int]:
        """Return the number of open files, and of descriptors that wait to be closed."""
        return {"open": len(self._chunks), "unused": self._chunks.unused_descriptors}

    def _find_now(
        self, chunk: ChunkId, size: int, start: int, length: int
    ) -> tuple[OpenChunk, int] | Presence:
        """Return the file that has a range, and the range's CRC; never blocks."""
        opened = self._chunks.get(chunk)
        if opened is None:
            try:
                opened = self._chunks.open_cached(chunk, size)
            except BlockingIOError:
                is_absent = self.known.is_absent_now(chunk)
                return Presence.ABSENT if is_absent else Presence.UNKNOWN
        # Another mount may have written the granules.
        elif not self._chunks.refresh(opened, may_block=False):
            return Presence.UNKNOWN
        crc = opened.header.range_crc(start, length)
        if crc is not None:
            return opened, crc
        return Presence.ABSENT if _lacks(opened, start, length) else Presence.UNKNOWN

    def _read_chunk(
        self, chunk: ChunkId, size: int, start: int, end: int
    ) -> list[tuple[int, memoryview]]:
        opened = self._open_for_reading(chunk, size, start, end)
        if opened is None:
            return []
        # Other threads may clear entries, or read the header again, while this thread reads.
        header = opened.header.snapshot()
        chunk_offset = chunk.number * CHUNK_BYTES
        parts = []
        for first, last in present_ranges(header, start, end):
            content = self._files.read(opened.descriptor, last - first, HEADER_BYTES + first)
            differing = differing_granules(header, first, last, content)
            if not differing:
                parts.append((chunk_offset + first, content))
                continue
            self._clear(opened, size, differing)
            for part, stop in ranges_without(differing, first, last):
                parts.append((chunk_offset + part, content[part - first : stop - first]))
        return parts

    def _open_for_reading(
        self, chunk: ChunkId, size: int, start: int, end: int
    ) -> OpenChunk | None:
        opened = self._chunks.get(chunk)
        if opened is None:
            return None if self.known.is_absent(chunk) else self._chunks.open(chunk, size)
        if not opened.header.missing(start // GRANULE_BYTES, granule_count(end - start)):
            return opened
        # Another mount may have written the granules, or removed the file.
        if self._files.status(opened.descriptor).links and self._chunks.refresh(
            opened, may_block=True
        ):
            return opened
        self._chunks.close(chunk)
        return self._chunks.open(chunk, size)

    def _open_for_writing(self, chunk: ChunkId, size: int) -> OpenChunk | None:
        """Open or create the file of a chunk, and note its disk space."""
        opened = self._chunks.get(chunk)
        if opened is not None and opened.writable:
            status = self._files.status(opened.descriptor)
            # The cleaner of any mount may remove the file.
            if status.links:
                opened.allocated_bytes = status.allocated_bytes
                return opened
        return self._chunks.open(chunk, size, create=True)

    def _write_content(self, opened: OpenChunk, start: int, content: memoryview) -> None:
        header, descriptor = opened.header, opened.descriptor
        self._files.write(descriptor, content, HEADER_BYTES + start)
        is_blank = header.state_of(header.data) is HeaderState.BLANK
        try:
            for slot, entries in new_entries(header, start, content):
                header.put(slot, entries)
                place = header.offset_of(slot)
                if is_blank:
                    is_blank = False
                    header.data[: len(header.prefix)] = header.prefix
                    if slot <= granule_slot(0):
                        # One write instead of two, because most objects are small. No granule has
                        # an entry between the two, which another mount may have written.
                        entries, place = bytes(header.data[: place + len(entries)]), 0
                    else:
                        self._files.write(descriptor, header.prefix, 0)
                self._files.write(descriptor, entries, place)
        except OSError:
            # The memory shows entries that the file does not have.
            self._chunks.close(header.chunk)
            raise
        self.counters.disk_cache_written_bytes += len(content)

    def _clear(self, opened: OpenChunk, size: int, granules: list[int]) -> None:
        """Clear the entries of granules, and the entries that depend on them."""
        self.counters.disk_cache_mismatches += len(granules)
        header = opened.header
        slots = dependent_slots(granules)
        absent = encode_absent(1)
        for slot in slots:
            header.put(slot, absent)
        # If the disk cannot be written, every read finds the difference again.
        with contextlib.suppress(OSError):
            writable = opened if opened.writable else self._chunks.open(header.chunk, size)
            if writable is not None and writable.writable:
                for slot in slots:
                    writable.header.put(slot, absent)
                for slot in slots:
                    self._files.write(writable.descriptor, absent, header.offset_of(slot))
                    writable.header.put(slot, absent)


def _lacks(opened: OpenChunk, start: int, length: int) -> bool:
    """Return whether no granule of a range of a chunk has an entry."""
    count = granule_count(length)
    return opened.header.missing(start // GRANULE_BYTES, count) == count
