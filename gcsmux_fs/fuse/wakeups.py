"""Sends this process a timer signal every 50 ms, because a killed program can block the main loop.

pyfuse3 waits until /dev/fuse is readable and then reads it with a blocking read(2). If the program
whose request is next is killed in between, the kernel withdraws the request, and the read blocks
until the next request. The read holds the interpreter's lock meanwhile, so the whole process stops.
In a test that killed 4,000 programs in the middle of `stat`, this happened 4 to 7 times.

No thread can end the read, but a signal can: the read fails with EINTR, and pyfuse3 goes on. The
signal needs a Python handler, because an ignored signal interrupts no system call. The loop must
run in the main thread, which the kernel prefers for signals.

Only tasks read requests, and tasks run only between two polls of the loop. So the timer may be
stopped while the loop polls, and an idle mount sleeps. A signal of the timer ends a poll, and the
loop polls again. The timer stops before this second poll, and starts again when the poll returns,
before any task runs. A busy mount stops and starts the timer 20 times a second, not once for each
request.

Invariant: the timer runs while a task runs.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["PERIOD_SECONDS", "Wakeups", "wakeups"]

PERIOD_SECONDS = 0.05
"""Period of the timer in seconds, and so the longest time for which the loop can be blocked. 20
signals a second cost less than 0.1 % of one core."""


class Wakeups(trio.abc.Instrument):
    """Stops and starts the timer. A task must call `start` once.

    `set_timer` gets a period in seconds and starts a timer that sends a signal in each period; the
    period 0 stops the timer. The signal must end a poll of trio's loop. Any signal with a Python
    handler ends a poll, because trio sets a wakeup descriptor.
    """

    def __init__(self, set_timer: Callable[[float], object]) -> None:
        self._set_timer = set_timer
        self._runs = False
        self._signalled = False

    def start(self) -> None:
        """Start the timer."""
        self._runs = True
        self._set_timer(PERIOD_SECONDS)

    def on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        """Make the timer stop before the next poll. Python may call this method at any point."""
        self._signalled = True

    def before_io_wait(self, timeout: float) -> None:
        """Stop the timer if it has sent a signal, because no task runs until the poll ends.

        A signal during this call makes the timer stop early after its next start. This does no
        harm.
        """
        if self._signalled:
            self._signalled = False
            self._runs = False
            self._set_timer(0)

    def after_io_wait(self, timeout: float) -> None:
        """Start the timer, because tasks run next, and a task may read a request."""
        if not self._runs:
            self.start()


def _set_timer(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


@contextmanager
def wakeups() -> Iterator[None]:
    """Interrupt blocking system calls of the main thread every 50 ms. Use this in a trio task."""
    instrument = Wakeups(_set_timer)
    # libfuse gets EINTR, because signal.signal() sets a handler without SA_RESTART. Python repeats
    # its own system calls after EINTR (PEP 475).
    former_handler = signal.signal(signal.SIGALRM, instrument.on_signal)
    trio.lowlevel.add_instrument(instrument)
    instrument.start()
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)
        _set_timer(0)
        signal.signal(signal.SIGALRM, former_handler)
