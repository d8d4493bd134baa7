from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcsmux_fs.reading.access_patterns import RunHistory, SequentialRun
from gcsmux_fs.reading.readahead import MAX_RUNS, ReadaheadPlanner

from .fakes import KIB, MIB

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ByteRange

LIMIT = 64 * MIB


def read(
    planner: ReadaheadPlanner, offset: int, size: int, *, waits: bool = False, limit: int = LIMIT
) -> list[tuple[int, int]]:
    """Do as an open file does with a READ, and return what is to be fetched ahead."""
    cursor = planner.observe(offset, offset + size)
    if cursor is None:
        return []
    if waits:
        planner.note_wait(cursor, offset)
    if offset + size < cursor.replan_offset:
        return []
    return [(r.offset, r.end) for r in planner.plan(cursor, limit).fetch]


def covered(spans: list[tuple[int, int]]) -> int:
    return sum(end - start for start, end in spans)


def stream(planner: ReadaheadPlanner, start: int, end: int, size: int) -> list[tuple[int, int]]:
    return [span for at in range(start, end, size) for span in read(planner, at, size)]


def test_read_of_128_kib_at_the_start_begins_a_run_with_1_mib_in_several_ranges() -> None:
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
            [(at * 12_289 * KIB % (96 * MIB), 4 * KIB) for at in range(200)], id="random 4 KiB"
        ),
        pytest.param(
            [(at * 12_289 * KIB % (96 * MIB) + 1, 64 * KIB) for at in range(200)],
            id="random 64 KiB",
        ),
        pytest.param(
            [(at, 128 * KIB) for at in range(50 * MIB, 10 * MIB, -128 * KIB)], id="backwards"
        ),
        pytest.param(
            [(7 * MIB, 4 * KIB), (7 * MIB + 4 * KIB, 4 * KIB)], id="two neighbouring pages"
        ),
    ],
)
def test_reads_that_are_no_run_fetch_nothing_ahead(reads: list[tuple[int, int]]) -> None:
    planner = ReadaheadPlanner(100 * MIB)
    assert [span for offset, size in reads for span in read(planner, offset, size)] == []


def test_second_read_that_adjoins_an_earlier_one_begins_a_run_anywhere() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    assert read(planner, 40 * MIB, 128 * KIB) == []
    assert read(planner, 70 * MIB, 128 * KIB) == []
    spans = read(planner, 40 * MIB + 128 * KIB, 128 * KIB)
    assert spans[0][0] == 40 * MIB + 256 * KIB
    assert spans[-1][1] == 41 * MIB + 256 * KIB


def test_window_of_a_growing_mmap_run_follows_what_has_been_read() -> None:
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


def test_whole_file_is_planned_once_and_nothing_beyond_its_end() -> None:
    size = 37 * MIB + 4321
    planner = ReadaheadPlanner(size)
    spans = [(0, 128 * KIB)]
    for at in range(0, size, 128 * KIB):
        spans += read(planner, at, min(128 * KIB, size - at), waits=at % (5 * MIB) == 0)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert (0, size) == (spans[0][0], spans[-1][1])
    assert not planner.is_active


def test_window_doubles_once_for_all_reads_that_wait_for_the_same_bytes() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    read(planner, 0, 128 * KIB, waits=True)
    windows = []
    for at in range(128 * KIB, 64 * MIB, 128 * KIB):
        read(planner, at, 128 * KIB, waits=True)
        assert planner.current is not None
        windows.append(planner.current.window)
    growth = sorted(set(windows))
    assert growth == [2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB, 32 * MIB, 64 * MIB]
    # Doubling takes a window's worth of reading: 1 + 2 + 4 + 8 + 16 MiB before 64.
    assert 28 * MIB <= 128 * KIB * windows.index(64 * MIB) <= 32 * MIB


def test_reader_that_never_waits_keeps_its_first_window() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    stream(planner, 0, 100 * MIB, 128 * KIB)
    assert planner.current is not None
    assert planner.current.window == MIB


