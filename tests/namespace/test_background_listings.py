"""Tests of directories that are listed because names in them are looked up."""

from __future__ import annotations

import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from gcsmux_fs.namespace.listing_allowance import (
    FAILURE_SECONDS,
    MIN_NAMES,
    POINTS_OF_ANSWER,
    POINTS_OF_PAGE,
    ListingAllowance,
)
from gcsmux_fs.namespace.names import Form, place
from gcsmux_fs.namespace.tree import ROOT_INODE, Tree

from .fake_store import FakeStore
from .mounted import follow, metric, mounted, object_at, read_names
from .object_names import buckets

OTHERS = [f"other-{number}" for number in range(MIN_NAMES)]


async def look_up(tree: Tree, *paths: str) -> None:
    """Look up paths, and let the requests that run in the background end."""
    for path in paths:
        await object_at(tree, path)
    await trio.testing.wait_all_tasks_blocked()


def pages_in(requests: list[str], location: str = "") -> int:
    """Return how many of the requests are for pages of the directory `location`."""
    return len([one for one in requests if one in (f"list {location}", f"list {location} again")])


async def test_a_few_lookups_in_a_directory_save_the_requests_of_all_others() -> None:
    store = FakeStore()
    store.put(*(f"d/{number:04}" for number in range(2_000)), "d/folder/x")
    names = list(range(2_000))
    random.Random(1).shuffle(names)
    async with mounted(store) as tree:
        await look_up(tree, *(f"d/{number:04}" for number in names))
        assert len(store.take_requests()) < 0.1 * 2_000
        assert (await follow(tree, "d/folder")).is_directory
        assert await object_at(tree, "d/absent") is None
        assert store.take_requests() == []
        assert metric(tree, "background_listings") == 1
        assert metric(tree, "background_pages") == 3
        assert metric(tree, "background_answers") > 1_900


async def test_few_names_or_one_name_looked_up_again_and_again_cause_no_listing() -> None:
    store = FakeStore()
    async with mounted(store, negative_ttl_seconds=5) as tree:
        await look_up(tree, *OTHERS[1:])
        for _ in range(100):
            await trio.sleep(5)
            await look_up(tree, OTHERS[1])
        assert pages_in(store.requests) == 0


async def test_names_that_are_looked_up_rarely_cause_no_listing() -> None:
    store = FakeStore()
    async with mounted(store, ttl_seconds=60) as tree:
        for number in range(100):
            await look_up(tree, str(number))
            await trio.sleep(60 / (MIN_NAMES - 1))
        assert pages_in(store.requests) == 0


async def test_a_huge_directory_is_listed_only_in_proportion_to_the_lookups() -> None:
    store = FakeStore()
    store.put(*(f"{number:05}" for number in range(20_000)))
    async with mounted(store, page_size=10) as tree:
        for asked in range(1, 1_000):
            await look_up(tree, f"{19_999 - asked:05}")
            assert pages_in(store.requests) <= 1 + asked / POINTS_OF_PAGE
        assert pages_in(store.requests) > 20


async def test_a_lookup_does_not_wait_for_a_page() -> None:
    store = FakeStore(delay_seconds=1)
    store.put("a")
    async with mounted(store) as tree:
        for name in OTHERS:
            await object_at(tree, name)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for name in ("e", "f", "g", "h"):
                nursery.start_soon(object_at, tree, name)
            await trio.sleep(0.5)
            nursery.start_soon(object_at, tree, "i")
        assert trio.current_time() - began <= 1.5


async def test_a_refused_listing_changes_no_lookup_and_is_not_repeated_at_once() -> None:
    store = FakeStore()
    store.put(*"abcdefgh")
    store.may_list = lambda prefix: prefix != ""
    async with mounted(store, negative_ttl_seconds=0) as tree:
        for name in "abcdefgh":
            assert await object_at(tree, name) is not None
        await look_up(tree, *(str(number) for number in range(100)))
        assert pages_in(store.requests) == 1
        store.may_list = lambda prefix: True
        await trio.sleep(FAILURE_SECONDS)
        await look_up(tree, *(str(number) for number in range(MIN_NAMES)))
        assert pages_in(store.requests) == 2


@pytest.mark.parametrize(("ttl_seconds", "assume"), [(0.0, False), (60.0, True)])
async def test_nothing_is_listed_without_a_ttl_or_by_a_caller_who_may_not_list(
    ttl_seconds: float, assume: bool
) -> None:
    store = FakeStore()
    async with mounted(store, ttl_seconds=ttl_seconds, assume_directories=assume) as tree:
        await look_up(tree, *(str(number) for number in range(100)))
        assert pages_in(store.requests) == 0


async def test_a_background_listing_stays_within_half_of_the_cache() -> None:
    store = FakeStore()
    store.put(*(f"{number:04}" for number in range(5_000)))
    async with mounted(store, page_size=100, max_listed_entries=1_000) as tree:
        for number in range(4_000, 5_000):
            await look_up(tree, f"{number:04}")
        assert 0 < metric(tree, "listed_entries") <= 500 + 2 * 100


