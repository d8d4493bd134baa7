from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import DeadlineExceeded, NotFound, StatusCode, StorageError, Unavailable
from gcsmux_fs.model.values import FinalContent
from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES
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

KEY = key_of("object")
LARGE = 64 * MIB + 12_345


def read_context(source: ManualSource, budget_bytes: int = 64 * MIB) -> ReadContext:
    return ReadContext(source, budget_bytes=budget_bytes)


async def settled_read(source: ManualSource, file: OpenFile, offset: int, size: int) -> bytes:
    """Return the bytes of a READ. The source answers each requested range."""
    answer = file.read_cached(offset, size)
    if answer is not None:
        return bytes(answer)
    result = b""

    async def read() -> None:
        nonlocal result
        result = bytes(await file.read(offset, size))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        while source.pending:
            source.settle_all()
            await trio.testing.wait_all_tasks_blocked()
    return result


def assert_at_rest(context: ReadContext) -> None:
    metrics = metrics_of(context)
    assert metrics["budget_in_flight"] == 0
    assert metrics["blocks_loading"] == 0
    assert metrics["waiting_reads"] == 0
    assert metrics["queued_reads"] == 0


async def test_reads_across_blocks_return_the_right_bytes_cut_at_the_end() -> None:
    source = ManualSource()
    context = read_context(source)
    file = context.open(KEY, LARGE)
    for offset, size in [
        (0, 4096),
        (2 * MIB - 5, 10),
        (20_000, MIB),
        (1, 3 * MIB),
        (LARGE - 3, 4096),
        (LARGE - 3 * MIB, 4 * MIB),
    ]:
        expected = content_of(KEY, offset, min(size, LARGE - offset))
        assert await settled_read(source, file, offset, size) == expected
        assert file.read_cached(offset, size) == expected
    file.close()
    assert_at_rest(context)


async def test_empty_reads_request_nothing() -> None:
    source = ManualSource()
    context = read_context(source)
    empty = context.open(key_of("empty"), 0)
    file = context.open(KEY, 1000)
    for answer in [
        empty.read_cached(0, 4096),
        await empty.read(0, 4096),
        file.read_cached(1000, 4096),
        await file.read(5000, 4096),
        file.read_cached(10, 0),
        await file.read(10, 0),
    ]:
        assert answer == b""
    assert source.requests == []


@pytest.mark.parametrize(
    "offset", [0, 4 * KIB, 16 * KIB - 4 * KIB, 2 * MIB - 4 * KIB, 30 * MIB + 8 * KIB, 16 * KIB - 1]
)
async def test_random_4_kib_read_of_a_cold_file_loads_at_most_64_kib(offset: int) -> None:
    source = ManualSource()
    file = read_context(source).open(KEY, LARGE)
    assert await settled_read(source, file, offset, 4 * KIB) == content_of(KEY, offset, 4 * KIB)
    assert source.total <= 64 * KIB


async def test_many_random_4_kib_reads_load_16_kib_each() -> None:
    source = ManualSource()
    file = read_context(source).open(KEY, LARGE)
    for page in random.Random(1).sample(range(16_384), 300):
        await settled_read(source, file, page * 4 * KIB, 4 * KIB)
    assert source.total <= 300 * 16 * KIB


@pytest.mark.parametrize("size", [1, 4096, 100_000, 700_001, MIB])
async def test_small_object_read_from_its_start_is_one_request(size: int) -> None:
    source = ManualSource()
    file = read_context(source).open(KEY, size)
    await settled_read(source, file, 0, 128 * KIB)
    assert source.spans == [(0, size)]
    assert source.requests[0].final == FinalContent(size)
    for offset in range(0, size, 128 * KIB):
        assert file.read_cached(offset, 128 * KIB) is not None
    assert source.spans == [(0, size)]


async def test_requests_carry_the_size_and_checksum_of_an_object_that_cannot_grow() -> None:
    source = ManualSource()
    context = read_context(source)
    await settled_read(source, context.open(KEY, 9 * MIB, crc32c=5), 0, 4 * KIB)
    await settled_read(source, context.open(key_of("log"), 9 * MIB, grows=True), 0, 4 * KIB)
    assert [request.final for request in source.requests] == [FinalContent(9 * MIB, 5), None]


async def test_reads_of_all_open_files_share_one_request() -> None:
    source = ManualSource()
    context = read_context(source)
    files = [context.open(KEY, LARGE) for _ in range(3)]
    results: list[bytes] = []

    async def read(file: OpenFile) -> None:
        results.append(bytes(await file.read(MIB, 4096)))

    async with trio.open_nursery() as nursery:
        for file in files:
            nursery.start_soon(read, file)
        await trio.testing.wait_all_tasks_blocked()
        assert source.spans == [(MIB, MIB + 16 * KIB)]
        assert metrics_of(context)["waiting_reads"] == 3
        source.settle_all()
    assert results == [content_of(KEY, MIB, 4096)] * 3
    metrics = metrics_of(context)
    assert (metrics["misses"], metrics["waits"], metrics["hits"]) == (1, 2, 0)