def test_large_window_asks_for_whole_aligned_ranges_of_2_mib() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    at = 0
    while at < 200 * MIB:
        read(planner, at, 128 * KIB, waits=True)
        at += 128 * KIB
    spans = stream(planner, at, at + 100 * MIB, 128 * KIB)
    assert {2 * MIB} == {end - start for start, end in spans}
    assert {0} == {start % (2 * MIB) for start, _ in spans}


def test_kernel_reads_out_of_order_are_one_run() -> None:
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


def test_interleaved_readers_each_have_a_window() -> None:
    planner = ReadaheadPlanner(400 * MIB)
    starts = [n * 100 * MIB for n in range(MAX_RUNS)]
    spans: list[tuple[int, int]] = []
    for step in range(80):
        for start in starts:
            spans += read(planner, start + step * 128 * KIB, 128 * KIB)
    for start in starts:
        mine = [span for span in spans if start <= span[0] < start + 100 * MIB]
        assert 10 * MIB <= mine[-1][1] - start <= 12 * MIB
        assert all(a[1] == b[0] for a, b in itertools.pairwise(mine))


def test_readers_of_one_file_share_its_limit() -> None:
    planner = ReadaheadPlanner(400 * MIB)
    for step in range(400):
        for start in (0, 200 * MIB):
            offset = start + step * 128 * KIB
            read(planner, offset, 128 * KIB, waits=True, limit=8 * MIB)
    cursor = planner.current
    assert cursor is not None
    assert cursor.planned_end - cursor.position <= 4 * MIB
    assert cursor.window == 4 * MIB


def test_fifth_reader_takes_the_place_of_the_one_idle_longest() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n in range(MAX_RUNS):
        stream(planner, n * 100 * MIB, n * 100 * MIB + MIB, 128 * KIB)
    stream(planner, 0, 128 * KIB, 128 * KIB)
    cursor = planner.observe(700 * MIB, 700 * MIB + 128 * KIB)
    assert cursor is not None
    released = planner.plan(cursor, LIMIT).release
    assert [r.offset for r in released] == [100 * MIB + 256 * KIB]
    assert 102 * MIB >= released[0].end >= 101 * MIB + 512 * KIB


def test_reader_that_skips_most_of_what_it_passes_is_given_up() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    stream(planner, 0, 256 * KIB, 128 * KIB)
    for at in range(MIB, 20 * MIB, 512 * KIB):
        read(planner, at, 4 * KIB)
    assert not planner.is_active


def test_refusal_halves_the_window_and_what_was_refused_is_planned_again() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    cursor = planner.observe(0, 128 * KIB)
    assert cursor is not None
    first = planner.plan(cursor, LIMIT).fetch
    planner.note_refusal(cursor, first[1].offset)
    assert cursor.window == 512 * KIB
    again = read(planner, 128 * KIB, 128 * KIB)
    assert first[1].offset == again[0][0]
    for _ in range(9):
        planner.note_refusal(cursor, cursor.planned_end)
    assert cursor.window == 128 * KIB


def test_no_limit_left_means_no_readahead() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    assert read(planner, 0, 128 * KIB, limit=0) == []
    assert read(planner, 128 * KIB, 128 * KIB, limit=100 * KIB) == []
    assert covered(read(planner, 256 * KIB, 128 * KIB, limit=256 * KIB)) == 256 * KIB


def test_readers_that_ran_past_what_they_have_ahead_add_nothing_to_the_limit() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for start in (100 * MIB, 300 * MIB):
        for offset, size in ((0, 4 * KIB), (4 * KIB, 4 * KIB), (8 * KIB, 128 * KIB)):
            assert read(planner, start + offset, size, limit=0) == []
    assert read(planner, 0, 128 * KIB, limit=0) == []


def test_stopped_reader_goes_on_with_its_next_read() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    stream(planner, 0, 2 * MIB, 128 * KIB)
    planner.stop()
    assert not planner.is_active
    assert read(planner, 2 * MIB, 128 * KIB)[0][0] == 2 * MIB + 128 * KIB


def test_ranges_are_aligned_whatever_the_reads_are() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    spans = stream(planner, 0, 3 * MIB, 100_001)
    assert spans[0][0] == 208 * KIB
    assert {start % (16 * KIB) for start, _ in spans} == {0}


