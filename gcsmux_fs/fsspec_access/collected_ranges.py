"""Joins the parts of ranges into `bytes`, without a second copy of large ranges; sans-IO."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CollectedRanges", "range_within"]


def range_within(size: int, start: int | None, end: int | None) -> tuple[int, int]:
    """Return a range of a file of `size` bytes, given like a slice: None, or negative numbers.

    A range that would be empty or reversed is returned as `(start, start)`.
    """
    first, last, _ = slice(start, end).indices(size)
    return first, max(first, last)


class CollectedRanges:
    """Collects the content of ranges; `lengths` has the length of each range in bytes."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self._whole: list[bytes | None] = [None if length else b"" for length in lengths]
        self._joined: dict[int, io.BytesIO] = {}

    def take(self, slot: int, position: int, content: memoryview) -> None:
        """Copy a part of the range number `slot`, which begins at `position` in the range."""
        if len(content) == self._lengths[slot]:
            self._whole[slot] = bytes(content)
            return
        target = self._joined.get(slot)
        if target is None:
            target = self._joined[slot] = io.BytesIO()
            # Allocate all the memory at once: growing step by step would copy the content.
            target.seek(self._lengths[slot] - 1)
            target.write(b"\0")
        target.seek(position)
        target.write(content)

    def results(self) -> list[bytes]:
        """Return the content of all ranges, after all parts were taken."""
        for slot, target in self._joined.items():
            # If the object has the exact size of its buffer, this shares the buffer.
            self._whole[slot] = target.getvalue()
        self._joined.clear()
        return [content for content in self._whole if content is not None]
