"""How often a mount may repeat what has failed, whoever asks; streams and calls have one each.

Theory of operation: each call has a backoff of its own, which keeps one reader from storming the
service. A thousand readers that lose their streams in the same moment would be a storm all the
same. So whoever repeats something takes a token, of which there are some in store and a few more
each second; who finds none goes into debt and waits until it is paid, behind all who came before.

Who leaves before his time has come leaves his place to the next.

A server may ask for a pause of its own; it gets it, within bounds.

There is no clock: times come in as arguments, and what comes out is how long to wait.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

__all__ = [
    "MAX_ASKED_SECONDS",
    "RETRIES_AT_ONCE",
    "RETRIES_PER_SECOND",
    "RetryBudget",
    "asked_pause",
]

RETRIES_AT_ONCE = 100
"""As many streams as a connection carries: one that is recycled costs its readers no wait."""

RETRIES_PER_SECOND = 50
"""A thousand readers are all served again 20 s after the service is back; the service's own advice
begins at 1,000 requests a second for a bucket that is not used to more."""


MAX_ASKED_SECONDS = 30.0
"""Readers wait meanwhile, each for 120 s by default: time for some more attempts has to be left."""


def asked_pause(asked_seconds: float, random: Random) -> float:
    """Return how long to leave a server alone that has asked for it.

    Whoever was refused together was told the same, and had better not come back together.
    """
    if not asked_seconds:
        return 0.0
    return min(asked_seconds, MAX_ASKED_SECONDS) * random.uniform(1.0, 1.25)


class RetryBudget:
    """The tokens of one mount, for its streams or for its other calls."""

    __slots__ = ("_at", "_free", "_tokens", "taken")

    def __init__(self) -> None:
        self._tokens = float(RETRIES_AT_ONCE)
        self._at = -math.inf
        # Instants that somebody had waited for and left, a heap.
        self._free: list[float] = []
        #: Retries so far.
        self.taken = 0

    def __repr__(self) -> str:
        return f"<RetryBudget: {self._tokens:.1f} of {RETRIES_AT_ONCE} left, {self.taken} taken>"

    def take(self, now: float) -> float:
        """Take a token for one retry; return how many seconds to wait before it, mostly 0."""
        passed = max(0.0, now - self._at)
        self._tokens = min(RETRIES_AT_ONCE, self._tokens + passed * RETRIES_PER_SECOND)
        self._at = max(self._at, now)
        self.taken += 1
        while self._free and self._free[0] < self._at:
            heapq.heappop(self._free)  # Nobody has come for it in time.
        if self._free:
            return heapq.heappop(self._free) - self._at
        self._tokens -= 1
        return max(0.0, -self._tokens / RETRIES_PER_SECOND)

    def give_back(self, due: float) -> None:
        """Leave the place of a retry that is not made after all, due at `due`, to the next."""
        self.taken -= 1
        heapq.heappush(self._free, due)
