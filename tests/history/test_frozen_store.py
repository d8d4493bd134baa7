"""Tests of frozen names: no answer may contradict an earlier one."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.history.freeze_format import FreezeHeader, digest_of, lines_of, load_lines
from gcsmux_fs.history.frozen_names import FrozenNames
from gcsmux_fs.history.frozen_store import FrozenStore, NotFrozen
from gcsmux_fs.model.errors import NotFound
from gcsmux_fs.model.object_versions import ObjectVersion
from gcsmux_fs.model.values import ListingPage
from tests.namespace.fake_store import FakeStore

from .fake_versions import FakeVersions

NAMES = ["a", "a-b", "a/", "a/b", "a/b/c", "a/d", "b", "b/", "b/a", "c//", "c//d", "d\U0010ffff"]
HEADER = FreezeHeader("bucket", "")


class Query(NamedTuple):
    """A listing of a directory, of a part of it, or of the names that a lookup asks for."""

    prefix: str
    start_at: str = ""
    end_before: str = ""
    page_size: int = 1000
    max_pages: int = 99


queries = st.one_of(
    st.builds(
        Query,
        prefix=st.sampled_from(["", "a/", "a/b/", "b/", "c/", "c//"]),
        page_size=st.integers(2, 4),
        max_pages=st.sampled_from([1, 2, 99]),
    ),
    st.sampled_from(NAMES).map(lambda name: Query(name, name, f"{name}0", 3)),
    st.sampled_from(["a", "b"]).map(lambda name: Query(name, f"{name}/", f"{name}0", 2)),
    st.builds(Query, st.just(""), st.sampled_from("ab"), st.sampled_from("bc"), st.just(2)),
)
changes = st.tuples(st.sampled_from(["put", "delete"]), st.sampled_from(NAMES))
steps = st.lists(st.one_of(queries, st.sampled_from(NAMES), changes), max_size=20)

Answer = tuple[dict[str, int], set[str], bool]


async def ask(store: FrozenStore, query: Query) -> Answer:
    """Return the shown objects with their generations, the folders, and whether the end came."""
    objects: dict[str, int] = {}
    folders: set[str] = set()
    token, pages = "", 0
    last = ""
    while True:
        page: ListingPage = await store.list_objects(
            query.prefix,
            delimiter="/",
            page_token=token,
            page_size=query.page_size,
            start_at=query.start_at,
            end_before=query.end_before,
        )
        names = [info.name for info in page.objects]
        assert names == sorted(set(names)), "no name appears twice"
        keys = sorted({*names, *page.prefixes})
        assert not keys or keys[0] > last or not last
        last = keys[-1] if keys else last
        objects |= {info.name: info.generation for info in page.objects}
        folders |= set(page.prefixes)
        pages += 1
        token = page.next_page_token
        if not token or pages == query.max_pages:
            return objects, folders, not token


async def look_up(store: FrozenStore, name: str) -> int | None:
    try:
        return (await store.get_object(name)).generation
    except NotFound:
        return None


def copied(names: FrozenNames) -> FrozenNames:
    """Return the names after a way through a file."""
    data = b"".join(lines_of(HEADER, names, written_ns=0, is_complete=True))
    state = load_lines(data.splitlines(keepends=True))
    assert state.is_complete
    assert state.header == HEADER
    assert state.digest == digest_of(names)
    assert state.names.objects == names.objects
    again = b"".join(lines_of(HEADER, state.names, written_ns=0, is_complete=True))
    assert again == data
    return state.names


@given(steps=steps, placeholders_listed=st.booleans())
def test_no_answer_contradicts_an_earlier_one(
    steps: list[Query | str | tuple[str, str]], placeholders_listed: bool
) -> None:
    async def run() -> None:
        bucket = FakeStore(placeholders_listed=placeholders_listed)
        bucket.put(*NAMES[::2])
        names = FrozenNames()
        store = FrozenStore(bucket, names)
        answers: list[tuple[Query, Answer]] = []
        lookups: dict[str, int | None] = {}
        objects: dict[str, int] = {}
        for step in steps:
            if isinstance(step, Query):
                answer = await ask(store, step)
                answers.append((step, answer))
                for name, generation in answer[0].items():
                    assert objects.setdefault(name, generation) == generation
            elif isinstance(step, str):
                found = await look_up(store, step)
                assert lookups.setdefault(step, found) == found
                if found is not None:
                    assert objects.setdefault(step, found) == found
            elif step[0] == "put":
                bucket.put(step[1])
            elif step[1] in bucket._objects:
                bucket.delete(step[1])
        assert names.objects >= len(objects)
        closed = FrozenStore(FakeStore(), copied(names), is_closed=True)
        for each in (store, closed):
            for query, (shown, folders, is_complete) in answers:
                if is_complete:
                    assert await ask(each, query) == (shown, folders, True)
            for name, found in lookups.items():
                assert await look_up(each, name) == found

    trio.run(run)


async def test_a_listed_directory_needs_no_further_request() -> None:
    bucket = FakeStore()
    bucket.put("a", "b", "c/d")
    store = FrozenStore(bucket, FrozenNames())
    first = await ask(store, Query(""))
    bucket.put("a", "e")
    bucket.delete("b")
    bucket.take_requests()
    assert await ask(store, Query("")) == first
    assert await look_up(store, "e") is None
    assert await look_up(store, "b") == 2
    assert bucket.take_requests() == []
    assert await look_up(store, "c/d") == 3


async def test_a_listing_that_goes_on_uses_the_page_token_of_the_service() -> None:
    bucket = FakeStore()
    bucket.put(*(f"{number:03}" for number in range(10)))
    store = FrozenStore(bucket, FrozenNames())
    await ask(store, Query("", page_size=4))
    assert bucket.take_requests() == ["list ", "list  again", "list  again"]


async def test_an_interrupted_listing_continues_where_it_ended() -> None:
    bucket = FakeStore()
    bucket.put(*(f"{number:03}" for number in range(10)))
    store = FrozenStore(bucket, FrozenNames())
    await ask(store, Query("", page_size=4, max_pages=1))
    bucket.delete("001", "007")
    bucket.take_requests()
    objects, _, _ = await ask(store, Query("", page_size=4))
    assert sorted(objects) == [f"{number:03}" for number in range(10) if number != 7]
    assert bucket.take_requests()[0] == "list  [003, )"


async def test_closed_names_tell_unknown_names_from_absent_ones() -> None:
    bucket = FakeStore()
    bucket.put("a", "b/c")
    names = FrozenNames()
    store = FrozenStore(bucket, names)
    await ask(store, Query("a", "a", "a0"))
    await ask(store, Query("b/"))
    closed = FrozenStore(bucket, names, is_closed=True)
    bucket.take_requests()
    assert await look_up(closed, "b/absent") is None
    with pytest.raises(NotFrozen):
        await closed.get_object("z")
    with pytest.raises(NotFrozen):
        await ask(closed, Query(""))
    assert bucket.take_requests() == []
    assert closed.counters.frozen_refusals == 2


class SplittingStore(FakeStore):
    """Its pages may end between a folder and its placeholder object."""

    max_entries = 1
    folders_first = False

    async def list_objects(self, prefix: str, **options: Any) -> ListingPage:
        versions = [ObjectVersion(info, 0) for info in self._objects.values()]
        fake = FakeVersions(
            versions, max_entries=self.max_entries, folders_first=self.folders_first
        )
        page = await fake.list_versions(prefix, **options)
        infos = tuple(version.info for version in page.versions)
        return ListingPage(infos, page.prefixes, page.next_page_token)


@pytest.mark.parametrize("folders_first", [False, True])
async def test_a_page_may_end_between_a_folder_and_its_placeholder(folders_first: bool) -> None:
    bucket = SplittingStore()
    bucket.folders_first = folders_first
    bucket.put("a", "a/", "a/b", "c/", "d")
    store = FrozenStore(bucket, FrozenNames())
    objects, folders, _ = await ask(store, Query(""))
    assert folders == {"a/", "c/"}
    assert {"a", "d"} <= set(objects) <= {"a", "a/", "c/", "d"}
    assert await ask(store, Query("")) == (objects, folders, True)


@pytest.mark.parametrize("folders_first", [False, True])
async def test_a_placeholder_on_the_next_page_is_found(folders_first: bool) -> None:
    bucket = SplittingStore()
    bucket.max_entries, bucket.folders_first = 2, folders_first
    bucket.put("0", "a/", "a/b")
    objects, folders, _ = await ask(FrozenStore(bucket, FrozenNames()), Query(""))
    assert (objects, folders) == ({"0": 1, "a/": 2}, {"a/"})


async def test_two_lookups_at_the_same_time_show_the_first_answer() -> None:
    bucket = FakeStore(delay_seconds=1)
    bucket.put("a")
    store = FrozenStore(bucket, FrozenNames())
    found: list[Answer] = []

    async def look(delay: float) -> None:
        await trio.sleep(delay)
        found.append(await ask(store, Query("a", "a", "a0")))

    async with trio.open_nursery() as tasks:
        tasks.start_soon(look, 0)
        tasks.start_soon(look, 0.5)
        await trio.sleep(0.2)
        bucket.put("a", "a/b")
    assert found == [({"a": 1}, set(), True)] * 2
