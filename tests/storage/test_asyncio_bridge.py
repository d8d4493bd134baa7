"""The crossing of the two loops: results, errors, cancelling and the end, each exact."""

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


def asyncio_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "asyncio"]


def test_a_result_comes_back() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    async def main() -> int:
        return await await_asyncio(answer())

    assert run(main) == 42


def test_an_error_comes_back() -> None:
    async def fail() -> None:
        raise LookupError("not here")

    async def main() -> None:
        with pytest.raises(LookupError, match="not here"):
            await await_asyncio(fail())

    run(main)


def test_an_error_of_the_main_task_ends_the_run() -> None:
    async def main() -> None:
        await await_asyncio(asyncio.sleep(0))
        raise LookupError("main")

    with pytest.raises(LookupError, match="main"):
        run(main)
    assert asyncio_threads() == []


def test_each_side_stays_in_its_thread() -> None:
    async def where() -> threading.Thread:
        return threading.current_thread()

    async def main() -> None:
        assert await await_asyncio(where()) is not threading.current_thread()
        assert await await_asyncio(where()) is await await_asyncio(where())

    run(main)


def test_cancelling_the_waiter_cancels_the_coroutine_and_waits_for_it() -> None:
    log: list[str] = []

    async def main() -> None:
        crossing = current()
        scope = trio.CancelScope()

        async def slow() -> None:
            crossing.to_trio(scope.cancel)
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


def test_a_waiter_that_is_cancelled_already_starts_nothing_that_stays() -> None:
    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await await_asyncio(asyncio.sleep(60))
        assert scope.cancelled_caught

    with_timeout(main)


def test_a_waiter_may_be_cancelled_at_any_instant() -> None:
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

    async def others() -> int:
        return len(asyncio.all_tasks()) - 1

    @asynccontextmanager
    async def stage() -> AsyncIterator[Scenario]:
        yield lambda: await_asyncio(slow())
        assert begun == ended
        assert await await_asyncio(others()) == 0

    async def main() -> None:
        for instant in itertools.count():
            if not await play(stage, instant):
                break
        # Where the other side is at an instant of this one is left to chance.
        for delay in range(50):
            with trio.move_on_after(delay * 0.00005):
                await await_asyncio(slow())
            assert begun == ended
        assert await await_asyncio(others()) == 0

    with_timeout(main)
    assert begun > 0


def test_a_coroutine_that_ends_in_spite_of_it_gives_its_result() -> None:
    async def main() -> None:
        crossing = current()
        scope = trio.CancelScope()

        async def stubborn() -> str:
            crossing.to_trio(scope.cancel)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "late"
            return "never"

        with scope:
            assert await await_asyncio(stubborn()) == "late"
        assert not scope.cancelled_caught

    with_timeout(main)


def test_a_coroutine_cancelled_on_its_own_side_is_an_error_of_ours() -> None:
    async def cancel_myself() -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(CancelledByAsyncio):
            await await_asyncio(cancel_myself())

    run(main)


def test_thousands_of_calls_cross_in_order() -> None:
    seen: list[int] = []
    back: list[int] = []

    async def main() -> None:
        crossing = current()
        done = trio.Event()

        def there(number: int) -> None:
            seen.append(number)
            crossing.to_trio(lambda: here(number))

        def here(number: int) -> None:
            back.append(number)
            if len(back) == 10_000:
                done.set()

        for number in range(10_000):
            crossing.to_asyncio(functools.partial(there, number))
            if number % 100 == 0:
                await trio.lowlevel.checkpoint()
        await done.wait()

    with_timeout(main)
    assert seen == back == list(range(10_000))


def test_a_flood_from_one_side_does_not_stop_the_other() -> None:
    async def main() -> None:
        crossing = current()
        flooding = True

        def flood() -> None:
            if flooding:
                crossing.to_trio(lambda: crossing.to_asyncio(flood))

        for _ in range(50):
            crossing.to_asyncio(flood)
        for _ in range(20):
            await trio.sleep(0.001)
        flooding = False

    with_timeout(main)


@pytest.mark.expects_log("a call that crossed the loops failed")
def test_a_call_that_fails_harms_no_other() -> None:
    async def main() -> None:
        crossing = current()
        crossing.to_asyncio(lambda: 1 / 0)
        crossing.to_asyncio(lambda: crossing.to_trio(lambda: 1 / 0))
        crossing.to_asyncio(lambda: crossing.to_trio(done.set))
        await done.wait()

    done = trio.Event()
    with_timeout(main)


def test_tasks_left_behind_are_ended() -> None:
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
    assert asyncio_threads() == []


def test_the_crossing_belongs_to_its_run() -> None:
    async def main() -> None:
        current()

    for _ in range(20):
        run(main)
    assert asyncio_threads() == []
    with pytest.raises(LookupError):
        trio.run(main)


def with_timeout(main: object) -> None:
    """Run, and fail instead of hanging."""

    async def bounded() -> None:
        assert callable(main)
        with trio.fail_after(10):
            await main()

    run(bounded)
