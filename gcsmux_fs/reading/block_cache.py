"""Ready blocks, least recently used first out, in two tiers.

Theory of operation: a block that readahead fetched and its reader has not finished stays in the
unread tier, all others are in the seen tier. Eviction empties the seen tier first, so that many
sequential readers in a small budget do not throw out each other's windows before they are read.

A block in neither tier has no content: whoever still refers to an evicted block can tell.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from cachetools import LRUCache

from gcsmux_fs.reading.block_index import Block, BlockIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.reading.memory_budget import MemoryBudget

__all__ = ["BlockCache"]


class _Tier(LRUCache[tuple[BlockIndex, int], Block]):
    """An LRU of blocks, counted in bytes; admission keeps it below its `maxsize`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, getsizeof=operator.attrgetter("charge"))


class BlockCache:
    """The ready blocks of all objects, charged to `budget`."""

    def __init__(self, budget: MemoryBudget, on_evict: Callable[[Block], None]) -> None:
        self._budget = budget
        self._on_evict = on_evict
        self._seen = _Tier(budget.limit)
        self._unread = _Tier(budget.limit)
        #: The block used last: using it again changes no order.
        self.newest: Block | None = None

    def __len__(self) -> int:
        return len(self._seen) + len(self._unread)

    def add(self, block: Block) -> None:
        """Take in a block that has its content."""
        if block.protected:
            self._unread[block.key] = block
            self._budget.unread += block.charge
        else:
            self._seen[block.key] = block
            self._budget.seen += block.charge
        self.newest = block

    def touch(self, block: Block) -> None:
        """Make a block the most recently used one, which an LRU does on a look-up."""
        (self._unread if block.protected else self._seen)[block.key]
        self.newest = block

    def consume(self, block: Block, end: int) -> None:
        """Note that a fresh block has been read up to `end`."""
        block.touched = True
        if end >= block.end:
            block.fresh = False
            self.unprotect(block)

    def unprotect(self, block: Block) -> None:
        """Put a block on a level with those already read; it counts as used just now."""
        if not block.protected:
            return
        block.protected = False
        if block.content is not None:
            del self._unread[block.key]
            self._seen[block.key] = block
            self._budget.unread -= block.charge
            self._budget.seen += block.charge
            self.newest = block

    def evict(self, amount: int) -> None:
        """Evict at least `amount` bytes, seen blocks first; the caller knows that they exist."""
        freed = 0
        while freed < amount:
            if self._seen:
                _, block = self._seen.popitem()
                self._budget.seen -= block.charge
            else:
                _, block = self._unread.popitem()
                self._budget.unread -= block.charge
            freed += block.charge
            block.content = None
            self._on_evict(block)