def test_read_out_of_order_goes_to_the_nearest_of_two_readers() -> None:
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


def test_what_a_reader_has_passed_is_released_bit_by_bit_and_the_rest_when_it_ends() -> None:
    planner = ReadaheadPlanner(100 * MIB)
    released: list[ByteRange] = []
    for at in range(0, 20 * MIB, 128 * KIB):
        cursor = planner.observe(at, at + 128 * KIB)
        assert cursor is not None
        released += planner.plan(cursor, LIMIT).release
        if released:
            assert at + 128 * KIB - MIB == released[-1].end
    assert cursor is not None
    planned_end = cursor.planned_end
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
def test_all_that_is_planned_is_released_once(
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
        cursor: SequentialRun | None = planner.observe(offset, end)
        if cursor is None:
            continue
        if waits:
            planner.note_wait(cursor, offset)
        plan = planner.plan(cursor, limit)
        planned += plan.fetch
        released += plan.release
        for wanted in plan.fetch:
            assert 0 < wanted.length <= 2 * MIB
            assert wanted.end <= size
            assert wanted.offset // (2 * MIB) == (wanted.end - 1) // (2 * MIB)
        assert sum(r.length for r in plan.fetch) <= limit
    released += planner.stop()
    assert not planner.is_active
    for wanted in planned:
        inside = [r for r in released if max(r.offset, wanted.offset) < min(r.end, wanted.end)]
        overlap = sum(min(r.end, wanted.end) - max(r.offset, wanted.offset) for r in inside)
        assert overlap >= wanted.length


def test_runs_that_were_all_alike_are_fetched_whole_at_the_first_read_of_the_next() -> None:
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


def test_run_that_goes_on_where_all_others_ended_is_followed_again() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n in (700, 300, 500, 100):
        stream(planner, n * MIB, (n + 1) * MIB, 128 * KIB)
    spans = stream(planner, 400 * MIB, 401 * MIB + 128 * KIB, 128 * KIB)
    assert spans[-1][1] > 401 * MIB + 128 * KIB


def test_run_is_expected_to_be_as_long_as_the_shortest_of_the_last_four() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n, length in ((0, 128), (100, 30), (200, 9), (300, 64), (500, 12)):
        stream(planner, n * MIB + 16 * KIB, n * MIB + 16 * KIB + length * MIB, 128 * KIB)
    spans = read(planner, 800 * MIB, 128 * KIB)
    assert spans[0][0] == 800 * MIB + 128 * KIB
    assert 7 * MIB <= covered(spans) <= 9 * MIB


def test_single_read_among_the_last_runs_ends_the_habit() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n in (700, 300, 500, 100):
        stream(planner, n * MIB, (n + 1) * MIB, 128 * KIB)
    read(planner, 900 * MIB, 4 * KIB)
    assert read(planner, 600 * MIB, 128 * KIB) == []


def test_small_read_is_no_beginning_of_a_long_run_whatever_runs_were_before() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n in (700, 300, 500, 100):
        stream(planner, n * MIB, (n + 1) * MIB, 128 * KIB)
    assert read(planner, 400 * MIB, 4 * KIB) == []


def test_readers_of_one_object_learn_from_each_other() -> None:
    history = RunHistory()
    for n in (700, 300, 500, 100, 800):
        other = ReadaheadPlanner(1000 * MIB, history)
        stream(other, n * MIB, (n + 1) * MIB, 128 * KIB)
        read(other, 0, 4 * KIB)
    assert covered(read(ReadaheadPlanner(1000 * MIB, history), 400 * MIB, 128 * KIB)) == 896 * KIB


def test_run_that_was_left_takes_no_share_of_the_next_ones_window() -> None:
    planner = ReadaheadPlanner(1000 * MIB)
    for n in (100, 300, 500):
        stream(planner, n * MIB, n * MIB + 512 * KIB, 128 * KIB)
    for at in range(700 * MIB, 900 * MIB, 128 * KIB):
        read(planner, at, 128 * KIB, waits=True)
    assert planner.current is not None
    assert planner.current.window > 56 * MIB


def test_what_a_reader_has_left_ahead_counts_until_it_is_given_up() -> None:
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
