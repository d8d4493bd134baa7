"""Plain function calls, deferred to the next turn of trio's scheduler.

trio's own `TrioToken.run_sync_soon` also defers a call, and works from every thread, because it
takes a lock and writes to a socket. `DeferredCalls` works only from trio's thread. Instead of using
a lock and a socket, `DeferredCalls` wakes a task, which takes half the time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DeferredCalls"]

log = logging.getLogger(__name__)


class DeferredCalls:
    """Runs the given calls in the next turn, in order, in the task that executes `run`."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []
        self._parked: trio.lowlevel.Task | None = None

    def __call__(self, call: Callable[[], object]) -> None:
        """Run `call` in the next turn; if `run` has not started, in the first turn of `run`."""
        self._calls.append(call)
        if self._parked is not None:
            task, self._parked = self._parked, None
            trio.lowlevel.reschedule(task)

    async def run(self) -> None:
        """Run the calls until this task is cancelled; log each exception that a call raises."""
        while True:
            calls, self._calls = self._calls, []
            for call in calls:
                try:
                    call()
                except Exception:
                    log.exception("a deferred call failed")
            if self._calls:
                await trio.lowlevel.checkpoint()
            else:
                self._parked = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: Callable[[], None]) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED
