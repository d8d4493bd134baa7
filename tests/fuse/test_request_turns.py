"""Tests of the turns in which pyfuse3's tasks read requests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pyfuse3 as pyfuse3_module
import pytest
import trio
import trio.testing

from gcsmux_fs.fuse.request_turns import RequestTurn, request_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

# The type hints of pyfuse3 do not contain its variable `trio`.
pyfuse3: Any = pyfuse3_module


@pytest.fixture
def readable() -> Iterator[int]:
    """A descriptor that is always readable."""
    reader, writer = os.pipe()
    os.write(writer, b"request")
    yield reader
    os.close(reader)
    os.close(writer)


class Readers:
    """Tasks that take the turn, and hold it until they are let go."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.turn = RequestTurn()
        self.holders: list[str] = []
        self._nursery = nursery
        self._release: dict[str, trio.Event] = {}

    async def start(self, name: str) -> None:
        self._release[name] = trio.Event()
        self._nursery.start_soon(self._hold, name)
        await trio.testing.wait_all_tasks_blocked()

    async def release(self, name: str) -> None:
        self._release[name].set()
        await trio.testing.wait_all_tasks_blocked()

    async def _hold(self, name: str) -> None:
        async with self.turn:
            self.holders.append(name)
            await self._release[name].wait()
            self.holders.remove(name)


async def test_one_task_at_a_time_holds_the_turn() -> None:
    async with trio.open_nursery() as nursery:
        readers = Readers(nursery)
        for name in ("a", "b", "c"):
            await readers.start(name)
        assert readers.holders == ["a"]
        await readers.release("a")
        assert readers.holders == ["c"]
        await readers.release("c")
        assert readers.holders == ["b"]
        await readers.release("b")


async def test_a_task_that_does_not_wait_takes_the_turn_again_before_a_woken_task() -> None:
    async with trio.open_nursery() as nursery:
        readers = Readers(nursery)
        async with readers.turn:
            await readers.start("waiting")
        for _ in range(3):
            async with readers.turn:
                assert readers.holders == []
        await trio.testing.wait_all_tasks_blocked()
        assert readers.holders == ["waiting"]
        await readers.release("waiting")


async def test_a_woken_task_that_finds_the_turn_taken_gets_it_later() -> None:
    async with trio.open_nursery() as nursery:
        readers = Readers(nursery)
        async with readers.turn:
            await readers.start("waiting")
        async with readers.turn:
            await trio.testing.wait_all_tasks_blocked()
            assert readers.holders == []
        await trio.testing.wait_all_tasks_blocked()
        assert readers.holders == ["waiting"]
        await readers.release("waiting")


@pytest.mark.parametrize("woken", [False, True])
async def test_a_cancelled_task_passes_the_turn_on(woken: bool) -> None:
    async with trio.open_nursery() as nursery:
        readers = Readers(nursery)
        scope = trio.CancelScope()

        async def take_turn() -> None:
            with scope:
                async with readers.turn:
                    await trio.sleep_forever()

        async with readers.turn:
            await readers.start("first")
            nursery.start_soon(take_turn)
            await trio.testing.wait_all_tasks_blocked()
            if not woken:
                scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert readers.holders == ["first"]
        await readers.release("first")


async def test_all_tasks_can_be_cancelled_while_they_wait() -> None:
    turn = RequestTurn()
    async with turn:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(turn.__aenter__)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    async with turn:
        pass


async def test_other_tasks_run_between_requests_that_never_end(readable: int) -> None:
    rounds = 0

    async def other_task() -> None:
        nonlocal rounds
        for _ in range(5):
            await trio.lowlevel.checkpoint()
            rounds += 1

    with request_turns():
        wait_readable = pyfuse3.trio.lowlevel.wait_readable
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other_task)
            for _ in range(100):
                await wait_readable(readable)
            assert rounds == 5


async def test_a_readable_descriptor_needs_no_task_switch(readable: int) -> None:
    with request_turns(), trio.testing.assert_no_checkpoints():
        await pyfuse3.trio.lowlevel.wait_readable(readable)


def test_pyfuse3_uses_the_turn_only_while_the_loop_runs() -> None:
    with request_turns():
        assert pyfuse3.trio.Lock is RequestTurn
    assert pyfuse3.trio is trio
