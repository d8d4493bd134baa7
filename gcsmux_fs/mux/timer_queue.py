"""The deadlines of many owners, of which mostly the earliest matters.

A deadline that moves to later, as happens with every message, costs one look-up: the heap keeps
the earlier entry, whose owner is woken once too early and asked for its deadline again.

Invariants:
1. An owner with a deadline has one current entry, at or before its deadline.
2. Entries that are not current are at most as many as those that are, and a small constant.
"""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

__all__ = ["TimerQueue"]

Owner = TypeVar("Owner")

# Below this the heap is not worth sweeping.
_SWEPT_FROM_ENTRIES = 64


class TimerQueue(Generic[Owner]):
    """See the module's text; owners are told apart by their hash."""

    __slots__ = ("_current", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Owner]] = []
        self._current: dict[Owner, tuple[float, int, Owner]] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def earliest(self) -> float:
        """When `pop_due` may next return an owner; infinity for never."""
        return self._heap[0][0] if self._heap else math.inf

    def note(self, owner: Owner, deadline: float) -> bool:
        """Take note of an owner's deadline; return whether `earliest` has come nearer by it."""
        known = self._current.get(owner)
        if deadline == math.inf:
            if known is not None:
                del self._current[owner]
                self._sweep()
            return False
        if known is not None and known[0] <= deadline:
            return False
        self._serial += 1
        entry = (deadline, self._serial, owner)
        self._current[owner] = entry
        nearer = deadline < self.earliest
        heapq.heappush(self._heap, entry)
        self._sweep()
        return nearer

    def pop_due(self, now: float) -> Owner | None:
        """Return an owner whose entry is due and take the entry out; `note` it again then."""
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            owner = entry[2]
            if self._current.get(owner) is entry:
                del self._current[owner]
                return owner
        return None

    def _sweep(self) -> None:
        """Drop the entries that are not current once they are the greater part."""
        if len(self._heap) > 2 * len(self._current) + _SWEPT_FROM_ENTRIES:
            self._heap = list(self._current.values())
            heapq.heapify(self._heap)
