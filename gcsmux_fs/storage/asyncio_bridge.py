"""The bridge between the two event loops: trio in the main thread, asyncio in a second thread.

Theory of operation. grpcio uses asyncio, the rest of this program uses trio, and each loop runs in
a separate thread. To call the other side, a thread appends a plain function to a queue and wakes
the other thread. One wake-up serves all calls that are in the queue when the other thread drains
the queue, so a burst of messages costs one wake-up. Each queue keeps the order of its calls.

No program waits for some calls, such as the report that a call has ended. `to_trio_unhurried`
appends such a call without a wake-up of its own, because a wake-up costs more than the call.

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
5. The trio thread runs an unhurried call with the next call that wakes the thread, and at most
   `_UNHURRIED_SECONDS` later if no such call follows.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

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

# Longest delay of an unhurried call. It is short compared with all timeouts of streams, and a busy
# mount starts few timers.
_UNHURRIED_SECONDS = 0.05

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
        self._wake_up_is_due = False
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
        self._wake_trio()

    def to_trio_unhurried(self, call: Callable[[], object]) -> None:
        """Like `to_trio`, but without a wake-up for this call alone (invariant 5)."""
        self._to_trio.append(call)
        if not self._trio_awake and not self._wake_up_is_due:
            self._wake_up_is_due = True
            self._loop.call_later(_UNHURRIED_SECONDS, self._wake_trio_if_late)

    async def arrival(self) -> None:
        """Wait until the asyncio thread queues a call. Used only in the trio thread."""
        if self._arrival is None:
            self._arrival = trio.Event()
        await self._arrival.wait()

    def _wake_trio(self) -> None:
        if not self._trio_awake:
            self._trio_awake = True
            assert self._token is not None
            try:
                self._token.run_sync_soon(self._drain_to_trio)
            except trio.RunFinishedError:
                self._to_trio.clear()

    def _wake_trio_if_late(self) -> None:
        self._wake_up_is_due = False
        if self._to_trio:
            self._wake_trio()

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
    waiting = _WaitingTask(bridge, coroutine)
    bridge.to_asyncio(waiting.start)
    await trio.lowlevel.wait_task_rescheduled(waiting.abort)
    if waiting.answer is not None:
        return waiting.answer.unwrap()
    if waiting.raise_cancel is not None:
        waiting.raise_cancel()
    # Raise a subclass of Exception. asyncio.CancelledError derives from BaseException, so no
    # `except Exception` on trio's side would catch it.
    raise CancelledByAsyncio


class _WaitingTask(Generic[T]):
    """A trio task that waits for an asyncio coroutine.

    The coroutine's own task wakes the trio thread. A done callback of the task would run one turn
    of the asyncio loop later, and each turn takes system calls.
    """

    __slots__ = ("_bridge", "_coroutine", "_runs", "_task", "_trio_task", "answer", "raise_cancel")

    def __init__(self, bridge: AsyncioBridge, coroutine: Coroutine[object, object, T]) -> None:
        self._bridge = bridge
        self._coroutine = coroutine
        self._trio_task = trio.lowlevel.current_task()
        self._task: asyncio.Task[None] | None = None
        self._runs = False
        #: What the coroutine returned or raised; None if asyncio cancelled the coroutine.
        self.answer: outcome.Value[T] | outcome.Error | None = None
        #: Raises trio's cancellation; None if the trio task was not cancelled.
        self.raise_cancel: Callable[[], object] | None = None

    def start(self) -> None:
        """Start the coroutine. Runs in the asyncio thread."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def abort(self, raise_cancel: Callable[[], object]) -> trio.lowlevel.Abort:
        """Cancel the coroutine, and keep the trio task waiting until the coroutine has ended."""
        self.raise_cancel = raise_cancel
        self._bridge.to_asyncio(self._cancel)
        return trio.lowlevel.Abort.FAILED

    def _cancel(self) -> None:
        assert self._task is not None  # `start` was queued before this call
        self._task.cancel()
        if not self._runs:
            # A task that is cancelled before its first turn runs no code at all.
            self._coroutine.close()
            self._bridge.to_trio(self._wake)

    async def _run(self) -> None:
        self._runs = True
        try:
            self.answer = outcome.Value(await self._coroutine)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # raised again in the trio task
            self.answer = outcome.Error(error)
        self._bridge.to_trio(self._wake)

    def _wake(self) -> None:
        trio.lowlevel.reschedule(self._trio_task)
