"""Tests of the memory that an entry of a directory takes, measured by tracemalloc."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from gcsmux_fs.model.object_table import ObjectTable
from gcsmux_fs.model.values import ListingPage, ObjectInfo
from gcsmux_fs.namespace.forgotten_inodes import MAX_FORGOTTEN
from gcsmux_fs.namespace.name_patches import folders_above
from gcsmux_fs.namespace.tree import ROOT_INODE

from .fake_store import FakeStore
from .mounted import metric, mounted

ENTRIES = 20_000
PAGE = 1_000
# Limit of the memory per entry in bytes while the kernel references its inode; measured: 282.
MAX_REFERENCED_BYTES = 300
# Limits of the memory in bytes after the kernel has forgotten all inodes: per entry of the listing,
# and per inode number that an NFS server may still ask for (see `forgotten_inodes`).
MAX_LISTED_BYTES = 150
MAX_FORGOTTEN_BYTES = 100


class NumberedStore(FakeStore):
    """Makes the objects of a page when the page is requested, and keeps no object."""

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
        await self._answer("list")
        start, limit = (
            int(key.rpartition("/")[2] or default)
            for key, default in ((start_at, 0), (end_before, ENTRIES))
        )
        start = int(page_token or start)
        limit = min(limit, ENTRIES)
        end = min(start + page_size, limit)
        objects = ObjectTable.of(
            ObjectInfo(
                name=f"directory/{number:07}",
                generation=1_700_000_000_000_000 + number,
                size=1_000_000 + number,
                mtime_ns=1_700_000_000_000_000_000 + number,
                crc32c=1_000_000_000 + number,
                content_type="text/plain",
                storage_class="STANDARD",
            )
            for number in range(start, end)
        )
        return ListingPage(objects, (), str(end) if end < limit else "")


async def bytes_after_listing(*, forgetting: bool) -> int:
    """Read a directory, forget its inodes if `forgetting`; return the number of allocated bytes."""
    async with mounted(NumberedStore(), prefix="directory/", page_size=PAGE) as tree:
        handle = tree.open_directory(ROOT_INODE)
        gc.collect()
        tracemalloc.start()
        try:
            position = 0
            while batch := list(await handle.entries_from(position)):
                position = batch[-1][0]
                for _, _, entry in batch:
                    if forgetting:
                        tree.forget(entry.inode, 1)
            del batch
            gc.collect()
            allocated, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert position == ENTRIES
        assert metric(tree, "inodes") == 1 + (0 if forgetting else ENTRIES)
        handle.release()
        return allocated


@pytest.mark.slow
async def test_an_entry_that_the_kernel_references_takes_little_memory() -> None:
    assert await bytes_after_listing(forgetting=False) < MAX_REFERENCED_BYTES * ENTRIES


@pytest.mark.slow
async def test_a_forgotten_entry_takes_the_memory_of_its_listing() -> None:
    limit = MAX_LISTED_BYTES * ENTRIES + MAX_FORGOTTEN_BYTES * MAX_FORGOTTEN
    assert await bytes_after_listing(forgetting=True) < limit


def test_changes_of_deep_names_are_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(20):
            assert len(folders_above(f"{'d/' * 500}{number}/name", "")) == 501
        remembered, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert remembered < 1_000_000
