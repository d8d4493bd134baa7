"""Drops the ready blocks of objects from the block cache, on request of a user; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.reading.block_fetcher import BlockFetcher

__all__ = ["forget_blocks"]


def forget_blocks(fetcher: BlockFetcher, matches: Callable[[str], bool]) -> int:
    """Drop the ready blocks of all objects whose names match; return the number of bytes.

    The blocks of open files stay, because the service may no longer have their generation.
    """
    dropped = 0
    for index in list(fetcher.objects.values()):
        if index.open_files or not matches(index.key.name):
            continue
        for block in index.overlapping(0, max(index.size, 1)):
            if block.content is not None:
                dropped += block.end - block.start
                fetcher.cache.remove(block)
    return dropped
