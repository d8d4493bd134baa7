"""The ready blocks of all objects, in two tiers. Each tier evicts its least recently used block.

Theory of operation: a block is protected if readahead has fetched the block and still expects a
READ of its last byte. Protected blocks are in the protected tier, all other ready blocks in the
unprotected tier. Eviction empties the unprotected tier first. With one tier only, many sequential
readers in a small budget would evict each other's blocks before the blocks are read.

The `content` of an evicted block is None. Code that keeps a reference to a block must check for
None.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from cachetools import LRUCache

from gcsmux_fs.reading.block_index import Block, BlockIndex
from gcsmux_fs.reading.block_states import BlockEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.reading.memory_budget import MemoryBudget

__all__ = ["BlockCache"]


class _Tier(LRUCache[tuple[BlockIndex, int], Block]):
    """Blocks in the order of their last use. The memory budget keeps all blocks within `limit`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, getsizeof=operator.attrgetter("charge"))


class BlockCache:
    """Holds the ready blocks, charged to `budget`. Calls `on_evict` with each evicted block."""

    def __init__(self, budget: MemoryBudget, on_evict: Callable[[Block], None]) -> None:
        self._budget = budget
        self._on_evict = on_evict
        self._unprotected = _Tier(budget.limit)
        self._protected = _Tier(budget.limit)
        #: The most recently used block. To call `touch` for this block would change nothing.
        self.newest: Block | None = None

    def __len__(self) -> int:
        return len(self._unprotected) + len(self._protected)

    def add(self, block: Block) -> None:
        """Add a block whose content has arrived."""
        if block.state.is_protected:
            self._protected[block.key] = block
            self._budget.protected += block.charge
        else:
            self._unprotected[block.key] = block
            self._budget.unprotected += block.charge
        self.newest = block

    def touch(self, block: Block) -> None:
        """Make a block the most recently used block of its tier. A lookup of its key does this."""
        (self._protected if block.state.is_protected else self._unprotected)[block.key]
        self.newest = block

    def note_read(self, block: Block, end: int) -> None:
        """Record that a READ has taken bytes of a ready block, up to offset `end` of the object.

        The block must not be in the state READ, in which nothing is left to record.
        """
        self._apply(block, BlockEvent.READ_END if end >= block.end else BlockEvent.READ_PART)

    def release(self, block: Block) -> None:
        """End the protection of a block. If the block is ready, it counts as used just now."""
        if block.state.is_protected:
            self._apply(block, BlockEvent.RELEASE)

    def evict(self, amount: int) -> None:
        """Evict at least `amount` bytes of the ready blocks, unprotected blocks first."""
        evicted_bytes = 0
        while evicted_bytes < amount:
            if self._unprotected:
                _, block = self._unprotected.popitem()
                self._budget.unprotected -= block.charge
            else:
                _, block = self._protected.popitem()
                self._budget.protected -= block.charge
            evicted_bytes += block.charge
            block.content = None
            self._on_evict(block)

    def remove(self, block: Block) -> None:
        """Remove a ready block."""
        if block.state.is_protected:
            del self._protected[block.key]
            self._budget.protected -= block.charge
        else:
            del self._unprotected[block.key]
            self._budget.unprotected -= block.charge
        if self.newest is block:
            self.newest = None
        block.content = None
        self._on_evict(block)

    def _apply(self, block: Block, event: BlockEvent) -> None:
        """Change the state of a block. If a ready block loses its protection, change its tier."""
        was_protected = block.state.is_protected
        block.apply(event)
        if was_protected and not block.state.is_protected and block.content is not None:
            del self._protected[block.key]
            self._unprotected[block.key] = block
            self._budget.protected -= block.charge
            self._budget.unprotected += block.charge
            self.newest = block
