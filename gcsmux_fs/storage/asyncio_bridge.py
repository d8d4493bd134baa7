"""The bridge between the two event loops: trio in the main thread, asyncio in a second thread.

Theory of operation. grpcio uses asyncio, the rest of this program uses trio, and each loop runs in
a separate thread. To call the other side, a thread appends a plain function to a queue and wakes
the other thread. One wake-up serves all calls that are in the queue when the other thread drains
the queue, so a burst of messages costs one wake-up. Each queue keeps the order of its calls.

The asyncio loop is a uvloop: a gRPC call consists of many short callbacks and wake-ups, and uvloop
runs them with less CPU time (figures: docs/PERFORMANCE.md).

Trio's guest mode is the alternative: trio and asyncio share one thread. Guest mode needs no queue,
but it hands every wait for I/O to a helper thread. Measured with this program, guest mode lowered
the throughput by a third, and a random read took a tenth of a millisecond longer (figures:
docs/ARCHITECTURE.md).

Invariants:
1. Only the asyncio thread touches gRPC objects. Only the trio thread touches everything else.
2. When `await_asyncio` returns or raises, its coroutine has ended. This also holds when the trio
   task is cancelled.
3. `run` returns only after trio's main task and every asyncio task have ended.
4. A drain runs only the calls that were queued when the drain began. So a side that queues calls
   all the time does not block the other side.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeVar

import outcome
import trio
import uvloop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["AsyncioBridge", "CancelledByAsyncio", "await_asyncio", "current", "run"]

log = logging.getLogger(__name__)

T = TypeVar("T")

# Maximum time for which the shutdown waits until the asyncio thread ends. Cancelled tasks end at
# once, but gRPC can block the asyncio loop while the process ends.
_JOIN_SECONDS = 10.0

# How long the shutdown lets asyncio tasks end by themselves before it cancels them. gRPC has tasks
# that finish cancelled calls. These tasks end within milliseconds.
_GRACE_SECONDS = 0.2

# How long the shutdown keeps the asyncio loop open after the last task has ended. gRPC completes
# cancelled operations a few milliseconds after the cancellation. If the loop were closed by then,
# another asyncio loop of the process (in tests, the loop of a server) would log an error.
_LATE_COMPLETION_SECONDS = 0.05


class CancelledByAsyncio(Exception):
    """The asyncio side cancelled a coroutine, because the asyncio loop is ending."""


class AsyncioBridge:
    """Queues of calls between the trio thread, which creates the bridge, and the asyncio thread."""

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
        """Start the asyncio thread, which wakes the trio thread through `token`."""
        self._token = token
        self._thread.start()

    def stop(self) -> None:
        """Cancel all asyncio tasks and end the asyncio thread."""
        self._stopped = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_SECONDS)
        if self._thread.is_alive():
            log.warning(
                "the gRPC thread did not end within %.0f s: no longer waiting", _JOIN_SECONDS
            )

    def to_asyncio(self, call: Callable[[], object]) -> None:
        """Let the asyncio thread run `call`, unless that thread has ended.

        Only the trio thread may use this method.
        """
        if self._stopped:
            return
        self._to_asyncio.append(call)
        if not self._asyncio_awake:
            self._asyncio_awake = True
            self._loop.call_soon_threadsafe(self._drain_to_asyncio)

    def to_trio(self, call: Callable[[], object]) -> None:
        """Let the trio thread run `call`, unless the trio run has ended.

        Only the asyncio thread may use this method.
        """
        self._to_trio.append(call)
        if not self._trio_awake:
            self._trio_awake = True
            assert self._token is not None
            try:
                self._token.run_sync_soon(self._drain_to_trio)
            except trio.RunFinishedError:
                self._to_trio.clear()

    async def arrival(self) -> None:
        """Wait until the asyncio thread queues a call. Used only in the trio thread."""
        if self._arrival is None:
            self._arrival = trio.Event()
        await self._arrival.wait()

    # A drain sets its `awake` flag to False before it empties the queue. If a call is appended
    # during the drain, either this drain runs the call, or the sender sees False and wakes the
    # thread again.

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
    await asyncio.sleep(_LATE_COMPLETION_SECONDS)


def _call_all(calls: deque[Callable[[], object]]) -> None:
    for _ in range(len(calls)):
        try:
            calls.popleft()()
        except Exception:
            log.exception("a call from the other event loop failed")


_current: trio.lowlevel.RunVar[AsyncioBridge] = trio.lowlevel.RunVar("asyncio bridge")


def current() -> AsyncioBridge:
    """Return the bridge of this trio run.

    Raises:
        LookupError: this trio run was not started by `run`.
    """
    return _current.get()


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run the trio function `main` to its end, with asyncio in a second thread."""
    bridge = AsyncioBridge()

    async def bridged_main() -> T:
        _current.set(bridge)
        bridge.start(trio.lowlevel.current_trio_token())
        try:
            return await main()
        finally:
            bridge.stop()

    return trio.run(bridged_main)


async def await_asyncio(coroutine: Coroutine[object, object, T]) -> T:
    """Await an asyncio coroutine from a trio task. Cancelling the trio task cancels the coroutine.

    Raises:
        CancelledByAsyncio: the asyncio side cancelled the coroutine.
    """
    bridge = current()
    waiter = trio.lowlevel.current_task()
    tasks: list[asyncio.Task[T]] = []
    raise_cancel: Callable[[], object] | None = None

    def start() -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(wake_waiter)
        tasks.append(task)

    def wake_waiter(_: asyncio.Task[T]) -> None:
        bridge.to_trio(lambda: trio.lowlevel.reschedule(waiter, outcome.Value(None)))

    def abort(cancel: Callable[[], object]) -> trio.lowlevel.Abort:
        nonlocal raise_cancel
        raise_cancel = cancel
        bridge.to_asyncio(lambda: tasks[0].cancel())
        return trio.lowlevel.Abort.FAILED

    bridge.to_asyncio(start)
    await trio.lowlevel.wait_task_rescheduled(abort)
    task = tasks[0]
    if not task.cancelled():
        return task.result()
    if raise_cancel is not None:
        raise_cancel()
    # Raise a subclass of Exception. asyncio.CancelledError derives from BaseException, so no
    # `except Exception` on trio's side would catch it.
    raise CancelledByAsyncio
