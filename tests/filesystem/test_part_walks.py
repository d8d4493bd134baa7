"""Tests of the prefetch for a program that reads only a part of each file of a directory."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gcsmux_fs.namespace.inode_numbers import ROOT_INODE
from tests.support.sizes import KIB, MIB

from .served_bucket import LATENCY_SECONDS, ServedBucket, served

FILES = 60
NAMES = [f"{number:03}.jpg" for number in range(FILES)]


async def list_root(bucket: ServedBucket) -> None:
    handle = await bucket.filesystem.open_directory(ROOT_INODE)
    await bucket.filesystem.read_directory(handle, 0, lambda *_: True)
    bucket.filesystem.release_directory(handle)


async def read_parts(bucket: ServedBucket, offset: int, length: int) -> float:
    """Read the same part of each file. Return the number of round trips that this takes."""
    await list_root(bucket)
    started = trio.current_time()
    for name in NAMES:
        handle = await bucket.open(name)
        await bucket.read(handle, offset, length)
        bucket.filesystem.release(handle)
        await trio.testing.wait_all_tasks_blocked()
    return (trio.current_time() - started) / LATENCY_SECONDS


@pytest.mark.parametrize("size", [500 * KIB, 5 * MIB])
@pytest.mark.parametrize(
    ("offset", "length"), [(0, 16 * KIB), (-4 * KIB, 4 * KIB)], ids=["heads", "tails"]
)
async def test_only_the_parts_of_the_next_files_are_prefetched(
    size: int, offset: int, length: int
) -> None:
    async with served(*NAMES, size=size) as bucket:
        round_trips = await read_parts(bucket, offset % size, length)
        assert bucket.source.total <= FILES * 16 * KIB + 4 * min(size, 2 * MIB)
        assert round_trips <= 16


async def test_small_files_that_are_read_whole_are_prefetched_whole() -> None:
    async with served(*NAMES, size=500 * KIB) as bucket:
        round_trips = await read_parts(bucket, 0, 500 * KIB)
        assert bucket.source.total == FILES * 500 * KIB
        assert round_trips <= 8
