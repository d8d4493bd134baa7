"""Tests of SingleFlight: which requests in flight a later task joins."""

from __future__ import annotations

import math

import trio
import trio.testing

from gcsmux_fs.namespace.single_flight import SingleFlight

from .fake_store import FakeStore
from .mounted import metric, mounted, object_at


async def test_a_request_is_joined_only_if_it_is_young_enough() -> None:
    requests: list[float] = []

    async def answer() -> float:
        requests.append(trio.current_time())
        await trio.sleep(10)
        return requests[-1]

    async with trio.open_nursery() as nursery:
        flights: SingleFlight[str, float] = SingleFlight(nursery, trio.current_time)
        first = flights.start("a", answer)
        await trio.sleep(4)
        now = trio.current_time()
        assert flights.start("a", answer, joinable_after=now - 5) is first
        assert flights.start("a", answer, joinable_after=-math.inf) is first
        # The first request was started exactly at the time `joinable_after`, so it is not joined.
        second = flights.start("a", answer, joinable_after=now - 4)
        assert second is not first
        assert flights.start("a", answer, joinable_after=now - 1) is second
        assert flights.in_flight == 2
        await first.wait()
        # The younger request is still joinable after the older one has ended.
        assert flights.start("a", answer) is second
        await second.wait()
        assert flights.in_flight == 0


async def test_a_lookup_does_not_join_a_request_that_is_older_than_the_ttl() -> None:
    store = FakeStore(delay_seconds=10)
    store.put("a")
    answers: list[tuple[str, int] | None] = []
    async with mounted(store, ttl_seconds=3) as tree:

        async def look() -> None:
            answers.append(await object_at(tree, "a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.sleep(2.9)
            nursery.start_soon(look)
            await trio.sleep(0.1)
            store.put("a")
            nursery.start_soon(look)
            await trio.testing.wait_all_tasks_blocked()
            assert metric(tree, "name_requests_in_flight") == 2
        assert answers == [("a", 1), ("a", 1), ("a", 2)]
        assert len(store.take_requests()) == 2


async def test_absence_is_asked_for_again_if_the_joined_request_is_older_than_its_ttl() -> None:
    store = FakeStore(delay_seconds=10)
    answers: list[tuple[str, int] | None] = []
    async with mounted(store, ttl_seconds=60, negative_ttl_seconds=2) as tree:

        async def look() -> None:
            answers.append(await object_at(tree, "a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.sleep(1)
            nursery.start_soon(look)
            await trio.sleep(2)
            store.put("a")
            nursery.start_soon(look)
        assert answers == [None, None, ("a", 1)]


async def test_a_late_answer_does_not_replace_the_answer_to_a_later_question() -> None:
    store = FakeStore(delay_seconds=4)
    store.put("a")
    async with mounted(store, ttl_seconds=3) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(object_at, tree, "a")
        await trio.sleep(3)
        store.delay_seconds = 0.5
        store.put("a")
        assert await object_at(tree, "a") == ("a", 2)
        await trio.sleep(1)
        store.take_requests()
        assert await object_at(tree, "a") == ("a", 2)
        assert store.take_requests() == []
