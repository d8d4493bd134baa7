"""Files that are fetched for a walk before they are opened: how long they are held."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trio.testing

from gcsmux_fs.filesystem.directory_prefetch import ABANDONED_SECONDS, DirectoryPrefetch
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.reading.read_context import ReadContext
from tests.namespace.fake_store import FakeStore
from tests.namespace.mounted import follow, mounted, read_names
from tests.reading.fakes import KIB, MIB, TimedSource, metrics_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.namespace.tree import Tree

SIZE = 20 * KIB
FILES = 100


class Walker:
    """Opens files of two directories and reads them, as a program does."""

    def __init__(self, tree: Tree, source: TimedSource) -> None:
        self.source = source
        self.reader = ReadContext(source, budget_bytes=64 * MIB)
        self.walks = DirectoryPrefetch(tree, self.reader, "bucket")
        self._tree = tree

    async def read(self, number: int, directory: str = "dir") -> None:
        entry = await follow(self._tree, f"{directory}/{number:03}")
        info = self._tree.pin(entry.inode)
        file = self.reader.open(ObjectKey("bucket", info.name, info.generation), info.size)
        if file.read_cached(0, info.size) is None:
            await file.read(0, info.size)
        self.walks.observe(entry.inode, file, trio.current_time())
        file.close()
        self._tree.unpin(entry.inode)
        self._tree.forget(entry.inode, 1)

    @property
    def held(self) -> set[str]:
        return {key.name for key in self.walks._held}

    def check_nothing_held(self) -> None:
        metrics = metrics_of(self.reader)
        assert (len(self.walks), metrics["open_files"], metrics["budget_unread"]) == (0, 0, 0)


@asynccontextmanager
async def walker() -> AsyncIterator[Walker]:
    store = FakeStore()
    for directory in ("dir", "other"):
        store.put(*(f"{directory}/{number:03}" for number in range(FILES)), size=SIZE)
    async with mounted(store, ttl_seconds=math.inf) as tree, trio.open_nursery() as nursery:
        for directory in ("dir", "other"):
            entry = await follow(tree, directory)
            await read_names(tree, entry.inode)
        made = Walker(tree, TimedSource(nursery, 0.05))
        nursery.start_soon(made.walks.run)
        yield made
        made.walks.close()
        made.check_nothing_held()
        nursery.cancel_scope.cancel()


async def test_what_a_walk_that_stops_has_left_is_let_go() -> None:
    async with walker() as w:
        for number in range(5):
            await w.read(number)
        stopped = trio.current_time()
        await trio.sleep(ABANDONED_SECONDS - 0.5)
        assert len(w.walks) > 5
        assert metrics_of(w.reader)["budget_unread"] > 0
        await trio.sleep_until(stopped + ABANDONED_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        w.check_nothing_held()
        # It stays cached, for who goes on after all.
        await w.read(5)
        assert metrics_of(w.reader)["misses"] == 3


async def test_a_slow_walk_keeps_what_it_will_read() -> None:
    async with walker() as w:
        for number in range(FILES):
            await w.read(number)
            await trio.sleep(ABANDONED_SECONDS - 1)
        w.check_nothing_held()
        assert len(w.source.requests) == FILES
        assert metrics_of(w.reader)["misses"] == 3


async def test_walks_are_told_apart() -> None:
    async with walker() as w:
        for number in range(5):
            await w.read(number)
        # Elsewhere in the same directory, and in another one.
        for number in range(11):
            assert "dir/005" in w.held
            await w.read(60 + number)
            await w.read(number, "other")
            await trio.sleep(ABANDONED_SECONDS / 11)
        assert {name for name in w.held if name < "dir/070"} == set()
        assert {"dir/071", "other/011"} <= w.held


async def test_what_a_later_walk_wants_as_well_is_held_for_that() -> None:
    async with walker() as w:
        for number in range(5):
            await w.read(number)
        assert {"dir/006", "dir/012"} <= w.held
        await w.read(90)
        await trio.sleep(ABANDONED_SECONDS - 1)
        for number in range(3):
            await w.read(number)
        await trio.sleep(2)
        assert "dir/006" in w.held
        assert "dir/012" not in w.held


async def test_reading_the_same_file_again_is_no_step() -> None:
    async with walker() as w:
        for number in range(5):
            await w.read(number)
        for _ in range(11):
            await w.read(4)
            await trio.sleep(ABANDONED_SECONDS / 10)
        w.check_nothing_held()


async def test_nothing_wakes_up_while_nothing_is_held() -> None:
    async with walker() as w:
        for number in range(5):
            await w.read(number)
        await trio.testing.wait_all_tasks_blocked()
        told = trio.lowlevel.current_statistics()
        assert told.seconds_to_next_deadline <= ABANDONED_SECONDS
        await trio.sleep(ABANDONED_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline > ABANDONED_SECONDS
        await w.read(5)
        await w.read(6)
        assert len(w.walks) > 0
