"""Plain function calls, deferred to the next turn of trio's scheduler.

`TrioToken.run_sync_soon` also defers a call, and works from every thread. It takes a lock and
writes to a socket. From trio's own thread it is enough to wake a task, which takes half the time.
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
    """Runs the given calls in the next turn, in order, all in the task that executes `run`."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []
        self._parked: trio.lowlevel.Task | None = None

    def __call__(self, call: Callable[[], object]) -> None:
        """Run `call` in the next turn, or in the first turn of `run` if it has not started."""
        self._calls.append(call)
        if self._parked is not None:
            task, self._parked = self._parked, None
            trio.lowlevel.reschedule(task)

    async def run(self) -> None:
        """Run the calls until cancelled; log an exception of a call and continue."""
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
