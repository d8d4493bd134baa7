"""The crossing between the two event loops: trio in the main thread, asyncio in a second one.

Theory of operation. grpcio speaks asyncio, the rest of this program speaks trio. Each loop has a
thread of its own; what one side wants the other to do is put into a queue as a plain call, and the
other side is woken once for all that gathers until it looks (a burst of messages costs one
wake-up). Calls keep their order in each direction.

asyncio's loop is uvloop's: a call of gRPC is many short callbacks and wake-ups, which it carries
out for less (docs/PERFORMANCE.md has the figures).

The alternative, trio as a guest of asyncio in one thread, needs no queue, but hands every wait for
I/O to a helper thread and back; measured with this code it read a third slower and answered a
random read a tenth of a millisecond later (docs/ARCHITECTURE.md has the figures).

Invariants:
1. Objects of gRPC are touched by asyncio's thread only, everything else by trio's only.
2. A coroutine awaited through `await_asyncio` has ended when the call returns or raises, also when
   the trio side is cancelled: nothing of it goes on behind.
3. `run` returns only after trio's main task has ended and every asyncio task has ended, by itself
   or cancelled.
4. Neither side keeps the other from its own work: a drain ends with what was there when it began.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import outcome
import trio
import uvloop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["AsyncioBridge", "CancelledByAsyncio", "await_asyncio", "current", "run"]

log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
T = TypeVar("T")

# Cancelled tasks end at once; gRPC has been seen to hold a loop up at the end of a process.
_END_SECONDS = 10.0

# gRPC's own tasks that see to the end of a cancelled call end by themselves within milliseconds.
_GRACE_SECONDS = 0.2

# What gRPC had begun and was cancelled is still completed, milliseconds later; a loop that is
# closed by then makes another loop of the process (a server's, in tests) stumble over it.
_AFTERMATH_SECONDS = 0.05


class CancelledByAsyncio(Exception):
    """A coroutine was cancelled, and not by the trio task that awaits it: its loop is ending."""


class AsyncioBridge:
    """Carries calls between trio's thread, where it is made, and asyncio's."""

    def __init__(self) -> None:
        self._token: trio.lowlevel.TrioToken | None = None
        self._to_trio: deque[Callable[[], object]] = deque()
        self._to_asyncio: deque[Callable[[], object]] = deque()
        self._trio_awake = False
        self._asyncio_awake = False
        self._arrival: trio.Event | None = None
        self._stopped = False
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_asyncio, name="asyncio", daemon=True)

    def start(self, token: trio.lowlevel.TrioToken) -> None:
        """Start asyncio's thread; `token` is that of the trio run."""
        self._token = token
        self._thread.start()

    def stop(self) -> None:
        """End asyncio's thread with all that runs in it."""
        self._stopped = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_SECONDS)
        if self._thread.is_alive():
            log.warning("the thread of gRPC did not end within %.0f s", _END_SECONDS)

    def to_asyncio(self, call: Callable[[], object]) -> None:
        """Have asyncio's thread call `call`, unless it has ended; to be used in trio's."""
        if self._stopped:
            return
        self._to_asyncio.append(call)
        if not self._asyncio_awake:
            self._asyncio_awake = True
            self._loop.call_soon_threadsafe(self._drain_to_asyncio)

    def to_trio(self, call: Callable[[], object]) -> None:
        """Have trio's thread call `call`, unless trio has ended; to be used in asyncio's."""
        self._to_trio.append(call)
        if not self._trio_awake:
            self._trio_awake = True
            assert self._token is not None
            try:
                self._token.run_sync_soon(self._drain_to_trio)
            except trio.RunFinishedError:
                self._to_trio.clear()

    async def arrival(self) -> None:
        """Wait until calls come from asyncio's side; to be used in trio's."""
        if self._arrival is None:
            self._arrival = trio.Event()
        await self._arrival.wait()

    # The flag falls before the queue is emptied: what is added meanwhile is either seen now, or
    # finds the flag down and wakes the thread again.

    def _drain_to_trio(self) -> None:
        self._trio_awake = False
        if self._arrival is not None:
            self._arrival.set()
            self._arrival = None
        _call_all(self._to_trio)

    def _drain_to_asyncio(self) -> None:
        self._asyncio_awake = False
        _call_all(self._to_asyncio)

    def _run_asyncio(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            loop.run_until_complete(_end_all_tasks())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


async def _end_all_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        _, tasks = await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(_AFTERMATH_SECONDS)


def _call_all(calls: deque[Callable[[], object]]) -> None:
    for _ in range(len(calls)):
        try:
            calls.popleft()()
        except Exception:
            log.exception("a call that crossed the loops failed")


_current: trio.lowlevel.RunVar[AsyncioBridge] = trio.lowlevel.RunVar("crossing")


def current() -> AsyncioBridge:
    """Return the crossing of this trio run."""
    return _current.get()


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run the trio function `main` to its end, with asyncio beside it."""
    crossing = AsyncioBridge()

    async def crossed() -> T:
        _current.set(crossing)
        crossing.start(trio.lowlevel.current_trio_token())
        try:
            return await main()
        finally:
            crossing.stop()

    return trio.run(crossed)


async def await_asyncio(coroutine: Coroutine[object, object, T]) -> T:
    """Await an asyncio coroutine from a trio task; cancelling one cancels the other.

    Raises:
        CancelledByAsyncio: the coroutine was cancelled on its own side.
    """
    crossing = current()
    waiter = trio.lowlevel.current_task()
    tasks: list[asyncio.Task[T]] = []
    raise_cancel: Callable[[], object] | None = None

    def start() -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(finished)
        tasks.append(task)

    def finished(_: asyncio.Task[T]) -> None:
        crossing.to_trio(lambda: trio.lowlevel.reschedule(waiter, outcome.Value(None)))

    def abort(cancel: Callable[[], object]) -> trio.lowlevel.Abort:
        nonlocal raise_cancel
        raise_cancel = cancel
        crossing.to_asyncio(lambda: tasks[0].cancel())
        return trio.lowlevel.Abort.FAILED

    crossing.to_asyncio(start)
    await trio.lowlevel.wait_task_rescheduled(abort)
    task = tasks[0]
    if not task.cancelled():
        return task.result()
    if raise_cancel is not None:
        raise_cancel()
    # asyncio's own exception means nothing to trio, and would pass every `except Exception`.
    raise CancelledByAsyncio
