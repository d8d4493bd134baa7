"""Tests of the timer that interrupts a blocked read. The timer stops while the loop is idle."""

from __future__ import annotations

import ctypes
import errno
import os
import signal

import hypothesis
import pytest
import trio
from hypothesis import strategies

from gcsmux_fs.fuse.wakeups import PERIOD_SECONDS, Wakeups, wakeups


class Loop:
    """A fake of trio's loop with a timer. `turn` is one turn of the loop: tasks, then a poll."""

    def __init__(self) -> None:
        self.periods: list[float] = []
        #: The places in `turn` where signals arrive: one signal for each time a place is listed.
        self.signals: list[str] = []
        self.wakeups = Wakeups(self._set_timer)
        self.wakeups.start()

    @property
    def timer_runs(self) -> bool:
        return bool(self.periods[-1])

    def turn(self) -> None:
        self._signal("in a task")
        self.wakeups.before_io_wait(1.0)
        self._signal("before the poll")
        self.wakeups.after_io_wait(1.0)
        assert self.timer_runs

    def _set_timer(self, period: float) -> None:
        self._signal("before the timer changes")
        self.periods.append(period)
        self._signal("after the timer changed")

    def _signal(self, where: str) -> None:
        if where in self.signals:
            self.signals.remove(where)
            self.wakeups.on_signal(signal.SIGALRM, None)


PLACES = ["in a task", "before the poll", "before the timer changes", "after the timer changed"]


def test_a_busy_loop_does_not_set_the_timer_again() -> None:
    loop = Loop()
    for _ in range(1000):
        loop.turn()
    assert loop.periods == [PERIOD_SECONDS]


def test_the_timer_stops_for_the_poll_after_a_signal() -> None:
    loop = Loop()
    loop.signals = ["in a task"]
    loop.turn()
    assert loop.periods == [PERIOD_SECONDS, 0, PERIOD_SECONDS]


@hypothesis.given(strategies.lists(strategies.lists(strategies.sampled_from(PLACES)), max_size=30))
def test_the_timer_runs_while_tasks_run_for_any_times_of_signals(
    turns: list[list[str]],
) -> None:
    loop = Loop()
    for signals in turns:
        loop.signals = signals
        loop.turn()


@pytest.mark.slow
@pytest.mark.real_time
async def test_an_idle_loop_sleeps_and_a_later_blocked_read_is_interrupted() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    reading, writing = os.pipe()

    class Counted(trio.abc.Instrument):
        polls = 0

        def before_io_wait(self, timeout: float) -> None:
            self.polls += 1

    try:
        with wakeups():
            counted = Counted()
            trio.lowlevel.add_instrument(counted)
            for _ in range(3):
                counted.polls = 0
                await trio.sleep(10 * PERIOD_SECONDS)
                # The last signal of the timer ends one poll, and the end of the sleep ends another.
                # A timer that does not stop would cause ten polls.
                assert counted.polls <= 4
                # pyfuse3 reads in this way when a request was withdrawn. Without a signal, this
                # read would block for ever.
                assert libc.read(reading, ctypes.create_string_buffer(1), 1) == -1
                assert ctypes.get_errno() == errno.EINTR
            trio.lowlevel.remove_instrument(counted)
    finally:
        os.close(reading)
        os.close(writing)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
