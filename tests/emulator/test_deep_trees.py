"""Tests of listings in deep trees. The cost of a listing does not depend on the folder's depth."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.emulator.buckets.listing_pages import Position, Query, list_page
from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes
from gcsmux_fs.emulator.buckets.store import BucketStore

from .clients import BUCKET, Clients, serve

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.emulator.buckets.bucket import Bucket

LEVELS = 500

components = st.sampled_from(["a", "b", "c", "a-", "a0", "", "🪣"])
paths = st.lists(components, min_size=1, max_size=4).map("/".join).filter(bool)


@pytest.mark.real_time
def test_listing_a_tree_of_500_levels_takes_less_than_five_seconds(
    served: Path, bucket: Path
) -> None:
    folder = bucket
    for _ in range(LEVELS):
        folder /= "d"
        folder.mkdir()
    (folder / "f").touch()

    async def scenario(clients: Clients) -> None:
        begin = time.monotonic()
        prefix, prefixes, levels = "", ["d/"], 0
        while prefixes:
            prefix = prefixes[0]
            request = {"parent": BUCKET, "prefix": prefix, "delimiter": "/"}
            page = await clients.generated.list_objects(request)
            prefixes, levels = page.prefixes, levels + 1
        assert [resource.name for resource in page.objects] == [prefix + "f"]
        assert levels == LEVELS
        resource = await clients.google.get_object("b", prefix + "f")
        # The measured duration is half of this limit. If each listing started at the root of the
        # bucket, the listings would take 17 s.
        limit_seconds = 5
        assert time.monotonic() - begin < limit_seconds
        assert resource.size == 0

    serve(served, scenario)


def pages(bucket: Bucket, query: Query, *, quick: bool) -> list[tuple[list[str], list[str]]]:
    """Return the objects and prefixes of each page of a listing, with two entries per page."""
    within, shallow = (query.prefix, not query.end) if quick else ("", False)
    source = partial(bucket.names_from, within=within, shallow=shallow)
    all_pages = []
    position: Position | None = Position()
    while position is not None:
        page = list_page(source, query, position, 2)
        all_pages.append((page.objects, page.prefixes))
        position = page.following
    return all_pages


@given(
    st.sets(paths, max_size=12),
    st.sampled_from(["", "a", "a/", "a/a", "a/a/", "b/", "a/b/c/"]),
    st.sampled_from(["", "a", "a/", "a/a/b", "b"]),
    st.sampled_from(["", "a/b", "b"]),
)
def test_a_listing_that_starts_at_its_folder_gives_the_same_pages(
    tmp_path_factory: pytest.TempPathFactory,
    present: set[str],
    prefix: str,
    start: str,
    end: str,
) -> None:
    served = tmp_path_factory.mktemp("served")
    (served / "b").mkdir()
    bucket = BucketStore(served).bucket("b")
    for name in present:
        incoming = bucket.incoming()
        incoming.touch()
        bucket.publish(name, incoming, ObjectAttributes())
    query = Query(prefix=prefix, delimiter="/", start=start, end=end)
    quick, plain = pages(bucket, query, quick=True), pages(bucket, query, quick=False)
    assert quick == plain
