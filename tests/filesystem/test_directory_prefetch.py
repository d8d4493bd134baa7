"""Tests of how long prefetched files stay open while a program reads a directory."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trio.testing

from gcsmux_fs.filesystem.directory_prefetch import DirectoryPrefetch
from gcsmux_fs.filesystem.object_opener import ObjectOpener
from gcsmux_fs.filesystem.prefetched_files import ABANDONED_SECONDS
from gcsmux_fs.reading.read_context import ReadContext
from tests.namespace.fake_store import FakeStore
from tests.namespace.mounted import follow, mounted, read_names
from tests.reading.fakes import (
    TimedSource,
    metrics_of,
)
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.namespace.tree import Tree

SIZE = 20 * KIB
FILES = 100


class Walker:
    """Opens files of two directories and reads them, as a program does."""

    def __init__(self, tree: Tree, source: TimedSource) -> None:
        self.source = source
        self.context = ReadContext(source, budget_bytes=64 * MIB)
        self._opener = ObjectOpener(self.context, "bucket")
        self.prefetch = DirectoryPrefetch(tree, self._opener)
        self._tree = tree

    async def read(self, number: int, directory: str = "dir") -> None:
        entry = await follow(self._tree, f"{directory}/{number:03}")
        info = self._tree.pin(entry.inode)
        file = self._opener.open(info)
        if file.read_cached(0, info.size) is None:
            await file.read(0, info.size)
        self.prefetch.observe(entry.inode, file, trio.current_time())
        file.close()
        self._tree.unpin(entry.inode)
        self._tree.forget(entry.inode, 1)

    @property
    def prefetched(self) -> set[str]:
        """The names of the prefetched files that are open."""
        return self.prefetch.files.names

    def check_all_closed(self) -> None:
        metrics = metrics_of(self.context)
        assert len(self.prefetch.files) == 0
        assert metrics["open_files"] == 0
        assert metrics["budget_unread"] == 0


@asynccontextmanager
async def walker() -> AsyncIterator[Walker]:
    store = FakeStore()
    for directory in ("dir", "other"):
        store.put(*(f"{directory}/{number:03}" for number in range(FILES)), size=SIZE)
    async with mounted(store, ttl_seconds=math.inf) as tree, trio.open_nursery() as nursery:
        for directory in ("dir", "other"):
            entry = await follow(tree, directory)
            await read_names(tree, entry.inode)
        walker = Walker(tree, TimedSource(nursery, 0.05))
        nursery.start_soon(walker.prefetch.run)
        yield walker
        walker.prefetch.close()
        walker.check_all_closed()
        nursery.cancel_scope.cancel()


async def test_the_prefetched_files_of_an_abandoned_walk_are_closed() -> None:
    async with walker() as w:
        for number in range(5):
            await w.read(number)
        last_step = trio.current_time()
        await trio.sleep(ABANDONED_SECONDS - 0.5)
        assert len(w.prefetch.files) > 5
        assert metrics_of(w.context)["budget_unread"] > 0
        await trio.sleep_until(last_step + ABANDONED_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        w.check_all_closed()
        # The bytes of the closed files stay cached, so the program finds them when it continues.
        await w.read(5)
        assert metrics_of(w.context)["misses"] == 3


async def test_a_slow_walk_keeps_its_prefetched_files() -> None:
    async with walker() as w:
        for number in range(FILES):
            await w.read(number)
            await trio.sleep(ABANDONED_SECONDS - 1)
        w.check_all_closed()
        assert len(w.source.requests) == FILES
        assert metrics_of(w.context)["misses"] == 3


async def test_each_walk_is_abandoned_by_its_own_time() -> None:
    async with walker() as w:
        for number in range(5):
            await w.read(number)
        # Two other walks continue: one elsewhere in the same directory, one in another directory.
        for number in range(11):
            assert "dir/005" in w.prefetched
            await w.read(60 + number)
            await w.read(number, "other")
            await trio.sleep(ABANDONED_SECONDS / 11)
        assert {name for name in w.prefetched if name < "dir/070"} == set()
        assert {"dir/071", "other/011"} <= w.prefetched


async def test_a_file_that_a_later_walk_plans_too_stays_open_for_the_later_walk() -> None:
    async with walker() as w:
        for number in range(5):
            await w.read(number)
        assert {"dir/006", "dir/012"} <= w.prefetched
        await w.read(90)
        await trio.sleep(ABANDONED_SECONDS - 1)
        for number in range(3):
            await w.read(number)
        await trio.sleep(2)
        assert "dir/006" in w.prefetched
        assert "dir/012" not in w.prefetched


async def test_a_second_read_of_the_same_file_is_no_step() -> None:
    async with walker() as w:
        for number in range(5):
            await w.read(number)
        for _ in range(11):
            await w.read(4)
            await trio.sleep(ABANDONED_SECONDS / 10)
        w.check_all_closed()


async def test_the_task_sleeps_while_no_prefetched_file_is_open() -> None:
    async with walker() as w:
        for number in range(5):
            await w.read(number)
        await trio.testing.wait_all_tasks_blocked()
        statistics = trio.lowlevel.current_statistics()
        assert statistics.seconds_to_next_deadline <= ABANDONED_SECONDS
        await trio.sleep(ABANDONED_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline > ABANDONED_SECONDS
        await w.read(5)
        await w.read(6)
        assert len(w.prefetch.files) > 0
