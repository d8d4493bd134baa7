"""Tests the readahead planner with random READs, limits and refusals."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gcsmux_fs.reading.access_history import AccessHistory
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES, PAGE_BYTES
from gcsmux_fs.reading.planned_patterns import MAX_PATTERNS
from gcsmux_fs.reading.read_coverage import ALLOWANCE_BYTES
from gcsmux_fs.reading.readahead import ReadaheadPlanner
from gcsmux_fs.reading.sequential_run import KERNEL_READ_BYTES
from tests.support.examples import examples
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcsmux_fs.model.values import ByteRange
    from gcsmux_fs.reading.access_pattern import AccessPattern

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


class ReadaheadMachine(RuleBasedStateMachine):
    """Checks invariants 1 to 4 of `readahead`; calls the planner as an open file does."""

    def __init__(self) -> None:
        super().__init__()
        self.history = AccessHistory()
        #: For each pattern with a plan: its planned ranges, without the refused ones.
        self.planned: dict[AccessPattern, list[ByteRange]] = {}
        #: How many times each granule was planned and not refused, and released.
        self.planned_granules: Counter[int] = Counter()
        self.released_granules: Counter[int] = Counter()
        self.bytes_read = 0
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

    @precondition(lambda self: self.planner.current is not None)
    @rule(
        distance=st.integers(-2 * MIB, 2 * MIB),
        length=lengths,
        waits=st.booleans(),
        limit=limits,
        refused=refusals,
    )
    def read_near_the_run(
        self, distance: int, length: int, waits: bool, limit: int, refused: int | None
    ) -> None:
        assert self.planner.current is not None
        self.read(self.planner.current.position + distance, length, waits, limit, refused)

    @rule(
        start=st.one_of(st.none(), places),
        length=lengths,
        step=st.one_of(
            st.sampled_from([0, -GRANULE_BYTES, 100_000, MIB, -MIB]), st.integers(-9 * MIB, 9 * MIB)
        ),
        jitter=st.sampled_from([0, 0, 4 * KIB, 100 * KIB]),
        count=st.integers(2, 40),
        waits=st.booleans(),
        limit=limits,
        refused=refusals,
    )
    def read_at_a_stride(
        self,
        start: int | None,
        length: int,
        step: int,
        jitter: int,
        count: int,
        waits: bool,
        limit: int,
        refused: int | None,
    ) -> None:
        """Read upwards or downwards; a step of 0 continues where the last READ ended."""
        offset = self.position if start is None else start
        for number in range(count):
            place = offset + number * (step or length) + number * 7919 % (jitter + 1)
            self.read(place, length, waits, limit, refused)

    @rule(start=places, length=lengths, count=st.integers(2, 40), limit=limits)
    def read_downwards(self, start: int, length: int, count: int, limit: int) -> None:
        for number in range(count):
            self.read(start - number * length, length, True, limit, None)

    @rule(start=places, numbers=st.permutations(range(24)), limit=limits)
    def read_a_region_in_any_order(self, start: int, numbers: list[int], limit: int) -> None:
        for number in numbers:
            self.read(start + number * 300 * KIB, KERNEL_READ_BYTES, True, limit, None)

    @rule(starts=st.lists(places, min_size=2, max_size=20), count=st.integers(1, 8), limit=limits)
    def interleave(self, starts: list[int], count: int, limit: int) -> None:
        for step in range(count):
            for start in starts:
                offset = start + step * KERNEL_READ_BYTES
                self.read(offset, KERNEL_READ_BYTES, True, limit, None)

    @rule(start=places, lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5))
    def read_runs_by_another_file(self, start: int, lengths: list[int]) -> None:
        """Read runs by another open file: the history that both share changes the plans."""
        other = ReadaheadPlanner(self.size, self.history)
        for number, length in enumerate(lengths):
            for step in range(length):
                offset = (start + number * 8 * MIB + step * KERNEL_READ_BYTES) % self.size
                end = min(offset + KERNEL_READ_BYTES, self.size)
                other.observe(offset, end)
                self.bytes_read += end - offset

    @rule()
    def stop(self) -> None:
        self.note_released(self.planner.stop())
        assert not self.planner.is_active
        self.planned.clear()
        for granule, times in self.planned_granules.items():
            assert self.released_granules[granule] >= times
        self.planned_granules.clear()
        self.released_granules.clear()

    # -- the open file

    def read(self, offset: int, length: int, waits: bool, limit: int, refused: int | None) -> None:
        offset = max(0, offset) % self.size
        self.position = end = min(offset + length, self.size)
        self.bytes_read += end - offset
        pattern = self.planner.observe(offset, end)
        self.forget_ended_patterns()
        if pattern is None:
            return
        if pattern not in self.planned:
            self.planned[pattern] = []
        if waits:
            pattern.note_wait(offset)
        if end >= pattern.replan_offset:
            self.plan(pattern, limit, refused)

    def plan(self, pattern: AccessPattern, limit: int, refused: int | None) -> None:
        plan = self.planner.plan(pattern, limit)
        self.check_fetched(pattern, plan.fetch, limit)
        self.note_released(plan.release)
        kept = plan.fetch
        if refused is not None and refused < len(plan.fetch):
            self.planner.note_refusal(pattern, plan.fetch[refused])
            kept = plan.fetch[:refused]
            # Another pattern may plan the refused bytes, also where both patterns overlap.
            self.planned.clear()
        self.forget_ended_patterns()
        self.planned.get(pattern, []).extend(kept)
        self.planned_granules.update(_granules(kept))

    def forget_ended_patterns(self) -> None:
        for pattern in set(self.planned) - set(self.planner._patterns):
            del self.planned[pattern]

    def note_released(self, released: Iterable[ByteRange]) -> None:
        self.released_granules.update(_granules(released))

    # -- checks

    def check_fetched(
        self, pattern: AccessPattern, fetch: tuple[ByteRange, ...], limit: int
    ) -> None:
        """Check invariants 1 and 2 for the ranges of a plan."""
        ranges = list(self.planned.get(pattern, []))
        for target in fetch:
            assert target.length > 0
            assert 0 <= target.offset < target.end <= self.size
            assert target.offset % GRANULE_BYTES == 0
            assert target.end % GRANULE_BYTES == 0 or target.end == self.size
            assert target.offset // PAGE_BYTES == (target.end - 1) // PAGE_BYTES
            overlaps = [
                each for each in ranges if each.offset < target.end and target.offset < each.end
            ]
            assert not overlaps, (pattern, target)
            ranges.append(target)
        if fetch:
            active_patterns = sum(not each.may_have_ended for each in self.planner._patterns)
            # The READ itself has requested the bytes of its last granule.
            assert pattern.ahead_bytes <= limit // active_patterns + GRANULE_BYTES

    @invariant()
    def patterns_are_few(self) -> None:
        assert len(self.planner._patterns) <= MAX_PATTERNS
        assert set(self.planned) <= set(self.planner._patterns)

    @invariant()
    def unread_bytes_are_within_the_limit(self) -> None:
        """Check invariant 4."""
        coverage = self.history.coverage
        # A walk that has proved itself may ask for 3 times the bytes read, and 8 MiB.
        assert 0 <= coverage.unread_bytes <= ALLOWANCE_BYTES + 2 * self.bytes_read

    def teardown(self) -> None:
        self.stop()
        assert self.planner.stop() == ()


def _granules(ranges: Iterable[ByteRange]) -> Iterable[int]:
    """Return the numbers of the granules of which the ranges contain a byte."""
    for each in ranges:
        yield from range(each.offset // GRANULE_BYTES, -(-each.end // GRANULE_BYTES))


TestReadahead = ReadaheadMachine.TestCase
TestReadahead.settings = settings(max_examples=examples(100), stateful_step_count=50, deadline=None)