async def test_a_program_that_probes_absent_names_pays_for_one_page_each_negative_ttl() -> None:
    store = FakeStore()
    store.put("a", "b")
    absent = [f"absent-{number}" for number in range(50)]
    async with mounted(store, negative_ttl_seconds=5) as tree:
        for _ in range(3):
            store.take_requests()
            await look_up(tree, *absent)
            assert pages_in(store.requests) == 1
            assert len(store.requests) <= 2 + MIN_NAMES
            assert await object_at(tree, "a") == ("a", 1)
            await trio.sleep(5)


async def test_a_large_complete_listing_is_not_replaced_for_a_few_absent_names() -> None:
    store = FakeStore()
    store.put(*(f"{number:04}" for number in range(90)))
    async with mounted(store, page_size=10, negative_ttl_seconds=5) as tree:
        await read_names(tree)
        await trio.sleep(5)
        store.take_requests()
        await look_up(tree, *(f"absent-{number}" for number in range(8 * POINTS_OF_PAGE)))
        assert pages_in(store.requests) == 0
        await look_up(tree, *(f"later-{number}" for number in range(MIN_NAMES)))
        assert pages_in(store.requests) > 0


async def test_a_program_reads_on_where_the_background_listing_is() -> None:
    store = FakeStore()
    store.put(*(f"{number:02}" for number in range(30)))
    async with mounted(store, page_size=10) as tree:
        await look_up(tree, *OTHERS)
        store.take_requests()
        assert len(await read_names(tree)) == 30
        assert pages_in(store.requests) == 2


async def test_an_invalidated_name_is_asked_for_though_a_page_is_in_flight() -> None:
    store = FakeStore(delay_seconds=2)
    store.put("a")
    async with mounted(store) as tree:
        async with trio.open_nursery() as nursery:
            for name in OTHERS:
                nursery.start_soon(object_at, tree, name)
            await trio.sleep(1)
            store.put("a")
            tree.invalidate("a")
        assert metric(tree, "background_pages") == 1
        assert await object_at(tree, "a") == ("a", 2)


@given(bucket=buckets, page_size=st.integers(1, 3), seed=st.randoms(use_true_random=False))
def test_a_lookup_finds_the_same_before_during_and_after_a_background_listing(
    bucket: dict[str, int], page_size: int, seed: random.Random
) -> None:
    store = FakeStore()
    for name, size in bucket.items():
        store.put(name, size=size)
    firsts = {name.partition("/")[0] for name in bucket} | {"", "a", "a-", "foo", "zz"}
    placed = [place("", first, form) for first in firsts for form in (Form.PLAIN, Form.FILE)]
    names = sorted({one.name for one in placed if one is not None})

    async def seen(tree: Tree, name: bytes) -> int:
        try:
            entry = await tree.lookup(ROOT_INODE, name)
        except Exception as error:
            return -len(type(error).__name__)
        tree.forget(entry.inode, 1)
        return entry.inode

    async def run() -> None:
        async with mounted(store, ttl_seconds=0) as tree:
            expected = {name: await seen(tree, name) for name in names}
        async with mounted(store, page_size=page_size) as tree:
            seed.shuffle(names)
            for name in names:
                assert await seen(tree, name) == expected[name]
                await trio.testing.wait_all_tasks_blocked()

    trio.run(run, clock=MockClock(autojump_threshold=0))


def test_each_page_must_be_paid_for_by_lookups() -> None:
    allowance = ListingAllowance(60)
    for number in range(MIN_NAMES):
        assert not allowance.allows("d/", 0, 1, 0)
        allowance.note_asked("d/", b"%d" % number, 0)
    assert allowance.allows("d/", 0, 1, 0)
    assert not allowance.allows("e/", 0, 1, 0)
    allowance.note_page("d/")
    assert not allowance.allows("d/", POINTS_OF_PAGE // POINTS_OF_ANSWER - 1, 1, 0)
    assert allowance.allows("d/", POINTS_OF_PAGE // POINTS_OF_ANSWER, 1, 0)
    for _ in range(POINTS_OF_PAGE):
        allowance.note_asked("d/", b"x", 0)
    assert allowance.allows("d/", 0, 1, 0)
    assert not allowance.allows("d/", 0, 2, 0)
    allowance.note_complete("d/")
    assert not allowance.allows("d/", 0, 1, 0)


def test_a_failure_bars_pages_though_many_names_are_asked_for() -> None:
    allowance = ListingAllowance(10)
    allowance.note_failed("d/", 0)
    for second in range(int(FAILURE_SECONDS) * 10):
        now = second / 10
        allowance.note_asked("d/", b"%d" % second, now)
        assert not allowance.allows("d/", 1_000, 1, now)
    for second in range(MIN_NAMES):
        allowance.note_asked("d/", b"%d" % second, FAILURE_SECONDS)
    assert allowance.allows("d/", 0, 1, FAILURE_SECONDS)
