"""The deadline of waiting READs.

Theory of operation: all READs have the same time, so they run out in the order in which they
began to wait: one task sleeps until the first of them is due. A cancel scope around each READ
would do the same at 12 µs a READ, a sixth of what a random read costs (measured, trio 0.33).

Only time in which this process runs counts: while it is stopped or frozen, or the machine is, no
service can answer it. So while READs wait the task looks every second or sooner, and when it comes
late, all deadlines move by as much.

Invariants:
1. ReadDeadlines keep their order.
2. None is further away than the whole time of a READ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeAlias

import trio

from gcsmux_fs.reading.read_request import ReadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ReadDeadlines", "TimedRead"]

TimedRead: TypeAlias = ReadRequest | trio.CancelScope
"""A READ whose time runs; a cancel scope stands for all parts of a large one."""

_LOOK_SECONDS = 1.0
# Of a stop only what comes after the next look is seen: this bounds the rest, for short timeouts.
_LOOKS_PER_TIMEOUT = 8
# A turn of the loop on an overloaded machine takes less, and a stop that does goes unnoticed.
_LATE_SECONDS = 1.0


class ReadDeadlines:
    """The READs that wait now; `expire` is called for each one whose time is up.

    `looked` is called after each look, every second or sooner while READs wait.
    """

    def __init__(
        self,
        timeout: float,
        expire: Callable[[TimedRead], None],
        looked: Callable[[], None],
    ) -> None:
        self._timeout = timeout
        self._expire = expire
        self._looked = looked
        self._due: dict[TimedRead, float] = {}
        self._watcher: trio.lowlevel.Task | None = None
        self._watcher_is_idle = False

    def __len__(self) -> int:
        return len(self._due)

    def add(self, read: TimedRead) -> None:
        """Start the time of a READ."""
        self._due[read] = trio.current_time() + self._timeout
        if self._watcher is None:
            # It lives as long as the trio run, waits most of the time, and can't fail.
            self._watcher = trio.lowlevel.spawn_system_task(self._watch)
        elif self._watcher_is_idle:
            self._watcher_is_idle = False
            trio.lowlevel.reschedule(self._watcher)

    def discard(self, read: TimedRead) -> None:
        """Stop the time of a READ, if it runs."""
        self._due.pop(read, None)

    def next_look(self, now: float) -> float | None:
        """Return when to `look`; None while no READ waits."""
        due = next(iter(self._due.values()), None)
        if due is None:
            return None
        return min(due, now + min(_LOOK_SECONDS, self._timeout / _LOOKS_PER_TIMEOUT))

    def look(self, wanted: float, now: float) -> None:
        """Expire the READs whose time is up; it was `wanted` that this be done."""
        late = now - wanted
        if late > _LATE_SECONDS:
            for read, due in self._due.items():
                self._due[read] = min(due + late, now + self._timeout)
        while self._due:
            read, due = next(iter(self._due.items()))
            if due > now:
                return
            del self._due[read]
            self._expire(read)

    async def _watch(self) -> NoReturn:
        while True:
            wanted = self.next_look(trio.current_time())
            if wanted is None:
                self._watcher_is_idle = True
                await trio.lowlevel.wait_task_rescheduled(_abort)
            else:
                await trio.sleep_until(wanted)
                self.look(wanted, trio.current_time())
                self._looked()


def _abort(_: Callable[[], None]) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED
