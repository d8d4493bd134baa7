"""Tests of mounts of an earlier time, against a plain reference of all generations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gcsmux_fs.history.as_of_store import AsOfStore
from gcsmux_fs.history.lifetimes import alive_by_name, is_alive
from gcsmux_fs.model.errors import NotFound

from .fake_versions import FakeVersions, keys_at, version

if TYPE_CHECKING:
    from gcsmux_fs.model.object_versions import ObjectVersion

SECOND = 1_000_000_000

names = st.text(st.sampled_from([*"ab/", "\U0010ffff"]), min_size=1, max_size=4)


@st.composite
def histories(draw: st.DrawFn) -> list[ObjectVersion]:
    """Return the generations of some names, which follow each other with or without pauses."""
    versions: list[ObjectVersion] = []
    for name in draw(st.lists(names, max_size=8, unique=True)):
        moments = sorted(draw(st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True)))
        while len(moments) > 1:
            created, ended = moments[:2]
            soft = draw(st.booleans())
            versions.append(version(name, created, ended, soft_deleted=soft))
            moments = moments[1:] if draw(st.booleans()) else moments[2:]
        versions += [version(name, moment) for moment in moments]
    return versions


async def everything(
    store: AsOfStore, prefix: str, delimiter: str, low: str, high: str, page_size: int
) -> tuple[dict[str, int], set[str]]:
    """Read all pages of a listing. Check that their keys ascend."""
    objects: dict[str, int] = {}
    prefixes: set[str] = set()
    token, last = "", ""
    while True:
        page = await store.list_objects(
            prefix,
            delimiter=delimiter,
            page_token=token,
            page_size=page_size,
            start_at=low,
            end_before=high,
        )
        keys = sorted({*(info.name for info in page.objects), *page.prefixes})
        assert len(keys) <= page_size
        assert not keys or keys[0] > last or not last
        last = keys[-1] if keys else last
        assert not objects.keys() & {info.name for info in page.objects}
        objects |= {info.name: info.generation for info in page.objects}
        prefixes |= set(page.prefixes)
        if not page.next_page_token:
            return objects, prefixes
        assert keys, "a page without entries before the end"
        token = page.next_page_token


@given(
    versions=histories(),
    at=st.integers(0, 12),
    prefix=st.sampled_from(["", "a", "a/", "b/a"]),
    delimiter=st.sampled_from(["", "/"]),
    low=st.sampled_from(["", "a", "a/", "b"]),
    high=st.sampled_from(["", "a0", "b0", "b\U0010ffff"]),
    page_size=st.integers(1, 4),
    max_entries=st.integers(1, 4),
    folders_first=st.booleans(),
)
def test_a_listing_shows_exactly_what_existed(
    versions: list[ObjectVersion],
    at: int,
    prefix: str,
    delimiter: str,
    low: str,
    high: str,
    page_size: int,
    max_entries: int,
    folders_first: bool,
) -> None:
    async def run() -> None:
        fake = FakeVersions(versions, max_entries, folders_first)
        store = AsOfStore(fake, at * SECOND, lists_soft_deleted=True)
        shown = await everything(store, prefix, delimiter, low, high, page_size)
        objects, prefixes = keys_at(versions, at * SECOND, prefix, delimiter, low, high)
        # A range may cut through a folder, which is then shown if it has any object at that time.
        whole = keys_at(versions, at * SECOND, prefix, delimiter, "", "")[1]
        assert shown[0] == objects
        assert prefixes <= shown[1] <= whole

    trio.run(run)


@settings(max_examples=50)
@given(versions=histories(), at=st.integers(0, 12), name=names)
def test_a_lookup_finds_the_generation_that_existed(
    versions: list[ObjectVersion], at: int, name: str
) -> None:
    async def run() -> None:
        store = AsOfStore(FakeVersions(versions, 2), at * SECOND, lists_soft_deleted=True)
        expected = keys_at(versions, at * SECOND, name, "", "", "")[0].get(name)
        try:
            found = (await store.get_object(name)).generation
        except NotFound:
            found = None
        assert found == expected

    trio.run(run)


@pytest.mark.parametrize(
    ("created", "ended", "at", "alive"),
    [(5, None, 4, False), (5, None, 5, True), (5, 7, 6, True), (5, 7, 7, False), (5, 5, 5, False)],
)
def test_a_generation_exists_from_its_creation_until_before_its_end(
    created: int, ended: int | None, at: int, alive: bool
) -> None:
    assert is_alive(version("a", created, ended), at * SECOND) is alive


def test_of_two_generations_at_the_same_time_the_newer_one_counts() -> None:
    older, newer = version("a", 1, 9), version("a", 3)
    for versions in ([older, newer], [newer, older]):
        assert alive_by_name(versions, 5 * SECOND) == {"a": newer}


async def test_no_time_after_the_shown_moment_is_shown() -> None:
    store = AsOfStore(FakeVersions([version("a", 2, 9)]), 5 * SECOND, lists_soft_deleted=True)
    assert (await store.get_object("a")).mtime_ns == 2 * SECOND


async def test_a_folder_is_checked_once_and_not_page_by_page() -> None:
    later = [version(f"new/{number:04}", 8) for number in range(3000)]
    fake = FakeVersions([*later, version("old/a", 1), version("old/b", 9)])
    store = AsOfStore(fake, 5 * SECOND, lists_soft_deleted=False)
    for _ in range(3):
        page = await store.list_objects("", delimiter="/")
        assert page.prefixes == ("old/",)
    probes = [request for request in fake.requests if not request.startswith(" ")]
    assert len(probes) == 5, "one for old/, four for new/"
    assert store.counters.as_of_prefix_probes == 5


async def test_soft_deleted_names_are_left_out_where_the_service_lists_none() -> None:
    deleted = version("a", 1, 7, soft_deleted=True)
    fake = FakeVersions([deleted], keeps_soft_deleted=False)
    store = AsOfStore(fake, 5 * SECOND, lists_soft_deleted=False)
    with pytest.raises(NotFound):
        await store.get_object("a")
    kept = AsOfStore(FakeVersions([deleted]), 5 * SECOND, lists_soft_deleted=True)
    assert (await kept.get_object("a")).generation == 2
    assert kept.counters.as_of_soft_deleted == 1
