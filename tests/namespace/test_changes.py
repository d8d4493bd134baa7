"""Tests of changes that are applied to a tree: which answers are patched, and which are asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.model.errors import GenerationGone
from gcsmux_fs.namespace.change_log import MAX_LOGGED_CHANGES
from gcsmux_fs.namespace.object_change import ObjectChange
from gcsmux_fs.namespace.tree import ROOT_INODE, NoSuchEntry, Tree

from .changed_bucket import Always
from .fake_store import FakeStore
from .mounted import follow, metric, mounted, object_at, read_names

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo


@dataclass
class Described:
    """A notification that describes an object."""

    info: ObjectInfo | None


def told(tree: Tree, *changes: ObjectChange) -> bool:
    """Apply changes, and return whether the kernel may hold a name that has changed."""
    return tree.changes.apply(changes)


def exists(info: ObjectInfo, *, has_info: bool = True, late_seconds: float = 0.0) -> ObjectChange:
    """Return the change after which an object exists."""
    return ObjectChange(
        info.name,
        info.generation,
        info.metageneration,
        True,
        Described(info) if has_info else None,
        trio.current_time() - late_seconds,
    )


def removed(info: ObjectInfo) -> ObjectChange:
    """Return the change after which an object does not exist."""
    return ObjectChange(info.name, info.generation, 0, False, None, trio.current_time())


def put(store: FakeStore, tree: Tree, name: str) -> bool:
    """Write an object, and tell the tree."""
    store.put(name)
    return told(tree, exists(store[name]))


def delete(store: FakeStore, tree: Tree, name: str) -> bool:
    """Delete an object, and tell the tree."""
    info = store[name]
    store.delete(name)
    return told(tree, removed(info))


async def test_a_listed_directory_is_patched_without_a_request() -> None:
    store = FakeStore()
    store.put("d/a", "d/b", "d/c")
    async with mounted(store, news=Always()) as tree:
        await read_names(tree)
        directory = (await follow(tree, "d")).inode
        await read_names(tree, directory)
        store.take_requests()
        put(store, tree, "d/b")
        put(store, tree, "d/new")
        put(store, tree, "d/sub/x")
        delete(store, tree, "d/a")
        assert sorted(await read_names(tree, directory)) == [b"b", b"c", b"new", b"sub"]
        assert await object_at(tree, "d/b") == ("d/b", 4)
        assert await object_at(tree, "d/new") == ("d/new", 5)
        assert await object_at(tree, "d/a") is None
        assert store.take_requests() == []


async def test_a_directory_never_shows_an_earlier_object_than_a_lookup_did() -> None:
    store = FakeStore()
    store.put("d/a", "d/b")
    async with mounted(store, news=Always()) as tree:
        directory = (await follow(tree, "d")).inode
        await read_names(tree, directory)
        store.put("d/b")
        second = store["d/b"]
        told(tree, exists(second, has_info=False))
        store.put("d/b")
        # The lookup is ahead of the last message.
        assert await object_at(tree, "d/b") == ("d/b", 4)
        told(tree, exists(second))
        handle = tree.open_directory(directory)
        entries = {name: entry.inode for _, name, entry in await handle.entries_from(0)}
        info = tree.object_of(entries[b"b"])
        assert info is not None
        assert info.generation == 4
        handle.release()


async def test_folders_appear_and_vanish_with_their_objects() -> None:
    store = FakeStore()
    store.put("e/f/x", "y")
    async with mounted(store, news=Always()) as tree:
        for path in ("e", "e/f"):
            await read_names(tree, (await follow(tree, path)).inode)
        await read_names(tree)
        store.take_requests()
        put(store, tree, "g/h/i")
        assert sorted(await read_names(tree)) == [b"e", b"g", b"y"]
        assert store.take_requests() == []
        delete(store, tree, "e/f/x")
        # The listings of both folders show that they are empty.
        assert sorted(await read_names(tree)) == [b"g", b"y"]
        assert await object_at(tree, "e/f/x") is None
        assert store.take_requests() == []
        delete(store, tree, "g/h/i")
        # Nobody has listed these folders, so the service is asked.
        assert sorted(await read_names(tree)) == [b"y"]
        assert store.take_requests() == ["list "]


async def test_a_folder_stays_while_a_part_of_it_is_not_listed() -> None:
    store = FakeStore()
    store.put("d/a", "d/b", "d/c")
    async with mounted(store, news=Always(), page_size=2) as tree:
        await read_names(tree)
        handle = tree.open_directory((await follow(tree, "d")).inode)
        await handle.entries_from(0)
        for name in ("d/a", "d/b"):
            delete(store, tree, name)
        assert await read_names(tree) == [b"d"]
        handle.release()


async def test_an_object_makes_room_for_a_folder_of_its_name_and_returns() -> None:
    store = FakeStore()
    store.put("a", "b")
    async with mounted(store, news=Always()) as tree:
        await read_names(tree)
        store.take_requests()
        put(store, tree, "a/x")
        assert sorted(await read_names(tree)) == [b"%file~a", b"a", b"b"]
        assert await object_at(tree, "%file~a") == ("a", 1)
        await read_names(tree, (await follow(tree, "a")).inode)
        store.take_requests()
        delete(store, tree, "a/x")
        assert sorted(await read_names(tree)) == [b"a", b"b"]
        assert await object_at(tree, "a") == ("a", 1)
        assert store.take_requests() == []


async def test_a_placeholder_object_keeps_its_folder() -> None:
    store = FakeStore(placeholders_listed=True)
    store.put("d/", size=0)
    store.put("d/x")
    async with mounted(store, news=Always()) as tree:
        await read_names(tree)
        directory = await follow(tree, "d")
        await read_names(tree, directory.inode)
        store.take_requests()
        delete(store, tree, "d/x")
        assert await read_names(tree) == [b"d"]
        assert tree.get(directory.inode).mtime_ns == 1_000_000_000
        store.put("d/", size=0)
        assert told(tree, exists(store["d/"]))
        assert tree.get(directory.inode).mtime_ns == 3_000_000_000
        assert (await follow(tree, "d")).mtime_ns == 3_000_000_000
        delete(store, tree, "d/")
        assert await read_names(tree) == []
        assert store.take_requests() == []


async def test_a_folder_stays_without_its_placeholder_object() -> None:
    store = FakeStore(placeholders_listed=True)
    store.put("d/", size=0)
    store.put("d/x")
    async with mounted(store, news=Always(), directory_mtime_ns=7) as tree:
        await read_names(tree)
        entry = await follow(tree, "d")
        assert entry.mtime_ns == 1_000_000_000
        await read_names(tree, entry.inode)
        tree.forget(entry.inode, 1)
        store.take_requests()
        delete(store, tree, "d/")
        assert await read_names(tree) == [b"d"]
        assert (await follow(tree, "d")).mtime_ns == 7
        assert store.take_requests() == []


async def test_an_object_that_is_held_back_changes() -> None:
    store = FakeStore()
    store.put("Z", "a", "a-", "b")
    async with mounted(store, news=Always(), page_size=3) as tree:
        handle = tree.open_directory(ROOT_INODE)
        # The folder `a/` would be on the next page.
        assert [name for _, name, _ in await handle.entries_from(0)] == [b"Z"]
        put(store, tree, "a")
        put(store, tree, "a/x")
        names: list[bytes] = []
        position = 0
        while batch := list(await handle.entries_from(position)):
            for after, name, entry in batch:
                position = after
                names.append(name)
                if name == b"%file~a":
                    assert tree.object_of(entry.inode) == store["a"]
        assert sorted(names) == [b"%file~a", b"Z", b"a", b"a-", b"b"]
        handle.release()


async def test_a_folder_of_a_hierarchical_bucket_may_stay_so_the_service_is_asked() -> None:
    store = FakeStore(folders={"d/"})
    store.put("d/x")
    async with mounted(store, news=Always(), hierarchical=True) as tree:
        await read_names(tree)
        await read_names(tree, (await follow(tree, "d")).inode)
        store.take_requests()
        delete(store, tree, "d/x")
        assert await read_names(tree) == [b"d"]
        assert store.take_requests() == ["list "]


async def test_an_open_handle_skips_and_repeats_no_other_entry() -> None:
    store = FakeStore()
    names = [f"d/{number:02}" for number in range(20)]
    store.put(*names)
    async with mounted(store, news=Always()) as tree:
        handle = tree.open_directory((await follow(tree, "d")).inode)
        read: list[bytes] = []
        position = 0
        for step in range(40):
            batch = list(await handle.entries_from(position))[:1]
            if not batch:
                break
            position, name, _ = batch[0]
            read.append(name)
            if step % 2 and step < len(names):
                delete(store, tree, names[step - 1])
                put(store, tree, f"d/new-{step:02}")
        assert sorted(name for name in read if not name.startswith(b"new")) == [
            name[2:].encode() for name in names
        ]
        assert len(set(read)) == len(read)
        handle.release()


async def test_a_handle_reads_on_after_all_entries_of_its_page_were_removed() -> None:
    store = FakeStore()
    store.put(*"abcd")
    async with mounted(store, news=Always(), page_size=2) as tree:
        handle = tree.open_directory(ROOT_INODE)
        assert [name for _, name, _ in await handle.entries_from(0)] == [b"a"]
        delete(store, tree, "a")
        delete(store, tree, "b")
        assert [name for _, name, _ in await handle.entries_from(0)] == [b"c", b"d"]
        handle.release()


async def test_an_answer_in_flight_gets_the_changes_since_its_request() -> None:
    store = FakeStore(delay_seconds=2)
    store.put("a", "b", "d/x")
    async with mounted(store, news=Always()) as tree:
        seen: list[object] = []

        async def look(path: str) -> None:
            seen.append(await object_at(tree, path))

        async def read() -> None:
            seen.append(sorted(await read_names(tree)))

        async with trio.open_nursery() as nursery:
            for path in ("a", "b", "c"):
                nursery.start_soon(look, path)
            nursery.start_soon(read)
            await trio.sleep(1)
            put(store, tree, "a")
            delete(store, tree, "b")
            put(store, tree, "c")
            put(store, tree, "e/y")
        assert sorted(map(str, seen)) == sorted(
            map(str, [("a", 4), None, ("c", 5), [b"a", b"c", b"d", b"e"]])
        )
        # All answers are cached.
        store.take_requests()
        assert await object_at(tree, "a") == ("a", 4)
        assert sorted(await read_names(tree)) == [b"a", b"c", b"d", b"e"]
        assert store.take_requests() == []


async def test_an_answer_in_flight_is_asked_again_after_more_changes_than_are_logged() -> None:
    store = FakeStore(delay_seconds=2)
    store.put("a")
    async with mounted(store, news=Always()) as tree:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(object_at, tree, "a")
            await trio.sleep(1)
            put(store, tree, "a")
            other = store["a"]
            told(
                tree,
                *(
                    exists(replace(other, name=f"other-{number}"))
                    for number in range(MAX_LOGGED_CHANGES)
                ),
            )
        assert await object_at(tree, "a") == ("a", 2)


async def test_a_change_without_details_is_asked_for_once() -> None:
    store = FakeStore()
    store.put("d/a", "d/b")
    async with mounted(store, news=Always()) as tree:
        directory = (await follow(tree, "d")).inode
        await read_names(tree, directory)
        store.put("d/a", "d/c")
        await trio.sleep(1)
        for name in ("d/a", "d/c"):
            told(tree, exists(store[name], has_info=False))
        store.take_requests()
        assert await object_at(tree, "d/a") == ("d/a", 3)
        assert await object_at(tree, "d/c") == ("d/c", 4)
        assert await object_at(tree, "d/b") == ("d/b", 2)
        assert len(store.take_requests()) == 2
        for name in ("d/a", "d/c"):
            told(tree, exists(store[name], has_info=False))
        assert await object_at(tree, "d/c") == ("d/c", 4)
        assert store.take_requests() == []


async def test_a_late_creation_of_an_absent_object_is_asked_for() -> None:
    store = FakeStore()
    store.put("a", "b")
    gone = store["a"]
    store.delete("a")
    await trio.sleep(100)
    async with mounted(store, news=Always()) as tree:
        assert await read_names(tree) == [b"b"]
        store.take_requests()
        # The object was deleted before it was listed, and that message is even later.
        told(tree, exists(gone, late_seconds=100))
        assert await object_at(tree, "a") is None
        assert await read_names(tree) == [b"b"]
        assert store.take_requests() != []


async def test_dead_generations_cannot_be_opened_and_open_files_stay() -> None:
    store = FakeStore()
    store.put("a", "b")
    async with mounted(store, news=Always()) as tree:
        old, other = await follow(tree, "a"), await follow(tree, "b")
        info = tree.pin(old.inode)
        put(store, tree, "a")
        delete(store, tree, "b")
        assert tree.object_of(old.inode) == info
        for inode in (old.inode, other.inode):
            with pytest.raises(GenerationGone):
                tree.pin(inode)
        new = await follow(tree, "a")
        assert tree.pin(new.inode).generation == 3
        tree.unpin(old.inode)


async def test_metadata_that_changes_keeps_the_inode() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store, news=Always()) as tree:
        old = await follow(tree, "a")
        store.replace_info(replace(store["a"], metageneration=2, mtime_ns=77))
        assert told(tree, exists(store["a"]))
        new = await follow(tree, "a")
        assert (new.inode, new.mtime_ns) == (old.inode, 77)
        assert tree.pin(old.inode).metageneration == 2


async def test_the_kernel_may_hold_only_names_that_it_was_given() -> None:
    store = FakeStore()
    store.put("a", "d/x", "unused/y")
    async with mounted(store, news=Always()) as tree:
        await follow(tree, "a")
        with pytest.raises(NoSuchEntry):
            await follow(tree, "absent")
        directory = await follow(tree, "d")
        assert put(store, tree, "absent/below")
        tree.changes.note_names_dropped()
        assert not put(store, tree, "absent/below")
        assert put(store, tree, "a")
        assert not put(store, tree, "new")
        assert not put(store, tree, "d/new")
        assert not delete(store, tree, "unused/y")
        assert not told(tree, exists(store["d/new"]))
        delete(store, tree, "d/new")
        assert delete(store, tree, "d/x")
        tree.forget(directory.inode, 1)


async def test_names_of_many_absent_files_may_all_be_held() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store, news=Always()) as tree:
        await read_names(tree)
        for number in range(20_000):
            with pytest.raises(NoSuchEntry):
                await tree.lookup(ROOT_INODE, b"%d" % number)
        assert put(store, tree, "0")
        assert put(store, tree, "never looked up")
        tree.changes.note_names_dropped()
        assert not put(store, tree, "never looked up either")


async def test_a_directory_in_which_names_come_and_go_takes_little_memory() -> None:
    store = FakeStore()
    store.put("d/stays")
    async with mounted(store, news=Always(), max_listed_entries=10_000) as tree:
        directory = (await follow(tree, "d")).inode
        await read_names(tree, directory)
        for number in range(5_000):
            put(store, tree, f"d/{number}")
            delete(store, tree, f"d/{number}")
        assert metric(tree, "listed_entries") < 5_000
        assert await read_names(tree, directory) == [b"stays"]


async def test_a_change_of_another_ttl_is_not_needed_for_names_that_are_always_asked() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store, ttl_seconds=0, negative_ttl_seconds=0) as tree:
        assert await object_at(tree, "a") == ("a", 1)
        store.put("a")
        told(tree, exists(store["a"]))
        store.put("a")
        assert await object_at(tree, "a") == ("a", 3)
        assert math.isfinite(trio.current_time())


async def test_a_handle_shows_changes_though_its_listing_was_replaced() -> None:
    store = FakeStore()
    store.put("a", "b", "c", "d")
    async with mounted(store, news=Always()) as tree:
        handle = tree.open_directory(ROOT_INODE)
        position = next(iter(await handle.entries_from(0)))[0]
        store.put("d")
        told(tree, exists(store["d"], has_info=False))
        # This reader begins a new listing, because the old one does not show `d`.
        await read_names(tree)
        put(store, tree, "b")
        delete(store, tree, "c")
        read = {
            name: (tree.object_of(entry.inode), entry.name_valid_seconds)
            for _, name, entry in await handle.entries_from(position)
        }
        assert read[b"b"] == (store["b"], math.inf)
        assert b"c" not in read
        # The old generation of `d` is shown, but the kernel must not cache the name.
        assert read[b"d"][1] == 0
        handle.release()


async def test_names_that_need_parts_are_asked_for_after_a_change() -> None:
    store = FakeStore()
    long, other = "L" * 300, "M" * 300
    store.put(f"d/{long}1", f"d/{long}2", "d/a")
    async with mounted(store, news=Always()) as tree:
        directory = (await follow(tree, "d")).inode
        names = await read_names(tree, directory)
        part = await tree.lookup(directory, names[0])
        assert len(await read_names(tree, part.inode)) == 2
        put(store, tree, f"d/{long}3")
        put(store, tree, f"d/{other}/x")
        assert len(await read_names(tree, part.inode)) == 3
        assert len(await read_names(tree, directory)) == 3
        for number in (1, 2, 3):
            delete(store, tree, f"d/{long}{number}")
        assert len(await read_names(tree, directory)) == 2


async def test_the_content_of_a_folder_object_changes() -> None:
    store = FakeStore(placeholders_listed=True)
    store.put("d/x")
    async with mounted(store, news=Always()) as tree:
        directory = (await follow(tree, "d")).inode
        await read_names(tree, directory)
        store.take_requests()
        put(store, tree, "d/")
        assert sorted(await read_names(tree, directory)) == [b"%content~", b"x"]
        assert await object_at(tree, "d/%content~") == ("d/", 2)
        put(store, tree, "d/")
        assert await object_at(tree, "d/%content~") == ("d/", 3)
        delete(store, tree, "d/")
        assert await read_names(tree, directory) == [b"x"]
        assert await object_at(tree, "d/%content~") is None
        assert store.take_requests() == []


async def test_the_kernel_is_told_of_parts_of_long_names() -> None:
    store = FakeStore()
    long = "long" * 100
    store.put(long)
    async with mounted(store) as tree:
        [part] = await read_names(tree)
    store.delete(long)
    async with mounted(store, news=Always()) as tree:
        with pytest.raises(NoSuchEntry) as absent:
            await tree.lookup(ROOT_INODE, part)
        assert absent.value.valid_seconds == math.inf
        assert put(store, tree, long)
        tree.changes.note_names_dropped()
        inode = (await tree.lookup(ROOT_INODE, part)).inode
        assert len(await read_names(tree, inode)) == 1
        assert delete(store, tree, long)
