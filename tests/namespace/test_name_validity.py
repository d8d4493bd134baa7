"""Tests for how long answers are valid, with and without news of changes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import trio

from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.child import Child, Directory
from gcsmux_fs.namespace.name_validity import NameValidity
from gcsmux_fs.namespace.tree import Tree

from .fake_store import FakeStore, object_info
from .mounted import object_at, read_names

TTL, NEGATIVE_TTL, ASKED_AT = 60.0, 5.0, 1000.0
FILE = Row.of(object_info("a", size=1))
GROWING = Row.of(replace(object_info("a", size=1), finalized=False))


class News:
    """A fake of the promise about the news of changes."""

    def __init__(self) -> None:
        self.is_healthy = True
        self.unhealthy_since = 0.0

    def valid_until(self, asked_at: float, ttl_seconds: float) -> float:
        if not ttl_seconds:
            return asked_at
        if self.is_healthy:
            return math.inf
        return max(asked_at, self.unhealthy_since) + ttl_seconds


@pytest.mark.parametrize(
    ("child", "without_news", "with_news"),
    [
        (FILE, TTL, math.inf),
        (Directory("d/"), TTL, math.inf),
        (None, NEGATIVE_TTL, math.inf),
        # No notification is sent when an object grows, or for a directory that does not exist.
        (GROWING, TTL, TTL),
        (Directory("d/", assumed=True), NEGATIVE_TTL, NEGATIVE_TTL),
    ],
)
def test_news_make_an_answer_valid_for_ever_if_each_change_is_news(
    child: Child | None, without_news: float, with_news: float
) -> None:
    validity = NameValidity(TTL, NEGATIVE_TTL)
    assert validity.answer_until(child, ASKED_AT) == ASKED_AT + without_news
    validity = NameValidity(TTL, NEGATIVE_TTL, News())
    assert validity.answer_until(child, ASKED_AT) == ASKED_AT + with_news


async def test_names_are_asked_for_again_only_after_the_news_have_ended() -> None:
    store, news = FakeStore(), News()
    store.put("a", "d/b")
    async with trio.open_nursery() as nursery:
        tree = Tree(store, nursery, ttl_seconds=TTL, negative_ttl_seconds=NEGATIVE_TTL, news=news)
        requests = []
        for _ in range(2):
            assert await object_at(tree, "a") == ("a", 1)
            assert await object_at(tree, "absent") is None
            assert await read_names(tree) == [b"a", b"d"]
            requests.append(len(store.take_requests()))
            await trio.sleep(10 * TTL)
        assert requests == [3, 0]
        news.is_healthy, news.unhealthy_since = False, trio.current_time()
        await trio.sleep(NEGATIVE_TTL - 1)
        assert await object_at(tree, "absent") is None
        assert await object_at(tree, "a") == ("a", 1)
        assert store.take_requests() == []
        await trio.sleep(TTL)
        assert await object_at(tree, "a") == ("a", 1)
        assert await read_names(tree) == [b"a", b"d"]
        assert len(store.take_requests()) == 2
        nursery.cancel_scope.cancel()
