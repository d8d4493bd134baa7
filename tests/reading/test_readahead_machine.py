"""The readahead planner against any READs, limits and refusals, and a reference of its cursors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.access_patterns import TOLERANCE_BYTES, RunHistory
from gcsmux_fs.reading.block_index import GRANULE_BYTES, PAGE_BYTES
from gcsmux_fs.reading.readahead import KERNEL_READ_BYTES, MAX_RUNS, ReadaheadPlanner

from .fakes import KIB, MIB

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
# Which of the ranges of a plan finds no memory first.
refusals = st.one_of(st.none(), st.integers(0, 3))


@dataclass(eq=False)
class Life:
    """A cursor from its first plan until it ends, as its planner's user sees it."""

    cursor: SequentialRun
    #: What is before this was read before there was a plan, or has been released.
    passed: int
    #: No other run has begun since its last READ.
    at_work: bool = True
    #: All of its life, without what was refused.
    planned: list[ByteRange] = field(default_factory=list)
    released: list[ByteRange] = field(default_factory=list)

    @property
    def ahead(self) -> int:
        return max(0, self.cursor.planned_end - self.cursor.position)

    def release(self, end: int) -> list[ByteRange]:
        """Note that what is before `end` has to be released now, and return what that is."""
        if end <= self.passed:
            return []
        self.released.append(ByteRange(self.passed, end - self.passed))
        self.passed = end
        return self.released[-1:]

    def check_that_all_was_released_once(self) -> None:
        for wanted in self.planned:
            overlaps = [
                min(passed.end, wanted.end) - max(passed.offset, wanted.offset)
                for passed in self.released
            ]
            assert sum(overlap for overlap in overlaps if overlap > 0) == wanted.length


