"""Tests of many readers in one budget: every READ is answered, and few bytes are fetched twice."""

from __future__ import annotations

import functools
import random
import tracemalloc
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.reading.bandwidth_estimator import BandwidthEstimator
from gcsmux_fs.reading.measured_source import MeasuredSource
from gcsmux_fs.reading.memory_budget import BLOCK_OVERHEAD_BYTES, MINIMUM_BUDGET_BYTES, MemoryBudget
from gcsmux_fs.reading.read_context import ReadContext
from tests.support.sizes import KIB, MIB

from .fakes import (
    ManualSource,
    TimedSource,
    content_of,
    key_of,
    metrics_of,
)

if TYPE_CHECKING:
    from gcsmux_fs.reading.open_file import OpenFile

READ = 128 * KIB


async def read_through(file: OpenFile, size: int = READ, pause: float = 0.0) -> None:
    for offset in range(0, file.size, size):
        answer = file.read_cached(offset, size)
        if answer is None:
            answer = await file.read(offset, size)
        else:
            await trio.lowlevel.checkpoint()
        assert answer == content_of(file.key, offset, min(size, file.size - offset))
        if pause:
            await trio.sleep(pause)


def assert_at_rest(context: ReadContext) -> None:
    metrics = metrics_of(context)
    assert metrics["budget_in_flight"] == 0
    assert metrics["budget_unread"] == 0
    assert metrics["blocks_loading"] == 0
    assert metrics["waiting_reads"] == 0
    assert metrics["queued_reads"] == 0
    assert metrics["open_files"] == 0
    assert metrics["files_reading_ahead"] == 0
    assert metrics["budget_used"] <= metrics["budget_limit"]


@pytest.mark.parametrize(
    ("readers", "budget", "read_size"),
    [
        (32, 32 * MIB, READ),
        (32, MINIMUM_BUDGET_BYTES, READ),
        (4, 64 * MIB, READ),
        (8, 32 * MIB, MIB),
    ],
)
async def test_sequential_readers_in_a_small_budget_fetch_few_bytes_twice(
    readers: int, budget: int, read_size: int
) -> None:
    size = 8 * MIB + 999
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=0.02)
        context = ReadContext(source, budget_bytes=budget)
        files = [context.open(key_of(f"file {n}"), size) for n in range(readers)]
        async with trio.open_nursery() as reading:
            for n, file in enumerate(files):
                # The readers have different speeds.
                reading.start_soon(read_through, file, read_size, 0.001 * (n % 4))
        for file in files:
            file.close()
    assert source.total <= 1.1 * readers * size
    assert_at_rest(context)


async def test_readers_of_one_file_fetch_it_once() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=0.02)
        context = ReadContext(source, budget_bytes=64 * MIB)
        files = [context.open(key_of("shared"), 30 * MIB) for _ in range(16)]
        async with trio.open_nursery() as reading:
            for file in files:
                reading.start_soon(read_through, file)
        for file in files:
            file.close()
    assert source.total == 30 * MIB
    assert_at_rest(context)


async def test_window_grows_until_it_fills_a_long_round_trip() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=0.05)
        bandwidth = BandwidthEstimator()
        measured = MeasuredSource(source, bandwidth, trio.current_time)
        context = ReadContext(measured, bandwidth, budget_bytes=256 * MIB)
        file = context.open(key_of("far"), 256 * MIB)
        await read_through(file, MIB)
        # The window grows to 64 MiB in 8 round trips. The other bytes take 4 to 6 round trips more.
        assert trio.current_time() <= 14 * 0.05
        file.close()
    assert source.total == 256 * MIB
    assert_at_rest(context)


