"""Compares the CRC32C of whole objects on disk with the CRC32C that the service reports.

The CRC of an object is combined from the entries of its granules, so no content is read. The entry
of each chunk keeps the result (`chunk_format`, invariant F4): a chunk that is written again later
has no valid entry, and causes a new comparison.
"""

from __future__ import annotations

import enum
from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING

from gcsmux_fs.caching.chunk_format import (
    CHUNK_BYTES,
    CHUNK_SLOT,
    ChunkId,
    chunk_count,
)
from gcsmux_fs.caching.crc_combination import combine_pieces

if TYPE_CHECKING:
    from gcsmux_fs.caching.cache_files import CacheFiles
    from gcsmux_fs.caching.open_chunks import OpenChunk, OpenChunks

__all__ = ["ObjectCheck", "ObjectVerdict"]

# Number of objects of which one incomplete chunk is remembered.
_REMEMBERED_OBJECTS = 1024


class ObjectVerdict(enum.Enum):
    """The result of the comparison of an object."""

    INCOMPLETE = "incomplete"  # not all bytes are on disk
    SAME = "same"  # the CRC is the expected one
    DIFFERENT = "different"  # the CRC is another one


class ObjectCheck:
    """Checks whole objects.

    An object of n chunks is usually checked after each chunk that becomes complete. So the check
    remembers one incomplete chunk of an object, and begins there: all checks together open 2n
    chunks, and not n * n.
    """

    def __init__(self, files: CacheFiles, chunks: OpenChunks) -> None:
        self._files = files
        self._chunks = chunks
        self._incomplete: OrderedDict[bytes, int] = OrderedDict()

    def run(self, identity: bytes, size: int, expected_crc32c: int) -> ObjectVerdict:
        """Compare the CRC of an object, if all its bytes are on disk.

        Raises:
            OSError: the disk fails.
        """
        count = chunk_count(size)
        # Most objects are read from the beginning, so the last chunk is the last to be complete.
        start = min(self._incomplete.get(identity, count - 1), count - 1)
        crcs = array("L", bytes(array("L").itemsize * count))
        unmarked = []
        for place in range(start, start + count):
            number = place % count
            opened = self._open(ChunkId(identity, number), size)
            crc = None if opened is None else opened.header.chunk_crc()
            if opened is None or crc is None:
                self._remember(identity, number)
                return ObjectVerdict.INCOMPLETE
            crcs[number] = crc
            if opened.header.crc(CHUNK_SLOT) != crc:
                unmarked.append(number)
        self._incomplete.pop(identity, None)
        if not unmarked:
            return ObjectVerdict.SAME
        if combine_pieces(crcs, CHUNK_BYTES, size - (count - 1) * CHUNK_BYTES) != expected_crc32c:
            return ObjectVerdict.DIFFERENT
        for number in unmarked:
            self._mark(ChunkId(identity, number), size, crcs[number])
        return ObjectVerdict.SAME

    def _open(self, chunk: ChunkId, size: int) -> OpenChunk | None:
        opened = self._chunks.get(chunk)
        if opened is not None and self._chunks.refresh(opened, may_block=True):
            return opened
        return self._chunks.open(chunk, size, keep=False)

    def _mark(self, chunk: ChunkId, size: int, crc: int) -> None:
        opened = self._chunks.get(chunk)
        if opened is None or not opened.writable:
            opened = self._chunks.open(chunk, size, keep=opened is not None)
        if opened is not None and opened.writable:
            entry = opened.header.encode(CHUNK_SLOT, [crc])
            self._files.write(opened.descriptor, entry, opened.header.offset_of(CHUNK_SLOT))
            opened.header.put(CHUNK_SLOT, entry)

    def _remember(self, identity: bytes, number: int) -> None:
        self._incomplete[identity] = number
        while len(self._incomplete) > _REMEMBERED_OBJECTS:
            self._incomplete.popitem(last=False)
