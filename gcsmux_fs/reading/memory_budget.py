"""How much memory blocks may take, and how readers share it.

Theory of operation: one hard number of bytes covers every block, loading or ready. `MemoryBudget`
decides what may be asked for and how much has to go first; it evicts and cancels nothing itself.
`WindowShares` divides what readahead may hold among the files that read ahead now. There is no
clock: idleness is measured in bytes that the whole mount has served meanwhile.

Invariants:

1. loading + unread + seen never exceeds the limit.
2. Readahead, in flight or not yet read, takes at most 3/4 of the limit; 7/8 while readers get their
   first window.
3. A READ waits only while bytes that READs wait for fill the limit. They arrive or fail by
   themselves: no deadlock. Readahead, in flight or ready, gives way; so an object that stalls with
   its readahead under way holds up no other.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BLOCK_OVERHEAD_BYTES", "MINIMUM_BUDGET_BYTES", "MemoryBudget", "WindowShares"]

BLOCK_OVERHEAD_BYTES = 1024
"""Charged for each block besides its content: the block, its views, and its entries in the index
and in the cache measure about 0.9 KiB (CPython 3.11), which counts when blocks are 16 KiB."""

MINIMUM_BUDGET_BYTES = 8 * 1024 * 1024
"""The least that works well: three ranges of 2 MiB ahead of one reader, and 2 MiB for the dozen
READs of 128 KiB that the kernel sends at once."""

Holder = TypeVar("Holder")


class MemoryBudget:
    """The bytes charged for blocks, by use, and what may be added."""

    __slots__ = (
        "_first_window_limit",
        "_readahead_limit",
        "limit",
        "loading_demand",
        "loading_joined",
        "loading_readahead",
        "seen",
        "unread",
    )

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._readahead_limit = limit * 3 // 4
        self._first_window_limit = limit * 7 // 8
        #: On the way, asked for by READs.
        self.loading_demand = 0
        #: On the way, asked for ahead, and a READ has come to wait for it.
        self.loading_joined = 0
        #: On the way, asked for ahead, and nobody waits for it.
        self.loading_readahead = 0
        #: Ready, fetched ahead of a reader at work, not yet read to the end.
        self.unread = 0
        #: Ready, and evicted first.
        self.seen = 0

    @property
    def used(self) -> int:
        """All bytes charged."""
        return self.in_flight + self.unread + self.seen

    @property
    def in_flight(self) -> int:
        """Bytes charged for what is on its way."""
        return self.loading_demand + self.loading_joined + self.loading_readahead

    @property
    def readahead_share_total(self) -> int:
        """What the windows of all readers may add up to.

        Less than readahead may hold, because a window does not count the part of a block that its
        reader has passed already (at most a quarter of the window), nor the overhead.
        """
        return self._readahead_limit * 3 // 4

    @property
    def largest_demand(self) -> int:
        """The longest READ to serve in one piece: with its overhead, several fit side by side."""
        return self.limit // 16

    @property
    def is_crowded(self) -> bool:
        """Whether READs wait for half of the limit or more, and should ask for no more than due."""
        return self.loading_demand + self.loading_joined >= self.limit // 2

    def admits_demand(self, charge: int) -> bool:
        """Return whether a READ may add `charge`, after some of the rest has gone."""
        return self.loading_demand + self.loading_joined + charge <= self.limit

    def to_cancel(self, charge: int) -> int:
        """Return how many bytes of readahead under way must go before a READ adds `charge`."""
        return max(0, self.in_flight + charge - self.limit)

    def to_evict(self, charge: int) -> int:
        """Return how many ready bytes must go before a READ adds `charge`, after `to_cancel`."""
        return max(0, self.used + charge - self.limit)

    def for_readahead(self, charge: int, *, first_window: bool) -> int | None:
        """Return how many seen bytes to evict before readahead may add `charge`; None: refused."""
        limit = self._first_window_limit if first_window else self._readahead_limit
        if self.loading_readahead + self.loading_joined + self.unread + charge > limit:
            return None
        excess = self.used + charge - self.limit
        return max(0, excess) if excess <= self.seen else None


class WindowShares(Generic[Holder]):
    """Who reads ahead now, least recently active first."""

    def __init__(self, total: int, idle_after_bytes: int) -> None:
        self._total = total
        self._idle_after_bytes = idle_after_bytes
        self._renewed: OrderedDict[Holder, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._renewed)

    @property
    def share(self) -> int:
        """Bytes that each holder may have ahead."""
        return self._total // max(1, len(self._renewed))

    def renew(self, holder: Holder, served: int) -> None:
        """Note that `holder` reads ahead when the mount has served `served` bytes."""
        self._renewed[holder] = served
        self._renewed.move_to_end(holder)

    def drop(self, holder: Holder) -> None:
        """Take `holder` out, if it is in."""
        self._renewed.pop(holder, None)

    def pop_idle(self, served: int) -> Iterator[Holder]:
        """Take out, one by one, the holders that others have overtaken by a whole budget."""
        while self._renewed:
            holder, renewed = next(iter(self._renewed.items()))
            if served - renewed <= self._idle_after_bytes:
                return
            del self._renewed[holder]
            yield holder