async def test_shuffled_kernel_reads_fetch_each_byte_once() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=0.005)
        context = ReadContext(source, budget_bytes=64 * MIB)
        file = context.open(key_of("parallel"), 32 * MIB)
        offsets = list(range(0, file.size, READ))
        chance = random.Random(1)
        async with trio.open_nursery() as reading:
            limiter = trio.CapacityLimiter(12)

            async def read(offset: int) -> None:
                async with limiter:
                    assert await file.read(offset, READ) == content_of(file.key, offset, READ)

            for first in range(0, len(offsets), 8):
                batch = offsets[first : first + 8]
                chance.shuffle(batch)
                for offset in batch:
                    reading.start_soon(read, offset)
                await trio.sleep(0.002)
        file.close()
    assert source.total == 32 * MIB
    # The order of the READs is random. In rare orders the run loses its plan once.
    assert metrics_of(context)["readahead_bytes"] >= 24 * MIB
    assert_at_rest(context)


async def test_stalled_object_delays_no_other_object() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=0.01)
        context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
        stalled = context.open(key_of("stalled"), 512 * MIB)
        await read_some(stalled, 16 * MIB)
        source.stalled.add(stalled.key)
        with trio.move_on_after(10):
            await read_some(stalled, 512 * MIB, start=16 * MIB)
        idle = [context.open(key_of("stalled"), 512 * MIB) for _ in range(8)]
        for n, file in enumerate(idle):
            nursery.start_soon(file.read, n * 50 * MIB, READ)
            nursery.start_soon(file.read, n * 50 * MIB + READ, READ)
        await trio.testing.wait_all_tasks_blocked()
        other = context.open(key_of("other"), 16 * MIB)
        before = trio.current_time()
        await read_through(other)
        assert trio.current_time() - before <= (16 * MIB // READ + 1) * 0.01
        large = context.open(key_of("large"), 4 * MIB)
        assert await large.read(7, 3 * MIB) == content_of(large.key, 7, 3 * MIB)
        nursery.cancel_scope.cancel()


async def read_some(file: OpenFile, end: int, start: int = 0) -> None:
    for offset in range(start, end, READ):
        if file.read_cached(offset, READ) is None:
            await file.read(offset, READ)


async def test_queued_reads_begin_in_order() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
    file = context.open(key_of("random"), 512 * MIB)
    woken: list[int] = []
    for n in range(40):
        offset = (40 - n) * 4 * MIB
        file.begin(offset, offset + 500 * KIB, functools.partial(woken.append, n))
    assert metrics_of(context)["queued_reads"] > 20
    # This READ would fit into the budget, but has to wait in the queue behind the other READs.
    file.begin(300 * MIB, 300 * MIB + 4096, functools.partial(woken.append, 40))
    while source.pending:
        source.pending[0].settle()
    assert woken == list(range(41))


async def test_idle_open_files_do_not_keep_other_files_from_reading_ahead() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=0.01)
        context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
        idle = [context.open(key_of(f"idle {n}"), 64 * MIB) for n in range(40)]
        for file in idle:
            await read_some(file, READ)
        reader = context.open(key_of("busy"), 64 * MIB)
        await read_some(reader, 32 * MIB)
        before = metrics_of(context)
        await read_some(reader, 64 * MIB, start=32 * MIB)
        after = metrics_of(context)
        assert after["miss_bytes"] == before["miss_bytes"]
        assert after["budget_unread"] <= MINIMUM_BUDGET_BYTES * 3 // 4
        # If an idle file is read again, its readahead begins again.
        await read_some(idle[3], 2 * MIB, start=READ)
        assert metrics_of(context)["readahead_bytes"] > after["readahead_bytes"]
        for file in [*idle, reader]:
            file.close()
    assert_at_rest(context)


async def test_read_blocks_are_evicted_before_blocks_fetched_ahead() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
    ahead = context.open(key_of("ahead"), 64 * MIB)
    ahead.begin(0, READ, lambda: None)
    source.settle_all()
    assert ahead.read_cached(0, READ) is not None
    noise = context.open(key_of("noise"), 512 * MIB)
    for n in range(100):
        noise.begin(n * 4 * MIB, n * 4 * MIB + 256 * KIB, lambda: None)
        source.settle_all()
    assert ahead.read_cached(0, READ) is None
    for offset in range(READ, MIB, READ):
        assert ahead.read_cached(offset, READ) is not None
    assert metrics_of(context)["readahead_wasted_bytes"] == 0


