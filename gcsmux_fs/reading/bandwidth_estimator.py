"""How much must be under way to keep the wire busy: bandwidth times delay, as it is found.

A range that was asked for and has arrived tells both: the delay is the time between, the bandwidth
what arrived of all ranges in that time. The least delay and the most bandwidth of the last seconds
count: what makes a range slow says nothing about the wire. More than their product under way
is not faster, it is only fetched in vain when the reader stops.

There is no clock: times come in as arguments.
"""

from __future__ import annotations

import math

__all__ = ["MINIMUM_WINDOW_BYTES", "BandwidthEstimator"]

MINIMUM_WINDOW_BYTES = 16 * 1024 * 1024
"""What is never too much: at 0 ms of latency, windows of 16 and 64 MiB were equally fast, 8 MiB
a tenth slower (docs/PERFORMANCE.md); a busy processor takes turns of some milliseconds."""

_GAIN = 2
"""As long as the window is what limits the bandwidth, it has to be able to double."""

_EPOCH_SECONDS = 10.0
"""A figure counts for one to two epochs: routes and neighbours change, as for TCP's BBR."""

_LEAST_SECONDS = 1e-6
"""Less than any round trip, and than most clocks tell."""


class BandwidthEstimator:
    """Bandwidth and delay of one mount."""

    __slots__ = ("_delay", "_delay_before", "_epoch_end", "_rate", "_rate_before", "received")

    def __init__(self) -> None:
        #: Bytes that have arrived since the start.
        self.received = 0
        self._epoch_end = -math.inf
        self._delay = self._delay_before = math.inf
        self._rate = self._rate_before = 0.0

    def __repr__(self) -> str:
        megabytes = self.bytes_per_second / 1e6
        return f"<BandwidthEstimator {self.delay_seconds:.4f} s, {megabytes:.0f} MB/s>"

    @property
    def delay_seconds(self) -> float:
        """The least time that a range took lately; infinity before the first has arrived."""
        return min(self._delay, self._delay_before)

    @property
    def bytes_per_second(self) -> float:
        """The most that arrived lately."""
        return max(self._rate, self._rate_before)

    @property
    def window_bytes(self) -> int:
        """What readahead may have under way to some use."""
        if not self.received:
            return MINIMUM_WINDOW_BYTES
        product = self.bytes_per_second * self.delay_seconds
        return max(MINIMUM_WINDOW_BYTES, int(_GAIN * product))

    def note(self, length: int, asked_at: float, received_before: int, now: float) -> None:
        """Take note of a range of `length` bytes, asked for when `received` was as told."""
        self.received += length
        if now >= self._epoch_end:
            self._epoch_end = now + _EPOCH_SECONDS
            self._delay_before, self._delay = self._delay, math.inf
            self._rate_before, self._rate = self._rate, 0.0
        took = max(now - asked_at, _LEAST_SECONDS)
        if took < self._delay:
            self._delay = took
        rate = (self.received - received_before) / took
        if rate > self._rate:
            self._rate = rate
