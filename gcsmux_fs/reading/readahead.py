"""Decides which ranges to fetch ahead of the READs of one open file.

Theory of operation: a FUSE server cannot distinguish the READs of a program from the READs of the
kernel's own readahead, and the kernel sends several READs at once in any order. So the planner
assigns each READ to a pattern, with a tolerance. There are four kinds of patterns:

- `SequentialRun`: READs that follow each other upwards. The evidence is a READ of 128 KiB at
  offset 0, or a READ that begins where an earlier READ ended.
- `DescendingRun`: READs that follow each other downwards. The evidence is three READs, each of
  which ends where the one before it began.
- `StridedRun`: groups of READs at constant distances. The evidence is three such groups.
- `RegionWalk`: READs in any order that touch a region densely. It gets the READs that belong to no
  other pattern.

The runs of one file often have equal lengths: a program that reads 1 MiB at one place often reads
1 MiB at the next place, although the kernel sends several READs for each. If the last runs were all
longer than one READ, a first READ of 128 KiB is enough evidence for a window as long as the
shortest of these runs. If the last runs were equally long, no range beyond this length is planned
before the run has passed this length.

The planner has no clock and fetches nothing. A `ReadaheadPlan` holds the ranges to fetch, and the
ranges to release because their pattern has passed them or has ended.

Invariants:

1. The ranges of a plan do not overlap earlier ranges of the same pattern, unless the earlier ranges
   were refused or the pattern ended in between.
2. No range lies beyond the end of the object. No pattern has more bytes ahead than its share of the
   limit. Active patterns share the limit equally. The bytes that inactive patterns have ahead are
   subtracted from the limit first, but at most half of the limit is subtracted.
3. Each planned byte is released once: when its pattern has passed it, or when the pattern ends.
4. The bytes of an object that all its open files have planned and not read are never more than
   8 MiB plus half of the bytes read. A walk that has proved itself may raise this to 8 MiB plus
   twice the bytes read (see `region_walk`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.reading.access_history import AccessHistory
from gcsmux_fs.reading.descending_run import DescendingRun
from gcsmux_fs.reading.planned_patterns import PlannedPatterns, ReadaheadPlan
from gcsmux_fs.reading.recent_runs import RecentRuns
from gcsmux_fs.reading.region_walk import RegionWalk
from gcsmux_fs.reading.sequential_run import FIRST_WINDOW_BYTES, KERNEL_READ_BYTES, SequentialRun
from gcsmux_fs.reading.stride_search import StrideSearch

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ByteRange
    from gcsmux_fs.reading.access_pattern import AccessPattern
    from gcsmux_fs.reading.strided_run import StridedRun

__all__ = ["ReadaheadPlanner"]

_MAX_HITS = 4
"""Maximum number of READs of cached bytes that are remembered. A pattern is recognised by three or
four READs."""

_DESCENTS = 2
"""The number of READs that must end where the one before began. The kernel sends the READs of an
ascending run in any order, so one such READ is no evidence."""

_MAX_STRAY_GROUPS = 2
"""A strided run ends when more than this number of groups in a row begin outside of its tiles."""


class ReadaheadPlanner:
    """Plans the readahead of one open file. All open files of the object share `history`."""

    __slots__ = (
        "_coverage",
        "_descent",
        "_expected_head",
        "_fetched",
        "_hits",
        "_newest",
        "_noted_ahead",
        "_patterns",
        "_run_history",
        "_runs",
        "_size",
        "_stray_groups",
        "_stride_search",
        "_strided",
        "_walk",
        "current",
    )

    def __init__(self, size: int, history: AccessHistory | None = None) -> None:
        self._size = size
        self._patterns = PlannedPatterns()
        #: Runs without a plan.
        self._runs = RecentRuns()
        history = history if history is not None else AccessHistory()
        self._run_history = history.runs
        self._coverage = history.coverage
        self._stride_search = StrideSearch(size, self._coverage)
        self._newest: SequentialRun | None = None
        #: The last descending run.
        self._descent: DescendingRun | None = None
        self._strided: StridedRun | None = None
        self._stray_groups = 0
        self._walk = RegionWalk(size, self._coverage)
        self._fetched: tuple[ByteRange, ...] = ()
        #: The last READs of cached bytes that belonged to no pattern.
        self._hits: list[tuple[int, int]] = []
        #: The sequential run of the last READ; None if this READ belonged to no sequential run.
        self.current: SequentialRun | None = None
        self._expected_head = 0, 0
        #: The number of bytes that the patterns of this file had ahead at the last plan.
        self._noted_ahead = 0

    def __repr__(self) -> str:
        return f"<ReadaheadPlanner {self._patterns}>"

    @property
    def is_active(self) -> bool:
        """Whether any pattern has a plan."""
        return bool(self._patterns)

    def expect_head(self, least: int, end: int) -> None:
        """Use a forecast that comes from other files.

        A run is expected to have at least `least` bytes. If `end` is not 0, only the bytes before
        the offset `end` are expected to be read, and the forecast is about these bytes only.
        """
        self._expected_head = least, end
        if self._newest is not None and (not end or self._newest.start < end):
            self._newest.expected_bytes = max(self._newest.expected_bytes, least)

    def observe(self, offset: int, end: int) -> AccessPattern | None:
        """Assign a READ of `[offset, end)` to a pattern. Return the pattern if it has a plan."""
        if self._hits:
            hits, self._hits = self._hits, []
            for hit in hits:
                self._observe(*hit)
        return self._observe(offset, end)

    def observe_hit(self, offset: int, end: int) -> AccessPattern | None:
        """Assign a READ of cached bytes to a pattern with a plan. Return the pattern.

        A READ that belongs to no pattern is remembered until `observe` is called, because a program
        that reads only cached bytes needs no readahead.
        """
        pattern = self._patterns.match(offset, end)
        if pattern is not None:
            return self._observe(offset, end)
        self._hits.append((offset, end))
        if len(self._hits) > _MAX_HITS:
            forgotten = self._hits.pop(0)
            if self._coverage.unread_bytes:
                self._coverage.note_read(*forgotten)
        return None

    def note_refusal(self, pattern: AccessPattern, refused: ByteRange) -> None:
        """Forget the ranges of the last plan from `refused` on, and halve the window.

        The full memory budget has refused these ranges.
        """
        pattern.note_refusal(refused)
        for each in self._fetched[self._fetched.index(refused) :]:
            self._coverage.note_refused(each.offset, each.end)

    def plan(self, pattern: AccessPattern, limit: int) -> ReadaheadPlan:
        """Plan the next ranges of a pattern; all patterns of the file share `limit` bytes."""
        self._note_fast_reads()
        if pattern.is_over:
            self._end(pattern)
            released = self._patterns.pop_released()
            return ReadaheadPlan((), tuple(released), first_window=False)
        ahead_bytes = pattern.ahead_bytes
        room = self._coverage.room_for(pattern.confident_bytes - ahead_bytes)
        fetch = tuple(pattern.plan(self._patterns.share(limit), room))
        released = self._patterns.pop_released() + pattern.pop_passed()
        for each in fetch:
            self._coverage.note_planned(each.offset, each.end)
        self._fetched = fetch
        self._note_ahead()
        first_window = not ahead_bytes and pattern.window <= FIRST_WINDOW_BYTES
        return ReadaheadPlan(fetch, tuple(released), first_window)

    def stop(self) -> tuple[ByteRange, ...]:
        """End every plan, and return the ranges to release. A later READ can continue a run."""
        self._note_fast_reads()
        for pattern in reversed(list(self._patterns)):
            self._end(pattern)
            if isinstance(pattern, SequentialRun):
                self._runs.add(pattern)
        self._note_ahead()
        return tuple(self._patterns.pop_released())

    def _observe(self, offset: int, end: int) -> AccessPattern | None:
        self._note_fast_reads()
        useful_bytes = self._coverage.note_read(offset, end)
        pattern = self._patterns.match(offset, end)
        if pattern is None:
            self._walk.note_hit(is_hit=useful_bytes > 0)
            return self._observe_unplanned(offset, end)
        if isinstance(pattern, SequentialRun) and pattern.skips_most(offset):
            self._note_stray_group()
            strided = self._stride_search.add_jump(pattern, offset, end)
            if strided is not None:
                self._end(pattern)
                return self._start_strided(strided)
        pattern.take(offset, end)
        self._patterns.use(pattern)
        if isinstance(pattern, SequentialRun):
            pattern.noted_end = pattern.position
            self.current = pattern
        elif pattern is self._strided:
            self._stray_groups = 0
            self._runs.add_read(offset, end, self._size)
        return pattern

    def _note_fast_reads(self) -> None:
        """Record the READs of the current run that were not passed to `observe`."""
        run = self.current
        if run is not None and run.position > run.noted_end:
            self._coverage.note_read(run.noted_end, run.position)
            run.noted_end = run.position

    def _note_ahead(self) -> None:
        """Record how many planned bytes the patterns of this file still expect READs of."""
        ahead_bytes = self._patterns.ahead_bytes
        self._coverage.ahead_bytes += ahead_bytes - self._noted_ahead
        self._noted_ahead = ahead_bytes

    def _observe_unplanned(self, offset: int, end: int) -> AccessPattern | None:
        """Assign a READ to a run without a plan, or to a new run. Return a pattern with a plan."""
        length = end - offset
        run = self._runs.pop_ending_at(offset)
        if run is not None:
            run.position = run.noted_end = end
            run.bytes_read += length
            return self._start_or_remember(run, is_sequential=True)
        run = self._runs.pop_starting_at(end)
        if run is not None:
            run.extend_down(offset)
            if run.descents >= _DESCENTS and offset:
                return self._start_descent(offset, run.position, 0)
            self._runs.add(run)
            return None
        self._newest = run = self._run_history.begin(offset, end, self._size, self._newest)
        previous, self._descent = self._descent, None
        if previous is not None and previous.is_confirmed and offset:
            return self._start_descent(offset, end, previous.bytes_read)
        self._note_stray_group()
        if (strided := self._stride_search.add(run)) is not None:
            return self._start_strided(strided)
        self._walk.take(offset, end)
        self._coverage.note_touch(offset)
        if not self._walk.replan_offset:
            self._runs.add(run)
            if self._walk not in self._patterns:
                return self._add(self._walk)
            self._patterns.use(self._walk)
            return self._walk
        is_sequential = run.follows_forecast or (offset == 0 and length >= KERNEL_READ_BYTES)
        return self._start_or_remember(run, is_sequential=is_sequential)

    def _start_descent(self, offset: int, end: int, expected_bytes: int) -> AccessPattern:
        """Start a descending run, which is expected to have `expected_bytes` in all.

        If one descending run ends, a READ elsewhere is expected to begin another of its length.
        """
        self._descent = DescendingRun(offset, end, self._size, expected_bytes)
        return self._add(self._descent)

    def _start_strided(self, strided: StridedRun) -> StridedRun:
        """Start a plan for a strided run in place of the last one."""
        self._end_strided()
        self._strided = strided
        self._stray_groups = 0
        self._add(strided)
        return strided

    def _note_stray_group(self) -> None:
        """Record that a group began outside of the tiles of the strided run."""
        self._stray_groups += 1
        if self._stray_groups > _MAX_STRAY_GROUPS:
            self._end_strided()

    def _end_strided(self) -> None:
        if self._strided is not None:
            self._end(self._strided)

    def _start_or_remember(
        self, run: SequentialRun, *, is_sequential: bool
    ) -> SequentialRun | None:
        """Start a plan for a run that is sequential. Remember any other run."""
        if not is_sequential or run.position >= self._size:
            self._runs.add(run)
            return None
        run.restart()
        least, end_of_head = self._expected_head
        if least and (not end_of_head or run.start < end_of_head):
            run.expected_bytes = max(run.expected_bytes, least)
            run.expected_end = end_of_head or run.expected_end
        self._add(run)
        self.current = run
        return run

    def _add(self, pattern: AccessPattern) -> AccessPattern:
        ended = self._patterns.add(pattern)
        if ended is not None:
            self._forget(ended)
        return pattern

    def _end(self, pattern: AccessPattern) -> None:
        self._patterns.end(pattern)
        self._forget(pattern)

    def _forget(self, pattern: AccessPattern) -> None:
        """Drop the references to a pattern whose plan has ended."""
        if pattern is self.current:
            self.current = None
        elif pattern is self._strided:
            self._strided = None
