"""Tests of lookups and listings that are cancelled at each point where they wait."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio

from gcsmux_fs.namespace.names import Form, place
from gcsmux_fs.namespace.tree import ROOT_INODE, NoSuchEntry, Tree
from tests.support.cancellation import cancel_everywhere

from .fake_store import FakeStore
from .mounted import metric, mounted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.cancellation import Scenario

DELAY_SECONDS = 1.0
TTL_SECONDS = 20.0
# This object name is too long for one file name, so the object is found below a `%part~` directory.
LONG_NAME = "x" * 300
PART = place("", LONG_NAME, Form.PLAIN)
assert PART is not None

Question: TypeAlias = "Callable[[Tree], Awaitable[object]]"


def filled_store() -> FakeStore:
    store = FakeStore(delay_seconds=DELAY_SECONDS)
    store.put("file", "dir/a", "dir/b", "dir/c", LONG_NAME)
    store.put(*(f"crowd-{number}" for number in range(20)))
    return store


@asynccontextmanager
async def stage(question: Question, requests: int, ttl_seconds: float) -> AsyncIterator[Scenario]:
    """Yield a question to cancel; two other tasks ask the same question and must get an answer."""
    store = filled_store()
    answers: list[object] = []

    async def ask_after(seconds: float, tree: Tree) -> None:
        await trio.sleep(seconds)
        answers.append(await question(tree))

    async with mounted(store, ttl_seconds=ttl_seconds, page_size=2) as tree:
        async with trio.open_nursery() as others:
            others.start_soon(ask_after, 0.0, tree)
            others.start_soon(ask_after, 0.7 * DELAY_SECONDS, tree)
            await trio.sleep(0.3 * DELAY_SECONDS)
            yield functools.partial(question, tree)
        # After this time, the requests of the cancelled task have ended too.
        await trio.sleep(10 * DELAY_SECONDS)
        assert metric(tree, "name_requests_in_flight") == 0
        if ttl_seconds:
            assert len(store.take_requests()) == requests
        answers.append(await question(tree))
        assert answers == answers[:1] * 3
        assert metric(tree, "inodes") == 1
        cached = tree._names.cache.listings._latest.values()
        assert not any(listing.openers for listing in cached)


async def look_up(name: bytes, tree: Tree) -> int | None:
    """Return the size of the file that a name leads to; None if there is no such file."""
    try:
        entry = await tree.lookup(ROOT_INODE, name)
    except NoSuchEntry:
        return None
    tree.forget(entry.inode, 1)
    return entry.size


async def list_all(tree: Tree) -> list[bytes]:
    """Return all names of a directory whose listing has two pages."""
    directory = await tree.lookup(ROOT_INODE, b"dir")
    handle = tree.open_directory(directory.inode)
    tree.forget(directory.inode, 1)
    names: list[bytes] = []
    try:
        while batch := list(await handle.entries_from(len(names))):
            names += [name for _, name, _ in batch]
            for _, _, entry in batch:
                tree.forget(entry.inode, 1)
    finally:
        handle.release()
    return names


@pytest.mark.parametrize("ttl_seconds", [TTL_SECONDS, 0.0])
@pytest.mark.parametrize(
    ("question", "requests"),
    [
        pytest.param(functools.partial(look_up, b"file"), 1, id="a file"),
        pytest.param(functools.partial(look_up, b"dir"), 1, id="a directory"),
        pytest.param(functools.partial(look_up, b"absent"), 1, id="no name"),
        pytest.param(functools.partial(look_up, b"crowd"), 3, id="a name with many neighbours"),
        pytest.param(functools.partial(look_up, PART.name), 1, id="a part"),
        pytest.param(list_all, 3, id="a listing"),
    ],
)
def test_cancelling_one_task_leaves_the_others_their_answer(
    question: Question, requests: int, ttl_seconds: float
) -> None:
    cancel_everywhere(functools.partial(stage, question, requests, ttl_seconds))
