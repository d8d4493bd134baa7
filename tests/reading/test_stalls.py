"""READs that are never answered keep no memory from those that would be."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import DeadlineExceeded
from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.reading.stalls import STALLED_SECONDS, STALLED_TIMES, Stalls

from .fakes import KIB, MIB, TimedSource, content_of, key_of, metrics_of

STUCK = 200
LATENCY_SECONDS = 0.05
TIMEOUT_SECONDS = 10.0


def test_nothing_has_stalled_before_almost_a_second() -> None:
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


def test_where_answers_are_slow_a_read_may_take_several_times_as_long() -> None:
    stalls: Stalls[str] = Stalls()
    stalls.start("slow", 0.0)
    stalls.finish("slow", 3.0)
    stalls.start("waits", 10.0)
    assert stalls.longest_stalled(10.0 + 3.0 * STALLED_TIMES - 0.1) is None
    assert stalls.longest_stalled(10.0 + 3.0 * STALLED_TIMES + 0.1) == "waits"


def test_one_slow_answer_is_forgotten_after_many_quick_ones() -> None:
    stalls: Stalls[str] = Stalls()
    stalls.start("slow", 0.0)
    stalls.finish("slow", 3.0)
    for number in range(300):
        stalls.start("quick", float(number))
        stalls.finish("quick", number + 0.001)
    stalls.start("waits", 1000.0)
    assert stalls.longest_stalled(1001.0) == "waits"


async def test_a_file_is_read_while_reads_that_stall_fill_the_memory() -> None:
    stuck, healthy = key_of("stuck"), key_of("healthy")
    errors: list[float] = []
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, LATENCY_SECONDS)
        source.stalled.add(stuck)
        context = ReadContext(
            source, budget_bytes=MINIMUM_BUDGET_BYTES, read_timeout=TIMEOUT_SECONDS
        )
        file, other = context.open(stuck, 100 * MIB), context.open(healthy, 3 * MIB)

        async def read_in_vain(offset: int) -> None:
            with pytest.raises(DeadlineExceeded):
                await file.read(offset, 128 * KIB)
            errors.append(trio.current_time())

        async with trio.open_nursery() as reads:
            for number in range(STUCK):
                # Far apart: none of them is fetched ahead of another.
                reads.start_soon(read_in_vain, number * 384 * KIB)
            await trio.sleep(3)
            assert metrics_of(context)["queued_reads"] > STUCK // 2
            for offset in range(0, 3 * MIB, 128 * KIB):
                found = await other.read(offset, 128 * KIB)
                assert bytes(found) == content_of(healthy, offset, 128 * KIB)
            assert trio.current_time() < 3 + 24 * LATENCY_SECONDS * 1.5
            assert metrics_of(context)["reads_displaced"] > 0
            assert metrics_of(context)["budget_used"] <= context.resources.budget.limit
        # Whoever has given its place up is told no later than others.
        assert errors == [TIMEOUT_SECONDS] * STUCK
        file.close()
        other.close()
        metrics = metrics_of(context)
        assert (
            metrics["blocks_loading"],
            metrics["budget_in_flight"],
            metrics["queued_reads"],
        ) == (0, 0, 0)


async def test_a_read_that_queues_gets_its_turn_when_others_have_stalled() -> None:
    stuck, healthy = key_of("stuck"), key_of("healthy")
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, LATENCY_SECONDS)
        source.stalled.add(stuck)
        context = ReadContext(
            source, budget_bytes=MINIMUM_BUDGET_BYTES, read_timeout=TIMEOUT_SECONDS
        )
        file, other = context.open(stuck, 100 * MIB), context.open(healthy, 3 * MIB)

        async def read_in_vain(offset: int) -> None:
            with pytest.raises(DeadlineExceeded):
                await file.read(offset, 128 * KIB)

        async with trio.open_nursery() as reads:
            for number in range(STUCK):
                reads.start_soon(read_in_vain, number * 384 * KIB)
            await trio.testing.wait_all_tasks_blocked()
            assert metrics_of(context)["queued_reads"] > STUCK // 2
            await other.read(MIB, 128 * KIB)
            # Some that queue before it have had a turn of a second.
            assert trio.current_time() < TIMEOUT_SECONDS - 2
            await trio.sleep_until(TIMEOUT_SECONDS - 0.5)
            # Each of them has given way once at most.
            assert metrics_of(context)["reads_displaced"] <= STUCK + 1
        file.close()
        other.close()
