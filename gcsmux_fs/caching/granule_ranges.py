"""Splits ranges of objects into chunks, pages and granules, and compares bytes with a header; pure.

Ranges within a chunk are `(start, end)`, in bytes from the beginning of the chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crc32c import crc32c

from gcsmux_fs.caching.chunk_format import (
    CHUNK_BYTES,
    CHUNK_SLOT,
    GRANULE_BYTES,
    PAGE_BYTES,
    ChunkId,
    granule_slot,
    page_slot,
)
from gcsmux_fs.caching.crc_combination import combine_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsmux_fs.caching.chunk_format import ChunkHeader

__all__ = [
    "chunk_ranges",
    "dependent_slots",
    "differing_granules",
    "granule_count",
    "new_entries",
    "present_ranges",
    "ranges_without",
]


def granule_count(length: int) -> int:
    """Return the number of granules of a range that starts with a granule."""
    return -(-length // GRANULE_BYTES)


def chunk_ranges(
    identity: bytes, size: int, offset: int, length: int
) -> Iterator[tuple[ChunkId, int, int]]:
    """Yield each chunk of a range of an object, and the part of it that is whole granules."""
    start = granule_count(offset) * GRANULE_BYTES
    end = min(offset + length, size)
    if end < size:
        end -= end % GRANULE_BYTES
    while start < end:
        number, first = divmod(start, CHUNK_BYTES)
        chunk_start = number * CHUNK_BYTES
        yield ChunkId(identity, number), first, min(end - chunk_start, CHUNK_BYTES)
        start = chunk_start + CHUNK_BYTES


def present_ranges(header: ChunkHeader, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a range that have entries; neighbours are joined."""
    if header.range_crc(start, end - start) is not None:
        return iter(((start, end),))
    first = start // GRANULE_BYTES
    crcs = header.granule_crcs(first, granule_count(end - start))
    absent = [granule for granule, crc in enumerate(crcs, first) if crc is None]
    return ranges_without(absent, start, end)


def ranges_without(granules: Sequence[int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what remains of a range without some granules, which are in ascending order."""
    for granule in granules:
        if start < granule * GRANULE_BYTES:
            yield start, granule * GRANULE_BYTES
        start = (granule + 1) * GRANULE_BYTES
    if start < end:
        yield start, end


def differing_granules(header: ChunkHeader, start: int, end: int, content: memoryview) -> list[int]:
    """Return the granules whose bytes do not agree with the header.

    `content` has the bytes of the range; it is too short if the file was cut off.
    """
    if len(content) == end - start and crc32c(content) == header.range_crc(start, end - start):
        return []
    first = start // GRANULE_BYTES
    differing = []
    for granule, crc in enumerate(header.granule_crcs(first, granule_count(end - start)), first):
        offset = granule * GRANULE_BYTES - start
        part = content[offset : offset + GRANULE_BYTES]
        if len(part) < header.granule_bytes(granule) or crc32c(part) != crc:
            differing.append(granule)
    return differing


def dependent_slots(granules: Sequence[int]) -> list[int]:
    """Return the slots of the entries that are not valid if some granules are not."""
    pages = {granule * GRANULE_BYTES // PAGE_BYTES for granule in granules}
    return [CHUNK_SLOT, *map(page_slot, pages), *map(granule_slot, granules)]


def new_entries(
    header: ChunkHeader, start: int, content: memoryview
) -> Iterator[tuple[int, bytes]]:
    """Yield (slot, entries) to write after the bytes of a range.

    The caller puts each result into the header before it takes the next.
    """
    for first, last in _by_page(start, start + len(content)):
        page, granule = first // PAGE_BYTES, first // GRANULE_BYTES
        view = content[first - start : last - start]
        crcs = [
            crc32c(view[place : place + GRANULE_BYTES])
            for place in range(0, len(view), GRANULE_BYTES)
        ]
        if last - first == header.page_bytes(page):
            last_bytes = header.granule_bytes(granule + len(crcs) - 1)
            page_crc = combine_pieces(crcs, GRANULE_BYTES, last_bytes)
            yield page_slot(page), header.encode(page_slot(page), [page_crc, *crcs])
            continue
        slot = granule_slot(granule)
        yield slot, header.encode(slot, crcs)
        combined = header.page_crc(page)
        if combined is not None:
            yield page_slot(page), header.encode(page_slot(page), [combined])


def _by_page(start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        stop = min(end, start - start % PAGE_BYTES + PAGE_BYTES)
        yield start, stop
        start = stop
