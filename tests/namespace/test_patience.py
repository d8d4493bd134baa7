"""A question ends within its deadline, however a server draws it out and however many wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.errors import DeadlineExceeded, Unavailable
from gcsmux_fs.model import ListingPage
from gcsmux_fs.namespace.patience import (
    BEHIND_SECONDS,
    EMPTY_PAUSE_SECONDS,
    FREE_EMPTY_PAGES,
    MOST_BEHIND_SECONDS,
)
from gcsmux_fs.namespace.tree import ROOT_INODE, NoSuchEntry

from .fake_store import FakeStore
from .mounted import mounted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gcsmux_fs.namespace.tree import Tree

DEADLINE = 20.0


class DrawnOut(FakeStore):
    """Answers listings with `empty` pages without entries, each with a token of its own."""

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
async def test_a_listing_that_never_shows_anything_nor_ends_is_given_up_in_time(
    ask: Callable[[Tree], Awaitable[object]],
) -> None:
    store = DrawnOut()
    async with mounted(store, deadline_seconds=DEADLINE) as tree:
        began = trio.current_time()
        with pytest.raises(DeadlineExceeded, match="20 s"):
            await ask(tree)
        assert trio.current_time() - began == pytest.approx(DEADLINE)
        assert len(store.requests) <= FREE_EMPTY_PAGES + DEADLINE / EMPTY_PAUSE_SECONDS + 2
        # What nobody waits for any more is not asked for either.
        store.take_requests()
        await trio.sleep(10 * DEADLINE)
        assert len(store.requests) <= 1


@pytest.mark.parametrize("ask", [list_root, look_up])
async def test_some_empty_pages_cost_no_pause(ask: Callable[[Tree], Awaitable[object]]) -> None:
    store = DrawnOut()
    store.empty = FREE_EMPTY_PAGES - 1
    store.put("name/below")
    async with mounted(store) as tree:
        began = trio.current_time()
        assert await ask(tree)
        assert trio.current_time() == began


async def test_questions_behind_one_that_failed_late_are_refused_at_once() -> None:
    """As the kernel asks: one after the other, whoever began to wait when."""
    store = FakeStore(delay_seconds=15.0)
    refused = Unavailable("the service is away")
    async with mounted(store, deadline_seconds=DEADLINE) as tree:
        store.failures = [("get name", refused)]
        began = trio.current_time()
        for _ in range(8):
            with pytest.raises(Unavailable, match="away"):
                await look_up(tree)
        with pytest.raises(Unavailable, match="away"):
            await list_root(tree)
        assert trio.current_time() - began == 15.0
        assert len(store.requests) == 2


async def test_who_asks_again_and_again_is_asked_for_in_the_end() -> None:
    store = FakeStore(delay_seconds=15.0)
    store.put("name")
    async with mounted(store, deadline_seconds=DEADLINE) as tree:
        store.failures = [("get name", Unavailable("the service is away"))]
        with pytest.raises(Unavailable):
            await look_up(tree)
        failed = trio.current_time()
        while trio.current_time() < failed + MOST_BEHIND_SECONDS:
            with pytest.raises(Unavailable):
                await look_up(tree)
            await trio.sleep(BEHIND_SECONDS / 2)
        assert await look_up(tree)


async def test_who_asks_a_little_later_is_answered() -> None:
    store = FakeStore(delay_seconds=15.0)
    store.put("name")
    async with mounted(store, deadline_seconds=DEADLINE) as tree:
        store.failures = [("get name", Unavailable("the service is away"))]
        with pytest.raises(Unavailable):
            await look_up(tree)
        await trio.sleep(BEHIND_SECONDS)
        assert await look_up(tree)


async def test_another_directory_is_asked_for_all_the_same() -> None:
    store = FakeStore(delay_seconds=15.0)
    store.put("name", "folder/name")
    async with mounted(store, deadline_seconds=DEADLINE) as tree:
        folder = await tree.lookup(ROOT_INODE, b"folder")
        store.failures = [("get name", Unavailable("the service is away"))]
        with pytest.raises(Unavailable):
            await look_up(tree)
        assert await tree.lookup(folder.inode, b"name")


@pytest.mark.parametrize("delay", [1.0, 15.0])
async def test_a_late_answer_and_an_early_failure_leave_nothing_behind(delay: float) -> None:
    store = FakeStore(delay_seconds=delay)
    async with mounted(store, deadline_seconds=DEADLINE, negative_ttl_seconds=0.0) as tree:
        if delay == 1.0:
            store.failures = [("get name", Unavailable("the service is away"))]
            with pytest.raises(Unavailable):
                await look_up(tree)
        for _ in range(2):
            with pytest.raises(NoSuchEntry):
                await look_up(tree)
