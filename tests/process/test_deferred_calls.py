"""Tests of DeferredCalls: each call runs exactly once, in order, in the next turn of trio."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.process.deferred_calls import DeferredCalls
from tests.support.cancellation import cancel_everywhere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.cancellation import Scenario


async def test_calls_run_in_order_and_not_immediately() -> None:
    deferred = DeferredCalls()
    called: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deferred.run)
        for number in range(3):
            deferred(lambda number=number: called.append(number))  # type: ignore[misc]
        assert called == []
        await trio.testing.wait_all_tasks_blocked()
        assert called == [0, 1, 2]
        nursery.cancel_scope.cancel()


async def test_a_call_may_defer_another() -> None:
    deferred = DeferredCalls()
    called: list[str] = []

    def first() -> None:
        deferred(lambda: called.append("second"))
        called.append("first")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deferred.run)
        await trio.testing.wait_all_tasks_blocked()
        deferred(first)
        await trio.testing.wait_all_tasks_blocked()
        assert called == ["first", "second"]
        nursery.cancel_scope.cancel()


async def test_calls_deferred_before_the_task_runs_are_not_lost() -> None:
    deferred = DeferredCalls()
    called: list[int] = []
    deferred(lambda: called.append(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deferred.run)
        await trio.testing.wait_all_tasks_blocked()
        assert called == [1]
        nursery.cancel_scope.cancel()


@pytest.mark.expects_log("a deferred call failed")
async def test_an_exception_stops_neither_later_calls_nor_the_task() -> None:
    deferred = DeferredCalls()
    called: list[int] = []

    def fails() -> None:
        raise ValueError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deferred.run)
        deferred(fails)
        deferred(lambda: called.append(1))
        await trio.testing.wait_all_tasks_blocked()
        deferred(lambda: called.append(2))
        await trio.testing.wait_all_tasks_blocked()
        assert called == [1, 2]
        nursery.cancel_scope.cancel()


async def test_a_call_after_the_end_of_the_task_is_ignored() -> None:
    deferred = DeferredCalls()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deferred.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    deferred(lambda: None)


def test_a_call_deferred_during_a_cancellation_runs_exactly_once() -> None:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        deferred = DeferredCalls()
        numbers: list[int] = []
        called: list[int] = []

        def call() -> None:
            numbers.append(len(numbers))
            deferred(functools.partial(called.append, numbers[-1]))

        async def make_calls() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(deferred.run)
                for _ in range(5):
                    call()
                    deferred(call)
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

        yield make_calls
        call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deferred.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert called == numbers

    cancel_everywhere(stage)
