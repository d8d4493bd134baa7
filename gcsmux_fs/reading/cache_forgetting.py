"""Drops the ready blocks of objects from the block cache; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.block_fetcher import BlockFetcher
    from gcsmux_fs.reading.block_index import BlockIndex

__all__ = ["forget_blocks", "forget_generation"]


def forget_blocks(fetcher: BlockFetcher, matches: Callable[[str], bool]) -> int:
    """Drop the ready blocks of all objects whose names match; return the number of bytes.

    The blocks of open files stay, because the service may no longer have their generation.
    """
    dropped = 0
    for index in list(fetcher.objects.values()):
        if index.open_files or not matches(index.key.name):
            continue
        dropped += _drop_ready(fetcher, index)
    return dropped


def forget_generation(fetcher: BlockFetcher, key: ObjectKey) -> bool:
    """Drop the ready blocks of a generation that no longer exists.

    If the generation is open, return False. Then it is dropped when its last file is closed.
    """
    index = fetcher.objects.get(key)
    if index is None:
        return True
    if index.open_files:
        index.is_gone = True
        return False
    _drop_ready(fetcher, index)
    return True


def _drop_ready(fetcher: BlockFetcher, index: BlockIndex) -> int:
    dropped = 0
    for block in index.blocks():
        if block.content is not None:
            dropped += block.end - block.start
            fetcher.cache.remove(block)
    return dropped
