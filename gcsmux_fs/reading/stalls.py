"""Which waiting READs have stalled: pure decisions.

A READ holds memory for what it waits for. Where hundreds wait for objects that are never answered,
they would hold all of it until their deadlines, and READs of other objects would wait as long. So
a READ that finds memory full takes the place of one that has stalled, once; it is as likely to
stall itself.

A READ has stalled when it has waited for 0.9 s, and several times as long as the slowest of
those that were answered lately. Where all are slow, or large ones share a narrow line with small
ones, none has stalled.

There is no clock: times come in as arguments.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["STALLED_SECONDS", "STALLED_TIMES", "Stalls"]

STALLED_SECONDS = 0.9
"""Many times as long as a working service takes, and less than a second, after which queued READs
are looked at; where nothing was answered yet, nothing else tells a slow service from one that never
answers."""

STALLED_TIMES = 4
"""Longer than the slowest one by so much: the place in memory is given up, and what was on its way
is asked for again."""

# What each further answer leaves of the slowest one: 100 answers make it an eighth.
_KEPT = 0.98

ReadRequest = TypeVar("ReadRequest")


class Stalls(Generic[ReadRequest]):
    """The READs that hold memory and wait, in the order in which they began to."""

    __slots__ = ("_slowest_seconds", "_waiting")

    def __init__(self) -> None:
        self._waiting: OrderedDict[ReadRequest, float] = OrderedDict()
        self._slowest_seconds = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def began(self, demand: ReadRequest, now: float) -> None:
        """Note that a READ waits from now on."""
        self._waiting[demand] = now

    def left(self, demand: ReadRequest) -> None:
        """Note that a READ does not wait any more, if it did, and was not answered."""
        self._waiting.pop(demand, None)

    def answered(self, demand: ReadRequest, now: float) -> None:
        """Note that a READ is answered."""
        waited = now - self._waiting.pop(demand, now)
        self._slowest_seconds = max(waited, self._slowest_seconds * _KEPT)

    def longest(self, now: float) -> ReadRequest | None:
        """Return the READ that has waited longest, if it has stalled."""
        for demand, began in self._waiting.items():
            patience = max(STALLED_SECONDS, self._slowest_seconds * STALLED_TIMES)
            return demand if now - began >= patience else None
        return None
