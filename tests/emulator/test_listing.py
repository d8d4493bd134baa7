from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gcsmux_fs.emulator.buckets.listing_pages import ListedName, Position, Query, list_page
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.model.errors import StatusCode

from .name_strategies import maybe_names, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.emulator.buckets.listing_pages import Source

queries = st.builds(
    Query,
    prefix=maybe_names,
    delimiter=st.sampled_from(["", "/", "a", "a/"]),
    start=maybe_names,
    end=maybe_names,
    trailing_delimiter=st.booleans(),
)


def source_of(present: list[ListedName]) -> Source:
    ordered = sorted(present, key=lambda entry: (entry.name, entry.folder))
    keys = [entry.name for entry in ordered]

    def entries_from(start: str) -> Iterator[ListedName]:
        return iter(ordered[bisect_left(keys, start) :])

    return entries_from


def pages(source: Source, query: Query, max_entries: int) -> Iterator[tuple[list[str], list[str]]]:
    token = ""
    while True:
        page = list_page(source, query, Position.parse(token, query), max_entries)
        assert len(page) <= max_entries
        yield page.objects, page.prefixes
        if page.following is None:
            return
        assert len(page) == max_entries
        token = page.following.token(query)


def reference(present: set[str], query: Query) -> tuple[set[str], set[str]]:
    """Return the objects and prefixes of a listing as the service's documentation defines them."""
    objects, prefixes = set(), set()
    for name in present:
        if not name.startswith(query.prefix) or name < query.start:
            continue
        if query.end and name >= query.end:
            continue
        rest = name[len(query.prefix) :]
        if query.delimiter and query.delimiter in rest:
            head = rest.split(query.delimiter)[0] + query.delimiter
            prefixes.add(query.prefix + head)
            if not (query.trailing_delimiter and rest == head):
                continue
        objects.add(name)
    return objects, prefixes


@given(st.sets(names, max_size=25), queries, st.integers(1, 5))
@example({"a/", "a/b"}, Query(delimiter="/", trailing_delimiter=True), 1)
@example({"a", "a/b", "a-"}, Query(delimiter="/"), 1)
def test_all_pages_together_are_the_complete_sorted_listing(
    present: set[str], query: Query, max_entries: int
) -> None:
    source = source_of([ListedName(name) for name in present])
    objects: list[str] = []
    prefixes: list[str] = []
    last_page = ""
    for page_objects, page_prefixes in pages(source, query, max_entries):
        shown = page_objects + page_prefixes
        # No name of a page sorts before the last name of the previous page. The two names can be
        # equal, because with `trailing_delimiter` a name can be an object on one page and a prefix
        # on the next page.
        assert all(last_page <= name for name in shown)
        last_page = max([*shown, last_page])
        objects += page_objects
        prefixes += page_prefixes
    wanted_objects, wanted_prefixes = reference(present, query)
    assert sorted(wanted_objects) == objects
    assert sorted(wanted_prefixes) == prefixes


def test_a_page_reads_one_name_per_prefix() -> None:
    names_below = [
        ListedName(f"{folder}/{number:04}") for folder in "abc" for number in range(1000)
    ]
    read_names = 0

    def counting(start: str) -> Iterator[ListedName]:
        nonlocal read_names
        for entry in source_of(names_below)(start):
            read_names += 1
            yield entry

    page = list_page(counting, Query(delimiter="/"), Position(), 1000)
    assert page.prefixes == ["a/", "b/", "c/"]
    assert read_names == 3


def test_empty_folders_are_listed_as_prefixes_only() -> None:
    present = [
        ListedName("a/", folder=True),
        ListedName("b/", folder=True),
        ListedName("b/c"),
        ListedName("d"),
    ]
    page = list_page(source_of(present), Query(delimiter="/"), Position(), 10)
    assert (page.objects, page.prefixes) == (["d"], ["a/", "b/"])
    below = list_page(source_of(present), Query(prefix="a/", delimiter="/"), Position(), 10)
    assert (below.objects, below.prefixes) == ([], [])


def test_a_listing_continues_if_the_first_name_of_the_next_page_is_deleted() -> None:
    query = Query()
    first = list_page(
        source_of([ListedName("a"), ListedName("b"), ListedName("c")]), query, Position(), 1
    )
    assert first.following == Position("b")
    second = list_page(source_of([ListedName("a"), ListedName("c")]), query, first.following, 1)
    assert second.objects == ["c"]


@pytest.mark.parametrize("token", ["x", "bm8=", "WyJhIl0=", "WzEsMiwzXQ==", "ü"])
def test_an_invalid_page_token_is_refused(token: str) -> None:
    with pytest.raises(RpcError) as raised:
        Position.parse(token, Query())
    assert raised.value.code == StatusCode.INVALID_ARGUMENT


def test_a_page_token_of_another_listing_is_refused() -> None:
    token = Position("a").token(Query(prefix="a"))
    with pytest.raises(RpcError):
        Position.parse(token, Query(prefix="b"))