class ReadaheadMachine(RuleBasedStateMachine):
    """Invariants 1 to 3 of the planner, driven as an open file drives it."""

    def __init__(self) -> None:
        super().__init__()
        self.history = RunHistory()
        self.lives: dict[SequentialRun, Life] = {}
        #: Of cursors that have ended, and not told yet.
        self.due: list[ByteRange] = []
        self.at = 0

    @initialize(size=sizes)
    def open(self, size: int) -> None:
        self.size = size
        self.planner = ReadaheadPlanner(size, self.history)

    # -- what readers do

    @rule(length=lengths, waits=st.booleans(), limit=limits, refused=refusals)
    def read_next(self, length: int, waits: bool, limit: int, refused: int | None) -> None:
        self.read(self.at, length, waits, limit, refused)

    @rule(offset=places, length=lengths, waits=st.booleans(), limit=limits, refused=refusals)
    def read_anywhere(
        self, offset: int, length: int, waits: bool, limit: int, refused: int | None
    ) -> None:
        self.read(offset, length, waits, limit, refused)

    @precondition(lambda self: self.lives)
    @rule(
        which=st.integers(0, MAX_RUNS - 1),
        distance=st.one_of(st.just(0), st.integers(-2 * MIB, 2 * MIB)),
        length=lengths,
        waits=st.booleans(),
        limit=limits,
        refused=refusals,
    )
    def read_near_a_cursor(
        self,
        which: int,
        distance: int,
        length: int,
        waits: bool,
        limit: int,
        refused: int | None,
    ) -> None:
        life = list(self.lives.values())[which % len(self.lives)]
        self.read(life.cursor.position + distance, length, waits, limit, refused)

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
        self.at = self.at if start is None else start
        for _ in range(count):
            self.read(self.at, KERNEL_READ_BYTES, waits, limit, refused)

    @rule(starts=st.lists(places, min_size=2, max_size=5), count=st.integers(1, 8), limit=limits)
    def interleave(self, starts: list[int], count: int, limit: int) -> None:
        for step in range(count):
            for start in starts:
                offset = start + step * KERNEL_READ_BYTES
                self.read(offset, KERNEL_READ_BYTES, True, limit, None)

    @rule(start=places, lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5))
    def read_runs_by_another_file(self, start: int, lengths: list[int]) -> None:
        """What runs of the object have in common changes what this file plans."""
        other = ReadaheadPlanner(self.size, self.history)
        for number, length in enumerate(lengths):
            for step in range(length):
                offset = (start + number * 8 * MIB + step * KERNEL_READ_BYTES) % self.size
                other.observe(offset, min(offset + KERNEL_READ_BYTES, self.size))

    @rule()
    def stop(self) -> None:
        released = self.planner.stop()
        assert not self.planner.is_active
        self.bury()
        self.check_released(released)

    # -- as an open file does

    def read(self, offset: int, length: int, waits: bool, limit: int, refused: int | None) -> None:
        offset = max(0, offset) % self.size
        self.at = end = min(offset + length, self.size)
        cursor = self.planner.observe(offset, end)
        self.bury()
        if cursor is None:
            return
        self.follow(cursor)
        if waits:
            self.planner.note_wait(cursor, offset)
        if end >= cursor.replan_offset:
            self.plan(cursor, limit, refused)

    def follow(self, cursor: SequentialRun) -> None:
        life = self.lives.get(cursor)
        if life is None:
            for other in self.lives.values():
                other.at_work = False
            self.lives[cursor] = Life(cursor, cursor.position)
        else:
            life.at_work = True

    def plan(self, cursor: SequentialRun, limit: int, refused: int | None) -> None:
        life = self.lives[cursor]
        plan = self.planner.plan(cursor, limit)
        self.check_fetched(life, plan.fetch, limit)
        life.planned += plan.fetch
        self.bury()
        if cursor in self.lives:
            self.due += life.release(cursor.position - TOLERANCE_BYTES)
        else:
            assert cursor.position >= self.size or cursor.is_sparse
            assert not plan.fetch
        self.check_released(plan.release)
        if refused is not None and refused < len(plan.fetch):
            self.planner.note_refusal(cursor, plan.fetch[refused].offset)
            del life.planned[len(life.planned) - len(plan.fetch) + refused :]

    def bury(self) -> None:
        """Expect all that is left of cursors that have ended to be released."""
        for cursor in [cursor for cursor in self.lives if cursor not in self.planner._runs]:
            life = self.lives.pop(cursor)
            self.due += life.release(cursor.planned_end)
            life.check_that_all_was_released_once()

    # -- what must hold

    def check_fetched(self, life: Life, fetch: tuple[ByteRange, ...], limit: int) -> None:
        """Invariants 1 and 2."""
        at = max([life.cursor.position, *[wanted.end for wanted in life.planned]])
        for wanted in fetch:
            assert wanted.length > 0
            assert at <= wanted.offset < wanted.end <= self.size
            assert wanted.offset % GRANULE_BYTES == 0
            assert wanted.offset // PAGE_BYTES == (wanted.end - 1) // PAGE_BYTES
            at = wanted.end
        if fetch:
            # The READ itself is fetched up to here.
            position = -(-life.cursor.position // GRANULE_BYTES) * GRANULE_BYTES
            left = sum(other.ahead for other in self.lives.values() if not other.at_work)
            at_work = sum(other.at_work for other in self.lives.values())
            assert at - position <= max(limit - left, limit // 2) // at_work

    def check_released(self, released: Iterable[ByteRange]) -> None:
        """Invariant 3: neither more nor less than is due."""
        assert _in_order(released) == _in_order(self.due)
        self.due.clear()

    @invariant()
    def all_runs_are_known_and_few(self) -> None:
        assert set(self.planner._runs) == set(self.lives)
        assert len(self.lives) <= MAX_RUNS
        assert self.planner.is_active == bool(self.lives)
        assert self.planner.current is None or self.lives[self.planner.current].at_work

    @invariant()
    def all_that_is_planned_lies_before_the_end_of_what_is_ahead(self) -> None:
        for life in self.lives.values():
            assert all(wanted.end <= life.cursor.planned_end for wanted in life.planned)

    def teardown(self) -> None:
        self.stop()
        assert not self.lives
        assert self.planner.stop() == ()


def _in_order(ranges: Iterable[ByteRange]) -> list[tuple[int, int]]:
    return sorted((each.offset, each.end) for each in ranges)


TestReadahead = ReadaheadMachine.TestCase
TestReadahead.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
