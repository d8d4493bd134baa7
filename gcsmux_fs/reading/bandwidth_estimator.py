"""Measures how many bytes in flight keep the network busy: the product of bandwidth and delay.

Each received range gives one sample of the delay and one of the bandwidth. The delay is the time
from the request to the answer. The bandwidth is the number of bytes of all ranges received in this
time, divided by this time. The estimator uses the shortest delay and the highest bandwidth of the
last seconds, because a range may be slow for reasons other than the network. More bytes in flight
than the product do not arrive faster, and are wasted if the reader stops.

This module has no clock: the caller passes times as arguments.
"""

from __future__ import annotations

import math

__all__ = ["MINIMUM_WINDOW_BYTES", "BandwidthEstimator"]

MINIMUM_WINDOW_BYTES = 16 * 1024 * 1024
"""Lower bound of the readahead window. At 0 ms of latency, windows of 16 and 64 MiB were equally
fast. A window of 8 MiB was a tenth slower (docs/PERFORMANCE.md), because a busy processor delays
tasks by some milliseconds."""

_GAIN = 2
"""The window is this many times the product of bandwidth and delay. With a factor of 1 the window
could not grow while it limits the measured bandwidth."""

_EPOCH_SECONDS = 10.0
"""Length of an epoch in seconds. A sample counts for one to two epochs and is then forgotten,
because routes and competing traffic change. The congestion control BBR of TCP uses the same
value."""

_LEAST_SECONDS = 1e-6
"""Lower bound of a measured delay, to avoid a division by zero. Any real round trip is longer."""


class BandwidthEstimator:
    """Estimates the bandwidth and the delay between one mount and the service."""

    __slots__ = ("_delay", "_delay_before", "_epoch_end", "_rate", "_rate_before", "received_bytes")

    def __init__(self) -> None:
        #: Number of bytes received since the start of the mount.
        self.received_bytes = 0
        self._epoch_end = -math.inf
        self._delay = self._delay_before = math.inf
        self._rate = self._rate_before = 0.0

    def __repr__(self) -> str:
        megabytes = self.bytes_per_second / 1e6
        return f"<BandwidthEstimator {self.delay_seconds:.4f} s, {megabytes:.0f} MB/s>"

    @property
    def delay_seconds(self) -> float:
        """The shortest delay of the last seconds; infinity before the first range is received."""
        return min(self._delay, self._delay_before)

    @property
    def bytes_per_second(self) -> float:
        """The highest bandwidth of the last seconds."""
        return max(self._rate, self._rate_before)

    @property
    def window_bytes(self) -> int:
        """The number of bytes that readahead should have in flight."""
        if not self.received_bytes:
            return MINIMUM_WINDOW_BYTES
        product = self.bytes_per_second * self.delay_seconds
        return max(MINIMUM_WINDOW_BYTES, int(_GAIN * product))

    def note_range(
        self, length: int, requested_at: float, received_before: int, now: float
    ) -> None:
        """Use a received range of `length` bytes as a sample of the delay and of the bandwidth.

        Args:
            length: Number of bytes in the range.
            requested_at: Time when the range was requested.
            received_before: Value of `received_bytes` when the range was requested.
            now: Time when the range has arrived.
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
