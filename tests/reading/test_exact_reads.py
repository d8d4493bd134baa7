"""Exact reads: the plan of ranges, and batches against a fake service in virtual time."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.fsspec_access.collected_ranges import CollectedRanges
from gcsmux_fs.model.errors import DeadlineExceeded, GenerationGone
from gcsmux_fs.reading.block_sizes import PAGE_BYTES
from gcsmux_fs.reading.exact_plan import plan_exact_reads
from gcsmux_fs.reading.exact_reads import ExactReads
from gcsmux_fs.reading.read_context import ReadContext
from tests.reading.fakes import ManualSource, TimedSource, content_of, key_of
from tests.support.sizes import KIB, MIB

KEY = key_of("object")
SIZE = 64 * MIB
OFFSETS = st.integers(0, 3 * PAGE_BYTES)
RANGES = st.lists(st.tuples(OFFSETS, OFFSETS), max_size=12)


def new_context(source: ManualSource) -> ReadContext:
    return ReadContext(source, budget_bytes=16 * MIB, read_timeout=10)


async def fetch(context: ReadContext, ranges: list[tuple[int, int]]) -> list[bytes]:
    collected = CollectedRanges([end - start for start, end in ranges])
    await ExactReads(context.resources).fetch(KEY, SIZE, ranges, collected.take)
    return collected.results()


@given(RANGES, st.sampled_from([0, 16 * KIB, PAGE_BYTES]))
def test_a_plan_covers_each_range_once_and_requests_no_byte_twice(
    ranges: list[tuple[int, int]], max_gap: int
) -> None:
    ranges = [(min(pair), max(pair)) for pair in ranges]
    parts = plan_exact_reads(ranges, max_gap)
    for slot, (start, end) in enumerate(ranges):
        position = start
        for part in [part for part in parts if part.slot == slot]:
            assert part.offset == position
            position = part.end
        assert position == end
    requested: set[tuple[int, int]] = set()
    last_end = 0
    for part in parts:
        assert part.fetch_start <= part.offset < part.end <= part.fetch_end
        assert part.offset // PAGE_BYTES == (part.end - 1) // PAGE_BYTES
        if part.length:
            assert part.length == part.fetch_end - part.fetch_start
            assert part.fetch_start >= last_end
            last_end = part.fetch_end
            requested.add((part.fetch_start, part.fetch_end))
        else:
            assert any(start <= part.offset and part.end <= end for start, end in requested)


async def test_all_ranges_are_requested_in_one_tick_without_readahead() -> None:
    source = ManualSource()
    ranges = [(number * MIB, number * MIB + 1000) for number in range(20)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetch, new_context(source), ranges)
        await trio.testing.wait_all_tasks_blocked()
        assert source.spans == ranges
        source.settle_all()
    assert source.spans == ranges


async def test_a_large_range_keeps_a_quarter_of_the_budget_in_flight() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, 1.0)
        context = new_context(source)
        results: list[list[bytes]] = []

        async def read() -> None:
            results.append(await fetch(context, [(5, 41 * MIB)]))

        nursery.start_soon(read)
        await trio.sleep(0.5)
        assert [request.length for request in source.pending] == [2 * MIB - 5, 2 * MIB]
        # A small read does not wait for the large one.
        with trio.fail_after(1.1):
            assert await fetch(context, [(50 * MIB, 50 * MIB + 9)]) == [
                content_of(KEY, 50 * MIB, 9)
            ]
        while not results:
            await trio.sleep(1)
            assert context.resources.budget.used <= 16 * MIB
    assert results == [[content_of(KEY, 5, 41 * MIB - 5)]]
    assert source.total == 41 * MIB - 5 + 9
    assert trio.current_time() < 30


async def test_an_error_abandons_the_other_ranges() -> None:
    source = ManualSource()
    context = new_context(source)

    async def read() -> None:
        with pytest.raises(GenerationGone):
            await fetch(context, [(0, 10), (MIB, MIB + 10), (2 * MIB, 2 * MIB + 10)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        source.requests[1].settle(GenerationGone("overwritten"))
    assert source.pending == []
    assert context.resources.budget.used == 0
    assert len(context.resources.deadlines) == 0


async def test_a_cancelled_batch_leaves_no_request() -> None:
    source = ManualSource()
    context = new_context(source)
    with trio.move_on_after(1):
        await fetch(context, [(0, 10), (MIB, MIB + 10)])
    assert source.pending == []
    assert context.resources.budget.used == 0
    assert len(context.resources.deadlines) == 0


async def test_a_range_without_an_answer_expires() -> None:
    with trio.fail_after(11), pytest.raises(DeadlineExceeded):
        await fetch(new_context(ManualSource()), [(0, 10)])


async def test_bytes_in_the_cache_or_in_flight_are_not_requested_again() -> None:
    source = ManualSource()
    context = new_context(source)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(fetch, context, [(0, 100 * KIB)]))
        nursery.start_soon(partial(fetch, context, [(50 * KIB, 150 * KIB)]))
        await trio.testing.wait_all_tasks_blocked()
        assert source.total == 150 * KIB
        source.settle_all()
    assert await fetch(context, [(1, 140 * KIB)]) == [content_of(KEY, 1, 140 * KIB - 1)]
    assert source.total == 150 * KIB
