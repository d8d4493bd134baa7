"""Tests of OpenPlanner: which ranges an OPEN requests, and when the OPEN waits or fails."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.model.errors import GenerationGone, PermissionDenied
from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES
from gcsmux_fs.reading.file_forecasts import PARTLY_READ_FILES, FileForecasts
from gcsmux_fs.reading.file_reads import FileReads
from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES
from gcsmux_fs.reading.open_planner import MAX_UNREAD, MAX_UNREAD_UNNAMED, Opening, OpenPlanner
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.reading.readahead import ReadaheadPlanner
from tests.support.sizes import GIB, KIB, MIB

from .fakes import (
    ManualSource,
    content_of,
    key_of,
    metrics_of,
)

PROGRAM, OTHER, UNNAMED = 1234, 5678, 0
LARGE = 100 * MIB + 1


def plan(
    planner: OpenPlanner,
    name: str,
    size: int,
    opener: int = PROGRAM,
    ready: tuple[int, ...] = (),
    generation: int = 1,
) -> Opening:
    """Plan an OPEN of an object of which the bytes at the offsets `ready` are cached."""
    key = key_of(name, generation)
    return planner.plan(key, size, opener, is_cached=bool(ready), is_ready=ready.__contains__)


def requested(
    planner: OpenPlanner,
    name: str,
    size: int,
    opener: int = PROGRAM,
    ready: tuple[int, ...] = (),
) -> tuple[int, int] | None:
    """Return offset and length of the range for which an OPEN waits; None if it does not wait."""
    awaited = plan(planner, name, size, opener, ready).awaited
    return None if awaited is None else (awaited.offset, awaited.length)


def read(planner: OpenPlanner, name: str, size: int, offset: int, length: int) -> None:
    """Open an object. Its first READ is of `length` bytes at `offset`."""
    opening = plan(planner, name, size)
    planner.note_first_read(opening, offset, min(offset + length, size))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, None),
        (1, (0, 1)),
        (64 * KIB, (0, 64 * KIB)),
        (MIB, (0, MIB)),
        (MIB + 1, (0, 128 * KIB)),
        (LARGE, (0, 128 * KIB)),
    ],
)
def test_open_of_an_unknown_object_requests_its_start(
    size: int, expected: tuple[int, int] | None
) -> None:
    assert requested(OpenPlanner(FileForecasts()), "a", size) == expected


def test_open_requests_nothing_if_the_predicted_range_is_cached() -> None:
    planner = OpenPlanner(FileForecasts())
    assert requested(planner, "a", 1000, ready=(0,)) is None
    assert requested(planner, "a", LARGE, ready=(0,)) is None
    # If only another range is cached, the first READ would still need a round trip.
    assert requested(planner, "a", LARGE, ready=(MIB,)) == (0, 128 * KIB)
    read(planner, "d/a", LARGE, LARGE - 100, 100)
    start = (LARGE - 100) // GRANULE_BYTES * GRANULE_BYTES
    assert requested(planner, "d/b", LARGE, ready=(0,)) == (start, LARGE - start)
    assert requested(planner, "d/b", LARGE, ready=(start,)) is None
    # Without a prediction, an OPEN requests nothing if any range is cached.
    read(planner, "d/a", LARGE, 50 * MIB, 100)
    assert requested(planner, "d/b", LARGE, ready=(MIB,)) is None


def test_first_read_is_predicted_from_the_last_file_of_the_directory_or_suffix() -> None:
    planner = OpenPlanner(FileForecasts())
    # The first READ is of the page that holds the last eight bytes: a footer.
    read(planner, "d/a.parquet", LARGE, LARGE - 1 - LARGE % 4096, 8192)
    start = (LARGE - 8192) // GRANULE_BYTES * GRANULE_BYTES
    assert requested(planner, "d/b.parquet", LARGE) == (start, LARGE - start)
    # The suffix is used for a prediction only if no file of the directory has been read.
    assert requested(planner, "e/b.parquet", LARGE) == (start, LARGE - start)
    read(planner, "e/c.parquet", LARGE, 50 * MIB, 4096)
    assert requested(planner, "e/b.parquet", LARGE) == (0, GRANULE_BYTES)
    read(planner, "d/c.bin", LARGE, 0, 20 * KIB)
    assert requested(planner, "d/b.parquet", LARGE) == (0, 32 * KIB)
    assert requested(planner, "d/d", 900 * KIB) == (0, 32 * KIB)
    # Tiny objects are always requested whole.
    assert requested(planner, "d/e", 60 * KIB) == (0, 60 * KIB)


def test_first_window_is_fetched_along_if_files_are_read_sequentially() -> None:
    planner = OpenPlanner(FileForecasts())
    read(planner, "d/a", LARGE, 0, 128 * KIB)
    opening = plan(planner, "d/b", LARGE)
    assert opening.awaited == ByteRange(0, 128 * KIB)
    end = 128 * KIB
    for piece in opening.ahead:
        assert piece.offset == end
        end = piece.end
    assert end == 128 * KIB + MIB
    assert requested(planner, "d/c", 900 * KIB) == (0, 900 * KIB)
    # If a small file was read whole, the next file is also expected to be read sequentially.
    planner = OpenPlanner(FileForecasts())
    read(planner, "d/a", 100 * KIB, 0, 128 * KIB)
    assert plan(planner, "d/b", LARGE).ahead


def test_opens_of_a_program_that_reads_nothing_stop_requesting_until_it_reads() -> None:
    planner = OpenPlanner(FileForecasts())
    names = (f"file-{number}" for number in itertools.count())
    for _ in range(MAX_UNREAD):
        assert requested(planner, next(names), 1000) is not None
    for _ in range(1000):
        assert requested(planner, next(names), 1000) is None
    assert requested(planner, next(names), 1000, OTHER) is not None
    read(planner, next(names), 1000, 0, 1000)
    assert requested(planner, next(names), 1000) is not None


def test_open_plans_no_more_of_a_huge_part_than_a_window() -> None:
    forecasts = FileForecasts()
    size = 100 * GIB
    for number in range(PARTLY_READ_FILES):
        reads = FileReads(f"d/{number}.x", size, ReadaheadPlanner(size))
        reads.note(0, size // 2)
        forecasts.note_close(reads)
    opening = OpenPlanner(forecasts).plan(
        key_of("d/a.x"), size, PROGRAM, is_cached=False, is_ready=lambda _: False, window=16 * MIB
    )
    assert 16 * MIB <= sum(each.length for each in opening.ranges) <= 18 * MIB


def test_failed_open_does_not_count_as_unread() -> None:
    planner = OpenPlanner(FileForecasts())
    for number in range(3 * MAX_UNREAD):
        # After the failed OPEN, the kernel looks the name up again and opens the new generation.
        stale = plan(planner, f"file-{number}", 1000)
        if number < MAX_UNREAD:
            assert stale.awaited is not None
            planner.note_failed_open(stale)
            assert requested(planner, f"file-{number}", 1000) is not None
        else:
            assert stale.awaited is None


def test_failed_open_of_a_file_read_before_does_not_count_as_unread() -> None:
    planner = OpenPlanner(FileForecasts())
    read(planner, "hot", 1000, 0, 1000)
    for _ in range(3 * MAX_UNREAD):
        opening = plan(planner, "hot", 1000)
        assert opening.awaited is not None
        planner.note_failed_open(opening)


def test_openers_without_a_number_share_a_larger_limit() -> None:
    planner = OpenPlanner(FileForecasts())
    ranges = [requested(planner, f"file-{number}", 1000, UNNAMED) for number in range(200)]
    assert sum(each is not None for each in ranges) == MAX_UNREAD_UNNAMED


def test_files_in_the_page_cache_do_not_count_as_unread_by_their_program() -> None:
    planner = OpenPlanner(FileForecasts())
    hot = [f"hot-{number}" for number in range(20)]
    for name in hot:
        read(planner, name, 1000, 0, 1000)
    # The block cache has evicted these files. No READ comes, because the kernel has their pages.
    ranges = [requested(planner, name, 1000) for name in hot]
    assert sum(each is not None for each in ranges) == MAX_UNREAD
    assert requested(planner, "cold", 1000) is not None
    # A READ of one of these files shows that the kernel has dropped its pages.
    read(planner, hot[3], 1000, 0, 1000)
    assert requested(planner, hot[4], 1000) is not None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["d/a.x", "d/b.x", "d/c", "e/a.x"]),
            st.integers(0, 3 * MIB),
            st.integers(0, 3),
            st.booleans(),
            st.one_of(st.none(), st.tuples(st.floats(0, 1), st.integers(1, MIB))),
        )
    )
)
def test_invariants_hold_after_any_sequence_of_opens_and_reads(
    steps: list[tuple[str, int, int, bool, tuple[float, int] | None]],
) -> None:
    planner = OpenPlanner(FileForecasts())
    for generation, (name, size, opener, is_ready, first) in enumerate(steps):
        opening = plan(
            planner, name, size, opener, (0, *([size - 1] * bool(size))) * is_ready, generation
        )
        ranges = opening.ranges
        if not size or (is_ready and size <= 64 * KIB):
            assert not ranges
        end = ranges[0].offset if ranges else 0
        assert end % GRANULE_BYTES == 0
        for each in ranges:
            assert each.offset == end
            assert each.length > 0
            end = each.end
            assert end == size or end % GRANULE_BYTES == 0
        assert end <= size
        if first is not None and size:
            offset = int(first[0] * (size - 1))
            planner.note_first_read(opening, offset, min(size, offset + first[1]))


# -- open files


class OpenScenario:
    """A file for a test to open, with its range source and its read context."""

    def __init__(
        self, size: int = 100 * KIB, budget_bytes: int = 64 * MIB, read_timeout: float = 40.0
    ) -> None:
        self.source = ManualSource()
        self.context = ReadContext(
            self.source, budget_bytes=budget_bytes, read_timeout=read_timeout
        )
        self.key = key_of("object")
        self.file = self.context.open(self.key, size)
        self.size = size

    async def answer(self, error: Exception | None = None) -> None:
        await trio.testing.wait_all_tasks_blocked()
        for request in self.source.pending:
            request.settle(error)  # type: ignore[arg-type]

    def close(self) -> None:
        self.file.close()
        metrics = metrics_of(self.context)
        assert (
            metrics["budget_in_flight"],
            metrics["budget_unread"],
            metrics["blocks_loading"],
        ) == (0, 0, 0)
        assert metrics["open_files"] == 0


async def test_open_fetches_the_bytes_of_the_first_read() -> None:
    scenario = OpenScenario()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scenario.file.ask_first, PROGRAM)
        await scenario.answer()
    metrics = metrics_of(scenario.context)
    assert (metrics["opens_prefetched"], metrics["hits"], metrics["misses"]) == (1, 0, 0)
    assert metrics["budget_unread"] > 0
    answer = scenario.file.read_cached(0, scenario.size)
    assert answer == content_of(scenario.key, 0, scenario.size)
    assert scenario.source.spans == [(0, scenario.size)]
    assert metrics_of(scenario.context)["budget_unread"] == 0
    scenario.close()


async def test_open_of_a_deleted_generation_fails() -> None:
    scenario = OpenScenario()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scenario.answer, GenerationGone("gone"))
        with pytest.raises(GenerationGone):
            await scenario.file.ask_first(PROGRAM)
    assert metrics_of(scenario.context)["opens_found_gone"] == 1
    scenario.close()


async def test_simultaneous_opens_share_one_request() -> None:
    scenario = OpenScenario()
    second = scenario.context.open(scenario.key, scenario.size)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scenario.file.ask_first, PROGRAM)
        nursery.start_soon(second.ask_first, OTHER)
        await scenario.answer()
    assert len(scenario.source.requests) == 1
    second.close()
    scenario.close()


async def test_open_succeeds_after_another_error() -> None:
    scenario = OpenScenario()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scenario.answer, PermissionDenied("no"))
        await scenario.file.ask_first(PROGRAM)
    assert scenario.file.read_cached(0, 1000) is None
    scenario.close()


async def test_open_waits_at_most_five_seconds_and_leaves_nothing_behind() -> None:
    for timeout, wait in ((40.0, 5.0), (8.0, 2.0)):
        scenario = OpenScenario(read_timeout=timeout)
        started = trio.current_time()
        await scenario.file.ask_first(PROGRAM)
        assert trio.current_time() - started == pytest.approx(wait)
        assert not scenario.source.pending
        scenario.close()


async def test_cancelled_open_leaves_nothing_behind() -> None:
    scenario = OpenScenario()
    with trio.move_on_after(1):
        await scenario.file.ask_first(PROGRAM)
    assert not scenario.source.pending
    scenario.close()


async def test_open_requests_nothing_while_reads_queue_for_memory() -> None:
    scenario = OpenScenario(budget_bytes=MINIMUM_BUDGET_BYTES)
    reader_of_all_memory = scenario.context.open(key_of("reader_of_all_memory"), LARGE)
    async with trio.open_nursery() as nursery:
        for start in range(0, 9 * MIB, 500 * KIB):
            nursery.start_soon(reader_of_all_memory.read, start, 500 * KIB)
        await trio.testing.wait_all_tasks_blocked()
        assert scenario.context.resources.fetcher.queued
        count = len(scenario.source.requests)
        await scenario.file.ask_first(PROGRAM)
        assert len(scenario.source.requests) == count
        assert metrics_of(scenario.context)["opens_prefetched"] == 0
        nursery.cancel_scope.cancel()
    reader_of_all_memory.close()
    scenario.close()


async def test_first_read_elsewhere_ends_the_protection_of_the_fetched_range() -> None:
    scenario = OpenScenario(size=10 * MIB)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scenario.file.ask_first, PROGRAM)
        await scenario.answer()
    assert metrics_of(scenario.context)["budget_unread"] > 0
    assert scenario.file.read_cached(5 * MIB, 4096) is None
    assert metrics_of(scenario.context)["budget_unread"] == 0
    scenario.close()


async def test_no_window_is_fetched_along_if_readahead_is_off() -> None:
    for read_ahead, expected in ((0, 1), (64 * MIB, 6)):
        source = ManualSource()
        context = ReadContext(source, budget_bytes=64 * MIB, read_ahead_bytes=read_ahead)
        planner = context.resources.open_planner
        read(planner, "d/a", LARGE, 0, 128 * KIB)
        file = context.open(key_of("d/b"), LARGE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.ask_first, PROGRAM)
            await trio.testing.wait_all_tasks_blocked()
            source.settle_all()
        assert len(source.requests) == expected
        file.close()
        assert metrics_of(context)["budget_unread"] == 0