async def test_least_recently_used_block_is_evicted_first() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
    file = context.open(key_of("file"), 512 * MIB)
    for n in range(100):
        file.begin(n * 4 * MIB, n * 4 * MIB + 256 * KIB, lambda: None)
        source.settle_all()
        assert file.read_cached(0, 4096) is not None
        assert file.read_cached(n * 4 * MIB, 4096) is not None
    assert file.read_cached(4 * MIB, 4096) is None


async def test_block_read_to_its_end_at_its_arrival_is_not_protected() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
    file = context.open(key_of("file"), 64 * MIB)
    file.begin(0, READ, lambda: None)
    file.begin(READ, 2 * READ, lambda: None)
    request, joined = source.pending[:2]
    request.settle()
    joined.settle()
    metrics = metrics_of(context)
    assert (metrics["blocks_ready"], metrics["budget_unread"]) == (2, 0)


async def test_refused_readahead_is_requested_later() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
    noise = context.open(key_of("noise"), 512 * MIB)
    for n in range(1, 21):
        noise.begin(n * n * MIB, n * n * MIB + 400 * KIB, lambda: None)
    file = context.open(key_of("file"), 64 * MIB)
    file.begin(0, READ, lambda: None)
    metrics = metrics_of(context)
    assert (metrics["readahead_refusals"], metrics["readahead_bytes"]) == (1, 0)
    source.settle_all()
    file.begin(READ, 2 * READ, lambda: None)
    source.settle_all()
    for offset in range(READ, MIB, READ):
        assert file.read_cached(offset, READ) is not None


async def test_readahead_for_which_a_read_waits_is_not_cancelled() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
    file = context.open(key_of("file"), 64 * MIB)
    file.begin(0, READ, lambda: None)
    woken: list[str] = []
    file.begin(MIB - READ, MIB, lambda: woken.append("joined"))
    noise = context.open(key_of("noise"), 512 * MIB)
    for n in range(1, 21):
        noise.begin(n * 4 * MIB, n * 4 * MIB + 400 * KIB, lambda: None)
    assert metrics_of(context)["readahead_cancelled_bytes"] >= 512 * KIB
    source.settle_all()
    assert woken == ["joined"]


async def test_readahead_of_a_single_reader_is_never_refused() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=0.05)
        context = ReadContext(source, budget_bytes=32 * MIB)
        file = context.open(key_of("file"), 128 * MIB)
        await read_some(file, 128 * MIB)
        assert metrics_of(context)["readahead_refusals"] == 0
        assert metrics_of(context)["readahead_wasted_bytes"] == 0
        assert metrics_of(context)["files_reading_ahead"] == 0
        file.close()
    assert source.total == 128 * MIB


async def test_blocks_that_a_reader_skips_lose_their_protection() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=0.01)
        context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
        file = context.open(key_of("file"), 64 * MIB)
        await read_some(file, MIB)
        for start in range(MIB, 64 * MIB, MIB):
            await read_some(file, start + 512 * KIB, start=start)
            assert metrics_of(context)["budget_unread"] <= 6 * MIB
        before = metrics_of(context)
        other = context.open(key_of("other"), 64 * MIB)
        await read_some(other, 8 * MIB)
        after = metrics_of(context)
        assert after["readahead_bytes"] - before["readahead_bytes"] >= 7 * MIB
        nursery.cancel_scope.cancel()


async def test_abandoned_queued_read_lets_the_next_one_begin() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
    file = context.open(key_of("file"), 512 * MIB)
    for n in range(1, 21):
        file.begin(n * 4 * MIB, n * 4 * MIB + 400 * KIB, lambda: None)
    large = file.begin(300 * MIB, 300 * MIB + 500 * KIB, lambda: None)
    woken: list[int] = []
    file.begin(400 * MIB, 400 * MIB + 4096, functools.partial(woken.append, 1))
    assert metrics_of(context)["queued_reads"] == 2
    file.abandon(large)
    assert metrics_of(context)["queued_reads"] == 0
    source.pending[-1].settle()
    assert woken == [1]


