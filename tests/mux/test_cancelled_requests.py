"""Tests that cancel requests, or the registry itself, at every scheduler step."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.storage.ports import StreamEnd
from tests.support.cancellation import cancel_everywhere

from .fake_transport import FakeTransport
from .plans import CONTENT, Plan, key_of
from .reading import Reader, bench, fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.cancellation import Scenario

KEY = key_of("object")
PLANS = [
    pytest.param([Plan(latency=0.05, chunk_bytes=10)], id="served"),
    pytest.param([Plan(latency=0.05, chunk_bytes=10, cut_after=20)], id="cut"),
    pytest.param([Plan(refuse=StreamEnd(StatusCode.UNAVAILABLE))] * 3, id="refused"),
    pytest.param([Plan(hang=True)], id="silent"),
]


@pytest.mark.parametrize("plans", PLANS)
def test_a_cancelled_request_leaves_no_call(plans: list[Plan]) -> None:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        async with bench(*plans) as b:
            yield functools.partial(fetch, b.registry, KEY, 0, 50)
            await b.settled()
            registry = b.registry
            assert registry.ranges_waiting == 0
            assert b.transport.open_calls == registry.streams_open == registry.streams_idle
            assert await fetch(b.registry, KEY, 0, 50) == CONTENT[:50]

    cancel_everywhere(stage)


@pytest.mark.parametrize("plans", PLANS)
def test_a_cancelled_request_does_not_affect_others(plans: list[Plan]) -> None:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        async with bench(*plans) as b:
            before, at_once = b.read(0, 30), b.read(40, 50)
            yield functools.partial(fetch, b.registry, KEY, 20, 50)
            after = b.read(10, 50)
            for reader in (before, at_once, after):
                await reader.ended.wait()
                assert reader.served

    cancel_everywhere(stage)


@pytest.mark.parametrize("plans", PLANS)
def test_a_cancelled_registry_ends_every_call_and_every_request(plans: list[Plan]) -> None:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        async with trio.open_nursery() as nursery:
            transport = FakeTransport(nursery, plans=list(plans))
            registry = StreamRegistry(
                transport,
                RetryPolicy(),
                Random(0),
                call_soon=trio.lowlevel.current_trio_token().run_sync_soon,
            )
            readers = [Reader(registry, key_of(name), 0, 50) for name in ("object", "other")]

            async def run_for_a_reader() -> None:
                async with trio.open_nursery() as running:
                    running.start_soon(registry.run)
                    await fetch(registry, KEY, 20, 50)
                    running.cancel_scope.cancel()

            yield run_for_a_reader
            readers.append(Reader(registry, KEY, 0, 50))
            await trio.testing.wait_all_tasks_blocked()
            assert transport.open_calls == 0
            assert [len(reader.outcomes) for reader in readers] == [1, 1, 1]
            assert (registry.streams_open, registry.streams_idle, registry.ranges_waiting) == (
                0,
                0,
                0,
            )

    cancel_everywhere(stage)
