"""Tests that READs of an open file decide which window the next open files get, without a mount."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from gcsmux_fs.filesystem.window_policy import Window
from tests.support.sizes import GIB, KIB, MIB

from .served_bucket import THREAD, ServedBucket, served

if TYPE_CHECKING:
    from collections.abc import Iterable


async def open_with_window(bucket: ServedBucket, name: str) -> tuple[int, int | None]:
    opened = await bucket.filesystem.open(await bucket.inode_of(name), 0, THREAD)
    return opened.handle, opened.window_bytes


async def read_at(bucket: ServedBucket, handle: int, offsets: Iterable[int], size: int) -> None:
    for offset in offsets:
        assert len(await bucket.read(handle, offset, size)) == size


async def test_a_file_read_in_order_gives_the_next_file_of_its_kind_a_large_window() -> None:
    async with served("a/1.bin", "a/2.bin", "b/1.bin", size=GIB) as bucket:
        handle, window = await open_with_window(bucket, "a/1.bin")
        assert window == Window.MODERATE
        await read_at(bucket, handle, range(0, 20 * MIB, MIB), MIB)
        bucket.filesystem.release(handle)
        assert (await open_with_window(bucket, "a/2.bin"))[1] == Window.LARGE
        assert (await open_with_window(bucket, "b/1.bin"))[1] == Window.MODERATE


async def test_a_file_read_backward_is_read_in_a_long_run() -> None:
    async with served("a/1.bin", "a/2.bin", size=GIB) as bucket:
        handle, _ = await open_with_window(bucket, "a/1.bin")
        await read_at(bucket, handle, range(GIB // 2, GIB // 2 - 40 * MIB, -64 * KIB), 64 * KIB)
        bucket.filesystem.release(handle)
        assert (await open_with_window(bucket, "a/2.bin"))[1] == Window.LARGE


async def test_page_faults_shrink_the_window_of_later_opens_while_the_file_stays_open() -> None:
    """A database is opened once and stays open, so a close is too late."""
    async with served("a/1.bin", size=GIB) as bucket:
        handle, window = await open_with_window(bucket, "a/1.bin")
        assert window == Window.MODERATE
        places = random.Random(1).sample(range(4 * KIB, GIB - MIB, 4 * MIB), 30)
        await read_at(bucket, handle, places[:16], MIB)
        assert (await open_with_window(bucket, "a/1.bin"))[1] == Window.MODERATE
        await read_at(bucket, handle, places[16:], MIB)
        assert (await open_with_window(bucket, "a/1.bin"))[1] == Window.SMALL


async def test_interleaved_readers_of_one_file_read_it_densely() -> None:
    async with served("a/1.bin", size=64 * MIB) as bucket:
        handles = [(await open_with_window(bucket, "a/1.bin"))[0] for _ in range(8)]
        for start in range(0, 64 * MIB, MIB):
            await read_at(bucket, handles[start // MIB % 8], [start], MIB)
        for handle in handles:
            bucket.filesystem.release(handle)
        assert (await open_with_window(bucket, "a/1.bin"))[1] == Window.LARGE


async def test_short_reads_at_random_change_no_window() -> None:
    async with served("a/1.bin", size=GIB) as bucket:
        handle, _ = await open_with_window(bucket, "a/1.bin")
        places = random.Random(1).sample(range(4 * KIB, GIB - MIB, 4 * MIB), 30)
        await read_at(bucket, handle, places, 4 * KIB)
        bucket.filesystem.release(handle)
        assert (await open_with_window(bucket, "a/1.bin"))[1] == Window.MODERATE


async def test_a_tiny_file_gets_no_window() -> None:
    async with served("a/1.bin", size=128 * KIB) as bucket:
        assert (await open_with_window(bucket, "a/1.bin"))[1] is None
