"""What all open files of a mount share: one cache, one memory budget, one set of deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.model.errors import DeadlineExceeded
from gcsmux_fs.reading.block_fetcher import BlockFetcher
from gcsmux_fs.reading.counters import ReadCounters
from gcsmux_fs.reading.file_forecasts import FileForecasts
from gcsmux_fs.reading.memory_budget import MemoryBudget, WindowShares
from gcsmux_fs.reading.open_planner import OpenPlanner
from gcsmux_fs.reading.read_deadlines import ReadDeadlines
from gcsmux_fs.reading.read_request import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.bandwidth_estimator import BandwidthEstimator
    from gcsmux_fs.reading.range_source import LowerTier, RangeSource
    from gcsmux_fs.reading.read_deadlines import TimedRead

__all__ = ["ReadResources", "WindowHolder"]

_OPEN_WAIT_SECONDS = 5.0
"""Maximum time in seconds for which an OPEN waits for the service, or a quarter of the read timeout
if the quarter is shorter. The READ after the OPEN has the whole read timeout, so a program gets an
error within 1.25 times the read timeout."""


class WindowHolder(Protocol):
    """An open file that reads ahead."""

    def stop(self) -> None:
        """Stop readahead until the next READ."""


class ReadResources:
    """The objects that all open files of a mount share; `ReadContext` explains the arguments."""

    def __init__(
        self,
        source: RangeSource,
        bandwidth: BandwidthEstimator,
        *,
        budget_bytes: int,
        read_ahead_bytes: int,
        read_timeout: float,
        clock: Callable[[], float],
        lower_tier: LowerTier | None = None,
    ) -> None:
        self.bandwidth = bandwidth
        #: A cache that is a part of the source, for example on disk; None if there is none.
        self.lower_tier = lower_tier
        self.read_timeout = read_timeout
        self.read_ahead_bytes = read_ahead_bytes
        self.open_wait_seconds = min(_OPEN_WAIT_SECONDS, read_timeout / 4)
        self.forecasts = FileForecasts()
        self.open_planner = OpenPlanner(self.forecasts)
        self.budget = MemoryBudget(budget_bytes)
        self.counters = ReadCounters()
        hits, waits, misses = Histogram(), Histogram(), Histogram()
        #: Durations of READs by outcome. `OpenFile.read` adds durations, `read_cached` does not.
        self.read_seconds = {
            Outcome.HIT: hits,
            Outcome.WAIT: waits,
            Outcome.MISS: misses,
            Outcome.QUEUED: misses,
        }
        self.fetcher = BlockFetcher(source, self.budget, self.counters, clock, lower_tier)
        self.window_shares: WindowShares[WindowHolder] = WindowShares(
            self.budget.readahead_share_total, idle_after_bytes=budget_bytes
        )
        self.deadlines = ReadDeadlines(read_timeout, self._expire, self.fetcher.displace_stalled)
        self.open_files = 0

    def deadline_error(
        self, key: ObjectKey, offset: int, end: int, last_error: str = ""
    ) -> DeadlineExceeded:
        """Return the error of a READ of `[offset, end)` that has expired."""
        message = f"not read within {self.read_timeout:g} s"
        if last_error:
            message += f", last error: {last_error}"
        return DeadlineExceeded(message, subject=f"{key} [{offset}, {end})")

    def _expire(self, read: TimedRead) -> None:
        if isinstance(read, trio.CancelScope):
            read.cancel()
            return
        error = self.deadline_error(read.index.key, read.offset, read.end, read.last_error)
        self.fetcher.expire(read, error)
