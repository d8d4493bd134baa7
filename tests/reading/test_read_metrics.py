"""Tests of the metrics of READs: every counter is declared, and READs are timed by outcome."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
import trio
import trio.testing

from gcsmux_fs.metrics.registry import MetricError, Registry
from gcsmux_fs.model.errors import DeadlineExceeded, Unavailable
from gcsmux_fs.reading.counters import ReadCounters
from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES
from gcsmux_fs.reading.read_context import ReadContext
from tests.support.sizes import GIB, KIB, MIB

from .fakes import (
    ManualSource,
    TimedSource,
    key_of,
    metrics_of,
)

LATENCY_SECONDS = 0.05


def counts_of(context: ReadContext) -> dict[str, int]:
    """Return the number of timed READs by outcome."""
    return {name: times["count"] for name, times in metrics_of(context)["read_seconds"].items()}


def test_every_counter_is_declared_once() -> None:
    context = ReadContext(ManualSource(), budget_bytes=MINIMUM_BUDGET_BYTES)
    registry = Registry()
    context.declare_metrics(registry)
    names = [field.name for field in dataclasses.fields(ReadCounters)]
    assert [registry.value(name) for name in names] == [0] * len(names)
    assert registry.value("budget_limit") == MINIMUM_BUDGET_BYTES
    with pytest.raises(MetricError):
        context.declare_metrics(registry)


async def test_reads_are_timed_by_outcome() -> None:
    async with trio.open_nursery() as nursery:
        context = ReadContext(TimedSource(nursery, LATENCY_SECONDS), budget_bytes=64 * MIB)
        file = context.open(key_of("object"), 10 * MIB)
        async with trio.open_nursery() as reads:
            reads.start_soon(file.read, MIB, 4 * KIB)
            reads.start_soon(file.read, MIB, 4 * KIB)
        await file.read(MIB, 4 * KIB)
        file.close()
    assert counts_of(context) == {"hit": 1, "wait": 1, "miss": 1}
    times = metrics_of(context)["read_seconds"]
    assert times["hit"]["sum_seconds"] == 0
    assert times["miss"]["sum_seconds"] == pytest.approx(LATENCY_SECONDS)


async def test_read_that_queues_for_memory_or_is_read_in_parts_is_timed_as_a_miss() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, LATENCY_SECONDS)
        context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES)
        file = context.open(key_of("object"), 64 * GIB)
        async with trio.open_nursery() as reads:
            # These READs form no pattern, so none of them finds bytes that were fetched ahead.
            for number in Random(1).sample(range(1, 1_000), 20):
                reads.start_soon(file.read, number * 37 * MIB, 500 * KIB)
            await trio.testing.wait_all_tasks_blocked()
            assert metrics_of(context)["queued_reads"] > 0
        await file.read(8 * MIB, MIB)
        file.close()
    assert counts_of(context) == {"hit": 0, "wait": 0, "miss": 21}


async def test_failed_read_is_timed() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES, read_timeout=10.0)
    file = context.open(key_of("object"), 10 * MIB)
    with pytest.raises(DeadlineExceeded):
        await file.read(MIB, 4 * KIB)

    async def fail() -> None:
        await trio.testing.wait_all_tasks_blocked()
        source.pending[0].settle(Unavailable("no"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        with pytest.raises(Unavailable):
            await file.read(5 * MIB, 4 * KIB)
    file.close()
    times = metrics_of(context)["read_seconds"]
    assert times["miss"]["count"] == 2
    assert times["miss"]["sum_seconds"] == pytest.approx(10.0)
