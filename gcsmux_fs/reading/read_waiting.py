"""Lets a task wait for a `ReadRequest`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.reading.read_request import ReadRequest
    from gcsmux_fs.reading.read_resources import ReadResources

__all__ = ["wait_until_done", "wake_current_task"]


def wake_current_task() -> Callable[[], None]:
    """Return a function that wakes the current task, for `ReadRequest.wake`."""
    return functools.partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())


async def wait_until_done(resources: ReadResources, request: ReadRequest) -> None:
    """Wait for a request that is not done; if the task is cancelled, abandon the request."""

    def abort(_: Callable[[], None]) -> trio.lowlevel.Abort:
        resources.fetcher.abandon(request)
        # Discard the deadline now, because it may pass in this tick, before the task runs again.
        resources.deadlines.discard(request)
        return trio.lowlevel.Abort.SUCCEEDED

    await trio.lowlevel.wait_task_rescheduled(abort)
