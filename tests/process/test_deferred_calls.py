"""Calls put off to the next turn of the scheduler."""

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


async def test_calls_come_in_order_and_not_at_once() -> None:
    soon = DeferredCalls()
    called: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(soon.run)
        for number in range(3):
            soon(lambda number=number: called.append(number))  # type: ignore[misc]
        assert called == []
        await trio.testing.wait_all_tasks_blocked()
        assert called == [0, 1, 2]
        nursery.cancel_scope.cancel()


async def test_a_call_may_put_off_another() -> None:
    soon = DeferredCalls()
    called: list[str] = []

    def first() -> None:
        soon(lambda: called.append("second"))
        called.append("first")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(soon.run)
        await trio.testing.wait_all_tasks_blocked()
        soon(first)
        await trio.testing.wait_all_tasks_blocked()
        assert called == ["first", "second"]
        nursery.cancel_scope.cancel()


async def test_calls_made_before_it_runs_are_not_lost() -> None:
    soon = DeferredCalls()
    called: list[int] = []
    soon(lambda: called.append(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(soon.run)
        await trio.testing.wait_all_tasks_blocked()
        assert called == [1]
        nursery.cancel_scope.cancel()


@pytest.mark.expects_log("a call that was put off failed")
async def test_an_exception_ends_neither_the_others_nor_the_task() -> None:
    soon = DeferredCalls()
    called: list[int] = []

    def fails() -> None:
        raise ValueError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(soon.run)
        soon(fails)
        soon(lambda: called.append(1))
        await trio.testing.wait_all_tasks_blocked()
        soon(lambda: called.append(2))
        await trio.testing.wait_all_tasks_blocked()
        assert called == [1, 2]
        nursery.cancel_scope.cancel()


async def test_it_can_be_called_after_its_end() -> None:
    soon = DeferredCalls()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(soon.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    soon(lambda: None)


def test_a_call_made_when_it_is_cancelled_is_neither_lost_nor_called_twice() -> None:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        soon = DeferredCalls()
        made: list[int] = []
        called: list[int] = []

        def call() -> None:
            made.append(len(made))
            soon(functools.partial(called.append, made[-1]))

        async def make_calls() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(soon.run)
                for _ in range(5):
                    call()
                    soon(call)
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

        yield make_calls
        call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(soon.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert called == made

    cancel_everywhere(stage)