async def test_unread_readahead_counts_as_wasted_when_it_is_evicted() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
    file = context.open(key_of("ahead"), 64 * MIB)
    file.begin(0, READ, lambda: None)
    source.settle_all()
    # A READ takes a part of the first block of readahead, so the block does not count as wasted.
    assert file.read_cached(READ, 4096) is not None
    file.close()
    assert metrics_of(context)["budget_unread"] == 0
    noise = context.open(key_of("noise"), 512 * MIB)
    for n in range(100):
        noise.begin(n * 4 * MIB, n * 4 * MIB + 256 * KIB, lambda: None)
        source.settle_all()
    assert metrics_of(context)["readahead_wasted_bytes"] == MIB - 2 * READ


@pytest.mark.parametrize("readahead", [0, 256 * KIB, 4 * MIB])
async def test_window_never_exceeds_the_setting(readahead: int) -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=0.05)
        context = ReadContext(source, budget_bytes=64 * MIB, read_ahead_bytes=readahead)
        file = context.open(key_of("file"), 32 * MIB)
        for offset in range(0, file.size, READ):
            if file.read_cached(offset, READ) is None:
                await file.read(offset, READ)
            furthest = max(request.span[1] for request in source.requests)
            assert furthest <= offset + READ + readahead
        file.close()
    assert (metrics_of(context)["readahead_bytes"] > 0) == (readahead > 0)


def test_budget_admits_readahead_to_its_share_and_reads_to_the_limit() -> None:
    budget = MemoryBudget(800)
    assert budget.for_readahead(600, first_window=False) == 0
    assert budget.for_readahead(601, first_window=False) is None
    assert budget.for_readahead(700, first_window=True) == 0
    assert budget.for_readahead(701, first_window=True) is None
    budget.unprotected = 500
    assert budget.for_readahead(600, first_window=False) == 300
    # Blocks that readahead has requested still count as readahead when READs wait for them.
    budget.loading_joined = 50
    assert budget.for_readahead(550, first_window=False) == 300
    assert budget.for_readahead(551, first_window=False) is None
    budget.loading_read = 150
    assert budget.for_readahead(601, first_window=True) is None
    budget.loading_readahead = 100
    assert budget.admits_read(600)
    assert not budget.admits_read(601)
    assert (budget.to_cancel(500), budget.to_evict(500)) == (0, 500)
    assert (budget.to_cancel(600), budget.to_evict(600)) == (100, 600)
    assert (budget.in_flight, budget.used) == (300, 800)


def test_charged_overhead_is_the_measured_overhead_of_a_block() -> None:
    """If the charge is too low, many small blocks use more memory than the limit allows."""
    source = ManualSource()
    context = ReadContext(source, budget_bytes=512 * MIB, clock=lambda: 0.0)
    file = context.open(key_of("file"), 512 * MIB)
    content = memoryview(bytes(16 * KIB))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(2000):
            offset = n * 7_919 * 16 * KIB % (512 * MIB)
            file.begin(offset, offset + 4096, lambda: None)
            source.requests.pop().done(content[:])
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    each = (taken - before) / metrics_of(context)["blocks_ready"]
    assert BLOCK_OVERHEAD_BYTES / 2 <= each <= BLOCK_OVERHEAD_BYTES * 1.1


def test_cached_block_of_a_closed_small_file_takes_little_more_memory_than_is_charged() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=512 * MIB, clock=lambda: 0.0)
    keys = [key_of(f"{number}") for number in range(1000)]
    content = memoryview(bytes(4 * KIB))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for key in keys:
            file = context.open(key, 4 * KIB)
            file.begin(0, 4 * KIB, lambda: None)
            source.requests.pop().done(content[:])
            file.close()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (taken - before) / len(keys) <= BLOCK_OVERHEAD_BYTES * 1.75
