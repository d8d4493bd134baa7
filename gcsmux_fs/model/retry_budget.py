"""Limits the retries per second of a whole mount; sans-IO.

Theory of operation: a backoff limits the retries of one call. A backoff does not limit a thousand
calls that fail at the same moment. Therefore each retry also takes a token from a token bucket. The
bucket holds `RETRIES_AT_ONCE` tokens and gains `RETRIES_PER_SECOND` tokens per second. A retry that
finds the bucket empty gets a due time after the due times of all earlier retries.

A caller that cancels its retry gives the due time back, and the next retry takes it.

Streams and unary calls have one budget each. All times are seconds of a monotonic clock and are
passed in as arguments.
"""

from __future__ import annotations

import heapq
import math

__all__ = ["RETRIES_AT_ONCE", "RETRIES_PER_SECOND", "RetryBudget"]

RETRIES_AT_ONCE = 100
"""Capacity of the token bucket. It equals the number of streams that one connection usually
carries, so that all streams of a closed connection are retried without a wait."""

RETRIES_PER_SECOND = 50
"""Tokens that the bucket gains per second. With this rate, a thousand readers are served within
20 s after an outage. The rate is far below 5,000 reads per second. Above 5,000, Cloud Storage
recommends to increase the request rate of a bucket gradually
(https://cloud.google.com/storage/docs/request-rate)."""


class RetryBudget:
    """A token bucket for retries."""

    __slots__ = ("_free", "_tokens", "_updated_at", "taken")

    def __init__(self) -> None:
        # Number of tokens in the bucket; negative while retries wait for tokens.
        self._tokens = float(RETRIES_AT_ONCE)
        self._updated_at = -math.inf
        # Heap of the due times of cancelled retries. Later retries take these due times.
        self._free: list[float] = []
        #: Number of retries so far, without the cancelled retries.
        self.taken = 0

    def __repr__(self) -> str:
        return (
            f"<RetryBudget: {self._tokens:.1f} of {RETRIES_AT_ONCE} tokens left,"
            f" {self.taken} taken>"
        )

    def take(self, now: float) -> float:
        """Take a token for one retry; return the seconds to wait before the retry, usually 0."""
        passed = max(0.0, now - self._updated_at)
        self._tokens = min(RETRIES_AT_ONCE, self._tokens + passed * RETRIES_PER_SECOND)
        self._updated_at = max(self._updated_at, now)
        self.taken += 1
        while self._free and self._free[0] < self._updated_at:
            heapq.heappop(self._free)  # The due time has passed unused.
        if self._free:
            return heapq.heappop(self._free) - self._updated_at
        self._tokens -= 1
        return max(0.0, -self._tokens / RETRIES_PER_SECOND)

    def give_back(self, due: float) -> None:
        """Cancel a retry that has not been made; the next retry takes its due time, `due`."""
        self.taken -= 1
        heapq.heappush(self._free, due)