async def test_cached_read_is_a_view_of_its_block_and_read_only() -> None:
    source = ManualSource()
    file = read_context(source).open(KEY, LARGE)
    await settled_read(source, file, 0, 128 * KIB)
    first = file.read_cached(0, 4096)
    second = file.read_cached(4096, 4096)
    assert isinstance(first, memoryview)
    assert isinstance(second, memoryview)
    assert first.readonly
    assert first.obj is second.obj


async def test_only_a_new_generation_is_requested_again_at_the_next_open() -> None:
    source = ManualSource()
    context = read_context(source)
    for _ in range(3):
        file = context.open(KEY, 500_000)
        await settled_read(source, file, 0, 500_000)
        file.close()
    assert source.spans == [(0, 500_000)]
    newer = context.open(key_of("object", generation=2), 500_000)
    expected = content_of(newer.key, 0, 500_000)
    assert await settled_read(source, newer, 0, 500_000) == expected
    assert len(source.requests) == 2


async def test_read_and_its_readahead_are_requested_in_one_tick_the_read_first() -> None:
    source = ManualSource()
    file = read_context(source).open(KEY, LARGE)
    woken: list[None] = []
    request = file.begin(0, 128 * KIB, lambda: woken.append(None))
    assert source.spans[0] == (0, 128 * KIB)
    assert source.spans[-1] == (768 * KIB, MIB)
    source.requests[0].settle()
    assert woken == [None]
    assert request.result() == content_of(KEY, 0, 128 * KIB)


async def test_read_that_misses_several_ranges_requests_all_at_once() -> None:
    source = ManualSource()
    file = read_context(source).open(KEY, LARGE)
    file.begin(20 * MIB, 21 * MIB, lambda: None)
    source.settle_all()
    request = file.begin(19 * MIB + 5, 22 * MIB - 5, lambda: None)
    assert [request.span for request in source.pending] == [
        (19 * MIB, 20 * MIB),
        (21 * MIB, 22 * MIB),
    ]
    source.settle_all()
    assert request.result() == content_of(KEY, 19 * MIB + 5, 3 * MIB - 10)


async def test_failed_range_fails_all_its_reads_and_the_next_read_requests_it_again() -> None:
    source = ManualSource()
    context = read_context(source)
    file = context.open(KEY, LARGE)
    errors: list[StorageError] = []

    async def read() -> None:
        try:
            await file.read(MIB - 4096, 8192)
        except StorageError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        source.requests[0].settle(NotFound("gone", subject="it", code=StatusCode.NOT_FOUND))
    assert [str(error) for error in errors] == ["it: gone [NOT_FOUND]"] * 2
    assert {type(error) for error in errors} == {NotFound}
    assert errors[0] is not errors[1]
    assert_at_rest(context)
    expected = content_of(KEY, MIB - 4096, 8192)
    assert await settled_read(source, file, MIB - 4096, 8192) == expected
    assert len(source.requests) == 2


async def test_failed_readahead_is_requested_again_by_the_next_read() -> None:
    source = ManualSource()
    context = read_context(source)
    file = context.open(KEY, LARGE)
    file.begin(0, 128 * KIB, lambda: None)
    request, *ahead = source.pending
    request.settle()
    for request in ahead:
        request.settle(Unavailable("no"))
    assert metrics_of(context)["readahead_failures"] == len(ahead)
    expected = content_of(KEY, 128 * KIB, 128 * KIB)
    assert await settled_read(source, file, 128 * KIB, 128 * KIB) == expected


async def test_deadline_error_contains_the_last_error_of_the_range() -> None:
    source = ManualSource()
    file = read_context(source).open(KEY, LARGE)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(DeadlineExceeded, match=r"within 120 s, last error: gone \["):
                await file.read(4096, 4096)

        await trio.testing.wait_all_tasks_blocked()
        source.requests[0].last_error = "gone [UNAVAILABLE]"


async def test_read_ends_exactly_at_its_deadline_and_names_its_range() -> None:
    source = ManualSource()
    context = ReadContext(source, budget_bytes=64 * MIB, read_timeout=120.0)
    file = context.open(KEY, LARGE)
    ends: list[float] = []
    start = trio.current_time()

    async def read(delay: float) -> None:
        await trio.sleep(delay)
        with pytest.raises(
            DeadlineExceeded, match=r"object'#1 \[4096, 8192\): not read within 120"
        ):
            await file.read(4096, 4096)
        ends.append(trio.current_time() - start)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, 0)
        nursery.start_soon(read, 30.5)
    assert ends == [120.0, 150.5]
    assert metrics_of(context)["waiting_reads"] == 0
    # The block for which both expired READs waited is cancelled.
    assert metrics_of(context)["blocks_loading"] == 0
    assert metrics_of(context)["budget_in_flight"] == 0
    # The next READ has the full timeout again.
    with pytest.raises(DeadlineExceeded):
        await file.read(10 * MIB, 4096)
    assert trio.current_time() - start == 270.5


