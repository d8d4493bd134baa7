"""Tests that lookups and listings end at their deadline if the server sends pages without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.model.errors import DeadlineExceeded
from gcsmux_fs.model.values import ListingPage
from gcsmux_fs.namespace.deadline import EMPTY_PAUSE_SECONDS, FREE_EMPTY_PAGES
from gcsmux_fs.namespace.tree import ROOT_INODE

from .fake_store import FakeStore
from .mounted import mounted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gcsmux_fs.namespace.tree import Tree

DEADLINE = 20.0


class EmptyPagesStore(FakeStore):
    """Sends `empty` empty pages, each with a new token, before the first entry of a listing."""

    empty = 10**9

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
        if self.empty:
            self.empty -= 1
            await self._answer("list")
            return ListingPage((), (), f"token {self.empty}")
        return await super().list_objects(
            prefix,
            delimiter=delimiter,
            page_size=page_size,
            start_at=start_at,
            end_before=end_before,
        )


async def list_root(tree: Tree) -> object:
    directory = tree.open_directory(ROOT_INODE)
    try:
        return [name for _, name, _ in await directory.entries_from(0)]
    finally:
        directory.release()


async def look_up(tree: Tree) -> object:
    return await tree.lookup(ROOT_INODE, b"name")


@pytest.mark.parametrize("ask", [list_root, look_up])
async def test_a_listing_of_empty_pages_without_end_fails_at_the_deadline(
    ask: Callable[[Tree], Awaitable[object]],
) -> None:
    store = EmptyPagesStore()
    async with mounted(store, deadline_seconds=DEADLINE) as tree:
        began = trio.current_time()
        with pytest.raises(DeadlineExceeded, match="20 s"):
            await ask(tree)
        assert trio.current_time() - began == pytest.approx(DEADLINE)
        assert len(store.requests) <= FREE_EMPTY_PAGES + DEADLINE / EMPTY_PAUSE_SECONDS + 2
        # No page is requested after the deadline.
        store.take_requests()
        await trio.sleep(10 * DEADLINE)
        assert len(store.requests) <= 1


@pytest.mark.parametrize("ask", [list_root, look_up])
async def test_the_first_empty_pages_cost_no_pause(
    ask: Callable[[Tree], Awaitable[object]],
) -> None:
    store = EmptyPagesStore()
    store.empty = FREE_EMPTY_PAGES - 1
    store.put("name/below")
    async with mounted(store) as tree:
        began = trio.current_time()
        assert await ask(tree)
        assert trio.current_time() == began
