"""A signal every 50 ms, so that a requester killed at the wrong instant cannot freeze the mount.

pyfuse3 reads requests from a blocking descriptor after it has polled readable. If the requester is
killed between the two, its request is withdrawn and the read blocks the whole process, with the
interpreter's lock held, until somebody sends the next request: measured 4 to 7 times in a storm of
4,000 processes killed in the middle of `stat`. No thread can mend that; a signal can: the read
returns EINTR and pyfuse3 goes on. The handler has to be one of Python's own (SIG_IGN interrupts
nothing), and the loop has to run in the main thread, the one the kernel prefers for signals.

Tasks read requests, and tasks run only between two polls of the loop. So the timer may stop while
the loop polls, and an idle mount sleeps: a signal makes the loop poll once more, the timer stops
before that poll, and it starts again when that poll returns, before any task runs. A busy mount
starts and stops it 20 times a second and not at each request.

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

# The longest freeze that may happen; 20 signals a second cost well under 0.1 % of one core.
PERIOD_SECONDS = 0.05


class Wakeups(trio.abc.Instrument):
    """Stops and starts the timer; a task calls `start` first.

    `set_timer` starts a timer with the given period in seconds, or stops it: 0. The signal must
    make the loop's poll return, as each signal with a handler of Python's does (trio sets a wakeup
    descriptor).
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
        """Have the timer stop before the next poll; may be called between any two instructions."""
        self._signalled = True

    def before_io_wait(self, timeout: float) -> None:
        """Stop the timer if it has fired since it was started: no task runs before the poll ends.

        A signal that arrives in here stops the next run of the timer early, which is harmless.
        """
        if self._signalled:
            self._signalled = False
            self._runs = False
            self._set_timer(0)

    def after_io_wait(self, timeout: float) -> None:
        """Start the timer: tasks run now, and one of them may read a request."""
        if not self._runs:
            self.start()


def _set_timer(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


@contextmanager
def wakeups() -> Iterator[None]:
    """Interrupt blocking system calls of the main thread every 50 ms; to be used in a trio task."""
    instrument = Wakeups(_set_timer)
    # Python restarts its own interrupted calls (PEP 475), but libfuse gets its EINTR: a handler set
    # by signal.signal() is without SA_RESTART.
    before = signal.signal(signal.SIGALRM, instrument.on_signal)
    trio.lowlevel.add_instrument(instrument)
    instrument.start()
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)
        _set_timer(0)
        signal.signal(signal.SIGALRM, before)
