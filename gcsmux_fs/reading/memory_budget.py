"""Limits the memory of blocks, and divides this memory among the readers.

Theory of operation: one hard limit in bytes covers every block, loading or ready. `MemoryBudget`
decides which requests to admit, and how many bytes the caller must evict or cancel first.
`WindowShares` divides the bytes that readahead may hold among the files that read ahead. No clock
is needed, because a file counts as idle when the mount has served a certain number of bytes since
the last readahead of the file.

Invariants:

1. The sum of the charges of all blocks (loading, protected and unprotected) never exceeds the
   limit.
2. Readahead blocks (loading or protected) use at most 3/4 of the limit, and at most 7/8 while a
   reader gets its first window.
3. A READ waits for memory only while blocks for which READs wait fill the limit. These blocks need
   no further memory to arrive or to fail, so there is no deadlock. READs have priority over
   readahead, so an object whose readahead gets no answer delays no other object.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BLOCK_OVERHEAD_BYTES", "MINIMUM_BUDGET_BYTES", "MemoryBudget", "WindowShares"]

BLOCK_OVERHEAD_BYTES = 1024
"""Bytes charged for each block in addition to its content. The Python objects of a block take about
0.9 KiB (measured with CPython 3.11), which matters for blocks of 16 KiB."""

MINIMUM_BUDGET_BYTES = 8 * 1024 * 1024
"""The smallest budget that works well. It holds three ranges of 2 MiB ahead of one reader, and
2 MiB for the dozen READs of 128 KiB that the kernel sends at once."""

Holder = TypeVar("Holder")


class MemoryBudget:
    """Counts the bytes charged for blocks, by their use, and decides whether to charge more."""

    __slots__ = (
        "_first_window_limit",
        "limit",
        "loading_joined",
        "loading_read",
        "loading_readahead",
        "protected",
        "readahead_limit",
        "unprotected",
    )

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Maximum number of bytes of readahead blocks, except while a reader gets its first window.
        self.readahead_limit = limit * 3 // 4
        self._first_window_limit = limit * 7 // 8
        #: Bytes of loading blocks that READs requested.
        self.loading_read = 0
        #: Bytes of loading blocks that readahead requested, and for which a READ has waited.
        self.loading_joined = 0
        #: Bytes of loading blocks that readahead requested, and for which no READ has waited.
        self.loading_readahead = 0
        #: Bytes of ready blocks that were fetched ahead and are not yet read to the last byte.
        self.protected = 0
        #: Bytes of all other ready blocks, which are evicted first.
        self.unprotected = 0

    @property
    def used(self) -> int:
        """The number of bytes charged for all blocks."""
        return self.in_flight + self.protected + self.unprotected

    @property
    def in_flight(self) -> int:
        """The bytes charged for loading blocks."""
        return self.loading_read + self.loading_joined + self.loading_readahead

    @property
    def readahead_share_total(self) -> int:
        """The number of bytes that all readahead windows may have together.

        The number is less than the limit of readahead blocks, because a window does not count the
        part of a block that the reader has passed (at most a quarter of the window), and does not
        count the overhead of blocks.
        """
        return self.readahead_limit * 3 // 4

    @property
    def largest_read(self) -> int:
        """Maximum number of bytes that a READ gets in one piece; a longer READ is divided."""
        return self.limit // 16

    @property
    def is_crowded(self) -> bool:
        """Whether the loading blocks for which READs wait use half of the limit or more.

        While this is true, a READ of a small object that is not tiny does not fetch the whole
        object (see `fetch_range`).
        """
        return self.loading_read + self.loading_joined >= self.limit // 2

    def admits_read(self, charge: int) -> bool:
        """Return whether a READ may add `charge` bytes once the caller has removed other blocks."""
        return self.loading_read + self.loading_joined + charge <= self.limit

    def to_cancel(self, charge: int) -> int:
        """Return how many loading readahead bytes to cancel before a READ adds `charge` bytes."""
        return max(0, self.in_flight + charge - self.limit)

    def to_evict(self, charge: int) -> int:
        """Return how many ready bytes to evict before a READ adds `charge` bytes.

        The caller must have cancelled the bytes that `to_cancel` returns.
        """
        return max(0, self.used + charge - self.limit)

    def for_readahead(self, charge: int, *, first_window: bool) -> int | None:
        """Return how many unprotected bytes to evict before readahead adds `charge` bytes.

        None means that readahead may not add these bytes.
        """
        limit = self._first_window_limit if first_window else self.readahead_limit
        if self.loading_readahead + self.loading_joined + self.protected + charge > limit:
            return None
        excess = self.used + charge - self.limit
        return max(0, excess) if excess <= self.unprotected else None


class WindowShares(Generic[Holder]):
    """The holders (open files) that read ahead, the least recently renewed first.

    The holders share `total` bytes equally. A holder is idle when the mount has served more than
    `idle_after_bytes` bytes since the last `renew` of this holder.
    """

    def __init__(self, total: int, idle_after_bytes: int) -> None:
        self._total = total
        self._idle_after_bytes = idle_after_bytes
        self._renewed: OrderedDict[Holder, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._renewed)

    @property
    def share(self) -> int:
        """The number of bytes that each holder may have ahead of its reader."""
        return self._total // max(1, len(self._renewed))

    def renew(self, holder: Holder, served: int) -> None:
        """Record that `holder` reads ahead now; the mount has served `served` bytes in total."""
        self._renewed[holder] = served
        self._renewed.move_to_end(holder)

    def drop(self, holder: Holder) -> None:
        """Remove `holder`, if it is present."""
        self._renewed.pop(holder, None)

    def pop_idle(self, served: int) -> Iterator[Holder]:
        """Remove and yield each idle holder; the mount has served `served` bytes in total."""
        while self._renewed:
            holder, renewed = next(iter(self._renewed.items()))
            if served - renewed <= self._idle_after_bytes:
                return
            del self._renewed[holder]
            yield holder
