"""Decides which waiting READs have stalled.

A READ holds memory for the blocks for which it waits. Hundreds of READs of objects that never
answer would hold all memory until their deadlines, and READs of other objects would wait just as
long. So a READ that finds the budget full takes the memory of a stalled READ. Each READ may do so
only once, because it may stall too.

A READ has stalled when it has waited at least 0.9 s and several times as long as the slowest of
the recently answered READs. If all READs are slow, or if large and small READs share a slow
network, no READ has stalled.

This module has no clock: the caller passes times as arguments.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["STALLED_SECONDS", "STALLED_TIMES", "Stalls"]

STALLED_SECONDS = 0.9
"""Minimum time in seconds that a stalled READ has waited. The time is many times the latency of a
working service. It is less than one second, the longest time between two checks of queued READs.
Before the first answer, only this time distinguishes a slow service from a service that never
answers."""

STALLED_TIMES = 4
"""A stalled READ has waited at least this many times as long as the slowest recent READ. The factor
is large, because a READ that loses its memory must request its ranges again."""

# Each answer multiplies the remembered waiting time of the slowest READ by this factor, so 100
# answers reduce this time to an eighth.
_DECAY = 0.98

Read = TypeVar("Read")


class Stalls(Generic[Read]):
    """Keeps the READs that hold memory and wait, in the order in which they began to wait."""

    __slots__ = ("_slowest_seconds", "_waiting")

    def __init__(self) -> None:
        self._waiting: OrderedDict[Read, float] = OrderedDict()
        self._slowest_seconds = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self, read: Read, now: float) -> None:
        """Record that a READ holds memory and begins to wait at the time `now`."""
        self._waiting[read] = now

    def discard(self, read: Read) -> None:
        """Remove a READ that ends without an answer, if it waits."""
        self._waiting.pop(read, None)

    def finish(self, read: Read, now: float) -> None:
        """Record that a READ is answered at the time `now`."""
        waited = now - self._waiting.pop(read, now)
        self._slowest_seconds = max(waited, self._slowest_seconds * _DECAY)

    def longest_stalled(self, now: float) -> Read | None:
        """Return the READ that has waited longest, if it has stalled."""
        for read, started in self._waiting.items():
            stalled_after = max(STALLED_SECONDS, self._slowest_seconds * STALLED_TIMES)
            return read if now - started >= stalled_after else None
        return None
