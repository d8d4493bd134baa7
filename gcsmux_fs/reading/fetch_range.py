"""Chooses the range to fetch for a READ that the cache cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.reading.block_sizes import GRANULE_BYTES
from gcsmux_fs.reading.open_planner import SMALL_OBJECT_BYTES, TINY_OBJECT_BYTES
from gcsmux_fs.reading.sequential_run import KERNEL_READ_BYTES

if TYPE_CHECKING:
    from gcsmux_fs.reading.memory_budget import MemoryBudget

__all__ = ["range_to_fetch"]


def range_to_fetch(offset: int, end: int, size: int, budget: MemoryBudget) -> tuple[int, int]:
    """Return the range `[start, end)` that a READ of `[offset, end)` loads.

    The range is the whole object of `size` bytes if the object is tiny, or if the object is small
    and read sequentially from its start while `budget` is not crowded. Otherwise the range is
    `[offset, end)`, widened to multiples of 16 KiB.
    """
    if size <= TINY_OBJECT_BYTES:
        return 0, size
    is_sequential = offset == 0 and end >= min(size, KERNEL_READ_BYTES)
    if is_sequential and size <= SMALL_OBJECT_BYTES and not budget.is_crowded:
        return 0, size
    aligned_end = -(-end // GRANULE_BYTES) * GRANULE_BYTES
    return offset - offset % GRANULE_BYTES, min(aligned_end, size)
