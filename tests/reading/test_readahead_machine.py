"""Tests the readahead planner with random READs, limits and refusals, against `PlannedRun`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.reading.access_patterns import TOLERANCE_BYTES, RunHistory
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES, PAGE_BYTES
from gcsmux_fs.reading.readahead import KERNEL_READ_BYTES, MAX_RUNS, ReadaheadPlanner
from tests.support.examples import examples
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcsmux_fs.reading.access_patterns import SequentialRun

sizes = st.one_of(st.integers(1, 8 * MIB), st.sampled_from([MIB, 37 * MIB + 4321, 400 * MIB]))
places = st.integers(0, 400 * MIB)
lengths = st.one_of(
    st.sampled_from([1, 4 * KIB, 100_001, KERNEL_READ_BYTES, MIB]), st.integers(1, MIB)
)
limits = st.one_of(
    st.sampled_from([0, 100 * KIB, KERNEL_READ_BYTES, MIB, 64 * MIB]), st.integers(0, 16 * MIB)
)
# The number of the first range of a plan that the budget refuses; None if it refuses no range.
refusals = st.one_of(st.none(), st.integers(0, 3))


@dataclass(eq=False)
class PlannedRun:
    """What the open file knows of a run, from the first plan of the run until its end."""

    run: SequentialRun
    #: Bytes before this offset were read before the first plan, or have been released.
    passed: int
    #: True if no other run has begun since the last READ of this run.
    is_active: bool = True
    #: All planned ranges, without the refused ones.
    ranges: list[ByteRange] = field(default_factory=list)
    released: list[ByteRange] = field(default_factory=list)

    @property
    def ahead(self) -> int:
        """The number of planned bytes ahead of the run."""
        return max(0, self.run.planned_end - self.run.position)

    def release(self, end: int) -> list[ByteRange]:
        """Record the release of all bytes before `end`, and return their range."""
        if end <= self.passed:
            return []
        self.released.append(ByteRange(self.passed, end - self.passed))
        self.passed = end
        return self.released[-1:]

    def check_that_all_ranges_were_released_once(self) -> None:
        for target in self.ranges:
            overlaps = [
                min(passed.end, target.end) - max(passed.offset, target.offset)
                for passed in self.released
            ]
            assert sum(overlap for overlap in overlaps if overlap > 0) == target.length


class ReadaheadMachine(RuleBasedStateMachine):
    """Checks invariants 1 to 3 of `readahead`; calls the planner as an open file does."""

    def __init__(self) -> None:
        super().__init__()
        self.history = RunHistory()
        self.planned_runs: dict[SequentialRun, PlannedRun] = {}
        #: Ranges of ended runs that the planner has not returned yet.
        self.due: list[ByteRange] = []
        self.position = 0

    @initialize(size=sizes)
    def open(self, size: int) -> None:
        self.size = size
        self.planner = ReadaheadPlanner(size, self.history)

    # -- READs

    @rule(length=lengths, waits=st.booleans(), limit=limits, refused=refusals)
    def read_next(self, length: int, waits: bool, limit: int, refused: int | None) -> None:
        self.read(self.position, length, waits, limit, refused)

    @rule(offset=places, length=lengths, waits=st.booleans(), limit=limits, refused=refusals)
    def read_anywhere(
        self, offset: int, length: int, waits: bool, limit: int, refused: int | None
    ) -> None:
        self.read(offset, length, waits, limit, refused)

    @precondition(lambda self: self.planned_runs)
    @rule(
        which=st.integers(0, MAX_RUNS - 1),
        distance=st.one_of(st.just(0), st.integers(-2 * MIB, 2 * MIB)),
        length=lengths,
        waits=st.booleans(),
        limit=limits,
        refused=refusals,
    )
    def read_near_a_run(
        self,
        which: int,
        distance: int,
        length: int,
        waits: bool,
        limit: int,
        refused: int | None,
    ) -> None:
        planned = list(self.planned_runs.values())[which % len(self.planned_runs)]
        self.read(planned.run.position + distance, length, waits, limit, refused)

    @rule(
        start=st.one_of(st.none(), places),
        count=st.integers(2, 60),
        waits=st.booleans(),
        limit=limits,
        refused=refusals,
    )
    def stream(
        self, start: int | None, count: int, waits: bool, limit: int, refused: int | None
    ) -> None:
        self.position = self.position if start is None else start
        for _ in range(count):
            self.read(self.position, KERNEL_READ_BYTES, waits, limit, refused)

    @rule(starts=st.lists(places, min_size=2, max_size=5), count=st.integers(1, 8), limit=limits)
    def interleave(self, starts: list[int], count: int, limit: int) -> None:
        for step in range(count):
            for start in starts:
                offset = start + step * KERNEL_READ_BYTES
                self.read(offset, KERNEL_READ_BYTES, True, limit, None)

    @rule(start=places, lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5))
    def read_runs_by_another_file(self, start: int, lengths: list[int]) -> None:
        """Read runs by another open file: the run history that both share changes the plans."""
        other = ReadaheadPlanner(self.size, self.history)
        for number, length in enumerate(lengths):
            for step in range(length):
                offset = (start + number * 8 * MIB + step * KERNEL_READ_BYTES) % self.size
                other.observe(offset, min(offset + KERNEL_READ_BYTES, self.size))

    @rule()
    def stop(self) -> None:
        released = self.planner.stop()
        assert not self.planner.is_active
        self.note_ended_runs()
        self.check_released(released)

    # -- the open file

    def read(self, offset: int, length: int, waits: bool, limit: int, refused: int | None) -> None:
        offset = max(0, offset) % self.size
        self.position = end = min(offset + length, self.size)
        run = self.planner.observe(offset, end)
        self.note_ended_runs()
        if run is None:
            return
        self.follow(run)
        if waits:
            self.planner.note_wait(run, offset)
        if end >= run.replan_offset:
            self.plan(run, limit, refused)

    def follow(self, run: SequentialRun) -> None:
        planned = self.planned_runs.get(run)
        if planned is None:
            for other in self.planned_runs.values():
                other.is_active = False
            self.planned_runs[run] = PlannedRun(run, run.position)
        else:
            planned.is_active = True

    def plan(self, run: SequentialRun, limit: int, refused: int | None) -> None:
        planned = self.planned_runs[run]
        plan = self.planner.plan(run, limit)
        self.check_fetched(planned, plan.fetch, limit)
        planned.ranges += plan.fetch
        self.note_ended_runs()
        if run in self.planned_runs:
            self.due += planned.release(run.position - TOLERANCE_BYTES)
        else:
            assert run.position >= self.size or run.is_sparse
            assert not plan.fetch
        self.check_released(plan.release)
        if refused is not None and refused < len(plan.fetch):
            self.planner.note_refusal(run, plan.fetch[refused].offset)
            del planned.ranges[len(planned.ranges) - len(plan.fetch) + refused :]

    def note_ended_runs(self) -> None:
        """Add the ranges of ended runs that are still protected from eviction to `due`.

        The planner must end the protection of these ranges next.
        """
        for run in [run for run in self.planned_runs if run not in self.planner._runs]:
            planned = self.planned_runs.pop(run)
            self.due += planned.release(run.planned_end)
            planned.check_that_all_ranges_were_released_once()

    # -- checks

    def check_fetched(self, planned: PlannedRun, fetch: tuple[ByteRange, ...], limit: int) -> None:
        """Check invariants 1 and 2 for the ranges of a plan."""
        end = max([planned.run.position, *[target.end for target in planned.ranges]])
        for target in fetch:
            assert target.length > 0
            assert end <= target.offset < target.end <= self.size
            assert target.offset % GRANULE_BYTES == 0
            assert target.offset // PAGE_BYTES == (target.end - 1) // PAGE_BYTES
            end = target.end
        if fetch:
            # The READ itself requests all bytes before this offset, so they are not readahead.
            position = -(-planned.run.position // GRANULE_BYTES) * GRANULE_BYTES
            inactive_bytes = sum(
                other.ahead for other in self.planned_runs.values() if not other.is_active
            )
            active_runs = sum(other.is_active for other in self.planned_runs.values())
            assert end - position <= max(limit - inactive_bytes, limit // 2) // active_runs

    def check_released(self, released: Iterable[ByteRange]) -> None:
        """Check invariant 3: the planner releases exactly the ranges in `due`."""
        assert _in_order(released) == _in_order(self.due)
        self.due.clear()

    @invariant()
    def all_runs_are_known_and_few(self) -> None:
        assert set(self.planner._runs) == set(self.planned_runs)
        assert len(self.planned_runs) <= MAX_RUNS
        assert self.planner.is_active == bool(self.planned_runs)
        assert self.planner.current is None or self.planned_runs[self.planner.current].is_active

    @invariant()
    def all_planned_ranges_lie_before_the_planned_end(self) -> None:
        for planned in self.planned_runs.values():
            assert all(target.end <= planned.run.planned_end for target in planned.ranges)

    def teardown(self) -> None:
        self.stop()
        assert not self.planned_runs
        assert self.planner.stop() == ()


def _in_order(ranges: Iterable[ByteRange]) -> list[tuple[int, int]]:
    return sorted((each.offset, each.end) for each in ranges)


TestReadahead = ReadaheadMachine.TestCase
TestReadahead.settings = settings(max_examples=examples(100), stateful_step_count=50, deadline=None)
