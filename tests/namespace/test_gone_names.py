"""Generations found gone: answers that were on their way, and whom the tree tells."""

from __future__ import annotations

import trio
import trio.testing

from gcsmux_fs.namespace.gone_names import GoneNames, places_of
from gcsmux_fs.namespace.names import content_name
from gcsmux_fs.namespace.tree import ROOT_INODE, Tree

from .fake_store import FakeStore
from .mounted import follow, mounted, object_at, read_names


async def test_a_lookup_that_was_under_way_is_asked_again() -> None:
    store = FakeStore(delay_seconds=2)
    store.put("a")
    async with mounted(store) as tree:
        old = await follow(tree, "a")
        await trio.sleep(100)
        found: list[tuple[str, int] | None] = []

        async def look() -> None:
            found.append(await object_at(tree, "a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.sleep(1)
            # The request has been answered with the old generation, and the answer is on its way.
            store.put("a")
            tree.found_gone(old.inode)
            nursery.start_soon(look)
        assert found == [("a", 2), ("a", 2)]
        assert tree.lookup_cached(ROOT_INODE, b"a") is not None
        assert await object_at(tree, "a") == ("a", 2)


async def test_a_listing_that_was_under_way_is_not_believed_about_the_name() -> None:
    store = FakeStore(delay_seconds=2)
    store.put("d/a", "d/b")
    async with mounted(store) as tree:
        directory = await follow(tree, "d")
        old = await follow(tree, "d/a")
        store.take_requests()
        handle = tree.open_directory(directory.inode)
        shown: dict[bytes, float] = {}

        async def read() -> None:
            for _, name, entry in await handle.entries_from(0):
                shown[name] = entry.name_valid_seconds
                tree.forget(entry.inode, 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(1)
            store.put("d/a")
            tree.found_gone(old.inode)
        assert shown[b"a"] == 0
        assert shown[b"b"] > 0
        assert await object_at(tree, "d/a") == ("d/a", 3)
        handle.release()


async def test_an_old_listing_that_is_still_read_does_not_bring_the_name_back() -> None:
    store = FakeStore()
    store.put("d/a")
    async with mounted(store, ttl_seconds=60) as tree:
        directory = await follow(tree, "d")
        old = await follow(tree, "d/a")
        handle = tree.open_directory(directory.inode)
        next(iter(await handle.entries_from(0)))
        await trio.sleep(30)
        # A newer listing takes the place of the one that the handle reads.
        tree.found_gone(old.inode)
        await read_names(tree, directory.inode)
        (_, name, entry), *_ = await handle.entries_from(0)
        assert (name, entry.inode, entry.name_valid_seconds) == (b"a", old.inode, 0)
        handle.release()


async def test_a_generation_is_told_gone_once_and_with_each_handle_that_closes() -> None:
    store = FakeStore()
    store.put("a", "b")
    told: list[tuple[int, bool]] = []
    async with trio.open_nursery() as nursery:

        def on_gone(inode: int) -> None:
            # By now no cache of the tree leads to it.
            told.append((inode, tree.lookup_cached(ROOT_INODE, b"a") is None))

        tree = Tree(store, nursery, ttl_seconds=60, negative_ttl_seconds=5, on_gone=on_gone)
        await read_names(tree)
        gone, other = await follow(tree, "a"), await follow(tree, "b")
        for inode in (gone.inode, gone.inode, other.inode):
            tree.pin(inode)
        await trio.sleep(1)
        for _ in range(3):
            tree.found_gone(gone.inode)
        assert told == [(gone.inode, True)]
        tree.unpin(other.inode)
        tree.unpin(gone.inode)
        tree.unpin(gone.inode)
        assert told == [(gone.inode, True)] * 3
        nursery.cancel_scope.cancel()


def test_only_what_was_asked_before_is_outdated() -> None:
    names = GoneNames()
    names.note("a", 10.0)
    names.note("a", 20.0)
    assert names.outdates("a", 19.9)
    assert not names.outdates("a", 20.0)
    assert not names.outdates("b", 0.0)


def test_an_object_has_the_places_of_all_its_spellings() -> None:
    assert places_of("d/a") == [("d/", b"a"), ("d/", b"%file~a")]
    assert places_of("d/a/") == [("d/a/", content_name())]
