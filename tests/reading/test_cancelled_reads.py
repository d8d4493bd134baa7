"""Tests that cancel a READ at any instant. The cancelled READ leaves no waiting READ and no loading
block behind, and disturbs no other READ."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import DeadlineExceeded
from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES, MemoryBudget
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.reading.read_request import Outcome, ReadRequest
from tests.support.cancellation import cancel_everywhere
from tests.support.sizes import KIB, MIB

from .fakes import (
    ManualSource,
    TimedSource,
    content_of,
    key_of,
    metrics_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.reading.open_file import OpenFile
    from tests.support.cancellation import Scenario

KEY = key_of("object")
SIZE = 9 * MIB + 12_345
LATENCY_SECONDS = 0.05
TIMEOUT_SECONDS = 10.0
LARGEST_BYTES = MemoryBudget(MINIMUM_BUDGET_BYTES).largest_read
# Offset and size of three READs: in one block; across a ready and a missing block; in three parts,
# because the READ is larger than the largest READ that is served in one piece.
PLACES = [
    (5 * MIB, 4 * KIB),
    (2 * MIB - 4 * KIB, 64 * KIB),
    (5 * MIB + 5, 2 * LARGEST_BYTES + 4 * KIB),
]


def assert_at_rest(context: ReadContext) -> None:
    metrics = metrics_of(context)
    assert (metrics["waiting_reads"], metrics["queued_reads"]) == (0, 0)
    assert (metrics["blocks_loading"], metrics["budget_in_flight"]) == (0, 0)


@asynccontextmanager
async def opened(
    count: int, read_ahead_bytes: int = 0
) -> AsyncIterator[tuple[TimedSource, ReadContext, list[OpenFile]]]:
    """Open a file `count` times, with 16 KiB ready. At the end, check that no READ waits."""
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, LATENCY_SECONDS)
        context = ReadContext(
            source,
            budget_bytes=MINIMUM_BUDGET_BYTES,
            read_ahead_bytes=read_ahead_bytes,
            read_timeout=TIMEOUT_SECONDS,
        )
        files = [context.open(KEY, SIZE) for _ in range(count)]
        await files[0].read(2 * MIB - 16 * KIB, 16 * KIB)
        yield source, context, files
        for file in files:
            file.close()
        await trio.sleep(LATENCY_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        assert_at_rest(context)
        assert (context.resources.open_files, metrics_of(context)["budget_unread"]) == (0, 0)


async def assert_content(file: OpenFile, offset: int, size: int) -> None:
    assert bytes(await file.read(offset, size)) == content_of(KEY, offset, size)


@pytest.mark.parametrize(("offset", "size"), PLACES)
def test_cancelled_read_leaves_nothing_behind(offset: int, size: int) -> None:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        async with opened(1) as (source, context, (file,)):
            yield functools.partial(file.read, offset, size)
            assert_at_rest(context)
            assert source.pending == []
            await assert_content(file, offset, size)

    cancel_everywhere(stage)


@pytest.mark.parametrize("delay", [0.0, 0.3 * LATENCY_SECONDS])
@pytest.mark.parametrize(("offset", "size"), PLACES)
def test_other_reads_of_the_same_bytes_continue(offset: int, size: int, delay: float) -> None:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        async def read_later(seconds: float, file: OpenFile) -> None:
            await trio.sleep(seconds)
            await assert_content(file, offset, size)

        async with (
            opened(3, read_ahead_bytes=4 * MIB) as (source, _, (before, file, after)),
            trio.open_nursery() as others,
        ):
            others.start_soon(read_later, 0.0, before)
            others.start_soon(read_later, 2 * delay, after)
            await trio.sleep(delay)
            yield functools.partial(file.read, offset, size)
        spans = [request.span for request in source.requests if not request.is_cancelled]
        assert len(spans) == len(set(spans))

    cancel_everywhere(stage)


def test_readahead_of_a_cancelled_reader_serves_the_next_one() -> None:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        async with opened(1, read_ahead_bytes=4 * MIB) as (_, _, (file,)):

            async def read_in_order() -> None:
                for offset in range(0, MIB, 128 * KIB):
                    await assert_content(file, offset, 128 * KIB)

            yield read_in_order
            await read_in_order()

    cancel_everywhere(stage)


@pytest.mark.slow
def test_cancelled_queued_read_lets_the_next_queued_reads_begin() -> None:
    last = SIZE - 100 * KIB

    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        async with opened(1) as (_, context, (file,)), trio.open_nursery() as others:
            for number in range(18):
                others.start_soon(assert_content, file, number * 512 * KIB, 500 * KIB)
            await trio.testing.wait_all_tasks_blocked()
            assert metrics_of(context)["queued_reads"] > 0
            others.start_soon(assert_content, file, last, 50 * KIB)
            yield functools.partial(file.read, last, 100 * KIB)

    cancel_everywhere(stage)


@pytest.mark.slow
def test_cancelled_reads_give_their_memory_to_a_queued_read() -> None:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        async def read_later(other: OpenFile) -> None:
            # At this time no READ has stalled yet.
            await trio.sleep(0.5)
            # This READ would fail if it got memory only after the timeout of the other READs.
            assert bytes(await other.read(0, 512 * KIB)) == content_of(other.key, 0, 512 * KIB)

        async def read_all() -> None:
            async with trio.open_nursery() as reads:
                for number in range(15):
                    reads.start_soon(read_until_the_deadline, file, number * 512 * KIB, 512 * KIB)
                reads.start_soon(read_until_the_deadline, file, 15 * 512 * KIB, 32 * KIB)
                await trio.sleep(0.8)
                assert metrics_of(context)["queued_reads"] == 1

        async with opened(1) as (source, context, (file,)), trio.open_nursery() as others:
            source.stalled.add(KEY)
            other = context.open(key_of("other"), MIB)
            others.start_soon(read_later, other)
            yield read_all
            assert metrics_of(context)["waiting_reads"] <= 1
            await trio.sleep(TIMEOUT_SECONDS)
            other.close()

    cancel_everywhere(stage)


async def read_until_the_deadline(file: OpenFile, offset: int, size: int) -> None:
    with suppress(DeadlineExceeded):
        await file.read(offset, size)


@pytest.mark.parametrize(("offset", "size"), PLACES)
def test_read_that_expires_as_it_is_cancelled_ends_once(offset: int, size: int) -> None:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        async with opened(1) as (source, context, (file,)):
            source.stalled.add(KEY)
            yield functools.partial(read_until_the_deadline, file, offset, size)
            assert_at_rest(context)
            assert source.pending == []
            source.stalled.clear()
            await trio.sleep(2.5)
            await assert_content(file, offset, size)

    cancel_everywhere(stage)


async def test_a_read_that_must_queue_keeps_no_part_of_its_request() -> None:
    # To make room for the READ, the fetcher cancels a prefetched range that the READ needs too.
    # Then there is no memory for this range.
    context = ReadContext(ManualSource(), budget_bytes=MINIMUM_BUDGET_BYTES)
    fetcher = context.resources.fetcher
    index = fetcher.open(key_of("object"), 64 * MIB)
    assert fetcher.read_ahead(index, ByteRange(0, 304 * KIB), first_window=True)

    def begin(offset: int, length: int) -> Outcome:
        span = offset, offset + length
        return fetcher.begin(ReadRequest(index, *span, span, lambda: None))

    for number in range(15):
        begin((number + 2) * MIB, 512 * KIB)
    held = context.resources.budget.loading_read
    assert begin(0, 600 * KIB) is Outcome.QUEUED
    assert context.resources.budget.loading_read == held
