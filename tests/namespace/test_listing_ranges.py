"""Tests of large directories whose pages are requested in several ranges at the same time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from gcsmux_fs.model.errors import PermissionDenied, StorageError, Unavailable
from gcsmux_fs.model.values import ListingPage
from gcsmux_fs.namespace.listing_ranges import MIN_PAGES, WIDTH, ListingRanges
from gcsmux_fs.namespace.tree import ROOT_INODE

from .fake_store import FakeStore, object_info
from .mounted import follow, mounted, read_names

if TYPE_CHECKING:
    from collections.abc import Callable


PAGE = 50
NAMES: dict[str, Callable[[int], str]] = {
    "numbers with zeros": lambda number: f"image_{number:06}.jpg",
    "numbers without zeros": lambda number: f"image_{number}.jpg",
    "hashes": lambda number: hashlib.sha256(b"%d" % number).hexdigest(),
    "dates": lambda number: f"{2000 + number // 360}-{number // 30 % 12:02}-{number % 30:02}",
    "words": lambda number: "".join(chr(ord("a") + number // 26**i % 26) for i in range(4)),
    "folders": lambda number: f"part={number:05}/x",
}


class CountingStore(FakeStore):
    """Counts the pages that are in flight at the same time."""

    now = 0
    most = 0

    async def list_objects(self, prefix: str, **options: Any) -> ListingPage:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super().list_objects(prefix, **options)
        finally:
            self.now -= 1


@pytest.mark.parametrize("kind", NAMES)
async def test_a_large_directory_is_listed_completely_with_few_more_requests(kind: str) -> None:
    store = CountingStore(delay_seconds=1)
    names = [NAMES[kind](number) for number in range(3_000)]
    store.put(*names)
    async with mounted(store, page_size=PAGE) as tree:
        before = trio.current_time()
        expected = sorted({name.partition("/")[0].encode() for name in names})
        assert await read_names(tree) == expected
        seconds = trio.current_time() - before
    assert store.most <= WIDTH
    pages = len(expected) / PAGE
    assert len(store.requests) <= 1.6 * pages
    if kind in ("numbers with zeros", "hashes", "folders"):
        assert seconds < MIN_PAGES + 0.6 * pages


@given(
    st.lists(st.text("019afz-/", min_size=1, max_size=4), min_size=30, max_size=60),
    st.integers(1, 3),
    st.booleans(),
)
def test_any_names_are_listed_in_order_and_once(
    names: list[str], page_size: int, placeholders_listed: bool
) -> None:
    store = FakeStore(placeholders_listed=placeholders_listed)
    store.put(*names)

    async def run() -> None:
        async with mounted(store, page_size=1_000) as tree:
            expected = await read_names(tree)
        async with mounted(store, page_size=page_size) as tree:
            listed = await read_names(tree)
        assert sorted(listed) == sorted(expected)

    trio.run(run, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("page_size", [1, 2, 3, 5])
@pytest.mark.parametrize("step", [1, 7])
async def test_short_pages_that_begin_with_a_repeated_key_come_to_an_end(
    page_size: int, step: int
) -> None:
    store = FakeStore(placeholders_listed=True)
    folders = [f"{number:03}" for number in range(0, 80 * step, step)]
    store.put(*(f"{folder}/" for folder in folders), *(f"{folder}-a" for folder in folders), size=0)
    async with mounted(store, page_size=page_size) as tree:
        assert len(await read_names(tree)) == 160


def test_two_ranges_with_the_same_token_are_no_repetition() -> None:
    ranges = ListingRanges("")
    tokens = []
    for ten in range(MIN_PAGES):
        objects = tuple(object_info(f"{ten:02}{one}") for one in range(10))
        tokens.append(ranges.take(ListingPage(objects, (), f"after {ten}"), wide=True))
    last = f"{MIN_PAGES - 1:02}9"
    assert ranges.head.start_at == last
    assert len(ranges.upcoming()) == WIDTH
    repeated = ListingPage((object_info(last),), (), "after 0")
    tokens.append(ranges.take(repeated, wide=True))
    assert len({page.next_page_token for page in tokens}) == MIN_PAGES + 1


async def test_a_directory_with_a_gap_in_its_names_is_listed_completely() -> None:
    store = FakeStore()
    numbers = [*range(1_500), *range(500_000, 501_500)]
    store.put(*(f"{number:06}" for number in numbers))
    async with mounted(store, page_size=PAGE) as tree:
        assert await read_names(tree) == [b"%06d" % number for number in numbers]


async def test_a_reader_that_stops_leaves_at_most_a_few_pages_requested() -> None:
    store = FakeStore()
    store.put(*(f"{number:06}" for number in range(10_000)))
    async with mounted(store, page_size=PAGE) as tree:
        handle = tree.open_directory(ROOT_INODE)
        position = 0
        while position < 30 * PAGE:
            for after, _, entry in await handle.entries_from(position):
                tree.forget(entry.inode, 1)
                position = after
        await trio.testing.wait_all_tasks_blocked()
        assert len(store.requests) <= 30 / 0.8 + WIDTH + 2
        handle.release()


@pytest.mark.parametrize("error", [Unavailable("no"), PermissionDenied("no")])
async def test_a_range_that_fails_fails_the_listing_and_the_next_listing_begins_again(
    error: StorageError,
) -> None:
    store = FakeStore()
    store.put(*(f"d/{number:04}" for number in range(1_500)))
    store.failures.append(("list d/ [d/08", error))
    async with mounted(store, page_size=PAGE) as tree:
        directory = (await follow(tree, "d")).inode
        with pytest.raises(type(error)):
            await read_names(tree, directory)
        assert len(await read_names(tree, directory)) == 1_500
