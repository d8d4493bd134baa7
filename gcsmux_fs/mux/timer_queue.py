"""The deadlines of many owners, ordered by time; sans-IO.

The deadline of an owner often moves to a later time, for example with every message of a stream.
Such a move costs one dictionary look-up, because the heap keeps the entry with the earlier time.
`pop_due` then returns the owner once too early, and the caller of `pop_due` sets the deadline
again.

Invariants:
1. An owner with a deadline has exactly one current entry. The time of the entry is the deadline or
   earlier.
2. The heap holds at most as many outdated entries as current entries, plus a small constant.
"""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

__all__ = ["TimerQueue"]

Owner = TypeVar("Owner")

# Number of outdated entries that always stay, because to remove so few costs more time than it
# saves.
_SWEPT_FROM_ENTRIES = 64


class TimerQueue(Generic[Owner]):
    """A queue of deadlines; owners are hashable and have one deadline each."""

    __slots__ = ("_current", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Owner]] = []
        self._current: dict[Owner, tuple[float, int, Owner]] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def earliest(self) -> float:
        """Earliest time at which `pop_due` may return an owner; infinity for never."""
        return self._heap[0][0] if self._heap else math.inf

    def set(self, owner: Owner, deadline: float) -> bool:
        """Set an owner's deadline (infinity for none). Return whether `earliest` is now earlier."""
        entry = self._current.get(owner)
        if deadline == math.inf:
            if entry is not None:
                del self._current[owner]
                self._sweep()
            return False
        if entry is not None and entry[0] <= deadline:
            return False
        self._serial += 1
        entry = (deadline, self._serial, owner)
        self._current[owner] = entry
        is_earliest = deadline < self.earliest
        heapq.heappush(self._heap, entry)
        self._sweep()
        return is_earliest

    def pop_due(self, now: float) -> Owner | None:
        """Remove and return an owner whose entry is due, or return None if no entry is due.

        The caller must then call `set` for the owner, because the owner's deadline may be later
        than the time of the entry.
        """
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            owner = entry[2]
            if self._current.get(owner) is entry:
                del self._current[owner]
                return owner
        return None

    def _sweep(self) -> None:
        """Remove the outdated entries if there are more than invariant 2 permits."""
        if len(self._heap) > 2 * len(self._current) + _SWEPT_FROM_ENTRIES:
            self._heap = list(self._current.values())
            heapq.heapify(self._heap)
