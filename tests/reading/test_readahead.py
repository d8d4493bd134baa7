from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.access_history import AccessHistory
from gcsmux_fs.reading.planned_patterns import MAX_PATTERNS
from gcsmux_fs.reading.readahead import ReadaheadPlanner
from gcsmux_fs.reading.sequential_run import SequentialRun
from tests.support.sizes import GIB, KIB, MIB

if TYPE_CHECKING:
    from gcsmux_fs.reading.access_pattern import AccessPattern

LIMIT = 64 * MIB


def read(
    planner: ReadaheadPlanner, offset: int, size: int, *, waits: bool = False, limit: int = LIMIT
) -> list[tuple[int, int]]:
    """Pass a READ to the planner as an open file does, and return the ranges to fetch ahead."""
    run = planner.observe(offset, offset + size)
    if run is None:
        return []
    if waits:
        run.note_wait(offset)
    if offset + size < run.replan_offset:
        return []
    return [(r.offset, r.end) for r in planner.plan(run, limit).fetch]


def covered(spans: list[tuple[int, int]]) -> int:
    return sum(end - start for start, end in spans)


def stream(planner: ReadaheadPlanner, start: int, end: int, size: int) -> list[tuple[int, int]]:
    return [span for at in range(start, end, size) for span in read(planner, at, size)]


def test_read_of_128_kib_at_the_start_plans_1_mib_in_several_ranges() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    spans = read(planner, 0, 128 * KIB)
    assert spans == [
        (128 * KIB, 256 * KIB),
        (256 * KIB, 512 * KIB),
        (512 * KIB, 768 * KIB),
        (768 * KIB, 1024 * KIB),
    ]


@pytest.mark.parametrize(
    "reads",
    [
        pytest.param([(0, 4 * KIB)], id="small read at the start"),
        pytest.param([(5 * MIB, MIB)], id="one large read elsewhere"),
        pytest.param(
            [(at * 4 * KIB, 4 * KIB) for at in random.Random(1).sample(range(24_000), 200)],
            id="random 4 KiB",
        ),
        pytest.param(
            [(at * MIB + 1, 64 * KIB) for at in random.Random(2).sample(range(96), 20)],
            id="a few random 64 KiB",
        ),
        pytest.param(
            [(7 * MIB, 4 * KIB), (7 * MIB + 4 * KIB, 4 * KIB)], id="two neighbouring pages"
        ),
    ],
)
def test_reads_that_are_not_sequential_fetch_nothing_ahead(reads: list[tuple[int, int]]) -> None:
    planner = ReadaheadPlanner(100 * MIB)
    assert [span for offset, size in reads for span in read(planner, offset, size)] == []


def test_read_that_adjoins_an_earlier_one_starts_a_plan_anywhere() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    assert read(planner, 40 * MIB, 128 * KIB) == []
    assert read(planner, 70 * MIB, 128 * KIB) == []
    spans = read(planner, 40 * MIB + 128 * KIB, 128 * KIB)
    assert spans[0][0] == 40 * MIB + 256 * KIB
    assert spans[-1][1] == 41 * MIB + 256 * KIB


def test_first_window_grows_with_the_bytes_read() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    sizes = [16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB, 128 * KIB]
    ahead = []
    at = 0
    for size in sizes:
        read(planner, at, size)
        at += size
        ahead.append(planner.current.planned_end - at if planner.current else 0)
    assert ahead[0] == 0
    assert ahead[1] <= 8 * 48 * KIB
    assert MIB >= ahead[-1] >= MIB * 3 // 4


def test_whole_file_is_planned_once_and_no_byte_beyond_its_end() -> None:
    size = 37 * MIB + 4321
    planner = ReadaheadPlanner(size)
    spans = [(0, 128 * KIB)]
    for at in range(0, size, 128 * KIB):
        spans += read(planner, at, min(128 * KIB, size - at), waits=at % (5 * MIB) == 0)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert (0, size) == (spans[0][0], spans[-1][1])
    assert not planner.is_active


