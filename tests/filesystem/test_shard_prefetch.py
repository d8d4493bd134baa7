"""Tests of readahead across files: a program reads large files one after the other."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.filesystem.prefetched_files import ABANDONED_SECONDS
from gcsmux_fs.model.errors import Unavailable
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE
from tests.reading.fakes import metrics_of
from tests.support.sizes import KIB, MIB

from .served_bucket import LATENCY_SECONDS, THREAD, ServedBucket, served

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARD_BYTES = 16 * MIB
SHARDS = [f"model-{number:05}-of-00008.safetensors" for number in range(1, 9)]
TOTAL = len(SHARDS) * SHARD_BYTES
# A reader takes 0.5 ms for each READ, so that it reads 16 MiB in about one round trip.
READ_BYTES, READ_SECONDS = 256 * KIB, 0.0005


async def read_whole(bucket: ServedBucket, name: str, thread: int = THREAD) -> None:
    inode = await bucket.inode_of(name)
    handle = (await bucket.filesystem.open(inode, 0, thread)).handle
    for offset in range(0, bucket.store[name].size, READ_BYTES):
        await bucket.read(handle, offset, READ_BYTES)
        await trio.sleep(READ_SECONDS)
    bucket.filesystem.release(handle)
    bucket.filesystem.forget([(inode, 1)])


async def read_all(bucket: ServedBucket, names: Sequence[str], thread: int = THREAD) -> None:
    for name in names:
        await read_whole(bucket, name, thread)


async def seconds_of_one_file() -> float:
    """Return how long it takes to read one file that is as long as all shards."""
    async with served("model.safetensors", size=TOTAL) as bucket:
        bucket.store.delay_seconds = LATENCY_SECONDS
        started = trio.current_time()
        await read_whole(bucket, "model.safetensors")
        return trio.current_time() - started


async def list_root(bucket: ServedBucket) -> None:
    handle = await bucket.filesystem.open_directory(ROOT_INODE)
    await bucket.filesystem.read_directory(handle, 0, lambda *_: True)
    bucket.filesystem.release_directory(handle)


@pytest.mark.parametrize(("is_listed", "factor"), [(True, 0.95), (False, 1.1)])
async def test_shards_in_order_take_no_longer_than_one_file_of_the_same_bytes(
    *, is_listed: bool, factor: float
) -> None:
    limit = factor * await seconds_of_one_file()
    async with served(*SHARDS, size=SHARD_BYTES) as bucket:
        bucket.store.delay_seconds = LATENCY_SECONDS
        if is_listed:
            await list_root(bucket)
        started = trio.current_time()
        await read_all(bucket, SHARDS)
        assert trio.current_time() - started <= limit
        # Each byte was requested once, and no byte that was not read.
        assert bucket.source.total == TOTAL
        # The service was asked at most once for each name: by the prefetch, or by the program.
        lookups = [each for each in bucket.store.requests if each.startswith("list model")]
        assert bool(lookups) is not is_listed
        assert len(lookups) == len(set(lookups))


@pytest.mark.parametrize(
    "parts", [(SHARDS[::2], SHARDS[1::2]), (SHARDS[:4], SHARDS[4:])], ids=["alternate", "halves"]
)
async def test_two_readers_of_shards_are_as_fast_as_one_of_half_the_bytes(
    parts: tuple[list[str], list[str]],
) -> None:
    async with served("model.safetensors", size=TOTAL // 2) as bucket:
        await read_whole(bucket, "model.safetensors")
        # Each of the two readers needs some round trips until its first window is full.
        limit = trio.current_time() / 0.7
    async with served(*SHARDS, size=SHARD_BYTES) as bucket:
        await list_root(bucket)
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for thread, names in enumerate(parts, 1):
                nursery.start_soon(read_all, bucket, names, thread)
        assert bucket.source.total == TOTAL
        assert trio.current_time() - started <= limit


async def test_numbered_files_without_a_count_are_continued_after_one_step() -> None:
    names = [f"train.{number:03}" for number in range(6)]
    async with served(*names, size=SHARD_BYTES) as bucket:
        await list_root(bucket)
        await read_all(bucket, names[:2])
        started = trio.current_time()
        await read_all(bucket, names[2:])
        assert bucket.source.total == len(names) * SHARD_BYTES
        reading = 4 * SHARD_BYTES / READ_BYTES * READ_SECONDS
        assert trio.current_time() - started <= reading + 4 * LATENCY_SECONDS


async def test_many_files_of_a_few_mib_are_continued_across_several_files() -> None:
    names = [f"image-{number:03}.tif" for number in range(60)]
    async with served(*names, size=2 * MIB) as bucket:
        await list_root(bucket)
        started = trio.current_time()
        await read_all(bucket, names)
        assert bucket.source.total == len(names) * 2 * MIB
        reading = len(names) * 2 * MIB / READ_BYTES * READ_SECONDS
        assert trio.current_time() - started <= reading + 12 * LATENCY_SECONDS


async def test_large_files_in_random_order_are_not_continued() -> None:
    names = [f"train-{number:03}.tar" for number in range(30)]
    order = list(names)
    random.Random(7).shuffle(order)
    async with served(*names, size=2 * MIB) as bucket:
        await list_root(bucket)
        await read_all(bucket, order)
        assert bucket.source.total <= len(names) * 2 * MIB


async def test_the_first_shard_alone_costs_at_most_half_more_and_is_released_later() -> None:
    async with served(*SHARDS, size=SHARD_BYTES) as bucket:
        await list_root(bucket)
        await read_whole(bucket, SHARDS[0])
        assert SHARD_BYTES < bucket.source.total <= 1.5 * SHARD_BYTES
        assert metrics_of(bucket.context)["budget_unread"] > 0
        await trio.sleep(ABANDONED_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        assert metrics_of(bucket.context)["budget_unread"] == 0
        assert bucket.open_objects == 0
        # The wrong guess was the last one.
        await read_whole(bucket, SHARDS[5])
        assert bucket.source.total <= 2.5 * SHARD_BYTES


async def test_the_head_of_a_shard_does_not_fetch_the_next_one() -> None:
    async with served(*SHARDS, size=SHARD_BYTES) as bucket:
        await list_root(bucket)
        for name in SHARDS:
            handle = await bucket.open(name)
            await bucket.read(handle, 0, 128 * KIB)
            await trio.testing.wait_all_tasks_blocked()
            bucket.filesystem.release(handle)
        assert {request.key.name for request in bucket.source.requests[:9]} <= set(SHARDS[:2])
        assert bucket.source.total <= len(SHARDS) * 128 * KIB + 3 * 2 * MIB


async def test_a_shard_that_is_missing_or_cannot_be_looked_up_changes_nothing() -> None:
    async with served(SHARDS[0], *SHARDS[3:], size=SHARD_BYTES) as bucket:
        bucket.store.failures.append((f"list {SHARDS[4]}", Unavailable("no")))
        await read_all(bucket, [SHARDS[0], SHARDS[3]])
        assert bucket.source.total == 2 * SHARD_BYTES
        await read_all(bucket, SHARDS[4:])
        assert bucket.source.total == 6 * SHARD_BYTES


async def test_the_next_shard_of_a_slow_reader_stays_prefetched_until_it_is_opened() -> None:
    async with served(*SHARDS, size=SHARD_BYTES) as bucket:
        await list_root(bucket)
        handle = await bucket.open(SHARDS[0])
        for offset in range(0, SHARD_BYTES, READ_BYTES):
            await bucket.read(handle, offset, READ_BYTES)
            await trio.sleep(1.5 * ABANDONED_SECONDS * READ_BYTES / SHARD_BYTES)
        assert metrics_of(bucket.context)["budget_unread"] > 0
        bucket.filesystem.release(handle)


async def test_prefetched_bytes_of_a_shard_are_given_up_when_the_reader_stops_early() -> None:
    async with served(*SHARDS, size=SHARD_BYTES) as bucket:
        await list_root(bucket)
        await read_whole(bucket, SHARDS[0])
        handle = await bucket.open(SHARDS[1])
        await bucket.read(handle, 0, 128 * KIB)
        await trio.testing.wait_all_tasks_blocked()
        bucket.filesystem.release(handle)
        assert metrics_of(bucket.context)["budget_unread"] == 0


async def test_without_readahead_no_shard_is_continued() -> None:
    async with served(*SHARDS, size=2 * MIB) as bucket:
        bucket.context.resources.read_ahead_bytes = 0
        await list_root(bucket)
        await read_all(bucket, SHARDS[:3])
        assert {request.key.name for request in bucket.source.requests} == set(SHARDS[:3])
