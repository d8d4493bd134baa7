"""Tests the patterns of the readahead planner that are not ascending runs."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.reading.access_history import AccessHistory
from gcsmux_fs.reading.read_coverage import ALLOWANCE_BYTES, ReadCoverage
from gcsmux_fs.reading.readahead import ReadaheadPlanner
from tests.support.sizes import GIB, KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcsmux_fs.model.values import ByteRange

LIMIT = 64 * MIB
Reads = list[tuple[int, int]]


class Reader:
    """Passes READs to a planner as an open file does.

    A READ of bytes that were not planned has to wait, or each READ if `waits` is true.
    """

    def __init__(
        self, size: int, history: AccessHistory | None = None, *, waits: bool = False
    ) -> None:
        self.waits = waits
        self.planner = ReadaheadPlanner(size, history)
        self.planned: list[ByteRange] = []
        self.released: list[ByteRange] = []
        #: The READs of which not all bytes had been planned.
        self.missed: Reads = []

    def read(self, reads: Iterable[tuple[int, int]]) -> None:
        for offset, length in reads:
            is_planned = _covers(self.planned, offset, offset + length)
            if not is_planned:
                self.missed.append((offset, length))
            pattern = self.planner.observe(offset, offset + length)
            if pattern is None:
                continue
            if self.waits or not is_planned:
                pattern.note_wait(offset)
            if offset + length >= pattern.replan_offset:
                plan = self.planner.plan(pattern, LIMIT)
                self.planned += plan.fetch
                self.released += plan.release

    @property
    def planned_bytes(self) -> int:
        return sum(each.length for each in self.planned)


def _covers(ranges: list[ByteRange], offset: int, end: int) -> bool:
    for each in sorted(ranges, key=lambda each: each.offset):
        if each.offset <= offset < each.end:
            offset = each.end
    return offset >= end


def _missed(size: int, reads: Reads) -> int:
    reader = Reader(size)
    reader.read(reads)
    return len(reader.missed)


def _backwards(start: int, end: int, length: int) -> Reads:
    return [(offset, length) for offset in range(end - length, start - 1, -length)]


@pytest.mark.parametrize("length", [64 * KIB, 68 * KIB, 516 * KIB])
def test_descending_reads_are_planned_after_the_third(length: int) -> None:
    size = 120 * length
    reader = Reader(size)
    reader.read(_backwards(0, size, length))
    assert reader.missed[:3] == _backwards(0, size, length)[:3]
    # Each further miss doubles the window.
    assert len(reader.missed) <= 10
    assert reader.planned_bytes <= size


def test_window_of_a_descending_run_moves_down_and_its_ranges_are_released() -> None:
    reader = Reader(64 * MIB)
    reader.read(_backwards(32 * MIB, 64 * MIB, 128 * KIB))
    assert all(
        a.offset >= b.end or a.offset < b.offset
        for a, b in itertools.pairwise(sorted(reader.planned, key=lambda each: each.offset))
    )
    # What the run has passed by more than 1 MiB is released while the run goes on.
    assert min(each.offset for each in reader.released) <= 33 * MIB + 256 * KIB
    ahead = min(each.offset for each in reader.planned)
    released = reader.planner.stop()
    assert min(each.offset for each in released) == ahead


def test_next_descending_run_is_planned_at_its_first_read() -> None:
    history = AccessHistory()
    reader = Reader(64 * MIB, history)
    reader.read(_backwards(0, 4 * MIB, 64 * KIB))
    missed = len(reader.missed)
    for end in (8 * MIB, 12 * MIB, 16 * MIB):
        reader.read(_backwards(end - 4 * MIB, end, 64 * KIB))
    assert len(reader.missed) - missed <= 3
    assert history.coverage.unread_bytes == 0


@pytest.mark.parametrize(
    ("distance", "group"),
    [
        pytest.param(MIB, [64 * KIB], id="up"),
        pytest.param(-MIB, [64 * KIB], id="down"),
        pytest.param(1_000_003, [68 * KIB], id="odd distance"),
        pytest.param(4 * MIB, [128 * KIB] * 4, id="groups"),
        pytest.param(MIB, [128 * KIB] * 2, id="groups nearer than the tolerance of a run"),
        pytest.param(100_000, [4 * KIB], id="a page of each row"),
    ],
)
def test_strides_are_planned_after_the_third_group(distance: int, group: list[int]) -> None:
    size = 400 * MIB
    starts = range(0, 80 * abs(distance), abs(distance))
    reads: Reads = []
    for start in starts if distance > 0 else reversed(starts):
        # The kernel sends READs of whole pages.
        offset = start - start % (4 * KIB)
        for length in group:
            reads.append((offset, length))
            offset += length
    reader = Reader(size)
    reader.read(reads)
    assert len(reader.missed) <= 16
    read_bytes = sum(length for _, length in reads)
    window = max(16 * MIB, read_bytes)
    assert reader.planned_bytes <= 1.5 * max(read_bytes, len(starts) * 16 * KIB) + window // 2


def test_two_groups_in_a_cycle_are_planned_after_two_cycles() -> None:
    reads = [
        (cycle * 8 * MIB + group + part * 128 * KIB, 128 * KIB)
        for cycle in range(40)
        for group in (0, 3 * MIB)
        for part in range(4)
    ]
    assert _missed(400 * MIB, reads) <= 20


def test_run_may_continue_behind_the_tile_of_a_strided_run() -> None:
    reader = Reader(400 * MIB)
    reader.read([(start, 128 * KIB) for start in range(0, 60 * MIB, 10 * MIB)])
    missed = len(reader.missed)
    reader.read([(60 * MIB + at, 128 * KIB) for at in range(0, 4 * MIB, 128 * KIB)])
    assert len(reader.missed) - missed <= 2


def test_strided_run_ends_when_the_reads_leave_it() -> None:
    reader = Reader(GIB)
    reader.read([(start, 64 * KIB) for start in range(0, 20 * MIB, MIB)])
    assert reader.planner.is_active
    places = random.Random(3).sample(range(200, 1000), 5)
    reader.read([(place * MIB + place * 4 * KIB, 64 * KIB) for place in places])
    assert not reader.planner.is_active
    reader.planner.stop()
    planned = reader.planned_bytes
    reader.read([(900 * MIB, 64 * KIB)])
    assert reader.planned_bytes == planned


def test_random_rows_of_a_matrix_are_read_in_few_round_trips() -> None:
    # Each row takes two READs, because the kernel reads a window around the first page of the row.
    rows = random.Random(5).sample(range(1000), 400)
    reads = [
        (row * 192 * KIB + part, length)
        for row in rows
        for part, length in ((0, 128 * KIB), (128 * KIB, 64 * KIB))
    ]
    reader = Reader(200 * MIB)
    reader.read(reads)
    assert len(reader.missed) <= 320


@pytest.mark.parametrize(
    ("size", "length", "count"),
    [
        pytest.param(4 * GIB, 128 * KIB, 200, id="single pages of a mapped file"),
        pytest.param(4 * GIB, MIB, 200, id="the same with a large kernel window"),
        pytest.param(GIB, 4 * KIB, 1000, id="random 4 KiB"),
    ],
)
def test_few_random_reads_of_a_large_file_plan_nothing(size: int, length: int, count: int) -> None:
    # Two READs may adjoin each other by chance, so the places are multiples of two READs.
    places = random.Random(7).sample(range(size // (2 * length)), count)
    reader = Reader(size)
    reader.read([(place * 2 * length, length) for place in places])
    assert reader.planned_bytes <= count * length // 10


def test_header_and_footer_plan_little_and_the_run_between_them_starts_at_once() -> None:
    reader = Reader(400 * MIB)
    reader.read([(400 * MIB - 64 * KIB, 64 * KIB), (0, 16 * KIB)])
    assert reader.planned_bytes == 0
    reader.read([(100 * MIB, 128 * KIB), (100 * MIB + 128 * KIB, 128 * KIB)])
    assert reader.planned_bytes == MIB


def test_page_at_the_end_of_a_tensor_does_not_move_the_run() -> None:
    """A program that copies a mapped tensor touches its last page first."""
    reader = Reader(200 * MIB, waits=True)
    reader.read([(at, 128 * KIB) for at in range(0, 20 * MIB, 128 * KIB)])
    missed = len(reader.missed)
    run = reader.planner.current
    assert run is not None
    assert run.planned_end >= 26 * MIB
    reader.read([(24 * MIB, 128 * KIB)])
    reader.read([(at, 128 * KIB) for at in range(20 * MIB, 24 * MIB, 128 * KIB)])
    assert reader.planner.current is run
    assert len(reader.missed) - missed <= 1


def test_open_files_of_one_object_share_the_limit_of_unread_bytes() -> None:
    history = AccessHistory()
    for number in range(40):
        reader = Reader(4 * GIB, history)
        start = number * number * 2 * MIB
        reader.read([(start, 128 * KIB), (start + 128 * KIB, 128 * KIB)])
        reader.planner.stop()
    read_bytes = 40 * 256 * KIB
    assert history.coverage.unread_bytes <= ALLOWANCE_BYTES + read_bytes // 2


def test_coverage_knows_the_planned_bytes_that_were_not_read() -> None:
    coverage = ReadCoverage()
    coverage.note_planned(MIB, 5 * MIB)
    coverage.note_read(0, 128 * KIB)
    assert coverage.unread_bytes == 4 * MIB
    coverage.note_read(MIB, MIB + 4 * KIB)
    coverage.note_read(2 * MIB - 4 * KIB, 2 * MIB + 4 * KIB)
    assert coverage.unread_bytes == 4 * MIB - 48 * KIB
    coverage.note_read(MIB, 5 * MIB)
    coverage.note_read(MIB, 5 * MIB)
    assert coverage.unread_bytes == 0
    coverage.note_planned(8 * MIB, 9 * MIB)
    coverage.note_refused(8 * MIB + 512 * KIB, 9 * MIB)
    assert coverage.unread_bytes == 512 * KIB


def test_coverage_returns_the_missing_parts() -> None:
    coverage = ReadCoverage()
    coverage.note_read(100_000, 200_000)
    coverage.note_planned(3 * MIB, 4 * MIB)
    assert coverage.missing(0, 5 * MIB) == [
        (0, 96 * KIB),
        (208 * KIB, 2 * MIB),
        (2 * MIB, 3 * MIB),
        (4 * MIB, 5 * MIB),
    ]


def test_groups_of_a_strided_run_plan_no_byte_twice() -> None:
    # READs at two places in turn. The upper place moves down to where the lower one began.
    places = [place for step in range(11) for place in (22 - step, 11 - step)]
    reader = Reader(64 * MIB, waits=True)
    reader.read([(MIB + place * 300 * KIB, 128 * KIB) for place in places])
    planned = sorted(reader.planned, key=lambda each: each.offset)
    assert len(reader.missed) <= len(places) // 2
    assert all(lower.end <= upper.offset for lower, upper in itertools.pairwise(planned))
