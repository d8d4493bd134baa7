"""The heartbeats show which event loop runs, and for how long the other one has been blocked."""

from __future__ import annotations

import functools
import threading

import trio
import trio.testing

from gcsmux_fs.process.heartbeats import ASYNCIO_LOOP, BEAT_SECONDS, TRIO_LOOP, Heartbeats
from gcsmux_fs.storage import asyncio_bridge


class Clock:
    """A clock that advances when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_age_of_each_loop_counts_from_its_last_beat() -> None:
    clock = Clock()
    heartbeats = Heartbeats(clock)
    clock.now += 5
    assert heartbeats.ages_seconds() == {TRIO_LOOP: 5, ASYNCIO_LOOP: 5}
    heartbeats.beat(TRIO_LOOP)
    clock.now += 2
    assert heartbeats.ages_seconds() == {TRIO_LOOP: 2, ASYNCIO_LOOP: 7}
    assert heartbeats.oldest_age_seconds() == 7


def test_an_age_is_never_negative() -> None:
    clock = Clock()
    heartbeats = Heartbeats(clock)
    clock.now -= 1
    assert heartbeats.oldest_age_seconds() == 0


def test_trio_beats_once_a_second() -> None:
    async def main() -> dict[str, float]:
        heartbeats = Heartbeats(trio.current_time)
        with trio.move_on_after(60 + BEAT_SECONDS / 2):
            await heartbeats.beat_in_trio()
        return heartbeats.ages_seconds()

    ages = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert 0 <= ages[TRIO_LOOP] <= BEAT_SECONDS
    assert ages[ASYNCIO_LOOP] > 60


def test_a_blocked_trio_loop_grows_old_while_asyncio_beats() -> None:
    """The test blocks the trio loop by an event, and asks from another thread."""
    clock = Clock()
    heartbeats = Heartbeats(clock)
    answers: list[dict[str, float]] = []

    def ask(answered: threading.Event) -> None:
        answers.append(heartbeats.ages_seconds())
        answered.set()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heartbeats.beat_in_trio)
            nursery.start_soon(beat_in_asyncio, heartbeats)
            await trio.testing.wait_all_tasks_blocked()
            clock.now += 30
            # The asyncio loop runs one more function and beats; trio's thread waits meanwhile.
            beaten, answered = threading.Event(), threading.Event()
            bridge = asyncio_bridge.current()
            bridge.to_asyncio(functools.partial(heartbeats.beat, ASYNCIO_LOOP))
            bridge.to_asyncio(beaten.set)
            assert beaten.wait(10)
            threading.Thread(target=ask, args=(answered,)).start()
            assert answered.wait(10)
            nursery.cancel_scope.cancel()

    asyncio_bridge.run(main)
    assert answers == [{TRIO_LOOP: 30, ASYNCIO_LOOP: 0}]


async def beat_in_asyncio(heartbeats: Heartbeats) -> None:
    await asyncio_bridge.await_asyncio(heartbeats.beat_in_asyncio())
