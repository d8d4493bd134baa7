"""The deadlines of waiting READs.

Theory of operation: all READs have the same timeout, so they expire in the order in which they
began to wait. One task sleeps until the first deadline. A cancel scope around each READ would have
the same effect, but takes 12 us per READ, a sixth of the time of a random READ (measured with trio
0.33). A dict in insertion order is enough here; the heap of `mux.timer_queue` is for timeouts that
differ.

Only time in which this process runs counts, because a process that is stopped or frozen, or whose
machine sleeps, cannot receive an answer. So while READs wait, the task checks the deadlines at
least once a second; such a check is called a look. If a look is late, the process was stopped, and
all deadlines move by the delay.

Invariants:
1. The deadlines keep their order.
2. No deadline is further in the future than the timeout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeAlias

import trio

from gcsmux_fs.reading.read_request import ReadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ReadDeadlines", "TimedRead"]

TimedRead: TypeAlias = ReadRequest | trio.CancelScope
"""A READ with a deadline; a cancel scope stands for all parts of a large READ."""

# Maximum time in seconds between two looks at the deadlines.
_LOOK_SECONDS = 1.0
# Minimum number of looks within one timeout. If the process stops, the time until the next planned
# look counts against the timeout, so the time between two looks must be short.
_LOOKS_PER_TIMEOUT = 8
# If a look is late by more than this number of seconds, the process was stopped. An overloaded
# machine delays a look by less than this.
_LATE_SECONDS = 1.0


class ReadDeadlines:
    """The waiting READs with their deadlines.

    Args:
        timeout: Seconds until a READ expires.
        on_expire: Called with each READ that expires.
        on_look: Called after each look at the deadlines, at least once a second while READs wait.
    """

    def __init__(
        self,
        timeout: float,
        on_expire: Callable[[TimedRead], None],
        on_look: Callable[[], None],
    ) -> None:
        self._timeout = timeout
        self._on_expire = on_expire
        self._on_look = on_look
        self._due: dict[TimedRead, float] = {}
        self._watcher: trio.lowlevel.Task | None = None
        self._watcher_is_idle = False

    def __len__(self) -> int:
        return len(self._due)

    def add(self, read: TimedRead) -> None:
        """Start the timeout of a READ."""
        self._due[read] = trio.current_time() + self._timeout
        if self._watcher is None:
            # The task lives as long as the trio run, waits most of the time, and cannot fail.
            self._watcher = trio.lowlevel.spawn_system_task(self._watch)
        elif self._watcher_is_idle:
            self._watcher_is_idle = False
            trio.lowlevel.reschedule(self._watcher)

    def discard(self, read: TimedRead) -> None:
        """Stop the timeout of a READ, if it is running."""
        self._due.pop(read, None)

    def next_look(self, now: float) -> float | None:
        """Return when to call `look` next; None while no READ waits."""
        due = next(iter(self._due.values()), None)
        if due is None:
            return None
        return min(due, now + min(_LOOK_SECONDS, self._timeout / _LOOKS_PER_TIMEOUT))

    def look(self, scheduled: float, now: float) -> None:
        """Expire the READs whose deadline has passed. This call was planned for `scheduled`."""
        late = now - scheduled
        if late > _LATE_SECONDS:
            for read, due in self._due.items():
                self._due[read] = min(due + late, now + self._timeout)
        while self._due:
            read, due = next(iter(self._due.items()))
            if due > now:
                return
            del self._due[read]
            self._on_expire(read)

    async def _watch(self) -> NoReturn:
        while True:
            scheduled = self.next_look(trio.current_time())
            if scheduled is None:
                self._watcher_is_idle = True
                await trio.lowlevel.wait_task_rescheduled(_abort)
            else:
                await trio.sleep_until(scheduled)
                self.look(scheduled, trio.current_time())
                self._on_look()


def _abort(_: Callable[[], None]) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED
