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
   8 MiB plus half of the bytes read (see `read_coverage`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.reading.access_history import AccessHistory
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES
from gcsmux_fs.reading.descending_run import DescendingRun
from gcsmux_fs.reading.region_walk import RegionWalk
from gcsmux_fs.reading.sequential_run import FIRST_WINDOW_BYTES, KERNEL_READ_BYTES, SequentialRun
from gcsmux_fs.reading.strided_run import MAX_CYCLE_GROUPS, StridedRun, find_cycle

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ByteRange
    from gcsmux_fs.reading.access_pattern import AccessPattern

__all__ = ["MAX_PATTERNS", "ReadaheadPlan", "ReadaheadPlanner"]

MAX_PATTERNS = 16
"""Maximum number of patterns with a plan in one open file. Sixteen threads may read one file
through one descriptor. Each READ that does not continue the pattern of the last READ is compared
with all patterns."""

_RECENT_RUNS = 32
"""Maximum number of runs without a plan that one open file remembers. A READ is recognised as the
continuation of a run without a plan if fewer than 32 other READs came in between."""

_DESCENTS = 2
"""The number of READs that must end where the one before began. The kernel sends the READs of an
ascending run in any order, so one such READ is no evidence."""

_COMPARED_GROUPS = 2 * MAX_CYCLE_GROUPS + 1
"""The number of runs that the search for a strided run compares."""

_MAX_STRAY_GROUPS = 2
"""A strided run ends when more than this number of groups in a row begin outside of its tiles."""


@dataclass(frozen=True, slots=True)
class ReadaheadPlan:
    """The ranges to fetch, nearest first, and the ranges to release."""

    fetch: tuple[ByteRange, ...]
    release: tuple[ByteRange, ...]
    #: True if the pattern has no ready or loading bytes ahead yet.
    first_window: bool


class ReadaheadPlanner:
    """Plans the readahead of one open file. All open files of the object share `history`."""

    __slots__ = (
        "_coverage",
        "_descent",
        "_fetched",
        "_groups",
        "_newest",
        "_noted_ahead",
        "_patterns",
        "_read_bytes",
        "_released",
        "_run_history",
        "_runs_by_end",
        "_runs_by_start",
        "_size",
        "_stray_groups",
        "_strided",
        "_walk",
        "current",
        "isolated_bytes",
        "isolated_reads",
    )

    def __init__(self, size: int, history: AccessHistory | None = None) -> None:
        self._size = size
        #: Patterns with a plan, the least recently used first.
        self._patterns: list[AccessPattern] = []
        #: Runs without a plan, by their position and by their start.
        self._runs_by_end: dict[int, SequentialRun] = {}
        self._runs_by_start: dict[int, SequentialRun] = {}
        history = history if history is not None else AccessHistory()
        self._run_history = history.runs
        self._coverage = history.coverage
        #: The last runs, with a plan or without, in the order of their first READs.
        self._groups: list[SequentialRun] = []
        self._newest: SequentialRun | None = None
        #: The last descending run.
        self._descent: DescendingRun | None = None
        self._strided: StridedRun | None = None
        self._stray_groups = 0
        self._walk = RegionWalk(size, self._coverage)
        self._released: list[ByteRange] = []
        self._fetched: tuple[ByteRange, ...] = ()
        #: The sequential run of the last READ; None if this READ belonged to no sequential run.
        self.current: SequentialRun | None = None
        #: The number and the bytes of the READs that belong to no run and no strided run.
        self.isolated_reads = 0
        self.isolated_bytes = 0
        self._read_bytes = 0
        #: The number of bytes that the patterns of this file had ahead at the last plan.
        self._noted_ahead = 0

    def __repr__(self) -> str:
        return f"<ReadaheadPlanner {self._patterns}>"

    @property
    def is_active(self) -> bool:
        """Whether any pattern has a plan."""
        return bool(self._patterns)

    @property
    def run_bytes(self) -> int:
        """The bytes of the READs that belong to a run or to a strided run.

        The READs since the last call of `observe` are not included.
        """
        return self._read_bytes - self.isolated_bytes

    def observe(self, offset: int, end: int) -> AccessPattern | None:
        """Assign a READ of `[offset, end)` to a pattern. Return the pattern if it has a plan."""
        self._note_fast_reads()
        self._read_bytes += end - offset
        self._coverage.note_read(offset, end)
        pattern = self._match(offset, end)
        if pattern is None:
            return self._observe_unplanned(offset, end)
        if isinstance(pattern, SequentialRun) and pattern.skips_most(offset):
            strided = self._note_jump(pattern, offset, end)
            if strided is not None:
                return strided
        pattern.take(offset, end)
        self._use(pattern)
        if isinstance(pattern, SequentialRun):
            pattern.noted_end = pattern.position
            self.current = pattern
        elif pattern is self._strided:
            self._stray_groups = 0
            self._remember_read(offset, end)
        return pattern

    def note_wait(self, pattern: AccessPattern, offset: int) -> None:
        """Double the window of `pattern`, because its READ at `offset` had to wait for bytes.

        A READ of bytes that were requested before the last doubling does not double the window.
        """
        pattern.note_wait(offset)

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
        released, self._released = self._released, []
        if pattern.is_over:
            self._end(pattern, released)
            return ReadaheadPlan((), tuple(released), first_window=False)
        self._note_ahead()
        ahead_bytes = pattern.ahead_bytes
        had_nothing_ahead = not ahead_bytes
        room = self._coverage.room_for(pattern.confident_bytes - ahead_bytes)
        fetch = tuple(pattern.plan(self._share(limit), room))
        released += pattern.pop_passed()
        for each in fetch:
            self._coverage.note_planned(each.offset, each.end)
        self._fetched = fetch
        self._note_ahead()
        first_window = had_nothing_ahead and pattern.window <= FIRST_WINDOW_BYTES
        return ReadaheadPlan(fetch, tuple(released), first_window)

    def stop(self) -> tuple[ByteRange, ...]:
        """End every plan, and return the ranges to release. A later READ can continue a run."""
        self._note_fast_reads()
        released, self._released = self._released, []
        while self._patterns:
            pattern = self._patterns[-1]
            self._end(pattern, released)
            if isinstance(pattern, SequentialRun):
                self._remember(pattern)
        self._note_ahead()
        return tuple(released)

    def _note_fast_reads(self) -> None:
        """Record the READs of the current run that were not passed to `observe`."""
        run = self.current
        if run is not None and run.position > run.noted_end:
            self._read_bytes += run.position - run.noted_end
            self._coverage.note_read(run.noted_end, run.position)
            run.noted_end = run.position

    def _note_ahead(self) -> None:
        """Record how many planned bytes the patterns of this file still expect READs of."""
        ahead_bytes = sum([each.ahead_bytes for each in self._patterns])
        self._coverage.ahead_bytes += ahead_bytes - self._noted_ahead
        self._noted_ahead = ahead_bytes

    def _match(self, offset: int, end: int) -> AccessPattern | None:
        """Return the pattern with a plan to which a READ belongs; None if there is none.

        The READ belongs to the nearest pattern.
        """
        nearest: AccessPattern | None = None
        least = 0
        for pattern in reversed(self._patterns):
            distance = pattern.distance(offset, end)
            if distance is None:
                continue
            if not distance:
                return pattern
            if nearest is None or distance < least:
                nearest, least = pattern, distance
        return nearest

    def _use(self, pattern: AccessPattern) -> None:
        """Make a pattern the most recently used one."""
        pattern.may_have_ended = False
        if pattern is not self._patterns[-1]:
            self._patterns.remove(pattern)
            self._patterns.append(pattern)

    def _observe_unplanned(self, offset: int, end: int) -> AccessPattern | None:
        """Assign a READ to a run without a plan, or to a new run. Return a pattern with a plan."""
        length = end - offset
        run = self._forget(self._runs_by_end.get(offset))
        if run is not None:
            self._join(run)
            run.position = run.noted_end = end
            run.bytes_read += length
            return self._start_or_remember(run, is_sequential=True)
        run = self._forget(self._runs_by_start.get(end))
        if run is not None:
            self._join(run)
            run.extend_down(offset)
            if run.descents >= _DESCENTS and offset:
                return self._start_descent(offset, run.position, 0)
            self._remember(run)
            return None
        run = self._new_run(offset, end)
        self.isolated_reads += 1
        self.isolated_bytes += length
        previous, self._descent = self._descent, None
        if previous is not None and previous.is_confirmed and offset:
            return self._start_descent(offset, end, previous.bytes_read)
        if (strided := self._add_group(run)) is not None:
            return strided
        self._walk.take(offset, end)
        self._coverage.note_touch(offset)
        if not self._walk.replan_offset:
            self._remember(run)
            if self._walk not in self._patterns:
                return self._add(self._walk)
            self._use(self._walk)
            return self._walk
        is_sequential = run.follows_forecast or (offset == 0 and length >= KERNEL_READ_BYTES)
        return self._start_or_remember(run, is_sequential=is_sequential)

    def _start_descent(self, offset: int, end: int, expected_bytes: int) -> AccessPattern:
        """Start a descending run, which is expected to have `expected_bytes` in all.

        If one descending run ends, a READ elsewhere is expected to begin another of its length.
        """
        self._descent = DescendingRun(offset, end, self._size, expected_bytes)
        return self._add(self._descent)

    def _join(self, run: SequentialRun) -> None:
        """Count the only READ of a run as a part of a pattern, because a second READ joins it."""
        if run.is_single:
            run.is_single = False
            self.isolated_reads -= 1
            self.isolated_bytes -= run.bytes_read

    def _note_jump(self, run: SequentialRun, offset: int, end: int) -> StridedRun | None:
        """Record a READ ahead of the position of `run` as a group of its own.

        The distances of a strided run may be shorter than the tolerance of a sequential run. Return
        the strided run if there is one; it takes the place of `run`.
        """
        last = self._groups[-1] if self._groups else run
        if last is run:
            # The run goes on, but its first group ends here.
            self._groups[-1:] = [SequentialRun(run.start, run.position, self._size)]
        elif run.start <= last.start < run.position:
            last.position = run.position
            last.bytes_read = last.position - last.start
        strided = self._add_group(SequentialRun(offset, end, self._size), may_fill_gaps=True)
        if strided is not None:
            self._end(run, self._released)
        return strided

    def _add_group(self, group: SequentialRun, *, may_fill_gaps: bool = False) -> StridedRun | None:
        """Record a new group. Return a new strided run if the group begins where one expects it.

        `may_fill_gaps` says that later READs may fill the gaps between the groups.
        """
        self._groups.append(group)
        del self._groups[:-_COMPARED_GROUPS]
        if self._strided is not None:
            self._stray_groups += 1
            if self._stray_groups > _MAX_STRAY_GROUPS:
                self._end(self._strided, self._released)
        count = find_cycle(self._groups)
        if not count or (may_fill_gaps and not self._is_gap_unread(*self._groups[-3:-1])):
            return None
        if self._strided is not None:
            self._end(self._strided, self._released)
        for group in self._groups:
            self._join(group)
        self._strided = StridedRun(self._groups, count, self._size)
        self._stray_groups = 0
        self._add(self._strided)
        return self._strided

    def _is_gap_unread(self, first: SequentialRun, second: SequentialRun) -> bool:
        """Return whether no READ has touched the bytes between two groups.

        If the kernel sends the READs of a sequential run in a regular order, every second READ for
        example, their groups look like a strided run. Later READs fill the gaps.
        """
        if first.start > second.start:
            first, second = second, first
        start = -(-first.position // GRANULE_BYTES) * GRANULE_BYTES
        end = second.start - second.start % GRANULE_BYTES
        return start >= end or not self._coverage.bytes_touched(start, end)

    def _share(self, limit: int) -> int:
        """Return how many bytes each active pattern may have ahead (invariant 2 of the module)."""
        inactive_bytes = sum([each.ahead_bytes for each in self._patterns if each.may_have_ended])
        active_patterns = sum([not each.may_have_ended for each in self._patterns])
        return max(limit - inactive_bytes, limit // 2) // active_patterns

    def _new_run(self, offset: int, end: int) -> SequentialRun:
        # Most programs finish one run before they start the next, so the previous run counts as
        # complete.
        if self._newest is not None and self._size > FIRST_WINDOW_BYTES:
            self._run_history.add(self._newest)
        forecast = self._run_history.forecast()
        self._newest = run = SequentialRun(offset, end, self._size, forecast.shortest)
        length = end - offset
        run.follows_forecast = forecast.shortest > length >= forecast.first_read
        if forecast.longest > length:
            likely_end = -(-(offset + forecast.longest) // GRANULE_BYTES) * GRANULE_BYTES
            run.likely_end = min(likely_end, self._size)
            if forecast.are_equal:
                run.expected_end = run.likely_end
        return run

    def _start_or_remember(
        self, run: SequentialRun, *, is_sequential: bool
    ) -> SequentialRun | None:
        """Start a plan for a run that is sequential. Remember any other run."""
        if not is_sequential or run.position >= self._size:
            self._remember(run)
            return None
        run.restart()
        self._add(run)
        self.current = run
        return run

    def _add(self, pattern: AccessPattern) -> AccessPattern:
        if len(self._patterns) >= MAX_PATTERNS:
            self._end(self._patterns[0], self._released)
        for other in self._patterns:
            other.may_have_ended = True
        pattern.may_have_ended = False
        self._patterns.append(pattern)
        return pattern

    def _end(self, pattern: AccessPattern, released: list[ByteRange]) -> None:
        """End the plan of a pattern, and add its unreleased ranges to `released`."""
        self._patterns.remove(pattern)
        if pattern is self.current:
            self.current = None
        elif pattern is self._strided:
            self._strided = None
        released += pattern.finish()

    def _remember(self, run: SequentialRun) -> None:
        self._forget(self._runs_by_end.get(run.position))
        self._forget(self._runs_by_start.get(run.start))
        self._runs_by_end[run.position] = run
        self._runs_by_start[run.start] = run
        if len(self._runs_by_end) > _RECENT_RUNS:
            self._forget(next(iter(self._runs_by_end.values())))

    def _remember_read(self, offset: int, end: int) -> None:
        """Remember a READ of a strided run, because the READs may go on behind its tile."""
        run = self._forget(self._runs_by_end.get(offset))
        if run is None:
            run = SequentialRun(offset, end, self._size)
        else:
            run.take(offset, end)
        run.is_single = False
        run.noted_end = run.position
        self._remember(run)

    def _forget(self, run: SequentialRun | None) -> SequentialRun | None:
        """Remove a run without a plan, and return it."""
        if run is not None:
            if self._runs_by_end.get(run.position) is run:
                del self._runs_by_end[run.position]
            if self._runs_by_start.get(run.start) is run:
                del self._runs_by_start[run.start]
        return run
