"""Records when each of the two event loops last ran a task, so that a blocked loop is detected.

A mount answers programs only while both loops run: trio's loop in the main thread serves the
kernel, asyncio's loop in a second thread serves the network. In each loop a task calls `beat` about
once a second. Any thread can ask how long ago the last beat was. systemd's watchdog, the health
check and the control server use this answer.

The clock is CLOCK_MONOTONIC, which does not advance while the machine is suspended. So a suspended
machine does not look like a blocked loop.

Invariant: an age is never negative, and a loop that has not beaten yet is as old as the record.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ASYNCIO_LOOP", "BEAT_SECONDS", "BLOCKED_SECONDS", "TRIO_LOOP", "Heartbeats"]

BEAT_SECONDS = 1.0
"""Time between two beats of a loop in seconds. It is short compared with `BLOCKED_SECONDS`. In an
idle mount, a beat wakes the main thread twice: once for the beat, and once to stop the timer of
`fuse.wakeups`."""

BLOCKED_SECONDS = 10.0
"""Age of the last heartbeat from which on a loop counts as blocked, for the control socket and the
health check. The longest step that was measured, a listing of 100,000 names, takes less than a
second, and a busy machine delays a loop by seconds. systemd's watchdog waits longer, because it
ends the mount (see `watchdog`)."""

TRIO_LOOP = "trio"
"""The name of the loop that serves the kernel."""

ASYNCIO_LOOP = "asyncio"
"""The name of the loop that serves the network."""


class Heartbeats:
    """The time of the last beat of each loop. Every thread may call the methods that are not async.

    There is no lock: each loop writes only its own entry, and a dictionary entry is written in one
    step while the interpreter's lock is held.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = dict.fromkeys((TRIO_LOOP, ASYNCIO_LOOP), clock())

    def beat(self, loop: str) -> None:
        """Record that `loop`, one of the two names in this module, runs now."""
        self._last[loop] = self._clock()

    def ages_seconds(self) -> dict[str, float]:
        """Return for each loop the time since its last beat, in seconds."""
        now = self._clock()
        # `now` can be older than a beat, if the loop's thread beats after `now` was read.
        return {loop: max(0.0, now - last) for loop, last in self._last.items()}

    def oldest_age_seconds(self) -> float:
        """Return the time since the last beat of the loop that beat less recently, in seconds."""
        return max(self.ages_seconds().values())

    async def beat_in_trio(self) -> None:
        """Beat until this task is cancelled. Runs in trio's loop."""
        while True:
            self.beat(TRIO_LOOP)
            await trio.sleep(BEAT_SECONDS)

    async def beat_in_asyncio(self) -> None:
        """Beat until this task is cancelled. Runs in asyncio's loop."""
        while True:
            self.beat(ASYNCIO_LOOP)
            await asyncio.sleep(BEAT_SECONDS)
