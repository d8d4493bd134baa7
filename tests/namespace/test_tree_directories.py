"""Reading directories: page by page, shared, consistent, bounded in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from gcsmux_fs.model.errors import InvalidRequest, StorageError, Unavailable
from gcsmux_fs.model.values import ListingPage
from gcsmux_fs.namespace.snapshots import Snapshots
from gcsmux_fs.namespace.tree import ROOT_INODE, DirectoryHandle, Tree

from .fake_store import FakeStore, object_info
from .mounted import follow, mounted, object_at, read_names


async def take(tree: Tree, handle: DirectoryHandle, position: int, count: int) -> list[bytes]:
    """Read up to `count` entries as the kernel does, keeping no lookup."""
    names: list[bytes] = []
    for _, name, entry in await handle.entries_from(position):
        tree.forget(entry.inode, 1)
        if len(names) == count:
            break
        names.append(name)
    return names


async def test_the_first_entries_of_a_large_directory_cost_one_request() -> None:
    store = FakeStore()
    store.put(*(f"{number:06}" for number in range(100_000)))
    async with mounted(store) as tree:
        handle = tree.open_directory(ROOT_INODE)
        assert store.take_requests() == []
        assert await take(tree, handle, 0, 2) == [b"000000", b"000001"]
        assert store.take_requests() == ["list "]
        handle.release()
        assert len(await read_names(tree)) == 100_000
        assert len(store.take_requests()) == 99


async def test_who_reads_on_finds_the_next_page_on_its_way() -> None:
    store = FakeStore(delay_seconds=1)
    store.put(*"abcdef")
    async with mounted(store, page_size=4) as tree:
        handle = tree.open_directory(ROOT_INODE)
        assert await take(tree, handle, 0, 2) == [b"a", b"b"]
        assert await take(tree, handle, 2, 1) == [b"c"]
        await trio.sleep(1)
        before = trio.current_time()
        assert await take(tree, handle, 4, 9) == [b"e", b"f"]
        assert trio.current_time() == before
        assert store.take_requests() == ["list ", "list  again"]
        handle.release()


async def test_who_reads_what_is_there_has_nothing_fetched_in_advance() -> None:
    store = FakeStore()
    store.put(*"abcdef")
    async with mounted(store, page_size=2) as tree:
        handle = tree.open_directory(ROOT_INODE)
        assert await take(tree, handle, 1, 9) == [b"b", b"c"]
        store.take_requests()
        assert await take(tree, handle, 1, 1) == [b"b"]
        assert await take(tree, handle, 0, 1) == [b"a"]
        await trio.sleep(1)
        assert store.take_requests() == []
        handle.release()


async def test_readers_at_the_same_time_share_one_listing() -> None:
    store = FakeStore(delay_seconds=1)
    store.put(*"abcdef")
    async with mounted(store, page_size=2) as tree:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read_names, tree)
        assert len(store.take_requests()) == 3
        assert await read_names(tree) == [b"a", b"b", b"c", b"d", b"e", b"f"]
        assert store.take_requests() == []


async def test_a_reader_goes_on_in_what_it_began_however_long_it_takes() -> None:
    store = FakeStore()
    store.put(*"abcd")
    async with mounted(store, ttl_seconds=10, page_size=2) as tree:
        handle = tree.open_directory(ROOT_INODE)
        assert await take(tree, handle, 0, 1) == [b"a"]
        store.delete("a", "b")
        await trio.sleep(100)
        assert await take(tree, handle, 1, 9) == [b"b", b"c", b"d"]
        assert await take(tree, handle, 4, 9) == []
        handle.release()


async def test_rewinding_begins_afresh_once_the_ttl_is_over() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store, ttl_seconds=10) as tree:
        handle = tree.open_directory(ROOT_INODE)
        assert await take(tree, handle, 0, 9) == [b"a"]
        assert await take(tree, handle, 1, 9) == []
        store.put("b")
        await trio.sleep(9)
        assert await take(tree, handle, 0, 9) == [b"a"]
        assert await take(tree, handle, 1, 9) == []
        await trio.sleep(1)
        assert await take(tree, handle, 0, 9) == [b"a", b"b"]
        handle.release()


async def test_without_a_ttl_each_opening_reads_anew() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store, ttl_seconds=0) as tree:
        assert await read_names(tree) == [b"a"]
        store.put("b")
        assert await read_names(tree) == [b"a", b"b"]


async def test_an_entry_counts_one_lookup_when_it_is_handed_out_and_not_before() -> None:
    store = FakeStore()
    store.put(*"abc")
    async with mounted(store) as tree:
        handle = tree.open_directory(ROOT_INODE)
        entries = await handle.entries_from(0)
        assert tree.statistics().inodes == 1
        _, _, entry = next(entries)
        assert tree.statistics().inodes == 2
        looked_up = await tree.lookup(ROOT_INODE, b"a")
        tree.forget(entry.inode, 2)
        assert looked_up.inode == entry.inode
        assert tree.statistics().inodes == 1
        handle.release()


async def test_an_entry_is_valid_for_what_is_left_of_the_ttl_since_it_was_asked_for() -> None:
    store = FakeStore(delay_seconds=1)
    store.put(*"abcd")
    async with mounted(store, ttl_seconds=10, page_size=2) as tree:
        handle = tree.open_directory(ROOT_INODE)
        first = [entry.name_valid_seconds for _, _, entry in await handle.entries_from(0)]
        await trio.sleep(4)
        # The second was in the first page too, held back in case of a folder.
        second = [entry.name_valid_seconds for _, _, entry in await handle.entries_from(1)]
        await trio.sleep(100)
        late = [entry.name_valid_seconds for _, _, entry in await handle.entries_from(1)]
        assert (first, second, late) == ([9], [4, 9, 9], [0, 0, 0])
        handle.release()


async def test_a_failed_page_can_be_asked_for_again() -> None:
    store = FakeStore()
    store.put(*"abcd")
    async with mounted(store, page_size=2) as tree:
        handle = tree.open_directory(ROOT_INODE)
        assert await take(tree, handle, 0, 9) == [b"a"]
        store.failures.append(("list", Unavailable("not now")))
        with pytest.raises(Unavailable):
            await take(tree, handle, 1, 9)
        assert await take(tree, handle, 1, 9) == [b"b", b"c", b"d"]
        handle.release()


async def test_a_page_that_is_refused_ends_the_directory_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = FakeStore()
    pages = [
        ListingPage([object_info("a"), object_info("b")], (), "next"),
        # The server lists what cannot be a folder of the root, on its last page.
        ListingPage([object_info("c")], ("d/e/",), ""),
    ]

    async def list_objects(_prefix: str, *, page_token: str = "", **_: object) -> ListingPage:
        await trio.lowlevel.checkpoint()
        return pages[bool(page_token)]

    monkeypatch.setattr(store, "list_objects", list_objects)
    async with mounted(store, page_size=2) as tree:
        one, other = tree.open_directory(ROOT_INODE), tree.open_directory(ROOT_INODE)
        assert await take(tree, one, 0, 9) == await take(tree, other, 0, 9) == [b"a"]
        for handle in (one, other, one):
            with pytest.raises(StorageError, match="cannot be beneath"):
                await take(tree, handle, 1, 9)
        one.release()
        other.release()


async def test_an_expired_page_token_does_not_spoil_the_directory_for_others() -> None:
    store = FakeStore()
    store.put(*"abcd")
    async with mounted(store, page_size=2) as tree:
        handle = tree.open_directory(ROOT_INODE)
        assert await take(tree, handle, 0, 9) == [b"a"]
        store.failures.append(("list", InvalidRequest("token expired")))
        with pytest.raises(InvalidRequest):
            await take(tree, handle, 1, 9)
        handle.release()
        store.take_requests()
        assert await read_names(tree) == [b"a", b"b", b"c", b"d"]
        assert store.take_requests() == ["list ", "list  again"]


class LoopingStore(FakeStore):
    """A server whose pages lead round in a circle."""

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        page_token: str = "",
        page_size: int = 1000,
        start_at: str = "",
        end_before: str = "",
    ) -> ListingPage:
        await trio.lowlevel.checkpoint()
        self.requests.append(f"list {prefix}")
        return ListingPage((object_info(f"{prefix}a"),), (), "again")


async def test_a_server_that_leads_in_a_circle_is_an_error_and_not_the_end_of_time() -> None:
    store = LoopingStore()
    async with mounted(store) as tree:
        with pytest.raises(StorageError, match="repeats a page token"):
            await read_names(tree)
        assert len(store.requests) == 2
        with pytest.raises(StorageError):
            await read_names(tree)
        assert tree.statistics().listings == 0


async def test_the_least_recently_used_listings_make_room() -> None:
    store = FakeStore()
    store.put(*(f"{folder}/{number:02}" for folder in "abc" for number in range(20)))
    async with mounted(store, max_listed_entries=100) as tree:
        inodes = {folder: (await follow(tree, folder)).inode for folder in "abc"}
        for folder in "abac":
            assert len(await read_names(tree, inodes[folder])) == 20
        assert tree.statistics().listings == 2
        assert tree.statistics().listed_entries <= 100
        store.take_requests()
        assert await object_at(tree, "a/00") is not None
        assert await object_at(tree, "c/00") is not None
        assert store.take_requests() == []


async def test_an_open_listing_stays_though_it_be_large() -> None:
    store = FakeStore()
    store.put(*(f"a/{number:02}" for number in range(40)), "b/x")
    async with mounted(store, max_listed_entries=30) as tree:
        large = (await follow(tree, "a")).inode
        handle = tree.open_directory(large)
        assert len(await take(tree, handle, 0, 99)) == 40
        await read_names(tree, (await follow(tree, "b")).inode)
        store.take_requests()
        assert await object_at(tree, "a/07") is not None
        assert store.take_requests() == []
        handle.release()
        assert tree.statistics().listings == 0
        assert tree.statistics().listed_entries == 0


def test_custom_metadata_and_long_names_count_towards_what_listings_may_hold() -> None:
    def kept(name: str, metadata: dict[str, str]) -> int:
        snapshots = Snapshots(max_entries=500)
        for number in range(15):
            snapshot = snapshots.begin(f"{number}/", now=0.0)
            objects = [
                replace(object_info(f"{number}/{name}{count}"), metadata=metadata)
                for count in range(5)
            ]
            snapshots.add_page(snapshot, ListingPage(objects, (), ""), asked=0.0)
        return len(snapshots)

    assert kept("", {}) == 15
    assert kept("", {"key": "v" * 8000}) < 2
    assert kept("n" * 1000, {}) < 8


def test_a_page_that_is_refused_leaves_nothing_counted() -> None:
    snapshots = Snapshots(max_entries=500)
    snapshot = snapshots.begin("a/", now=0.0)
    good = ListingPage(tuple(object_info(f"a/{n}") for n in range(10)), (), "next")
    stray = ListingPage((object_info("a/" + "x" * 900), object_info("b")), (), "other")
    snapshots.add_page(snapshot, good, asked=0.0)
    for _ in range(3):
        with pytest.raises(StorageError):
            snapshots.add_page(snapshot, stray, asked=0.0)
    snapshots.discard(snapshot)
    assert snapshots.entries == 0
