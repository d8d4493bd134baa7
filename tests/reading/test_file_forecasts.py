"""Tests of FileForecasts: what is expected to be read of a file after similar files were read."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.file_forecasts import (
    PARTLY_READ_FILES,
    UNKNOWN,
    WHOLE_FILES,
    FileForecast,
    FileForecasts,
)
from gcsmux_fs.reading.file_reads import FileReads
from gcsmux_fs.reading.readahead import ReadaheadPlanner
from tests.support.sizes import KIB, MIB

SIZE = 10 * MIB
HEAD, TAIL, ALL, MIDDLE = (0, 16 * KIB), (SIZE - 4 * KIB, SIZE), (0, SIZE), (SIZE // 8, SIZE // 7)


def reads_of(name: str, *spans: tuple[int, int], size: int = SIZE) -> FileReads:
    reads = FileReads(name, size, ReadaheadPlanner(size))
    for start, end in spans:
        reads.note(start, end)
    return reads


def close(
    forecasts: FileForecasts, count: int, *spans: tuple[int, int], name: str = "d/a.x"
) -> None:
    for _ in range(count):
        forecasts.note_close(reads_of(name, *spans))


def test_a_part_is_forecast_after_three_files_and_forgotten_after_one() -> None:
    forecasts = FileForecasts()
    close(forecasts, PARTLY_READ_FILES - 1, HEAD)
    assert forecasts.forecast("d/b.x") == UNKNOWN
    close(forecasts, 1, (0, 40 * KIB))
    assert forecasts.forecast("d/b.x") == FileForecast(head=48 * KIB)
    close(forecasts, 1, ALL)
    assert forecasts.forecast("d/b.x") == UNKNOWN
    close(forecasts, 1, ALL)
    assert forecasts.forecast("d/b.x") == FileForecast(is_whole=True)
    close(forecasts, 1, HEAD)
    assert forecasts.forecast("d/b.x") == UNKNOWN


def test_files_that_were_not_read_change_nothing() -> None:
    forecasts = FileForecasts()
    close(forecasts, PARTLY_READ_FILES, HEAD)
    close(forecasts, 10)
    forecasts.note_close(reads_of("d/tiny.x", (0, 10), size=10))
    assert forecasts.forecast("d/b.x") == FileForecast(head=16 * KIB)


def test_few_reads_at_distant_places_are_no_part() -> None:
    forecasts = FileForecasts()
    places = [SIZE // 2 + number * MIB for number in range(5)]
    close(forecasts, 10, *((place, place + 4 * KIB) for place in places))
    assert forecasts.forecast("d/b.x") == UNKNOWN


def test_files_of_another_kind_change_nothing() -> None:
    forecasts = FileForecasts()
    close(forecasts, PARTLY_READ_FILES, HEAD)
    close(forecasts, PARTLY_READ_FILES, ALL, name="d/a.y")
    assert forecasts.forecast("d/b.x").is_part
    assert forecasts.forecast("d/b.y").is_whole
    # A directory in which no such file has been read uses the files with the same suffix.
    assert forecasts.forecast("e/b.x").is_part
    close(forecasts, PARTLY_READ_FILES, ALL, name="e/a.x")
    assert forecasts.forecast("e/b.x").is_whole
    assert forecasts.forecast("d/b.x").is_part


@pytest.mark.parametrize(
    ("spans", "size", "expected"),
    [
        ([HEAD], SIZE, [(0, 16 * KIB)]),
        ([HEAD], 10 * KIB, [(0, 10 * KIB)]),
        ([TAIL], SIZE, [(SIZE - 16 * KIB, SIZE)]),
        ([TAIL], SIZE + 1, [(SIZE - 16 * KIB, SIZE + 1)]),
        ([HEAD, TAIL], SIZE, [(0, 16 * KIB), (SIZE - 16 * KIB, SIZE)]),
        ([HEAD, TAIL], 20 * KIB, [(0, 20 * KIB)]),
        ([ALL], SIZE, []),
        ([MIDDLE], SIZE, []),
    ],
)
def test_parts_are_aligned_and_lie_within_the_file(
    spans: list[tuple[int, int]], size: int, expected: list[tuple[int, int]]
) -> None:
    forecasts = FileForecasts()
    close(forecasts, PARTLY_READ_FILES, *spans)
    parts = forecasts.forecast("d/b.x").parts(size)
    assert [(part.offset, part.end) for part in parts] == expected


def test_a_program_that_keeps_its_files_open_is_recognised_by_its_next_open() -> None:
    forecasts = FileForecasts()
    files = [reads_of(f"d/{number}.x", HEAD) for number in range(PARTLY_READ_FILES + 1)]
    for file in files:
        forecasts.note_open(file, 77)
    assert forecasts.forecast("d/b.x").is_part
    # To close a file adds a record only if the file was read further since then.
    forecasts.note_close(files[0])
    files[1].note(0, SIZE)
    forecasts.note_close(files[1])
    assert forecasts.forecast("d/b.x") == UNKNOWN


def test_nothing_refers_to_the_reads_of_a_closed_file() -> None:
    forecasts = FileForecasts()
    planner = ReadaheadPlanner(SIZE)
    references = sys.getrefcount(planner)
    reads = FileReads("d/a.x", SIZE, planner)
    forecasts.note_open(reads, 7)
    reads.note(0, SIZE)
    forecasts.note_close(reads)
    del reads
    assert sys.getrefcount(planner) == references


def test_programs_without_a_number_are_recognised_by_closed_files_only() -> None:
    forecasts = FileForecasts()
    for number in range(2 * PARTLY_READ_FILES):
        forecasts.note_open(reads_of(f"d/{number}.x", HEAD), 0)
    assert forecasts.forecast("d/b.x") == UNKNOWN


@given(st.lists(st.booleans(), max_size=40))
def test_wrong_forecasts_of_whole_files_follow_at_least_as_many_whole_files(
    is_whole: list[bool],
) -> None:
    forecasts = FileForecasts()
    read = wasted = 0
    for whole in is_whole:
        wasted += forecasts.forecast("d/b.x").is_whole and not whole
        read += whole
        close(forecasts, 1, ALL if whole else HEAD)
        assert wasted * WHOLE_FILES <= read


@given(st.integers(0, 3 * MIB), st.integers(0, 3 * MIB), st.integers(1, 5 * MIB))
def test_parts_of_any_file_are_disjoint_and_contain_what_is_expected(
    head: int, tail: int, size: int
) -> None:
    parts = FileForecast(-(-head // (16 * KIB)) * 16 * KIB, tail).parts(size)
    for before, after in itertools.pairwise(parts):
        assert before.end < after.offset
    covered = {offset for part in parts for offset in (part.offset, part.end)}
    if head:
        assert 0 in covered
    if tail:
        assert size in covered
    assert all(part == ByteRange(part.offset, part.length) and part.end <= size for part in parts)
