"""Tests of the bridge between trio and asyncio: results, errors, cancellation and shutdown."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel

from gcsmux_fs.storage.asyncio_bridge import CancelledByAsyncio, await_asyncio, current, run
from tests.support.cancellation import play

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.cancellation import Scenario

pytestmark = pytest.mark.real_time


@pytest.fixture
def earlier_threads() -> set[threading.Thread]:
    """The threads that ran before the test, such as those of a file system of fsspec."""
    return set(threading.enumerate())


def asyncio_threads(earlier: set[threading.Thread]) -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread.name == "asyncio" and thread not in earlier
    ]


def test_await_asyncio_returns_the_result() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    async def main() -> int:
        return await await_asyncio(answer())

    assert run(main) == 42


def test_await_asyncio_raises_the_error_of_the_coroutine() -> None:
    async def fail() -> None:
        raise LookupError("not here")

    async def main() -> None:
        with pytest.raises(LookupError, match="not here"):
            await await_asyncio(fail())

    run(main)


def test_an_error_of_the_main_task_ends_the_run_and_the_asyncio_thread(
    earlier_threads: set[threading.Thread],
) -> None:
    async def main() -> None:
        await await_asyncio(asyncio.sleep(0))
        raise LookupError("main")

    with pytest.raises(LookupError, match="main"):
        run(main)
    assert asyncio_threads(earlier_threads) == []


def test_coroutines_run_in_one_other_thread() -> None:
    async def thread() -> threading.Thread:
        return threading.current_thread()

    async def main() -> None:
        assert await await_asyncio(thread()) is not threading.current_thread()
        assert await await_asyncio(thread()) is await await_asyncio(thread())

    run(main)


def test_cancelling_the_trio_task_cancels_the_coroutine_and_waits_for_its_end() -> None:
    log: list[str] = []

    async def main() -> None:
        bridge = current()
        scope = trio.CancelScope()

        async def slow() -> None:
            bridge.to_trio(scope.cancel)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)
                log.append("cleaned up")
                raise

        with scope:
            await await_asyncio(slow())
        assert scope.cancelled_caught
        assert log == ["cleaned up"]

    with_timeout(main)


def test_a_cancelled_trio_task_leaves_no_coroutine_running() -> None:
    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await await_asyncio(asyncio.sleep(60))
        assert scope.cancelled_caught

    with_timeout(main)


def test_a_trio_task_cancelled_at_any_instant_leaves_no_coroutine_running() -> None:
    begun = ended = 0

    async def slow() -> None:
        nonlocal begun, ended
        begun += 1
        try:
            for _ in range(3):
                await asyncio.sleep(0.0005)
        finally:
            await asyncio.sleep(0.0005)
            ended += 1

    async def count_other_tasks() -> int:
        return len(asyncio.all_tasks()) - 1

    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        yield lambda: await_asyncio(slow())
        assert begun == ended
        assert await await_asyncio(count_other_tasks()) == 0

    async def main() -> None:
        for instant in itertools.count():
            if not await play(stage, instant):
                break
        # The two threads run independently, so also cancel after many different delays.
        for delay in range(50):
            with trio.move_on_after(delay * 0.00005):
                await await_asyncio(slow())
            assert begun == ended
        assert await await_asyncio(count_other_tasks()) == 0

    with_timeout(main)
    assert begun > 0


def test_a_coroutine_that_returns_although_cancelled_gives_its_result() -> None:
    async def main() -> None:
        bridge = current()
        scope = trio.CancelScope()

        async def stubborn() -> str:
            bridge.to_trio(scope.cancel)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "late"
            return "never"

        with scope:
            assert await await_asyncio(stubborn()) == "late"
        assert not scope.cancelled_caught

    with_timeout(main)


def test_a_coroutine_cancelled_by_asyncio_raises_cancelled_by_asyncio() -> None:
    async def cancel_myself() -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(CancelledByAsyncio):
            await await_asyncio(cancel_myself())

    run(main)


def test_thousands_of_calls_keep_their_order_in_both_directions() -> None:
    on_asyncio: list[int] = []
    on_trio: list[int] = []

    async def main() -> None:
        bridge = current()
        done = trio.Event()

        def call_on_asyncio(number: int) -> None:
            on_asyncio.append(number)
            bridge.to_trio(lambda: call_on_trio(number))

        def call_on_trio(number: int) -> None:
            on_trio.append(number)
            if len(on_trio) == 10_000:
                done.set()

        for number in range(10_000):
            bridge.to_asyncio(functools.partial(call_on_asyncio, number))
            if number % 100 == 0:
                await trio.lowlevel.checkpoint()
        await done.wait()

    with_timeout(main)
    assert on_asyncio == on_trio == list(range(10_000))


def test_an_unhurried_call_runs_although_no_other_call_follows() -> None:
    async def main() -> None:
        bridge = current()
        for _ in range(3):
            ran = trio.Event()
            bridge.to_asyncio(functools.partial(bridge.to_trio_unhurried, ran.set))
            await ran.wait()

    with_timeout(main)


def test_unhurried_calls_keep_their_place_among_other_calls() -> None:
    numbers: list[int] = []

    async def main() -> None:
        bridge = current()
        done = trio.Event()

        def call_on_trio(number: int) -> None:
            numbers.append(number)
            if len(numbers) == 1_000:
                done.set()

        def call_on_asyncio() -> None:
            for number in range(1_000):
                call = functools.partial(call_on_trio, number)
                (bridge.to_trio if number % 3 else bridge.to_trio_unhurried)(call)

        bridge.to_asyncio(call_on_asyncio)
        await done.wait()

    with_timeout(main)
    assert numbers == list(range(1_000))


def test_a_flood_of_calls_does_not_stop_either_loop() -> None:
    async def main() -> None:
        bridge = current()
        flooding = True

        def flood() -> None:
            if flooding:
                bridge.to_trio(lambda: bridge.to_asyncio(flood))

        for _ in range(50):
            bridge.to_asyncio(flood)
        for _ in range(20):
            await trio.sleep(0.001)
        flooding = False

    with_timeout(main)


@pytest.mark.expects_log("a call from the other event loop failed")
def test_a_call_that_raises_does_not_stop_later_calls() -> None:
    async def main() -> None:
        bridge = current()
        bridge.to_asyncio(lambda: 1 / 0)
        bridge.to_asyncio(lambda: bridge.to_trio(lambda: 1 / 0))
        bridge.to_asyncio(lambda: bridge.to_trio(done.set))
        await done.wait()

    done = trio.Event()
    with_timeout(main)


def test_tasks_that_remain_at_the_end_are_awaited_or_cancelled(
    earlier_threads: set[threading.Thread],
) -> None:
    ended: list[str] = []

    async def linger(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            ended.append(name)

    async def start() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(linger("soon", 0.05)), asyncio.create_task(linger("late", 60))]

    async def main() -> None:
        await await_asyncio(start())

    with_timeout(main)
    assert ended == ["soon", "late"]
    assert asyncio_threads(earlier_threads) == []


def test_each_run_has_a_bridge_of_its_own(earlier_threads: set[threading.Thread]) -> None:
    async def main() -> None:
        current()

    for _ in range(20):
        run(main)
    assert asyncio_threads(earlier_threads) == []
    with pytest.raises(LookupError):
        trio.run(main)


def with_timeout(main: object) -> None:
    """Run `main`, and fail if `main` takes longer than 10 s."""

    async def bounded() -> None:
        assert callable(main)
        with trio.fail_after(10):
            await main()

    run(bounded)
