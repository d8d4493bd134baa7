"""Carries out the readahead plans of one open file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.reading.descending_run import DescendingRun
from gcsmux_fs.reading.readahead import ReadaheadPlanner
from gcsmux_fs.reading.sequential_run import SequentialRun

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ByteRange
    from gcsmux_fs.reading.access_pattern import AccessPattern
    from gcsmux_fs.reading.block_index import BlockIndex
    from gcsmux_fs.reading.read_resources import ReadResources

__all__ = ["ReadaheadDriver"]


class ReadaheadDriver:
    """Passes the plans of a `ReadaheadPlanner` to the fetcher, within the file's memory share."""

    __slots__ = ("_first_ranges", "_index", "_resources", "planner")

    def __init__(self, resources: ReadResources, index: BlockIndex, size: int) -> None:
        self._resources = resources
        self._index = index
        self.planner = ReadaheadPlanner(size, index.history)
        # The window that the OPEN has requested. The planner has not planned it.
        self._first_ranges: tuple[ByteRange, ...] = ()

    @property
    def limit(self) -> int:
        """The number of bytes that the file may have ahead of its READs now."""
        resources = self._resources
        return min(
            resources.read_ahead_bytes,
            resources.window_shares.share,
            resources.bandwidth.window_bytes,
        )

    def hold(self, ranges: tuple[ByteRange, ...]) -> None:
        """Count the window that an OPEN requests as readahead of this file.

        Its memory is released like other readahead if no READ follows for a long time.
        """
        self._first_ranges = ranges
        self._resources.window_shares.renew(self, self._resources.counters.bytes_served)

    def advance(self, pattern: AccessPattern) -> None:
        """Plan for a pattern, request the planned ranges, and release the passed ranges."""
        self._measure(pattern)
        resources = self._resources
        shares, fetcher, planner = resources.window_shares, resources.fetcher, self.planner
        served = resources.counters.bytes_served
        shares.renew(self, served)
        for idle in shares.pop_idle(served):
            idle.stop()
        plan = planner.plan(pattern, self.limit)
        for passed in plan.release:
            fetcher.release(self._index, passed)
        for target in plan.fetch:
            if not fetcher.read_ahead(self._index, target, first_window=plan.first_window):
                planner.note_refusal(pattern, target)
                # A part of the refused range may have been requested.
                fetcher.release(self._index, target)
                break
        if not planner.is_active:
            shares.drop(self)

    def _measure(self, pattern: AccessPattern) -> None:
        """Add the progress of a run to the bursts. Other patterns have no bytes side by side."""
        bursts, length = self._index.bursts, pattern.bytes_read
        if isinstance(pattern, SequentialRun):
            bursts.add_progress(pattern.start, pattern.position, length)
        elif isinstance(pattern, DescendingRun):
            bursts.add_progress(pattern.position, pattern.position + length, length)

    def stop(self) -> None:
        """End all plans and release their ranges; a later READ starts new plans."""
        for passed in (*self.planner.stop(), *self._first_ranges):
            self._resources.fetcher.release(self._index, passed)
        self._first_ranges = ()

    def close(self) -> None:
        """Stop readahead, and give the file's memory share back."""
        self.stop()
        self._resources.window_shares.drop(self)
