"""Tests of reading directories: pages, shared listings, positions, freshness, memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from gcsmux_fs.model.errors import InvalidRequest, StorageError, Unavailable
from gcsmux_fs.model.values import ListingPage
from gcsmux_fs.namespace.listing_cache import ListingCache
from gcsmux_fs.namespace.tree import ROOT_INODE, DirectoryHandle, Tree

from .fake_store import FakeStore, object_info
from .mounted import follow, metric, mounted, object_at, read_names


async def take(tree: Tree, handle: DirectoryHandle, position: int, count: int) -> list[bytes]:
    """Read up to `count` entries as the kernel does, and forget their inodes."""
    names: list[bytes] = []
    for _, name, entry in await handle.entries_from(position):
        tree.forget(entry.inode, 1)
        if len(names) == count:
            break
        names.append(name)
    return names


async def test_the_first_entries_of_a_large_directory_cost_one_request() -> None:
    store = FakeStore()
    store.put(*(f"{number:06}" for number in range(10_000)))
    async with mounted(store) as tree:
        handle = tree.open_directory(ROOT_INODE)
        assert store.take_requests() == []
        assert await take(tree, handle, 0, 2) == [b"000000", b"000001"]
        assert store.take_requests() == ["list "]
        handle.release()
        assert len(await read_names(tree)) == 10_000
        assert len(store.take_requests()) == 9


async def test_reading_within_the_last_page_requests_the_next_one() -> None:
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


async def test_reading_before_the_last_page_requests_nothing() -> None:
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


async def test_handles_that_read_at_the_same_time_share_one_listing() -> None:
    store = FakeStore(delay_seconds=1)
    store.put(*"abcdef")
    async with mounted(store, page_size=2) as tree:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read_names, tree)
        assert len(store.take_requests()) == 3
        assert await read_names(tree) == [b"a", b"b", b"c", b"d", b"e", b"f"]
        assert store.take_requests() == []


async def test_a_handle_reads_its_listing_to_the_end_though_the_ttl_is_over() -> None:
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


async def test_rewinding_begins_a_new_listing_after_the_ttl() -> None:
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


async def test_without_a_ttl_each_handle_reads_a_new_listing() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store, ttl_seconds=0) as tree:
        assert await read_names(tree) == [b"a"]
        store.put("b")
        assert await read_names(tree) == [b"a", b"b"]


async def test_an_entry_counts_one_lookup_when_it_is_yielded_and_not_before() -> None:
    store = FakeStore()
    store.put(*"abc")
    async with mounted(store) as tree:
        handle = tree.open_directory(ROOT_INODE)
        entries = await handle.entries_from(0)
        assert metric(tree, "inodes") == 1
        _, _, entry = next(entries)
        assert metric(tree, "inodes") == 2
        looked_up = await tree.lookup(ROOT_INODE, b"a")
        tree.forget(entry.inode, 2)
        assert looked_up.inode == entry.inode
        assert metric(tree, "inodes") == 1
        handle.release()


async def test_the_ttl_of_a_listed_name_begins_at_the_request_for_its_page() -> None:
    store = FakeStore(delay_seconds=1)
    store.put(*"abcd")
    async with mounted(store, ttl_seconds=10, page_size=2) as tree:
        handle = tree.open_directory(ROOT_INODE)
        first = [entry.name_valid_seconds for _, _, entry in await handle.entries_from(0)]
        await trio.sleep(4)
        # The first page has `b` too, but `b` is held back, because a folder `b/` might follow.
        second = [entry.name_valid_seconds for _, _, entry in await handle.entries_from(1)]
        await trio.sleep(100)
        late = [entry.name_valid_seconds for _, _, entry in await handle.entries_from(1)]
        assert (first, second, late) == ([9], [4, 9, 9], [0, 0, 0])
        handle.release()


async def test_a_failed_page_can_be_requested_again() -> None:
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


async def test_a_contradiction_of_the_server_is_an_error_for_every_handle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = FakeStore()
    pages = [
        ListingPage([object_info("a"), object_info("b")], (), "next"),
        # `d/e/` cannot be an entry of the root.
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
            with pytest.raises(StorageError, match="cannot be below"):
                await take(tree, handle, 1, 9)
        one.release()
        other.release()


async def test_a_handle_opened_after_a_page_token_expired_reads_a_new_listing() -> None:
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
    """A server that repeats a page: its page token leads to the same page again and again."""

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


async def test_a_page_token_that_leads_to_itself_is_an_error() -> None:
    store = LoopingStore()
    async with mounted(store) as tree:
        with pytest.raises(StorageError, match="repeats a page token"):
            await read_names(tree)
        assert len(store.requests) == 2
        with pytest.raises(StorageError):
            await read_names(tree)
        assert metric(tree, "listings") == 0


async def test_the_least_recently_used_listings_are_evicted() -> None:
    store = FakeStore()
    store.put(*(f"{folder}/{number:02}" for folder in "abc" for number in range(20)))
    async with mounted(store, max_listed_entries=100) as tree:
        inodes = {folder: (await follow(tree, folder)).inode for folder in "abc"}
        for folder in "abac":
            assert len(await read_names(tree, inodes[folder])) == 20
        assert metric(tree, "listings") == 2
        assert metric(tree, "listed_entries") <= 100
        store.take_requests()
        assert await object_at(tree, "a/00") is not None
        assert await object_at(tree, "c/00") is not None
        assert store.take_requests() == []


async def test_an_open_listing_is_not_evicted_though_it_is_too_large() -> None:
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
        assert metric(tree, "listings") == 0
        assert metric(tree, "listed_entries") == 0


def test_custom_metadata_and_long_names_count_as_entries_of_the_cache() -> None:
    def cached_listings(name: str, metadata: dict[str, str]) -> int:
        cache = ListingCache(max_entries=500)
        for number in range(15):
            listing = cache.begin(f"{number}/", now=0.0)
            objects = [
                replace(object_info(f"{number}/{name}{count}"), metadata=metadata)
                for count in range(5)
            ]
            cache.add_page(listing, ListingPage(objects, (), ""), asked_at=0.0)
        return len(cache)

    assert cached_listings("", {}) == 15
    assert cached_listings("", {"key": "v" * 8000}) < 2
    assert cached_listings("n" * 1000, {}) < 8


def test_a_page_that_is_an_error_is_not_counted_after_its_listing() -> None:
    cache = ListingCache(max_entries=500)
    listing = cache.begin("a/", now=0.0)
    good = ListingPage(tuple(object_info(f"a/{n}") for n in range(10)), (), "next")
    stray = ListingPage((object_info("a/" + "x" * 900), object_info("b")), (), "other")
    cache.add_page(listing, good, asked_at=0.0)
    for _ in range(3):
        with pytest.raises(StorageError):
            cache.add_page(listing, stray, asked_at=0.0)
    cache.discard(listing)
    assert cache.entries == 0
