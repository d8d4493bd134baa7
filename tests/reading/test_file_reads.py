"""Tests of FileReads: which part of a file counts as read after READs in different orders."""

from __future__ import annotations

import random

import pytest

from gcsmux_fs.reading.file_reads import FileReads
from gcsmux_fs.reading.readahead import ReadaheadPlanner
from tests.support.sizes import KIB, MIB

SIZE = 20 * MIB


class ReadFile:
    """A file that gets READs as from `OpenFile`, which does not note READs on its fast path."""

    def __init__(self, size: int = SIZE) -> None:
        self.planner = ReadaheadPlanner(size)
        self.reads = FileReads("d/a", size, self.planner)

    def read(self, offset: int, length: int) -> None:
        end = min(offset + length, self.reads.size)
        run = self.planner.current
        if run is not None and offset == run.position and end < run.replan_offset:
            run.position = end
            return
        self.reads.note(offset, end)
        pattern = self.planner.observe(offset, end)
        if pattern is not None and end >= pattern.replan_offset:
            self.planner.plan(pattern, 8 * MIB)


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        pytest.param([], (0, 0), id="nothing"),
        pytest.param([0], (128 * KIB, 0), id="the head"),
        pytest.param([SIZE - 128 * KIB], (0, 128 * KIB), id="the tail"),
        pytest.param([0, SIZE - 256 * KIB], (128 * KIB, 256 * KIB), id="both"),
        pytest.param(range(0, 5 * MIB, 128 * KIB), (5 * MIB, 0), id="a long head"),
        pytest.param([128 * KIB, 384 * KIB, 0, 256 * KIB], (512 * KIB, 0), id="in any order"),
        pytest.param(range(0, SIZE, 128 * KIB), (SIZE, 0), id="all"),
        pytest.param([*range(0, 4 * MIB, 128 * KIB), 6 * MIB], (4 * MIB, 14 * MIB), id="a jump"),
    ],
)
def test_reads_cover_a_head_and_a_tail(offsets: list[int], expected: tuple[int, int]) -> None:
    file = ReadFile()
    for offset in offsets:
        file.read(offset, 128 * KIB)
    summary = file.reads.summary
    assert (summary.head, summary.tail) == expected
    assert summary.is_whole == (summary.head == SIZE)


def test_shuffled_reads_of_all_of_a_file_cover_it() -> None:
    file = ReadFile()
    offsets = list(range(0, SIZE, 128 * KIB))
    random.Random(1).shuffle(offsets)
    for offset in offsets:
        file.read(offset, 128 * KIB)
    assert file.reads.summary.is_whole


def test_random_reads_of_few_bytes_do_not_count_as_the_whole_file() -> None:
    file = ReadFile()
    for offset in random.Random(1).sample(range(0, SIZE, 4 * KIB), 400):
        file.read(offset, 4 * KIB)
    summary = file.reads.summary
    assert summary.head + summary.tail > SIZE * 0.9
    assert not summary.is_whole
