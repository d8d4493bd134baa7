"""The watchdog gets its messages while both event loops run, and not while one is blocked."""

from __future__ import annotations

import itertools

import trio

from gcsmux_fs.process.heartbeats import ASYNCIO_LOOP, BEAT_SECONDS, TRIO_LOOP, Heartbeats
from gcsmux_fs.process.watchdog import feed_watchdog, watchdog_seconds

PERIOD_SECONDS = 60.0


class Loops:
    """Heartbeats of a trio loop that runs, and of an asyncio loop that can be blocked."""

    def __init__(self) -> None:
        self.heartbeats = Heartbeats(trio.current_time)
        self.asyncio_runs = True
        self.messages: list[float] = []

    async def beat(self) -> None:
        while True:
            self.heartbeats.beat(TRIO_LOOP)
            if self.asyncio_runs:
                self.heartbeats.beat(ASYNCIO_LOOP)
            await trio.sleep(BEAT_SECONDS)

    def alive(self) -> None:
        self.messages.append(trio.current_time())


async def test_messages_come_more_often_than_the_period() -> None:
    loops = Loops()
    with trio.move_on_after(10 * PERIOD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(loops.beat)
            nursery.start_soon(feed_watchdog, PERIOD_SECONDS, loops.heartbeats, loops.alive)
    times = loops.messages
    assert len(times) >= 20
    assert max(after - before for before, after in itertools.pairwise(times)) <= 30


async def test_no_message_is_sent_while_a_loop_is_blocked_and_the_next_one_soon_after() -> None:
    loops = Loops()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loops.beat)
        nursery.start_soon(feed_watchdog, PERIOD_SECONDS, loops.heartbeats, loops.alive)
        await trio.sleep(100)
        loops.asyncio_runs = False
        await trio.sleep(PERIOD_SECONDS)
        loops.messages.clear()
        await trio.sleep(10 * PERIOD_SECONDS)
        assert loops.messages == []
        loops.asyncio_runs = True
        await trio.sleep(PERIOD_SECONDS / 2)
        assert loops.messages != []
        nursery.cancel_scope.cancel()


def test_the_time_is_that_of_systemd_for_this_process() -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 7) == 60
    assert watchdog_seconds({"WATCHDOG_USEC": "60000000"}, 7) == 60
    assert watchdog_seconds({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, 7) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "0"}, 7) is None
    assert watchdog_seconds({}, 7) is None