async def test_read_cancelled_in_the_tick_of_its_deadline_ends_once() -> None:
    context = ReadContext(ManualSource(), budget_bytes=64 * MIB, read_timeout=120.0)
    file = context.open(KEY, LARGE)
    for _ in range(20):
        with trio.move_on_after(120.0):
            with pytest.raises(DeadlineExceeded):
                await file.read(0, 4096)
        assert metrics_of(context)["waiting_reads"] == 0


async def test_deadline_of_a_read_larger_than_the_budget_covers_all_its_parts() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=50.0)
        context = ReadContext(source, budget_bytes=MINIMUM_BUDGET_BYTES, read_timeout=120.0)
        file = context.open(KEY, LARGE)
        with pytest.raises(DeadlineExceeded, match=r"\[20971520, 54525952\)"):
            await file.read(20 * MIB, 32 * MIB)
        assert trio.current_time() == pytest.approx(120.0)
        nursery.cancel_scope.cancel()
    assert metrics_of(context)["waiting_reads"] == 0


async def test_read_larger_than_the_budget_returns_all_bytes() -> None:
    async with trio.open_nursery() as nursery:
        source = TimedSource(nursery, latency=0.005)
        context = read_context(source, MINIMUM_BUDGET_BYTES)
        file = context.open(KEY, LARGE)
        assert await file.read(5, 30 * MIB) == content_of(KEY, 5, 30 * MIB)
        assert source.total <= 40 * MIB
        file.close()
    assert_at_rest(context)


async def test_read_of_a_closed_file_is_refused() -> None:
    file = read_context(ManualSource()).open(KEY, LARGE)
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        await file.read(0, 4096)


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        pytest.param(0, 4096, id="a ready block"),
        pytest.param(LARGE, 4096, id="the end"),
        pytest.param(10 * MIB, 4096, id="a loading block"),
        pytest.param(10 * MIB - 4096, 8192, id="two loading blocks"),
        pytest.param(40 * MIB, 400 * KIB, id="memory"),
        pytest.param(50 * MIB, 2 * MIB, id="a part of a large read"),
    ],
)
async def test_read_cancelled_while_it_waits_leaves_nothing_behind(offset: int, size: int) -> None:
    source = ManualSource()
    context = read_context(source, MINIMUM_BUDGET_BYTES)
    file = context.open(KEY, LARGE)
    await settled_read(source, file, 0, 4096)
    if offset == 40 * MIB:
        for n in range(1, 20):
            file.begin(n * 2 * MIB, n * 2 * MIB + 400 * KIB, lambda: None)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.read, offset, size)
            scope.cancel()
    assert scope.cancelled_caught
    with trio.move_on_after(1) as scope:
        await file.read(offset, size)
    assert scope.cancelled_caught == (offset > 0 and offset < LARGE)
    assert metrics_of(context)["waiting_reads"] == 0
    assert metrics_of(context)["queued_reads"] == 0
    source.settle_all()
    assert_at_rest(context)
    expected = content_of(KEY, offset, min(size, LARGE - offset))
    assert await settled_read(source, file, offset, size) == expected
    file.close()


async def test_cancelled_read_leaves_the_others_their_block() -> None:
    source = ManualSource()
    context = read_context(source)
    file = context.open(KEY, LARGE)
    async with trio.open_nursery() as outer:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(file.read, MIB, 4096)
                await trio.testing.wait_all_tasks_blocked()
                results: list[bytes] = []

                async def read() -> None:
                    results.append(bytes(await file.read(MIB + 4096, 4096)))

                outer.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        source.settle_all()
    assert results == [content_of(KEY, MIB + 4096, 4096)]
    assert len(source.requests) == 1


async def test_last_close_cancels_readahead_and_gives_its_memory_back() -> None:
    source = ManualSource()
    context = read_context(source)
    files = [context.open(KEY, LARGE) for _ in range(2)]
    files[0].begin(0, 128 * KIB, lambda: None)
    request, *ahead = source.pending
    files[0].close()
    assert not any(request.is_cancelled for request in source.requests)
    files[1].close()
    assert all(request.is_cancelled for request in ahead)
    assert source.pending == [request]
    request.settle()
    assert_at_rest(context)
    metrics = metrics_of(context)
    assert (metrics["blocks_ready"], metrics["budget_unread"]) == (1, 0)
    assert metrics["open_files"] == 0
    assert metrics["readahead_cancelled_bytes"] == sum(request.length for request in ahead)
