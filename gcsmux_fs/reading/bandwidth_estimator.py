"""How many bytes in flight keep the network busy: the measured product of bandwidth and delay.

A received range gives a sample of both: the delay is the time since its request, the bandwidth is
the number of bytes received of all ranges in that time, divided by it. The shortest delay and the
highest bandwidth of the last seconds count, because a range that was slow for another reason says
nothing about the network. More bytes in flight than the product are not faster, and are wasted if
the reader stops.

There is no clock: times are arguments.
"""

from __future__ import annotations

import math

__all__ = ["MINIMUM_WINDOW_BYTES", "BandwidthEstimator"]

MINIMUM_WINDOW_BYTES = 16 * 1024 * 1024
"""Lower bound of the window. At 0 ms of latency, windows of 16 and 64 MiB were equally fast, and
8 MiB a tenth slower (docs/PERFORMANCE.md). A busy processor delays tasks by some milliseconds."""

_GAIN = 2
"""Factor on the product: while the window limits the bandwidth, the window must be able to grow."""

_EPOCH_SECONDS = 10.0
"""A sample counts for one to two epochs, because routes and competing traffic change. The value is
the one of TCP's BBR."""

_LEAST_SECONDS = 1e-6
"""Lower bound of a delay, against division by zero: shorter than any round trip."""


class BandwidthEstimator:
    """Bandwidth and delay of the network of one mount."""

    __slots__ = ("_delay", "_delay_before", "_epoch_end", "_rate", "_rate_before", "received_bytes")

    def __init__(self) -> None:
        #: Bytes received since the start.
        self.received_bytes = 0
        self._epoch_end = -math.inf
        self._delay = self._delay_before = math.inf
        self._rate = self._rate_before = 0.0

    def __repr__(self) -> str:
        megabytes = self.bytes_per_second / 1e6
        return f"<BandwidthEstimator {self.delay_seconds:.4f} s, {megabytes:.0f} MB/s>"

    @property
    def delay_seconds(self) -> float:
        """The shortest recent delay of a range; infinity before the first range is received."""
        return min(self._delay, self._delay_before)

    @property
    def bytes_per_second(self) -> float:
        """The highest recent bandwidth."""
        return max(self._rate, self._rate_before)

    @property
    def window_bytes(self) -> int:
        """The number of bytes that readahead usefully has in flight."""
        if not self.received_bytes:
            return MINIMUM_WINDOW_BYTES
        product = self.bytes_per_second * self.delay_seconds
        return max(MINIMUM_WINDOW_BYTES, int(_GAIN * product))

    def note_range(
        self, length: int, requested_at: float, received_before: int, now: float
    ) -> None:
        """Note a received range of `length` bytes.

        Args:
            length: Bytes of the range.
            requested_at: Time of its request.
            received_before: `received_bytes` at its request.
            now: Time of its arrival.
        """
        self.received_bytes += length
        if now >= self._epoch_end:
            self._epoch_end = now + _EPOCH_SECONDS
            self._delay_before, self._delay = self._delay, math.inf
            self._rate_before, self._rate = self._rate, 0.0
        delay = max(now - requested_at, _LEAST_SECONDS)
        if delay < self._delay:
            self._delay = delay
        rate = (self.received_bytes - received_before) / delay
        if rate > self._rate:
            self._rate = rate
