"""Latency and bandwidth: the time at which the emulator may send a response.

Latency counts from the arrival of a request. Requests that arrive together are therefore answered
together. Bandwidth is limited per stream: each message blocks the stream for as long as the message
takes at this bandwidth.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gcsmux_fs.emulator.service_limits import MAX_CHUNK_BYTES

__all__ = ["BandwidthLimiter", "Shape", "sleep_until"]

# Maximum time, in seconds, that one message takes at a limited bandwidth. Short messages give an
# even flow of bytes.
_SLICE_SECONDS = 0.05
_MIN_SLICE_BYTES = 4096
# Maximum lost time, in seconds, that a stream may make up for. If a timer fires late, the stream
# may at once send the bytes that it could have sent in this time. A larger value would allow a
# larger burst after an idle time.
_MAX_CREDIT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """The latency, and the maximum content bytes per second on each stream (0: no limit)."""

    latency_seconds: float = 0.0
    bandwidth_bytes: int = 0

    def due(self, arrived: float) -> float:
        """Return the time at which a request that arrived at `arrived` may be answered."""
        return arrived + self.latency_seconds

    @property
    def slice_bytes(self) -> int:
        """Maximum bytes of content in one message."""
        if not self.bandwidth_bytes:
            return MAX_CHUNK_BYTES
        slice_bytes = int(self.bandwidth_bytes * _SLICE_SECONDS)
        return max(_MIN_SLICE_BYTES, min(MAX_CHUNK_BYTES, slice_bytes))


class BandwidthLimiter:
    """Limits the bandwidth of one stream. Times are in seconds of the caller's clock."""

    def __init__(self, shape: Shape) -> None:
        self._bandwidth_bytes = shape.bandwidth_bytes
        self._free_at = float("-inf")

    def free_at(self, now: float) -> float:
        """Return the time, `now` or later, at which the next message may be sent."""
        return max(now, self._free_at)

    def occupy(self, now: float, size: int) -> None:
        """Block the stream from `now` on for as long as `size` bytes take at the bandwidth."""
        if self._bandwidth_bytes:
            begin = max(self._free_at, now - _MAX_CREDIT_SECONDS)
            self._free_at = begin + size / self._bandwidth_bytes


async def sleep_until(instant: float) -> None:
    """Sleep until the clock of the event loop shows `instant`."""
    delay = instant - asyncio.get_running_loop().time()
    if delay > 0:
        await asyncio.sleep(delay)
