"""When an answer may leave: latency and bandwidth, as plain arithmetic on given times.

Latency counts from a request's arrival, so that requests made together are answered together.
Bandwidth is kept per stream by the time at which its line is free again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gcsmux_fs.emulator.services.range_schedule import MAX_CHUNK_BYTES

__all__ = ["Line", "Shape", "sleep_until"]

# A slice lasts this long at most, so that a slow line is even and not a burst a second.
_SLICE_SECONDS = 0.05
_MIN_SLICE_BYTES = 4096
# What a late timer may catch up with; more would let an idle line burst.
_MAX_CREDIT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """Seconds that every answer takes, and bytes of content per second and stream (0: no cap)."""

    latency_seconds: float = 0.0
    bandwidth_bytes: int = 0

    def due(self, arrived: float) -> float:
        """Return when a request that arrived then may be answered."""
        return arrived + self.latency_seconds

    @property
    def slice_bytes(self) -> int:
        """How much content one message may carry."""
        if not self.bandwidth_bytes:
            return MAX_CHUNK_BYTES
        even = int(self.bandwidth_bytes * _SLICE_SECONDS)
        return max(_MIN_SLICE_BYTES, min(MAX_CHUNK_BYTES, even))


class Line:
    """The bandwidth of one stream: what has been sent occupies it for a while."""

    def __init__(self, shape: Shape) -> None:
        self._bandwidth_bytes = shape.bandwidth_bytes
        self._free_at = float("-inf")

    def free_at(self, now: float) -> float:
        """Return when the next message may leave: `now` or later."""
        return max(now, self._free_at)

    def occupy(self, now: float, size: int) -> None:
        """Send `size` bytes now."""
        if self._bandwidth_bytes:
            begin = max(self._free_at, now - _MAX_CREDIT_SECONDS)
            self._free_at = begin + size / self._bandwidth_bytes


async def sleep_until(instant: float) -> None:
    """Sleep until the loop's clock shows `instant`."""
    delay = instant - asyncio.get_running_loop().time()
    if delay > 0:
        await asyncio.sleep(delay)
