"""Tests of lookups: which requests they send, which cached answers they use, and for how long."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import trio

from gcsmux_fs.model.errors import GenerationGone, InvalidRequest, StorageError, Unavailable
from gcsmux_fs.model.values import ListingPage
from gcsmux_fs.namespace.tree import ROOT_INODE, Entry, NoSuchEntry, Tree

from .fake_store import FakeStore, object_info
from .mounted import follow, metric, mounted, object_at, observed, read_names


async def test_lookups_are_timed_with_and_without_a_request_and_pages_too() -> None:
    store = FakeStore(delay_seconds=1)
    store.put("a")
    async with mounted(store) as tree:
        for name in (b"a", b"a", b"..", b"."):
            await tree.lookup(ROOT_INODE, name)
        with pytest.raises(NoSuchEntry):
            await tree.lookup(ROOT_INODE, b"absent")
        await read_names(tree)
        assert observed(tree, "lookup_seconds", answer="cached") == (3, 0.0)
        assert observed(tree, "lookup_seconds", answer="asked") == (2, 2.0)
        assert observed(tree, "listing_page_seconds") == (1, 1.0)


async def test_a_lookup_takes_one_round_trip() -> None:
    store = FakeStore(delay_seconds=1)
    store.put("file", "dir/x")
    async with mounted(store) as tree:
        for name in ["file", "dir"]:
            before = trio.current_time()
            entry = await follow(tree, name)
            assert trio.current_time() - before == 1
            assert entry.is_directory == (name == "dir")
            assert store.take_requests() == [f"list {name} [{name}, {name}0)"]


async def test_a_name_whose_neighbours_fill_a_page_takes_two_round_trips() -> None:
    store = FakeStore(delay_seconds=1)
    store.put(*(f"a-{number}" for number in range(20)), "a", "b/x")
    store.put(*(f"b-{number}" for number in range(20)))
    async with mounted(store) as tree:
        before = trio.current_time()
        assert await object_at(tree, "a") == ("a", 21)
        assert (await follow(tree, "b")).is_directory
        assert trio.current_time() - before == 4


async def test_an_object_that_grows_has_the_size_that_get_object_shows() -> None:
    class StaleStore(FakeStore):
        async def list_objects(self, prefix: str, **options: Any) -> ListingPage:
            page = await super().list_objects(prefix, **options)
            stale = [info if info.finalized else replace(info, size=1) for info in page.objects]
            return replace(page, objects=stale)

    store = StaleStore(delay_seconds=1)
    for name in ("a", "b"):
        store.replace_info(replace(object_info(name, size=7), finalized=False))
    store.put("c")
    async with mounted(store, ttl_seconds=0) as tree:
        seconds = []
        for name in ("a", "b", "b", "c", "c"):
            before = trio.current_time()
            entry = await follow(tree, name)
            seconds.append(trio.current_time() - before)
            assert entry.size == store[name].size
        # Only the first lookup of a growing object takes two round trips.
        assert seconds == [2, 1, 1, 1, 1]


async def test_the_ttl_of_an_answer_begins_at_its_question() -> None:
    store = FakeStore(delay_seconds=1)
    store.put("a")
    async with mounted(store, ttl_seconds=10) as tree:
        assert (await follow(tree, "a")).name_valid_seconds == 9
        store.take_requests()
        await trio.sleep(8.9)
        assert (await follow(tree, "a")).name_valid_seconds == pytest.approx(0.1)
        assert store.take_requests() == []
        await trio.sleep(0.1)
        await follow(tree, "a")
        assert len(store.take_requests()) == 1


async def test_new_metadata_of_a_generation_shows_after_the_ttl() -> None:
    store = FakeStore(placeholders_listed=True)
    store.put("a", "dir/", "dir/b")
    metadata = {"goog-reserved-file-mtime": "5"}
    async with mounted(store, ttl_seconds=10) as tree:
        before = [await follow(tree, name) for name in ("a", "dir")]
        assert not any(entry.metadata for entry in before)
        for name in ("a", "dir/"):
            store.replace_info(replace(store[name], metageneration=2, metadata=metadata))
        assert not (await follow(tree, "a")).metadata
        await trio.sleep(10)
        after = [await follow(tree, name) for name in ("a", "dir")]
        assert [entry.metadata for entry in after] == [metadata, metadata]
        assert [entry.inode for entry in after] == [entry.inode for entry in before]


async def test_an_unchanged_object_keeps_its_inode_and_an_overwritten_one_does_not() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store, ttl_seconds=10) as tree:
        first = await follow(tree, "a")
        await trio.sleep(10)
        again = await follow(tree, "a")
        store.put("a")
        await trio.sleep(10)
        overwritten = await follow(tree, "a")
        assert again.inode == first.inode
        assert overwritten.inode != first.inode
        assert tree.object_of(overwritten.inode) == store["a"]


async def test_without_a_ttl_every_lookup_sees_the_newest_object() -> None:
    store = FakeStore()
    async with mounted(store, ttl_seconds=0, negative_ttl_seconds=0) as tree:
        assert await object_at(tree, "a") is None
        for generation in [1, 2, 3]:
            store.put("a")
            assert await object_at(tree, "a") == ("a", generation)
            assert (await follow(tree, "a")).name_valid_seconds == 0


async def test_without_a_ttl_a_lookup_does_not_join_an_earlier_request() -> None:
    store = FakeStore(delay_seconds=1)
    store.put("a")
    answers: list[tuple[str, int] | None] = []

    async def look(tree: Tree) -> None:
        answers.append(await object_at(tree, "a"))

    async with mounted(store, ttl_seconds=0) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(look, tree)
        await trio.sleep(0.5)
        store.put("a")
        nursery.start_soon(look, tree)
    assert answers == [("a", 1), ("a", 2)]


async def test_an_infinite_ttl_never_asks_again() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store, ttl_seconds=math.inf, negative_ttl_seconds=math.inf) as tree:
        assert (await follow(tree, "a")).name_valid_seconds == math.inf
        with pytest.raises(NoSuchEntry) as absent:
            await follow(tree, "b")
        assert absent.value.valid_seconds == math.inf
        store.take_requests()
        store.put("a", "b")
        await trio.sleep(80_000)
        assert await object_at(tree, "a") == ("a", 1)
        assert await object_at(tree, "b") is None
        assert store.take_requests() == []


async def test_absence_is_valid_for_the_negative_ttl() -> None:
    store = FakeStore()
    async with mounted(store, negative_ttl_seconds=5) as tree:
        with pytest.raises(NoSuchEntry) as absent:
            await follow(tree, "a")
        assert absent.value.valid_seconds == 5
        store.put("a")
        store.take_requests()
        await trio.sleep(4.9)
        assert await object_at(tree, "a") is None
        assert store.take_requests() == []
        await trio.sleep(0.1)
        assert await object_at(tree, "a") == ("a", 1)


async def test_a_lookup_after_a_listing_sends_no_request() -> None:
    store = FakeStore()
    store.put("d/a", "d/b/x")
    async with mounted(store, ttl_seconds=60, negative_ttl_seconds=5) as tree:
        directory = await follow(tree, "d")
        await read_names(tree, directory.inode)
        store.take_requests()
        assert await object_at(tree, "d/a") == ("d/a", 1)
        assert (await follow(tree, "d/b")).is_directory
        assert await object_at(tree, "d/c") is None
        assert store.take_requests() == []
        await trio.sleep(5)
        assert await object_at(tree, "d/a") == ("d/a", 1)
        assert store.take_requests() == []
        assert await object_at(tree, "d/c") is None
        assert len(store.take_requests()) == 1


async def test_the_answer_to_the_latest_question_is_used() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store) as tree:
        assert await object_at(tree, "a") == ("a", 1)
        store.put("a")
        await trio.sleep(1)
        await read_names(tree)
        assert await object_at(tree, "a") == ("a", 2)


async def test_a_name_that_an_incomplete_listing_does_not_have_is_asked_for() -> None:
    store = FakeStore()
    store.put("a", "b", "c")
    async with mounted(store, page_size=2) as tree:
        handle = tree.open_directory(ROOT_INODE)
        for _, _, entry in await handle.entries_from(0):
            tree.forget(entry.inode, 1)
        store.take_requests()
        assert await object_at(tree, "a") == ("a", 1)
        assert store.take_requests() == []
        assert await object_at(tree, "c") == ("c", 3)
        assert len(store.take_requests()) == 1
        handle.release()


async def test_names_that_no_object_can_have_are_not_asked_for() -> None:
    store = FakeStore()
    async with mounted(store) as tree:
        for name in [b"\xff", b"%~plain", b"%part~short", b"x" * 256]:
            with pytest.raises(NoSuchEntry) as absent:
                await tree.lookup(ROOT_INODE, name)
            assert absent.value.valid_seconds == math.inf
        assert store.take_requests() == []


async def test_a_name_that_the_service_rejects_is_absent() -> None:
    error = InvalidRequest("a newline")
    store = FakeStore(failures=[("list", error), ("get", error)])
    async with mounted(store) as tree:
        assert await object_at(tree, "a\nb") is None


async def test_no_folder_is_asked_for_whose_name_would_be_too_long() -> None:
    store = FakeStore()
    directories = "x" * 255 + "/" + "y" * 255 + "/" + "z" * 255
    name = f"{directories}/{'a' * 256}"
    assert len(name) == 1024
    store.put(name)
    async with mounted(store, ttl_seconds=0) as tree:
        assert await object_at(tree, f"{directories}/%part~{'a' * 249}/aaaaaaa") == (name, 1)
        assert f"get {name}" in store.requests
        assert not [request for request in store.requests if f"{name}/" in request]


async def test_a_folder_takes_the_plain_name_from_the_object_of_its_name() -> None:
    store = FakeStore()
    store.put("foo")
    async with mounted(store, ttl_seconds=0, negative_ttl_seconds=0) as tree:
        assert await object_at(tree, "foo") == ("foo", 1)
        assert await object_at(tree, "%file~foo") is None
        store.put("foo/x")
        assert (await follow(tree, "foo")).is_directory
        assert await object_at(tree, "%file~foo") == ("foo", 1)
        assert await object_at(tree, "foo/x") == ("foo/x", 2)


async def test_unusual_names_are_looked_up_without_a_listing_of_their_directory() -> None:
    store = FakeStore()
    long = "é" * 300
    names = ["//a", "./..", "b/", f"{long}", f"{long}/c", "%~d", "nul\0"]
    store.put(*names)
    part = f"%part~{'é' * 124}/%part~{'é' * 124}"
    rest = "é" * 52
    paths = ["%~/%~/a", "%~./%~..", "b/%content~", f"{part}/%file~{rest}", f"{part}/{rest}/c"]
    async with mounted(store) as tree:
        for name, path in zip(names, [*paths, "%~%25~d", "%~nul%00"], strict=True):
            answer = await object_at(tree, path)
            assert answer is not None
            assert answer[0] == name


async def test_an_empty_placeholder_object_is_no_file() -> None:
    store = FakeStore()
    store.put("d/", size=0)
    async with mounted(store) as tree:
        assert (await follow(tree, "d")).is_directory
        assert await object_at(tree, "d/%content~") is None


async def test_a_part_directory_exists_only_if_it_has_entries() -> None:
    store = FakeStore()
    store.put("x" * 249, "x" * 250, "y" * 256)
    async with mounted(store) as tree:
        assert (await follow(tree, f"%part~{'y' * 249}")).is_directory
        assert await object_at(tree, "x" * 249) == ("x" * 249, 1)
        with pytest.raises(NoSuchEntry):
            await follow(tree, f"%part~{'x' * 249}")


async def test_an_empty_folder_of_a_hierarchical_bucket_is_found() -> None:
    store = FakeStore(folders={"empty/", "a/b/"})
    async with mounted(store) as tree:
        assert (await follow(tree, "empty")).is_directory
        assert (await follow(tree, "a/b")).is_directory
        assert await read_names(tree) == [b"a", b"empty"]


@pytest.mark.parametrize("placeholders_listed", [True, False])
async def test_a_directory_has_the_time_of_its_placeholder_object(
    placeholders_listed: bool,
) -> None:
    store = FakeStore(placeholders_listed=placeholders_listed)
    store.replace_info(object_info("d/", 77, size=0))
    async with mounted(store, directory_mtime_ns=5) as tree:
        entry = await follow(tree, "d")
        assert entry.mtime_ns == (77_000_000_000 if placeholders_listed else 5)
        await read_names(tree, entry.inode)
        assert tree.get(entry.inode).mtime_ns == 77_000_000_000


async def test_a_tree_may_begin_at_a_prefix() -> None:
    store = FakeStore()
    store.put("a", "p/", "p/b/c", "q/d")
    async with mounted(store, prefix="p/") as tree:
        assert await read_names(tree) == [b"%content~", b"b"]
        assert await object_at(tree, "b/c") == ("p/b/c", 3)
        assert await object_at(tree, "a") is None
        for name in [b".", b".."]:
            entry = await tree.lookup(ROOT_INODE, name)
            assert entry.inode == ROOT_INODE
            tree.forget(ROOT_INODE, 1)


async def test_lookups_of_one_name_at_the_same_time_share_their_requests() -> None:
    store = FakeStore(delay_seconds=1)
    store.put("a")
    inodes: set[int] = set()

    async def look(tree: Tree) -> None:
        inodes.add((await follow(tree, "a")).inode)

    async with mounted(store) as tree:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(look, tree)
        assert len(store.take_requests()) == 1
        assert len(inodes) == 1
        tree.forget(inodes.pop(), 10)
        assert metric(tree, "inodes") == 1


async def test_cancelling_one_lookup_leaves_the_others_their_answer() -> None:
    store = FakeStore(delay_seconds=1)
    store.put("a")
    entries: list[Entry] = []

    async def look(tree: Tree) -> None:
        entries.append(await follow(tree, "a"))

    async with mounted(store) as tree:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.5):
                nursery.start_soon(look, tree)
                await follow(tree, "a")
        assert len(entries) == 1
        assert len(store.take_requests()) == 1


async def test_the_answer_is_cached_though_its_lookup_was_cancelled() -> None:
    store = FakeStore(delay_seconds=1)
    store.put("a")
    async with mounted(store) as tree:
        with trio.move_on_after(0.5):
            await follow(tree, "a")
        assert metric(tree, "name_requests_in_flight") > 0
        await trio.sleep(1)
        assert metric(tree, "name_requests_in_flight") == 0
        assert metric(tree, "inodes") == 1
        store.take_requests()
        assert await object_at(tree, "a") == ("a", 1)
        assert store.take_requests() == []


async def test_a_lookup_fails_when_the_tree_closes() -> None:
    store = FakeStore(delay_seconds=1)
    outcomes: list[str] = []

    async def look(tree: Tree) -> None:
        try:
            await follow(tree, "a")
        except Unavailable as error:
            outcomes.append(str(error))

    async with trio.open_nursery() as nursery, trio.open_nursery() as owner:
        tree = Tree(store, owner, ttl_seconds=60, negative_ttl_seconds=5)
        nursery.start_soon(look, tree)
        await trio.sleep(0.5)
        owner.cancel_scope.cancel()
    assert metric(tree, "name_requests_in_flight") == 0
    assert outcomes == ["the request was cancelled: the file system closes"]


async def test_a_failure_reaches_every_waiting_lookup_and_is_not_cached() -> None:
    store = FakeStore(delay_seconds=1, failures=[("list a", Unavailable("no"))])
    store.put("a")
    failures: list[Unavailable] = []

    async def look(tree: Tree) -> None:
        try:
            await follow(tree, "a")
        except Unavailable as error:
            failures.append(error)

    async with mounted(store) as tree:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, tree)
            nursery.start_soon(look, tree)
        assert len(failures) == 2
        assert await object_at(tree, "a") == ("a", 1)


async def test_the_attributes_of_a_pinned_inode_outlive_its_generation() -> None:
    store = FakeStore()
    store.put("a")
    async with mounted(store, ttl_seconds=0) as tree:
        entry = await follow(tree, "a")
        old = store["a"]
        assert tree.pin(entry.inode) == old
        tree.forget(entry.inode, 1)
        store.put("a")
        store.take_requests()
        assert tree.object_of(entry.inode) == old
        assert store.take_requests() == []
        tree.unpin(entry.inode)
        with pytest.raises(GenerationGone):
            tree.get(entry.inode)


async def test_an_object_that_has_grown_is_another_inode() -> None:
    store = FakeStore()
    growing = replace(object_info("a", size=1), finalized=False)
    store.replace_info(growing)
    async with mounted(store, ttl_seconds=10) as tree:
        entry = await follow(tree, "a")
        assert entry.attributes_valid_seconds == math.inf
        assert tree.pin(entry.inode) == growing
        store.replace_info(replace(growing, size=2))
        assert (await follow(tree, "a")).inode == entry.inode
        await trio.sleep(10)
        grown = await follow(tree, "a")
        assert grown.inode != entry.inode
        assert grown.size == 2
        assert tree.get(entry.inode).size == 1
        assert tree.object_of(entry.inode) == growing


async def test_an_old_listing_leads_to_the_newest_size_of_an_object_that_grows() -> None:
    store = FakeStore()
    growing = replace(object_info("a", size=1), finalized=False)
    store.replace_info(growing)
    async with mounted(store, ttl_seconds=10) as tree:
        handle = tree.open_directory(ROOT_INODE)
        assert [entry.size for _, _, entry in await handle.entries_from(0)] == [1]
        await trio.sleep(10)
        store.replace_info(replace(growing, size=2))
        grown = await follow(tree, "a")
        listed = [entry.inode for _, _, entry in await handle.entries_from(0)]
        assert listed == [grown.inode]
        handle.release()


async def test_a_directory_cannot_be_opened_as_a_file() -> None:
    store = FakeStore()
    store.put("d/", "d/x")
    async with mounted(store) as tree:
        entry = await follow(tree, "d")
        with pytest.raises(GenerationGone, match="not a file"):
            tree.pin(entry.inode)


async def test_a_repeated_page_token_is_an_error_and_not_an_absent_name() -> None:
    class Endless(FakeStore):
        async def list_objects(
            self,
            prefix: str,
            *,
            delimiter: str = "",
            page_token: str = "",
            page_size: int = 0,
            start_at: str = "",
            end_before: str = "",
        ) -> ListingPage:
            return ListingPage((), (), "again")

    store = Endless()
    store.put("folder/x")
    async with mounted(store) as tree:
        with pytest.raises(StorageError, match="repeats a page token"):
            await tree.lookup(ROOT_INODE, b"folder")


@pytest.mark.parametrize("path", ["dir/file", "dir", "both", "%file~both"])
async def test_a_forgotten_inode_is_found_by_its_number(path: str) -> None:
    store = FakeStore()
    store.put("dir/file", "both", "both/inside")
    async with mounted(store) as tree:
        entry = await follow(tree, path)
        tree.forget(entry.inode, 1)
        assert metric(tree, "inodes") == 1
        again = await tree.lookup(entry.inode, b".")
        assert (again.inode, again.is_directory) == (entry.inode, entry.is_directory)
        itself = await tree.lookup(entry.inode, b".")
        assert itself.inode == entry.inode
        tree.forget(entry.inode, 2)
        assert metric(tree, "inodes") == 1


@pytest.mark.parametrize("path", ["dir/file", "dir"])
async def test_a_forgotten_inode_whose_object_was_deleted_is_not_found_by_its_number(
    path: str,
) -> None:
    store = FakeStore()
    store.put("dir/file")
    async with mounted(store, ttl_seconds=10) as tree:
        entry = await follow(tree, path)
        tree.forget(entry.inode, 1)
        store.delete("dir/file")
        await trio.sleep(10)
        with pytest.raises(GenerationGone):
            await tree.lookup(entry.inode, b".")
        store.put("dir/file")
        if path == "dir/file":
            await trio.sleep(10)
            with pytest.raises(GenerationGone):
                await tree.lookup(entry.inode, b".")
        assert metric(tree, "inodes") == 1


async def test_an_unknown_inode_number_leads_nowhere() -> None:
    async with mounted(FakeStore()) as tree:
        with pytest.raises(GenerationGone):
            await tree.lookup(12345, b".")


async def test_a_smaller_size_is_found_by_its_number_beside_a_larger_one() -> None:
    store = FakeStore()
    growing = replace(object_info("a", size=1), finalized=False)
    store.replace_info(growing)
    async with mounted(store, ttl_seconds=0) as tree:
        small = await follow(tree, "a")
        store.replace_info(replace(growing, size=2))
        large = await follow(tree, "a")
        assert large.inode != small.inode
        for entry in (await tree.lookup(small.inode, b"."), tree.enter_again(small.inode)):
            assert entry is not None
            assert (entry.inode, entry.size) == (small.inode, 1)
        tree.forget(small.inode, 3)
        tree.forget(large.inode, 1)
        assert metric(tree, "inodes") == 1
