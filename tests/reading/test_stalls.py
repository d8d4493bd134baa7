"""Tests of READs that are never answered: other READs get memory all the same."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import DeadlineExceeded
from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.reading.stalls import STALLED_SECONDS, STALLED_TIMES, Stalls
from tests.support.sizes import KIB, MIB

from .fakes import (
    TimedSource,
    content_of,
    key_of,
    metrics_of,
)

STUCK = 200
LATENCY_SECONDS = 0.05
TIMEOUT_SECONDS = 10.0


def test_no_read_has_stalled_before_almost_a_second() -> None:
    stalls: Stalls[str] = Stalls()
    assert stalls.longest_stalled(100.0) is None
    stalls.start("first", 10.0)
    stalls.start("second", 10.5)
    assert stalls.longest_stalled(10.0 + STALLED_SECONDS - 0.1) is None
    assert stalls.longest_stalled(11.0) == "first"
    stalls.discard("first")
    assert stalls.longest_stalled(11.0) is None
    assert stalls.longest_stalled(11.5) == "second"
    stalls.finish("second", 12.0)
    assert len(stalls) == 0


def test_read_stalls_after_several_times_the_slowest_recent_answer() -> None:
    stalls: Stalls[str] = Stalls()
    stalls.start("slow", 0.0)
    stalls.finish("slow", 3.0)
    stalls.start("waits", 10.0)
    assert stalls.longest_stalled(10.0 + 3.0 * STALLED_TIMES - 0.1) is None
    assert stalls.longest_stalled(10.0 + 3.0 * STALLED_TIMES + 0.1) == "waits"


def test_slow_answer_is_forgotten_after_many_quick_answers() -> None:
    stalls: Stalls[str] = Stalls()
    stalls.start("slow", 0.0)
    stalls.finish("slow", 3.0)
    for number in range(300):
        stalls.start("quick", float(number))
        stalls.finish("quick", number + 0.001)
    stalls.start("waits", 1000.0)
    assert stalls.longest_stalled(1001.0) == "waits"


async def test_file_is_read_while_stalled_reads_fill_the_memory() -> None:
    stuck, healthy = key_of("stuck"), key_of("healthy")
    error_times: list[float] = []
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, LATENCY_SECONDS)
        source.stalled.add(stuck)
        context = ReadContext(
            source, budget_bytes=MINIMUM_BUDGET_BYTES, read_timeout=TIMEOUT_SECONDS
        )
        file, other = context.open(stuck, 100 * MIB), context.open(healthy, 3 * MIB)

        async def read_until_the_deadline(offset: int) -> None:
            with pytest.raises(DeadlineExceeded):
                await file.read(offset, 128 * KIB)
            error_times.append(trio.current_time())

        async with trio.open_nursery() as reads:
            for number in range(STUCK):
                # The READs are far apart, so that readahead for one READ does not load another.
                reads.start_soon(read_until_the_deadline, number * 384 * KIB)
            await trio.sleep(3)
            assert metrics_of(context)["queued_reads"] > STUCK // 2
            for offset in range(0, 3 * MIB, 128 * KIB):
                content = await other.read(offset, 128 * KIB)
                assert bytes(content) == content_of(healthy, offset, 128 * KIB)
            assert trio.current_time() < 3 + 24 * LATENCY_SECONDS * 1.5
            assert metrics_of(context)["reads_displaced"] > 0
            assert metrics_of(context)["budget_used"] <= context.resources.budget.limit
        # A READ that lost its memory to another READ fails no later than the other READs.
        assert error_times == [TIMEOUT_SECONDS] * STUCK
        file.close()
        other.close()
        metrics = metrics_of(context)
        assert (
            metrics["blocks_loading"],
            metrics["budget_in_flight"],
            metrics["queued_reads"],
        ) == (0, 0, 0)


async def test_queued_read_takes_the_place_of_a_stalled_one() -> None:
    stuck, healthy = key_of("stuck"), key_of("healthy")
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, LATENCY_SECONDS)
        source.stalled.add(stuck)
        context = ReadContext(
            source, budget_bytes=MINIMUM_BUDGET_BYTES, read_timeout=TIMEOUT_SECONDS
        )
        file, other = context.open(stuck, 100 * MIB), context.open(healthy, 3 * MIB)

        async def read_until_the_deadline(offset: int) -> None:
            with pytest.raises(DeadlineExceeded):
                await file.read(offset, 128 * KIB)

        async with trio.open_nursery() as reads:
            for number in range(STUCK):
                reads.start_soon(read_until_the_deadline, number * 384 * KIB)
            await trio.testing.wait_all_tasks_blocked()
            assert metrics_of(context)["queued_reads"] > STUCK // 2
            await other.read(MIB, 128 * KIB)
            # This READ waits longer than its round trip, because some READs were ahead of it in the
            # queue, and each of these held memory for a second.
            assert trio.current_time() < TIMEOUT_SECONDS - 2
            await trio.sleep_until(TIMEOUT_SECONDS - 0.5)
            # Each READ loses its memory to another READ at most once.
            assert metrics_of(context)["reads_displaced"] <= STUCK + 1
        file.close()
        other.close()
