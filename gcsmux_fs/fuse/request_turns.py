"""The order in which pyfuse3's tasks read requests from the kernel.

pyfuse3 reads and answers requests in many tasks. One task at a time holds a lock, waits until
/dev/fuse is readable, releases the lock, and reads one request. With `trio.Lock` and
`trio.lowlevel.wait_readable`, each request costs two task switches and two system calls of epoll,
even while further requests are pending.

This module replaces both. A task that has answered a request without waiting takes the lock again
at once, and asks poll(2) whether another request is pending. So one task answers a burst of
requests without a task switch. A READ hit then costs a fifth less (figures: docs/PERFORMANCE.md).

pyfuse3 uses trio through the variable `pyfuse3.trio`. `pyfuse3.asyncio.enable` replaces this
variable too.

Invariants:
1. At most one task holds a turn.
2. If no task holds the turn and tasks wait for it, one of them runs in the next scheduler turn.
3. After `_MAX_BURST` requests in a row, other tasks run before the next request is read.
"""

from __future__ import annotations

import select
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyfuse3
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["RequestTurn", "request_turns"]

# Maximum number of requests that are read without a turn of the scheduler in between. A request
# that is answered from memory takes about 50 us, so other tasks wait 0.4 ms.
_MAX_BURST = 8


class RequestTurn:
    """The lock of the tasks that read requests; replaces `trio.Lock`.

    A task that releases the turn wakes a waiting task, but may take the turn again before the woken
    task runs. The task that began to wait last is woken first, because its memory is in the caches
    of the processor.
    """

    __slots__ = ("_held", "_waiting", "_waking")

    def __init__(self) -> None:
        self._held = False
        self._waking = False
        self._waiting: dict[trio.lowlevel.Task, None] = {}

    async def __aenter__(self) -> None:
        """Take the turn. A checkpoint only if another task holds the turn."""
        while self._held:
            task = trio.lowlevel.current_task()
            self._waiting[task] = None
            await trio.lowlevel.wait_task_rescheduled(self._abort_of(task))
            self._waking = False
        self._held = True

    async def __aexit__(self, *_: object) -> None:
        """Release the turn, and wake a waiting task if none is about to run."""
        self._held = False
        if self._waiting and not self._waking:
            self._waking = True
            task = self._waiting.popitem()[0]
            trio.lowlevel.reschedule(task)

    def _abort_of(
        self, task: trio.lowlevel.Task
    ) -> Callable[[Callable[[], object]], trio.lowlevel.Abort]:
        def abort(_: Callable[[], object]) -> trio.lowlevel.Abort:
            del self._waiting[task]
            return trio.lowlevel.Abort.SUCCEEDED

        return abort


class _Readable:
    """Waits until a descriptor is readable; replaces `trio.lowlevel.wait_readable`."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._poll = select.poll()
        self._burst = 0

    async def wait(self, descriptor: int) -> None:
        """Return when the descriptor is readable. A checkpoint unless it is readable already."""
        if descriptor != self._descriptor:
            self._descriptor = descriptor
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
        if self._burst < _MAX_BURST and self._poll.poll(0):
            self._burst += 1
            return
        self._burst = 0
        await trio.lowlevel.wait_readable(descriptor)


@contextmanager
def request_turns() -> Iterator[None]:
    """Let pyfuse3 use `RequestTurn` within the `with` block."""
    lowlevel = SimpleNamespace(
        current_task=trio.lowlevel.current_task,
        current_trio_token=trio.lowlevel.current_trio_token,
        notify_closing=trio.lowlevel.notify_closing,
        wait_readable=_Readable().wait,
    )
    module: Any = pyfuse3  # its type hints do not contain the variable `trio`
    former = module.trio
    module.trio = SimpleNamespace(
        ClosedResourceError=trio.ClosedResourceError,
        Lock=RequestTurn,
        lowlevel=lowlevel,
        open_nursery=trio.open_nursery,
    )
    try:
        yield
    finally:
        module.trio = former
