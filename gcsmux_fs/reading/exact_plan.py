"""Plans the READs of given ranges of one object; sans-IO.

Ranges that are near each other are fetched by one request, because a request costs more than the
bytes between the ranges. Ranges are cut at multiples of `PAGE_BYTES`, as blocks are, so that
several messages are in flight, and no part has to be joined from several blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.reading.block_sizes import GRANULE_BYTES, PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DEFAULT_GAP_BYTES", "ExactPart", "plan_exact_reads"]

DEFAULT_GAP_BYTES = GRANULE_BYTES
"""Ranges with at most this number of bytes between them are fetched together. A READ of the mount
also fetches whole multiples of this size."""


class ExactPart(NamedTuple):
    """A part of a range: the bytes `[offset, end)` of the object.

    The part belongs to the range number `slot`. The first part of several near ranges requests
    `[fetch_start, fetch_end)`, which contains the other parts. `length` is the number of bytes that
    this part requests and no earlier part does.
    """

    slot: int
    offset: int
    end: int
    fetch_start: int
    fetch_end: int
    length: int


def plan_exact_reads(
    ranges: Sequence[tuple[int, int]], max_gap: int = DEFAULT_GAP_BYTES
) -> list[ExactPart]:
    """Return the parts of `ranges`, in the order of their offsets in the object.

    `ranges` has the start and the end of each range; an empty range has no part. Ranges that
    overlap, or that have at most `max_gap` bytes between them, are fetched together if they lie in
    one page.
    """
    pieces = sorted(
        (max(start, range_start), min(start + PAGE_BYTES, range_end), slot)
        for slot, (range_start, range_end) in enumerate(ranges)
        for start in range(range_start - range_start % PAGE_BYTES, range_end, PAGE_BYTES)
        if range_start < range_end
    )
    parts: list[ExactPart] = []
    first = 0
    while first < len(pieces):
        start, stop, _ = pieces[first]
        last = first + 1
        while last < len(pieces):
            next_start, next_end, _ = pieces[last]
            if next_start - stop > max_gap or next_start // PAGE_BYTES > start // PAGE_BYTES:
                break
            stop = max(stop, next_end)
            last += 1
        for index in range(first, last):
            offset, end, slot = pieces[index]
            if index == first:
                parts.append(ExactPart(slot, offset, end, start, stop, stop - start))
            else:
                parts.append(ExactPart(slot, offset, end, offset, end, 0))
        first = last
    return parts
