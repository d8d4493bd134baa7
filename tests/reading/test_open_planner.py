"""What an OPEN asks for, and what becomes of it."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.model.errors import GenerationGone, PermissionDenied
from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.block_index import GRANULE_BYTES
from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES
from gcsmux_fs.reading.open_planner import MAX_UNREAD, MAX_UNREAD_UNNAMED, Opening, OpenPlanner
from gcsmux_fs.reading.read_context import ReadContext

from .fakes import KIB, MIB, ManualSource, content_of, key_of, metrics_of

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
    """Plan an OPEN where the bytes at the offsets `ready` are cached."""
    key = key_of(name, generation)
    return planner.plan(key, size, opener, is_cached=bool(ready), is_ready=ready.__contains__)


def asked(
    planner: OpenPlanner,
    name: str,
    size: int,
    opener: int = PROGRAM,
    ready: tuple[int, ...] = (),
) -> tuple[int, int] | None:
    ask = plan(planner, name, size, opener, ready).awaited
    return None if ask is None else (ask.offset, ask.length)


def read(planner: OpenPlanner, name: str, size: int, offset: int, length: int) -> None:
    """Open an object and read some of it first."""
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
def test_of_an_unknown_object_the_start_is_asked_for(
    size: int, expected: tuple[int, int] | None
) -> None:
    assert asked(OpenPlanner(), "a", size) == expected


def test_where_what_is_read_first_is_cached_nothing_is_asked() -> None:
    planner = OpenPlanner()
    assert asked(planner, "a", 1000, ready=(0,)) is None
    assert asked(planner, "a", LARGE, ready=(0,)) is None
    # What is read first costs a round trip in any case.
    assert asked(planner, "a", LARGE, ready=(MIB,)) == (0, 128 * KIB)
    read(planner, "d/a", LARGE, LARGE - 100, 100)
    start = (LARGE - 100) // GRANULE_BYTES * GRANULE_BYTES
    assert asked(planner, "d/b", LARGE, ready=(0,)) == (start, LARGE - start)
    assert asked(planner, "d/b", LARGE, ready=(start,)) is None
    # But where nobody knows what that is, anything that is cached will do.
    read(planner, "d/a", LARGE, 50 * MIB, 100)
    assert asked(planner, "d/b", LARGE, ready=(MIB,)) is None


def test_the_last_file_of_the_directory_tells_what_the_next_one_is_asked_for() -> None:
    planner = OpenPlanner()
    # A footer: the page with the last eight bytes.
    read(planner, "d/a.parquet", LARGE, LARGE - 1 - LARGE % 4096, 8192)
    start = (LARGE - 8192) // GRANULE_BYTES * GRANULE_BYTES
    assert asked(planner, "d/b.parquet", LARGE) == (start, LARGE - start)
    # The suffix counts where nothing of the directory is known, the directory where it is.
    assert asked(planner, "e/b.parquet", LARGE) == (start, LARGE - start)
    read(planner, "e/c.parquet", LARGE, 50 * MIB, 4096)
    assert asked(planner, "e/b.parquet", LARGE) == (0, GRANULE_BYTES)
    read(planner, "d/c.bin", LARGE, 0, 20 * KIB)
    assert asked(planner, "d/b.parquet", LARGE) == (0, 32 * KIB)
    assert asked(planner, "d/d", 900 * KIB) == (0, 32 * KIB)
    # Tiny ones are always read whole.
    assert asked(planner, "d/e", 60 * KIB) == (0, 60 * KIB)


def test_where_files_are_read_in_earnest_the_first_window_is_fetched_along() -> None:
    planner = OpenPlanner()
    read(planner, "d/a", LARGE, 0, 128 * KIB)
    opening = plan(planner, "d/b", LARGE)
    assert opening.awaited == ByteRange(0, 128 * KIB)
    at = 128 * KIB
    for piece in opening.ahead:
        assert piece.offset == at
        at = piece.end
    assert at == 128 * KIB + MIB
    assert asked(planner, "d/c", 900 * KIB) == (0, 900 * KIB)
    # A small file that is read whole tells the same.
    planner = OpenPlanner()
    read(planner, "d/a", 100 * KIB, 0, 128 * KIB)
    assert plan(planner, "d/b", LARGE).ahead


def test_a_program_that_reads_nothing_is_asked_for_no_longer_until_it_reads() -> None:
    planner = OpenPlanner()
    names = (f"file-{number}" for number in itertools.count())
    for _ in range(MAX_UNREAD):
        assert asked(planner, next(names), 1000) is not None
    for _ in range(1000):
        assert asked(planner, next(names), 1000) is None
    assert asked(planner, next(names), 1000, OTHER) is not None
    read(planner, next(names), 1000, 0, 1000)
    assert asked(planner, next(names), 1000) is not None


def test_an_open_that_is_refused_does_not_count() -> None:
    planner = OpenPlanner()
    for number in range(3 * MAX_UNREAD):
        # The kernel looks the name up again, and opens the new generation.
        stale = plan(planner, f"file-{number}", 1000)
        if number < MAX_UNREAD:
            assert stale.awaited is not None
            planner.note_failed_open(stale)
            assert asked(planner, f"file-{number}", 1000) is not None
        else:
            assert stale.awaited is None


def test_an_open_of_a_file_read_before_that_is_refused_does_not_count() -> None:
    planner = OpenPlanner()
    read(planner, "hot", 1000, 0, 1000)
    for _ in range(3 * MAX_UNREAD):
        opening = plan(planner, "hot", 1000)
        assert opening.awaited is not None
        planner.note_failed_open(opening)


def test_programs_that_the_kernel_cannot_name_may_be_many() -> None:
    planner = OpenPlanner()
    found = [asked(planner, f"file-{number}", 1000, UNNAMED) for number in range(200)]
    assert sum(ask is not None for ask in found) == MAX_UNREAD_UNNAMED


def test_files_that_the_kernel_has_in_pages_are_not_taken_for_such_a_program() -> None:
    planner = OpenPlanner()
    hot = [f"hot-{number}" for number in range(20)]
    for name in hot:
        read(planner, name, 1000, 0, 1000)
    # They are not cached here any more, and no READ comes: the kernel has them.
    found = [asked(planner, name, 1000) for name in hot]
    assert sum(ask is not None for ask in found) == MAX_UNREAD
    assert asked(planner, "cold", 1000) is not None
    # Until a READ of such a file shows that the kernel has dropped its pages.
    read(planner, hot[3], 1000, 0, 1000)
    assert asked(planner, hot[4], 1000) is not None


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
def test_whatever_happens_the_invariants_hold(
    steps: list[tuple[str, int, int, bool, tuple[float, int] | None]],
) -> None:
    planner = OpenPlanner()
    for generation, (name, size, opener, is_ready, first) in enumerate(steps):
        opening = plan(
            planner, name, size, opener, (0, *([size - 1] * bool(size))) * is_ready, generation
        )
        ranges = [] if opening.awaited is None else [opening.awaited, *opening.ahead]
        if not size or (is_ready and size <= 64 * KIB):
            assert not ranges
        at = ranges[0].offset if ranges else 0
        assert at % GRANULE_BYTES == 0
        for each in ranges:
            assert each.offset == at
            assert each.length > 0
            at = each.end
            assert at == size or at % GRANULE_BYTES == 0
        assert at <= size
        if first is not None and size:
            offset = int(first[0] * (size - 1))
            planner.note_first_read(opening, offset, min(size, offset + first[1]))


# -- open files


class Opened:
    """One file of a read context over a source, being opened."""

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

    async def settle(self, error: Exception | None = None) -> None:
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


async def test_an_open_waits_and_the_read_finds_the_bytes() -> None:
    opened = Opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.file.ask_first, PROGRAM)
        await opened.settle()
    metrics = metrics_of(opened.context)
    assert (metrics["opens_prefetched"], metrics["hits"], metrics["misses"]) == (1, 0, 0)
    assert metrics["budget_unread"] > 0
    answer = opened.file.read_cached(0, opened.size)
    assert answer == content_of(opened.key, 0, opened.size)
    assert opened.source.spans == [(0, opened.size)]
    assert metrics_of(opened.context)["budget_unread"] == 0
    opened.close()


async def test_an_open_of_what_is_gone_is_refused() -> None:
    opened = Opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.settle, GenerationGone("gone"))
        with pytest.raises(GenerationGone):
            await opened.file.ask_first(PROGRAM)
    assert metrics_of(opened.context)["opens_found_gone"] == 1
    opened.close()


async def test_opens_at_the_same_time_wait_for_one_request() -> None:
    opened = Opened()
    second = opened.context.open(opened.key, opened.size)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.file.ask_first, PROGRAM)
        nursery.start_soon(second.ask_first, OTHER)
        await opened.settle()
    assert len(opened.source.asked) == 1
    second.close()
    opened.close()


async def test_another_failure_is_left_to_the_read() -> None:
    opened = Opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.settle, PermissionDenied("no"))
        await opened.file.ask_first(PROGRAM)
    assert opened.file.read_cached(0, 1000) is None
    opened.close()


async def test_an_open_waits_five_seconds_at_most_and_leaves_nothing() -> None:
    for timeout, wait in ((40.0, 5.0), (8.0, 2.0)):
        opened = Opened(read_timeout=timeout)
        began = trio.current_time()
        await opened.file.ask_first(PROGRAM)
        assert trio.current_time() - began == pytest.approx(wait)
        assert not opened.source.pending
        opened.close()


async def test_an_open_that_is_cancelled_leaves_nothing() -> None:
    opened = Opened()
    with trio.move_on_after(1):
        await opened.file.ask_first(PROGRAM)
    assert not opened.source.pending
    opened.close()


async def test_where_memory_is_short_an_open_does_not_ask() -> None:
    opened = Opened(budget_bytes=MINIMUM_BUDGET_BYTES)
    hog = opened.context.open(key_of("hog"), LARGE)
    async with trio.open_nursery() as nursery:
        for start in range(0, 9 * MIB, 500 * KIB):
            nursery.start_soon(hog.read, start, 500 * KIB)
        await trio.testing.wait_all_tasks_blocked()
        assert opened.context.resources.fetcher.queued
        count = len(opened.source.asked)
        await opened.file.ask_first(PROGRAM)
        assert len(opened.source.asked) == count
        assert metrics_of(opened.context)["opens_prefetched"] == 0
        nursery.cancel_scope.cancel()
    hog.close()
    opened.close()


async def test_a_reader_that_begins_elsewhere_leaves_the_start_to_eviction() -> None:
    opened = Opened(size=10 * MIB)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.file.ask_first, PROGRAM)
        await opened.settle()
    assert metrics_of(opened.context)["budget_unread"] > 0
    assert opened.file.read_cached(5 * MIB, 4096) is None
    assert metrics_of(opened.context)["budget_unread"] == 0
    opened.close()


async def test_without_readahead_no_window_is_fetched_along() -> None:
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
        assert len(source.asked) == expected
        file.close()
        assert metrics_of(context)["budget_unread"] == 0