def test_window_doubles_once_for_reads_that_wait_for_the_same_bytes() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    read(planner, 0, 128 * KIB, waits=True)
    windows = []
    for at in range(128 * KIB, 64 * MIB, 128 * KIB):
        read(planner, at, 128 * KIB, waits=True)
        assert planner.current is not None
        windows.append(planner.current.window)
    growth = sorted(set(windows))
    assert growth == [2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB, 32 * MIB, 64 * MIB]
    # The window doubles after READs of one whole window: 1 + 2 + 4 MiB before 16 MiB.
    assert 6 * MIB <= 128 * KIB * windows.index(16 * MIB) <= 8 * MIB


def test_run_that_never_waits_keeps_its_first_window() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    stream(planner, 0, 100 * MIB, 128 * KIB)
    assert planner.current is not None
    assert planner.current.window == MIB


def test_large_window_is_planned_in_aligned_ranges_of_2_mib() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    at = 0
    while at < 200 * MIB:
        read(planner, at, 128 * KIB, waits=True)
        at += 128 * KIB
    spans = stream(planner, at, at + 100 * MIB, 128 * KIB)
    assert {2 * MIB} == {end - start for start, end in spans}
    assert {0} == {start % (2 * MIB) for start, _ in spans}


def test_reads_out_of_order_belong_to_one_run() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    spans = read(planner, 0, 128 * KIB)
    at = 128 * KIB
    while at < 50 * MIB:
        batch = [at + n * 128 * KIB for n in (1, 0, 3, 2, 7, 5, 6, 4)]
        for offset in batch:
            spans += read(planner, offset, 128 * KIB)
        at += MIB
    assert 50 * MIB <= 128 * KIB + covered(spans) <= 53 * MIB
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))


def test_interleaved_runs_have_a_window_each() -> None:
    planner = ReadaheadPlanner(1600 * MIB)
    starts = [n * n * 6 * MIB + n * 10 * MIB for n in range(MAX_PATTERNS)]
    spans: list[tuple[int, int]] = []
    for step in range(80):
        for start in starts:
            spans += read(planner, start + step * 128 * KIB, 128 * KIB)
    for start in starts:
        mine = [span for span in spans if start <= span[0] < start + 16 * MIB]
        assert 10 * MIB < mine[-1][1] - start <= 12 * MIB
        assert all(a[1] == b[0] for a, b in itertools.pairwise(mine))


def test_runs_of_one_file_share_its_limit() -> None:
    planner = ReadaheadPlanner(400 * MIB)
    for step in range(400):
        for start in (0, 200 * MIB):
            offset = start + step * 128 * KIB
            read(planner, offset, 128 * KIB, waits=True, limit=8 * MIB)
    run = planner.current
    assert run is not None
    assert run.planned_end - run.position <= 4 * MIB
    assert run.window == 4 * MIB


def test_run_too_many_replaces_the_least_recently_used_one() -> None:
    planner = ReadaheadPlanner(4000 * MIB)
    for n in range(MAX_PATTERNS):
        start = n * n * 10 * MIB
        stream(planner, start, start + MIB, 128 * KIB)
    stream(planner, MIB, MIB + 128 * KIB, 128 * KIB)
    run = planner.observe(3001 * MIB, 3001 * MIB + 128 * KIB)
    assert run is not None
    released = planner.plan(run, LIMIT).release
    assert [r.offset for r in released] == [10 * MIB + 256 * KIB]
    assert 12 * MIB >= released[0].end >= 11 * MIB + 512 * KIB


def test_run_that_skips_most_bytes_ends() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    stream(planner, 0, 256 * KIB, 128 * KIB)
    at = 256 * KIB
    for skipped in (400, 700, 500, 800, 450, 900, 650, 550):
        at += skipped * KIB
        read(planner, at, 4 * KIB)
    assert not planner.is_active


def test_refusal_halves_the_window_and_refused_ranges_are_planned_again() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    run = planner.observe(0, 128 * KIB)
    assert isinstance(run, SequentialRun)
    first = planner.plan(run, LIMIT).fetch
    planner.note_refusal(run, first[1])
    assert run.window == 512 * KIB
    again = read(planner, 128 * KIB, 128 * KIB)
    assert first[1].offset == again[0][0]
    for _ in range(9):
        run.note_refusal(ByteRange(run.planned_end, 1))
    assert run.window == 128 * KIB


def test_limit_of_zero_plans_no_readahead() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    assert read(planner, 0, 128 * KIB, limit=0) == []
    assert read(planner, 128 * KIB, 128 * KIB, limit=100 * KIB) == []
    assert covered(read(planner, 256 * KIB, 128 * KIB, limit=256 * KIB)) == 256 * KIB


def test_run_beyond_its_planned_end_adds_nothing_to_the_limit() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for start in (100 * MIB, 300 * MIB):
        for offset, size in ((0, 4 * KIB), (4 * KIB, 4 * KIB), (8 * KIB, 128 * KIB)):
            assert read(planner, start + offset, size, limit=0) == []
    assert read(planner, 0, 128 * KIB, limit=0) == []


def test_stopped_run_continues_with_its_next_read() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    stream(planner, 0, 2 * MIB, 128 * KIB)
    planner.stop()
    assert not planner.is_active
    assert read(planner, 2 * MIB, 128 * KIB)[0][0] == 2 * MIB + 128 * KIB


def test_ranges_are_aligned_for_unaligned_reads() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    spans = stream(planner, 0, 3 * MIB, 100_001)
    assert spans[0][0] == 208 * KIB
    assert {start % (16 * KIB) for start, _ in spans} == {0}


def test_read_out_of_order_belongs_to_the_nearest_run() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    stream(planner, 120 * MIB, 121 * MIB, 128 * KIB)
    second = planner.current
    for at in range(0, 100 * MIB, 128 * KIB):
        read(planner, at, 128 * KIB, waits=True)
    first = planner.current
    assert first is not None
    assert second is not None
    assert first.planned_end > second.position
    planner.observe(121 * MIB, 121 * MIB + 128 * KIB)
    planner.observe(121 * MIB + 256 * KIB, 121 * MIB + 384 * KIB)
    assert (first.position, second.position) == (100 * MIB, 121 * MIB + 384 * KIB)


def test_passed_ranges_are_released_while_the_run_goes_on_and_the_rest_at_its_end() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    released: list[ByteRange] = []
    for at in range(0, 20 * MIB, 128 * KIB):
        pattern = planner.observe(at, at + 128 * KIB)
        assert pattern is not None
        released += planner.plan(pattern, LIMIT).release
        if released:
            assert at + 128 * KIB - MIB == released[-1].end
    run = planner.current
    assert run is not None
    planned_end = run.planned_end
    released += planner.stop()
    assert released[0].offset == 128 * KIB
    assert all(a.end == b.offset for a, b in itertools.pairwise(released))
    assert released[-1].end == planned_end


@settings(deadline=None)
@given(
    size=st.integers(1, 30 * MIB),
    reads=st.lists(
        st.tuples(
            st.sampled_from(["next", "near", "anywhere"]),
            st.integers(0, 30 * MIB),
            st.sampled_from([1, 4096, 100_000, 128 * KIB, MIB]),
            st.booleans(),
            st.integers(0, 16 * MIB),
        ),
        max_size=60,
    ),
)
def test_all_planned_bytes_are_released(
    size: int, reads: list[tuple[str, int, int, bool, int]]
) -> None:
    planner = ReadaheadPlanner(size)
    planned: list[ByteRange] = []
    released: list[ByteRange] = []
    at = 0
    for how, where, length, waits, limit in reads:
        offset = {"next": at, "near": at + where % (2 * MIB) - MIB, "anywhere": where}[how]
        offset = max(0, offset) % size
        at = end = min(offset + length, size)
        run: AccessPattern | None = planner.observe(offset, end)
        if run is None:
            continue
        if waits:
            run.note_wait(offset)
        plan = planner.plan(run, limit)
        planned += plan.fetch
        released += plan.release
        for target in plan.fetch:
            assert 0 < target.length <= 2 * MIB
            assert target.end <= size
            assert target.offset // (2 * MIB) == (target.end - 1) // (2 * MIB)
        assert sum(r.length for r in plan.fetch) <= limit
    released += planner.stop()
    assert not planner.is_active
    for target in planned:
        overlaps = [min(r.end, target.end) - max(r.offset, target.offset) for r in released]
        assert sum(overlap for overlap in overlaps if overlap > 0) >= target.length


def test_first_read_after_runs_of_equal_length_plans_a_run_of_that_length() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n in (700, 300, 500, 100):
        stream(planner, n * MIB, (n + 1) * MIB, 128 * KIB)
    spans = read(planner, 400 * MIB, 128 * KIB, waits=True)
    assert (spans[0][0], spans[-1][1]) == (400 * MIB + 128 * KIB, 401 * MIB)
    assert covered(spans) == MIB - 128 * KIB
    assert planner.current is not None
    assert planner.current.replan_offset > 401 * MIB
    for at in range(400 * MIB + 128 * KIB, 401 * MIB, 128 * KIB):
        assert read(planner, at, 128 * KIB, waits=True) == []


def test_run_that_exceeds_the_common_length_is_planned_further() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n in (700, 300, 500, 100):
        stream(planner, n * MIB, (n + 1) * MIB, 128 * KIB)
    spans = stream(planner, 400 * MIB, 401 * MIB + 128 * KIB, 128 * KIB)
    assert spans[-1][1] > 401 * MIB + 128 * KIB


def test_run_is_expected_to_reach_the_second_shortest_length_of_the_last_four() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n, length in ((0, 128), (100, 30), (200, 9), (300, 64), (500, 12)):
        stream(planner, n * MIB + 16 * KIB, n * MIB + 16 * KIB + length * MIB, 128 * KIB)
    spans = read(planner, 800 * MIB, 128 * KIB)
    assert spans[0][0] == 800 * MIB + 128 * KIB
    assert 11 * MIB <= covered(spans) <= 12 * MIB


def test_two_single_reads_among_the_last_runs_end_the_forecast() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n in (700, 300, 500, 100):
        stream(planner, n * MIB, (n + 1) * MIB, 128 * KIB)
    read(planner, 900 * MIB, 4 * KIB)
    read(planner, 930 * MIB, 4 * KIB)
    assert read(planner, 600 * MIB, 128 * KIB) == []


def test_small_read_plans_nothing_after_any_runs() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n in (700, 300, 500, 100):
        stream(planner, n * MIB, (n + 1) * MIB, 128 * KIB)
    assert read(planner, 400 * MIB, 4 * KIB) == []


def test_open_files_of_one_object_share_the_run_history() -> None:
    history = AccessHistory()
    for n in (700, 300, 500, 100, 800):
        other = ReadaheadPlanner(1000 * MIB, history)
        stream(other, n * MIB, (n + 1) * MIB, 128 * KIB)
        read(other, 0, 4 * KIB)
    assert covered(read(ReadaheadPlanner(1000 * MIB, history), 400 * MIB, 128 * KIB)) == 896 * KIB


def test_ended_run_takes_no_share_of_the_next_window() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n in (100, 300, 500):
        stream(planner, n * MIB, n * MIB + 512 * KIB, 128 * KIB)
    for at in range(700 * MIB, 900 * MIB, 128 * KIB):
        read(planner, at, 128 * KIB, waits=True)
    assert planner.current is not None
    assert planner.current.window > 56 * MIB


def test_bytes_ahead_of_an_inactive_run_count_against_the_limit() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for at in range(0, 100 * MIB, 128 * KIB):
        read(planner, at, 128 * KIB, waits=True)
    left = planner.current
    assert left is not None
    assert left.planned_end - left.position > 32 * MIB
    for at in range(700 * MIB, 800 * MIB, 128 * KIB):
        read(planner, at, 128 * KIB, waits=True)
    assert planner.current is not None
    assert planner.current.window == LIMIT // 2


@pytest.mark.parametrize(("group_bytes", "limit"), [(64 * MIB, 16 * MIB), (4 * MIB, MIB)])
def test_groups_that_are_longer_than_the_limit_are_read_ahead(group_bytes: int, limit: int) -> None:
    planner = ReadaheadPlanner(10 * GIB)
    planned: set[int] = set()
    late = 0
    for start in range(0, 12 * group_bytes, 2 * group_bytes):
        for offset in range(start, start + group_bytes, 128 * KIB):
            late += offset not in planned
            for first, end in read(planner, offset, 128 * KIB, waits=True, limit=limit):
                planned.update(range(first, end, 128 * KIB))
    assert late <= 4 * 6


def test_strided_run_that_never_waits_is_planned_seldom() -> None:
    planner = ReadaheadPlanner(10 * GIB)
    plans = [read(planner, at, 4 * KIB, waits=at < 100 * MIB) for at in range(0, 400 * MIB, MIB)]
    assert 0 < sum(1 for plan in plans[100:] if plan) <= 30
