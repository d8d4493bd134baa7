"""Ranges: every byte is right, one request per byte, and one batch for many ranges."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import InjectionPoint, Status
from gcsmux_fs.emulator.injection.rules import Rule
from gcsmux_fs.fsspec_access.file_system import GcsmuxFileSystem
from gcsmux_fs.model.errors import StatusCode
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from gcsmux_fs.fsspec_access.service_reader import ServiceReader
    from tests.support.emulator_process import EmulatorProcess

CONTENT = random.Random(1).randbytes(20 * MIB)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (0, 10),
        (5, None),
        (None, 7),
        (-10, None),
        (-10, -3),
        (None, -1),
        (3 * MIB - 1, 7 * MIB + 1),
        (20 * MIB - 1, 30 * MIB),
        (20 * MIB, None),
        (9, 9),
        (9, 3),
    ],
)
def test_a_range_is_a_slice(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str, start: int | None, end: int | None
) -> None:
    emulator.place("file", CONTENT)
    assert fs.cat_file(f"{root}/file", start, end) == CONTENT[start:end]


def test_an_empty_object(emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str) -> None:
    emulator.place("empty", b"")
    assert fs.cat_file(f"{root}/empty") == b""
    assert fs.cat_ranges([f"{root}/empty"] * 2, [0, None], [10, None]) == [b"", b""]
    with fs.open(f"{root}/empty") as file:
        assert file.read() == b""
        assert file.readline() == b""


def test_many_ranges_are_one_batch_on_one_stream(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.place("file", CONTENT)
    starts = [number * 100 * KIB for number in range(200)]
    random.Random(2).shuffle(starts)
    ends = [start + 64 * KIB for start in starts]
    emulator.statistics(reset=True)
    ranges = fs.cat_ranges([f"{root}/file"] * 200, starts, ends)
    assert ranges == [CONTENT[start:end] for start, end in zip(starts, ends, strict=True)]
    statistics = emulator.statistics()
    assert statistics.requests["BidiReadObject"] == 1
    # The service sends at most 2 MiB in one message, so ranges are cut at multiples of 2 MiB.
    cut = [start for start in starts if start // (2 * MIB) != (start + 64 * KIB - 1) // (2 * MIB)]
    assert statistics.ranges == 200 + len(cut)
    assert statistics.bytes_asked == statistics.bytes_sent == 200 * 64 * KIB


def test_near_and_overlapping_ranges_are_requested_together(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.place("file", CONTENT)
    pairs = [(1000, 2000), (5000, 6000), (1500, 7000), (MIB, MIB + 10), (MIB, MIB + 10)]
    emulator.statistics(reset=True)
    starts, ends = [list(each) for each in zip(*pairs, strict=True)]
    assert fs.cat_ranges([f"{root}/file"] * 5, starts, ends) == [
        CONTENT[start:end] for start, end in pairs
    ]
    statistics = emulator.statistics()
    assert statistics.ranges == 2
    assert statistics.bytes_asked == 6000 + 10
    # A second batch finds the bytes in the cache.
    assert fs.cat_file(f"{root}/file", 1200, 6900) == CONTENT[1200:6900]
    assert emulator.statistics().bytes_asked == 6000 + 10
    assert fs.cat_ranges(
        [f"{root}/file"] * 2, [2 * MIB, 2 * MIB + 100], [2 * MIB + 1] * 2, max_gap=0
    )
    assert emulator.statistics().ranges == 3


def test_no_range_is_requested_twice_by_concurrent_calls(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.place("file", CONTENT)
    emulator.statistics(reset=True)
    contents = fs.cat_ranges([f"{root}/file"] * 30, [0] * 30, [None] * 30)
    assert all(content == CONTENT for content in contents)
    assert emulator.statistics().bytes_asked == len(CONTENT)


def test_many_objects_are_read_at_the_same_time(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    for number in range(300):
        emulator.place(f"{number:03}", f"content of {number}".encode())
    paths = fs.find(root)
    contents = fs.cat_ranges(paths, None, 11)
    assert contents == [b"content of " for _ in paths]
    assert fs.cat(paths) == {
        f"{root}/{number:03}": f"content of {number}".encode() for number in range(300)
    }


def test_an_error_of_one_range_is_returned_or_raised(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.place("file", CONTENT[:100])
    paths = [f"{root}/file", f"{root}/absent", f"{root}/file"]
    good, error, also_good = fs.cat_ranges(paths, [0, 0, 50], [50, 50, 100])
    assert good + also_good == CONTENT[:100]
    assert isinstance(error, FileNotFoundError)
    assert error.filename == f"{root}/absent"
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, 0, 50, on_error="raise")
    with pytest.raises(ValueError, match="as many starts"):
        fs.cat_ranges(paths, [0], [50])


def test_an_overwritten_object_is_read_anew_as_a_whole(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.place("file", b"old" * MIB)
    assert fs.info(f"{root}/file")["size"] == 3 * MIB
    emulator.place("file", b"newer" * MIB)
    assert fs.cat_file(f"{root}/file") == b"newer" * MIB
    emulator.place("file", b"newest" * MIB)
    assert fs.cat_file(f"{root}/file") == b"newer" * MIB, "cached names are valid for a minute"
    fs.invalidate_cache(f"{root}/file")
    assert fs.cat_ranges([f"{root}/file"] * 2, [5 * MIB, -6], [None, None]) == [
        (b"newest" * MIB)[5 * MIB :],
        b"newest",
    ]


def test_a_generation_can_be_asked_for(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    generation = emulator.write("file", b"content")
    details = fs.info(f"{root}/file", generation=generation)
    assert details["generation"] == str(generation)
    assert fs.cat_file(f"{root}/file", generation=details["generation"]) == b"content"
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{root}/file", generation=generation + 1)


def test_a_batch_larger_than_the_memory_stays_within_the_budget(
    emulator: EmulatorProcess, root: str
) -> None:
    emulator.place("file", CONTENT * 4)
    fs = GcsmuxFileSystem(
        endpoint=emulator.endpoint, plaintext=True, anonymous=True, memory="16MiB"
    )

    async def used(reader: ServiceReader) -> int:
        budget = reader._context.resources.budget
        assert budget.used <= budget.limit == 14 * MIB
        return budget.used

    emulator.statistics(reset=True)
    assert fs.cat_file(f"{root}/file") == CONTENT * 4
    largest = fs._engine.call(used)
    assert largest > 0
    assert emulator.statistics().bytes_asked == 80 * MIB


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (StatusCode.PERMISSION_DENIED, PermissionError),
        (StatusCode.UNAUTHENTICATED, PermissionError),
        (StatusCode.INVALID_ARGUMENT, OSError),
    ],
)
def test_a_refusal_is_the_error_that_python_programs_expect(
    emulator: EmulatorProcess,
    fs: GcsmuxFileSystem,
    root: str,
    code: StatusCode,
    error: type[OSError],
) -> None:
    emulator.place("file", b"content")
    emulator.inject(Rule(Status(code, "On order"), at=InjectionPoint.OPEN, times=-1))
    with pytest.raises(error) as raised:
        fs.cat_file(f"{root}/file")
    assert type(raised.value) is error


def test_a_read_that_gets_no_answer_times_out(emulator: EmulatorProcess, root: str) -> None:
    emulator.place("file", b"content")
    fs = GcsmuxFileSystem(
        endpoint=emulator.endpoint, plaintext=True, anonymous=True, read_timeout="1s"
    )
    assert fs.info(f"{root}/file")["size"] == 7
    with emulator.stopped(), pytest.raises(TimeoutError):
        fs.cat_file(f"{root}/file")
    assert fs.cat_file(f"{root}/file") == b"content"
