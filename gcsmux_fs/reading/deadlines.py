"""The deadline of waiting READs.

Theory of operation: all READs have the same time, so they run out in the order in which they
began to wait: one task sleeps until the first of them is due. A cancel scope around each READ
would do the same at 12 µs a READ, a sixth of what a random read costs (measured, trio 0.33).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.reading.demand import Demand

__all__ = ["Deadlines"]


class Deadlines:
    """The demands that wait now; `expire` is called for each one whose time is up."""

    def __init__(self, timeout: float, expire: Callable[[Demand], None]) -> None:
        self._timeout = timeout
        self._expire = expire
        self._due: dict[Demand, float] = {}
        self._watcher: trio.lowlevel.Task | None = None
        self._watcher_is_idle = False

    def __len__(self) -> int:
        return len(self._due)

    def add(self, demand: Demand) -> None:
        """Start the time of a demand."""
        self._due[demand] = trio.current_time() + self._timeout
        if self._watcher is None:
            # It lives as long as the trio run, waits most of the time, and can't fail.
            self._watcher = trio.lowlevel.spawn_system_task(self._watch)
        elif self._watcher_is_idle:
            self._watcher_is_idle = False
            trio.lowlevel.reschedule(self._watcher)

    def discard(self, demand: Demand) -> None:
        """Stop the time of a demand, if it runs."""
        self._due.pop(demand, None)

    async def _watch(self) -> NoReturn:
        while True:
            demand = next(iter(self._due), None)
            if demand is None:
                self._watcher_is_idle = True
                await trio.lowlevel.wait_task_rescheduled(_abort)
            elif (due := self._due[demand]) > trio.current_time():
                await trio.sleep_until(due)
            else:
                del self._due[demand]
                self._expire(demand)


def _abort(_: Callable[[], None]) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED
