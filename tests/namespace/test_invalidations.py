"""Tests of invalidated names and gone generations: which answers are still used, and by whom."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import GenerationGone
from gcsmux_fs.namespace.invalidations import Invalidations
from gcsmux_fs.namespace.names import content_name, places_of
from gcsmux_fs.namespace.tree import ROOT_INODE, NoSuchEntry

from .fake_store import FakeStore, object_info
from .mounted import follow, metric, mounted, object_at, read_names

# A TTL with which cached answers never expire, so only an invalidation makes a lookup ask again.
FOREVER = math.inf


async def test_an_invalidated_name_without_an_inode_is_asked_for_again() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store, ttl_seconds=FOREVER, negative_ttl_seconds=FOREVER) as tree:
        assert await object_at(tree, "a") == ("a", 1)
        assert await object_at(tree, "b") is None
        assert metric(tree, "inodes") == 1
        store.put("a", "b")
        await trio.sleep(1)
        for name in ("a", "b"):
            tree.invalidate(name)
        assert await object_at(tree, "a") == ("a", 2)
        assert await object_at(tree, "b") == ("b", 3)


async def test_an_invalidated_name_is_listed_again_and_its_neighbours_are_not_asked_for() -> None:
    store = FakeStore()
    store.put("d/a", "d/b")
    async with mounted(store, ttl_seconds=FOREVER) as tree:
        directory = (await follow(tree, "d")).inode
        await read_names(tree, directory)
        store.put("d/a", "d/c")
        await trio.sleep(1)
        tree.invalidate("d/c")
        tree.invalidate("d/a")
        store.take_requests()
        assert await object_at(tree, "d/b") == ("d/b", 2)
        assert store.take_requests() == []
        assert await object_at(tree, "d/a") == ("d/a", 3)
        assert len(store.take_requests()) == 1
        assert await read_names(tree, directory) == [b"a", b"b", b"c"]


async def test_an_invalidation_lasts_though_thousands_of_other_names_are_invalidated() -> None:
    store = FakeStore()
    store.put("a", "d/b")
    async with mounted(store, ttl_seconds=FOREVER) as tree:
        assert await object_at(tree, "a") == ("a", 1)
        assert await read_names(tree, (await follow(tree, "d")).inode) == [b"b"]
        store.put("a", "d/b")
        await trio.sleep(1)
        for name in ("a", "d/b"):
            tree.invalidate(name)
        for number in range(5_000):
            tree.invalidate(f"other-{number}")
        assert await object_at(tree, "a") == ("a", 3)
        assert await object_at(tree, "d/b") == ("d/b", 4)


async def test_a_directory_stays_invalidated_though_thousands_of_others_are_invalidated() -> None:
    store = FakeStore()
    store.put("d/a", "e/b")
    async with mounted(store, ttl_seconds=FOREVER, negative_ttl_seconds=FOREVER) as tree:
        for path in ("d", "e"):
            await read_names(tree, (await follow(tree, path)).inode)
        # Now a lookup of `e` uses the listing of the root.
        await read_names(tree)
        await trio.sleep(1)
        tree.invalidate("d")
        await follow(tree, "d")
        store.delete("d/a", "e/b")
        await trio.sleep(1)
        for path in ("d", "e"):
            tree.invalidate(f"{path}/")
        for number in range(5_000):
            tree.invalidate(f"other-{number}/")
        for path in ("d", "e"):
            with pytest.raises(NoSuchEntry):
                await follow(tree, path)


async def test_an_invalidated_inode_stays_open_and_the_kernel_drops_its_names() -> None:
    store = FakeStore()
    store.put("a", "a/below", "b")
    dropped: list[int] = []
    async with mounted(store, ttl_seconds=FOREVER, on_invalidated=dropped.append) as tree:
        old = await follow(tree, "%file~a")
        store.put("a")
        await trio.sleep(1)
        tree.generation_gone(old.inode)
        new = await follow(tree, "%file~a")
        await follow(tree, "b")
        assert dropped == [old.inode]
        tree.pin(new.inode)
        # The kernel must drop the names of both generations.
        assert sorted(tree.invalidate("a")) == sorted([old.inode, new.inode])
        dropped.clear()
        # The kernel keeps the names of an open file, so the tree tells the kernel again at the
        # close.
        tree.unpin(new.inode)
        assert dropped == [new.inode]
        await trio.sleep(1)
        assert (await follow(tree, "%file~a")).inode == new.inode
        tree.pin(new.inode)
        tree.unpin(new.inode)
        assert dropped == [new.inode]


async def test_an_invalidated_inode_cannot_be_entered_without_a_lookup() -> None:
    store = FakeStore()
    store.replace_info(replace(object_info("a", size=1), finalized=False))
    async with mounted(store) as tree:
        inode = (await follow(tree, "a")).inode
        assert tree.enter_again(inode) is not None
        tree.invalidate("a")
        assert tree.enter_again(inode) is None


async def test_an_invalidated_directory_is_asked_for_with_everything_below_it() -> None:
    store = FakeStore()
    store.put("d/a", "d/sub/b", "do", "e/c")
    async with mounted(store, ttl_seconds=FOREVER) as tree:
        inodes = {path: (await follow(tree, path)).inode for path in ("d", "d/sub", "e", "do")}
        for path in ("d", "d/sub", "e"):
            await read_names(tree, inodes[path])
        await read_names(tree)
        inodes["d/a"] = (await follow(tree, "d/a")).inode
        store.put("d/a", "d/new", "d/sub/b", "do", "e/c")
        store.put("d/")
        await trio.sleep(1)
        assert {inodes[path] for path in ("d", "d/sub", "d/a")} == set(tree.invalidate("d/"))
        store.take_requests()
        assert await object_at(tree, "do") == ("do", 3)
        assert await object_at(tree, "e/c") == ("e/c", 4)
        assert store.take_requests() == []
        assert await object_at(tree, "d/a") == ("d/a", 5)
        # The directory itself may be gone, so the lookup asks for the directory again.
        assert store.take_requests() == ["list d [d, d0)", "list d/a [d/a, d/a0)"]
        assert await object_at(tree, "d/sub/b") == ("d/sub/b", 7)
        assert await read_names(tree, inodes["d"]) == [b"%content~", b"a", b"new", b"sub"]


async def test_invalidating_the_root_invalidates_the_whole_tree() -> None:
    store = FakeStore()
    store.put("a", "d/b")
    async with mounted(store, ttl_seconds=FOREVER) as tree:
        await read_names(tree)
        inodes = {(await follow(tree, path)).inode for path in ("a", "d", "d/b")}
        store.put("a", "d/b")
        await trio.sleep(1)
        assert set(tree.invalidate("")) == inodes
        assert metric(tree, "listings") == metric(tree, "resolutions") == 0
        assert await object_at(tree, "a") == ("a", 3)
        assert await object_at(tree, "d/b") == ("d/b", 4)


@pytest.mark.parametrize("invalidated", ["a", ""])
async def test_an_answer_in_flight_is_not_used_after_an_invalidation(invalidated: str) -> None:
    store = FakeStore(delay_seconds=2)
    store.put("a")
    answers: list[tuple[str, int] | None] = []
    async with mounted(store, ttl_seconds=FOREVER) as tree:

        async def look() -> None:
            answers.append(await object_at(tree, "a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.sleep(1)
            store.put("a")
            tree.invalidate(invalidated)
            before = trio.current_time()
            # A lookup that begins now sends its own request, and does not wait for the old
            # request.
            assert await object_at(tree, "a") == ("a", 2)
            assert trio.current_time() - before == 2
        assert answers == [("a", 2)]
        store.take_requests()
        assert await object_at(tree, "a") == ("a", 2)
        assert store.take_requests() == []


async def test_a_lookup_ends_though_its_name_is_invalidated_all_the_time() -> None:
    store = FakeStore(delay_seconds=2)
    store.put("a")
    async with mounted(store, ttl_seconds=FOREVER) as tree:
        inode = (await follow(tree, "a")).inode
        await trio.sleep(1)
        tree.invalidate("a")
        async with trio.open_nursery() as nursery:

            async def invalidate() -> None:
                while True:
                    await trio.sleep(0.7)
                    tree.invalidate("a")

            nursery.start_soon(invalidate)
            before = trio.current_time()
            entry = await follow(tree, "a")
            assert trio.current_time() - before == 4
            assert (entry.inode, entry.name_valid_seconds) == (inode, 0)
            nursery.cancel_scope.cancel()
        # The answer is not cached, and does not confirm the inode.
        assert tree.lookup_cached(ROOT_INODE, b"a") is None
        assert tree.enter_again(inode) is None


async def test_an_invalidated_listing_that_a_handle_reads_is_not_cached_by_the_kernel() -> None:
    store = FakeStore()
    store.put("d/a", "d/b", "e")
    async with mounted(store, ttl_seconds=FOREVER) as tree:
        handle = tree.open_directory((await follow(tree, "d")).inode)
        await handle.entries_from(0)
        await trio.sleep(1)
        tree.invalidate("d/")
        valid = [entry.name_valid_seconds for _, _, entry in await handle.entries_from(1)]
        assert valid == [0]
        valid = [entry.name_valid_seconds for _, _, entry in await handle.entries_from(0)]
        assert valid == [FOREVER, FOREVER]
        handle.release()


async def test_an_invalidated_entry_of_a_replaced_listing_is_not_cached_by_the_kernel() -> None:
    store = FakeStore()
    store.put(*"abcd")
    async with mounted(store, ttl_seconds=60, page_size=2) as tree:
        handle = tree.open_directory(ROOT_INODE)
        await handle.entries_from(0)
        await trio.sleep(50)
        # The second page is requested 50 s after the first. Another reader replaces the listing.
        await handle.entries_from(2)
        await trio.sleep(11)
        await read_names(tree)
        tree.invalidate("c")
        valid = {name: entry.name_valid_seconds for _, name, entry in await handle.entries_from(2)}
        assert valid == {b"c": 0, b"d": 49}
        handle.release()


async def test_the_lookup_of_a_gone_generation_in_flight_is_sent_again() -> None:
    store = FakeStore(delay_seconds=2)
    store.put("a")
    async with mounted(store) as tree:
        old = await follow(tree, "a")
        await trio.sleep(100)
        answers: list[tuple[str, int] | None] = []

        async def look() -> None:
            answers.append(await object_at(tree, "a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.sleep(1)
            # The store has answered with the old generation, and the answer is in flight.
            store.put("a")
            tree.generation_gone(old.inode)
            nursery.start_soon(look)
        assert answers == [("a", 2), ("a", 2)]
        assert tree.lookup_cached(ROOT_INODE, b"a") is not None
        assert await object_at(tree, "a") == ("a", 2)


async def test_a_listing_in_flight_is_not_trusted_about_a_gone_generation() -> None:
    store = FakeStore(delay_seconds=2)
    store.put("d/a", "d/b")
    async with mounted(store) as tree:
        directory = await follow(tree, "d")
        old = await follow(tree, "d/a")
        store.take_requests()
        handle = tree.open_directory(directory.inode)
        valid_seconds: dict[bytes, float] = {}

        async def read() -> None:
            for _, name, entry in await handle.entries_from(0):
                valid_seconds[name] = entry.name_valid_seconds
                tree.forget(entry.inode, 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(1)
            store.put("d/a")
            tree.generation_gone(old.inode)
        assert valid_seconds[b"a"] == 0
        assert valid_seconds[b"b"] > 0
        assert await object_at(tree, "d/a") == ("d/a", 3)
        handle.release()


async def test_an_old_listing_that_a_handle_reads_does_not_bring_a_gone_name_back() -> None:
    store = FakeStore()
    store.put("d/a")
    async with mounted(store, ttl_seconds=60) as tree:
        directory = await follow(tree, "d")
        old = await follow(tree, "d/a")
        handle = tree.open_directory(directory.inode)
        next(iter(await handle.entries_from(0)))
        await trio.sleep(30)
        # A newer listing replaces the listing that the handle reads.
        tree.generation_gone(old.inode)
        await read_names(tree, directory.inode)
        (_, name, entry), *_ = await handle.entries_from(0)
        assert (name, entry.inode, entry.name_valid_seconds) == (b"a", old.inode, 0)
        handle.release()


async def test_the_kernel_drops_a_gone_name_once_and_when_each_handle_is_closed() -> None:
    store = FakeStore()
    store.put("a", "b")
    dropped: list[tuple[int, bool]] = []

    def on_invalidated(inode: int) -> None:
        # No cached answer of the tree leads to the inode.
        dropped.append((inode, tree.lookup_cached(ROOT_INODE, b"a") is None))

    async with mounted(store, on_invalidated=on_invalidated) as tree:
        await read_names(tree)
        gone, other = await follow(tree, "a"), await follow(tree, "b")
        for inode in (gone.inode, gone.inode, other.inode):
            tree.pin(inode)
        await trio.sleep(1)
        for _ in range(3):
            tree.generation_gone(gone.inode)
        assert dropped == [(gone.inode, True)]
        tree.unpin(other.inode)
        tree.unpin(gone.inode)
        tree.unpin(gone.inode)
        assert dropped == [(gone.inode, True)] * 3


async def test_a_gone_generation_is_reported_once_unless_the_object_grows() -> None:
    store = FakeStore()
    store.put("a")
    store.replace_info(replace(object_info("growing", size=1), finalized=False))
    found: list[str] = []
    async with mounted(store, on_found_gone=found.append) as tree:
        inodes = [(await follow(tree, name)).inode for name in ("a", "growing")]
        for inode in inodes * 2:
            tree.generation_gone(inode)
        assert found == ["a"]


async def test_a_gone_generation_is_asked_for_again_though_it_was_listed() -> None:
    store = FakeStore()
    store.put("d/a", "d/b")
    async with mounted(store) as tree:
        directory = await follow(tree, "d")
        await read_names(tree, directory.inode)
        old = await follow(tree, "d/a")
        store.put("d/a")
        await trio.sleep(1)
        tree.generation_gone(old.inode)
        with pytest.raises(GenerationGone):
            tree.pin(old.inode)
        store.take_requests()
        assert await object_at(tree, "d/a") == ("d/a", 3)
        assert await object_at(tree, "d/b") == ("d/b", 2)
        assert len(store.take_requests()) == 1
        await read_names(tree, directory.inode)
        assert store.take_requests() == ["list d/"]


async def test_a_generation_that_exists_after_all_can_be_opened_again() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store) as tree:
        entry = await follow(tree, "a")
        await trio.sleep(1)
        tree.generation_gone(entry.inode)
        tree.invalidate("a")
        # An invalidation does not change the state of a gone generation.
        with pytest.raises(GenerationGone):
            tree.pin(entry.inode)
        # The cached answer from before the invalidation is no longer used.
        assert tree.lookup_cached(ROOT_INODE, b"a") is None
        await trio.sleep(1)
        assert (await follow(tree, "a")).inode == entry.inode
        assert tree.pin(entry.inode) == store["a"]


def test_only_answers_to_earlier_questions_are_outdated() -> None:
    invalidations = Invalidations()
    invalidations.note("a", 10.0)
    invalidations.note("a", 20.0)
    assert invalidations.outdates("a", 19.9)
    assert not invalidations.outdates("a", 20.0)
    assert not invalidations.outdates("b", 0.0)


def test_a_prefix_outdates_the_names_below_it_and_its_directory() -> None:
    invalidations = Invalidations()
    invalidations.note_below("d/e/", 10.0)
    for name in ("d/e", "d/e/", "d/e/f", "d/e/f/g/", "d/e//"):
        assert invalidations.latest(name) == 10.0
    for name in ("d", "d/", "d/ef", "d/e2/f", "e/"):
        assert invalidations.latest(name) == -math.inf
    invalidations.note_below("", 20.0)
    assert invalidations.latest("d") == 20.0


def test_the_table_of_invalidations_is_bounded() -> None:
    invalidations = Invalidations()
    for number in range(10_000):
        invalidations.note(f"{number}", number)
        invalidations.note_below(f"{number}/", number)
    assert invalidations.latest("0") == invalidations.latest("0/a") == -math.inf
    assert invalidations.latest("9999") == invalidations.latest("9999/a") == 9999


def test_an_object_has_the_places_of_all_its_spellings() -> None:
    assert places_of("d/a") == [("d/", b"a"), ("d/", b"%file~a")]
    assert places_of("d/a/") == [("d/a/", content_name())]
