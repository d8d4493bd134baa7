"""Plain calls put off to the next turn of trio's scheduler.

`TrioToken.run_sync_soon` does the same for any thread, at the price of a lock, a write to a socket
and a wait for it; from trio's own thread, waking a task is enough and takes half as long.
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
    """Calls what it is given in the next turn, in order, all in one task: `run`."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []
        self._parked: trio.lowlevel.Task | None = None

    def __call__(self, call: Callable[[], object]) -> None:
        """Have `call` called in the next turn, once `run` has begun."""
        self._calls.append(call)
        if self._parked is not None:
            task, self._parked = self._parked, None
            trio.lowlevel.reschedule(task)

    async def run(self) -> None:
        """Call what comes, until cancelled; an exception of a call is logged and ends nothing."""
        while True:
            calls, self._calls = self._calls, []
            for call in calls:
                try:
                    call()
                except Exception:
                    log.exception("a call that was put off failed")
            if self._calls:
                await trio.lowlevel.checkpoint()
            else:
                self._parked = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: Callable[[], None]) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED
