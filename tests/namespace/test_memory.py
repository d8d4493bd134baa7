"""What an entry takes, counted by the interpreter: 100,000 of them are to fit into little."""

from __future__ import annotations

import gc
import tracemalloc

from gcsmux_fs.model.object_table import ObjectColumns
from gcsmux_fs.model.values import ListingPage, ObjectInfo
from gcsmux_fs.namespace.forgotten_inodes import MAX_FORGOTTEN
from gcsmux_fs.namespace.tree import ROOT_INODE

from .fake_store import FakeStore
from .mounted import mounted

ENTRIES = 20_000
PAGE = 1_000
# It is 282 as counted here; values instead of columns took 700.
MOST_BYTES = 300
# What is left when the kernel has forgotten all is the listing, and the numbers that NFS servers
# may still ask for (see `forgotten`).
MOST_LISTED_BYTES = 150
MOST_FORGOTTEN_BYTES = 100


class NumberedStore(FakeStore):
    """Objects made up page by page as a server's answer is: nothing of them is kept here."""

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
        start = int(page_token or 0)
        end = start + page_size
        objects = ObjectColumns.of(
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
        return ListingPage(objects, (), str(end) if end < ENTRIES else "")


async def held_after_walk(*, forgetting: bool) -> int:
    """Return the bytes held after the whole directory was read, by tree, store and listing."""
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
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert position == ENTRIES
        assert tree.statistics().inodes == 1 + (0 if forgetting else ENTRIES)
        handle.release()
        return held


async def test_an_entry_that_the_kernel_knows_takes_little_memory() -> None:
    assert await held_after_walk(forgetting=False) < MOST_BYTES * ENTRIES


async def test_what_the_kernel_has_forgotten_takes_the_memory_of_its_listing() -> None:
    most = MOST_LISTED_BYTES * ENTRIES + MOST_FORGOTTEN_BYTES * MAX_FORGOTTEN
    assert await held_after_walk(forgetting=True) < most
