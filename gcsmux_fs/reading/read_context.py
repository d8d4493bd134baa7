"""What all open files of a mount share: one cache, one memory budget, one set of deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.model.errors import DeadlineExceeded
from gcsmux_fs.reading.block_fetcher import BlockFetcher, Outcome
from gcsmux_fs.reading.counters import ReadCounters, ReadStatistics
from gcsmux_fs.reading.memory_budget import MemoryBudget, WindowShares
from gcsmux_fs.reading.open_file import OpenFile
from gcsmux_fs.reading.open_planner import OpenPlanner
from gcsmux_fs.reading.read_deadlines import ReadDeadlines
from gcsmux_fs.settings.defaults import DEFAULT_READ_AHEAD_BYTES, DEFAULT_READ_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.range_source import RangeSource
    from gcsmux_fs.reading.read_deadlines import TimedRead

__all__ = ["ReadContext"]

_OPEN_WAIT_SECONDS = 5.0
"""How long an OPEN waits for the service, and no more than a quarter of the time of a READ: the
READ that follows has all of its own time, and a program is told within 1.25 times that."""


class ReadContext:
    """All open files of a mount, on one cache and one budget.

    Args:
        source: Where ranges come from.
        budget_bytes: Hard limit for all blocks, cached or on their way; at least
            `budget.MINIMUM_BUDGET_BYTES`.
        read_ahead_bytes: How far ahead of one open file to fetch at most; 0 turns readahead off.
        read_timeout: Seconds after which a READ fails, of those in which this process runs.
        clock: Tells the time in seconds.
    """

    def __init__(
        self,
        source: RangeSource,
        *,
        budget_bytes: int,
        read_ahead_bytes: int = DEFAULT_READ_AHEAD_BYTES,
        read_timeout: float = DEFAULT_READ_TIMEOUT_SECONDS,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.read_timeout = read_timeout
        self.read_ahead_bytes = read_ahead_bytes
        self.open_wait_seconds = min(_OPEN_WAIT_SECONDS, read_timeout / 4)
        self.openings = OpenPlanner()
        self.budget = MemoryBudget(budget_bytes)
        self.counters = ReadCounters()
        self.fetcher = BlockFetcher(source, self.budget, self.counters, clock)
        self.shares: WindowShares[OpenFile] = WindowShares(
            self.budget.readahead_share_total, idle_after_bytes=budget_bytes
        )
        self.deadlines = ReadDeadlines(read_timeout, self._expire, self.fetcher.relieve)
        self.open_files = 0
        self.read_seconds = {Outcome.HIT: Histogram()}

    def open(self, key: ObjectKey, size: int, *, grows: bool = False) -> OpenFile:
        """Open an object generation of `size` bytes; every `OpenFile` must be closed.

        `grows`: bytes may still be appended to it, so that it is no wonder if there are more.
        """
        return OpenFile(self, key, size, grows=grows)

    def statistics(self) -> ReadStatistics:
        """Return what has been counted so far, and the gauges of now."""
        counters, budget, fetcher = self.counters, self.budget, self.fetcher
        return ReadStatistics(
            hits=counters.hits,
            waits=counters.waits,
            misses=counters.misses,
            bytes_served=counters.bytes_served,
            demand_bytes=counters.demand_bytes,
            demand_ranges=counters.demand_ranges,
            demands_displaced=counters.demands_displaced,
            readahead_bytes=counters.readahead_bytes,
            readahead_ranges=counters.readahead_ranges,
            readahead_wasted_bytes=counters.readahead_wasted_bytes,
            readahead_cancelled_bytes=counters.readahead_cancelled_bytes,
            readahead_failures=counters.readahead_failures,
            readahead_refusals=counters.readahead_refusals,
            opens_that_asked=counters.opens_that_asked,
            opens_found_gone=counters.opens_found_gone,
            budget_limit=budget.limit,
            budget_used=budget.used,
            budget_in_flight=budget.in_flight,
            budget_unread=budget.unread,
            blocks_ready=len(fetcher.cache),
            blocks_loading=fetcher.blocks_loading,
            waiting_reads=len(self.deadlines),
            queued_reads=fetcher.queued,
            objects=fetcher.object_count,
            open_files=self.open_files,
            files_reading_ahead=len(self.shares),
        )

    def too_late(
        self, key: ObjectKey, offset: int, end: int, trouble: str = ""
    ) -> DeadlineExceeded:
        """Return the error of a READ of `[offset, end)` whose time is up."""
        told = f"not read within {self.read_timeout:g} s"
        if trouble:
            told += f", the last failure: {trouble}"
        return DeadlineExceeded(told, subject=f"{key} [{offset}, {end})")

    def _expire(self, read: TimedRead) -> None:
        if isinstance(read, trio.CancelScope):
            read.cancel()
            return
        error = self.too_late(read.object.key, read.offset, read.end, read.trouble)
        self.fetcher.expire(read, error)
