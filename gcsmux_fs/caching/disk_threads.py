"""Runs calls that may block on the disk, in a few daemon threads.

Theory of operation. A *lane* is a queue of calls with threads of its own, so that reads do not wait
for writes, and neither of them for housekeeping. A lane starts a thread when it has more unanswered
calls than threads. The answers of all lanes return to trio in one queue. One wake-up of trio serves
all answers that are in the queue.

A thread that hangs in a call to the disk cannot be interrupted. Nothing waits for such a thread:
the threads are daemons, and neither `close` nor the end of the process joins them.

Invariants:
1. `submit` and `DiskCall.cancel` never block. Both are used only on trio's thread.
2. The answer of a call arrives on trio's thread, in a later turn, once. It does not arrive if the
   call was cancelled before a thread began it, or after `close`.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from gcsmux_fs.model.errors import GcsmuxError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DiskCall", "DiskThreads", "Lane"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class DiskCall:
    """A call for a thread, and the function that gets its result or its exception."""

    __slots__ = ("_answer", "_call", "_has_run", "_is_cancelled", "_lane", "_result")

    def __init__(
        self, lane: Lane, call: Callable[[], Any], answer: Callable[[Any], object]
    ) -> None:
        self._lane = lane
        self._call = call
        self._answer = answer
        self._result: Any = None
        self._has_run = False
        self._is_cancelled = False

    def cancel(self) -> None:
        """Skip the call, if no thread has begun it."""
        self._is_cancelled = True

    def run(self) -> bool:
        """Run the call, in a thread. Return whether its answer has to arrive."""
        if self._is_cancelled:
            return False
        self._has_run = True
        try:
            self._result = self._call()
        except Exception as error:
            if not isinstance(error, OSError | GcsmuxError):
                log.exception("the cache on disk has failed, please report it as a bug")
            self._result = error
            # A traceback would keep the buffers of the failed call.
            error.__traceback__ = None
        return True

    def deliver(self) -> None:
        """Pass on the result, on trio's thread."""
        self._lane.note_answer()
        if self._has_run:
            self._answer(self._result)


class DiskThreads:
    """The threads of one mount. Create this on trio's thread."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._answered: deque[DiskCall] = deque()
        self._is_trio_woken = False
        self._is_closed = False
        self._lanes: list[Lane] = []

    def new_lane(self, name: str, threads: int) -> Lane:
        """Return a new lane with up to `threads` threads."""
        lane = Lane(name, threads, self._on_finished)
        self._lanes.append(lane)
        return lane

    def deliver(self) -> None:
        """Pass on the answers that are there. Without this call, it happens in a later turn."""
        # The flag is cleared first. So an answer that is added meanwhile wakes trio again.
        self._is_trio_woken = False
        while self._answered and not self._is_closed:
            call = self._answered.popleft()
            try:
                call.deliver()
            except Exception:
                log.exception("an answer of the cache on disk could not be used")

    def close(self) -> None:
        """Let the threads end that do not hang, and drop all answers. Does not wait."""
        self._is_closed = True
        for lane in self._lanes:
            lane.close()

    def _on_finished(self, call: DiskCall, *, has_answer: bool) -> None:
        """Queue a finished call, in the thread that has run it."""
        self._answered.append(call)
        if has_answer and not self._is_trio_woken:
            self._is_trio_woken = True
            try:
                self._token.run_sync_soon(self.deliver)
            except trio.RunFinishedError:
                self._is_closed = True


class Lane:
    """A queue of calls, and the threads that run them in order."""

    def __init__(self, name: str, threads: int, on_finished: Callable[..., None]) -> None:
        self._name = name
        self._most_threads = threads
        self._on_finished = on_finished
        self._calls: queue.SimpleQueue[DiskCall | None] = queue.SimpleQueue()
        #: Number of threads that were started.
        self.threads = 0
        #: Number of calls whose answer has not arrived.
        self.unanswered = 0
        self._idle = trio.Event()

    def submit(self, call: Callable[[], T], answer: Callable[[T | Exception], object]) -> DiskCall:
        """Run `call` in a thread; later, `answer` gets what it returns or raises."""
        submitted = DiskCall(self, call, answer)
        self.unanswered += 1
        self._calls.put(submitted)
        if self.threads < min(self.unanswered, self._most_threads):
            self.threads += 1
            name = f"{self._name} {self.threads}"
            threading.Thread(target=self._run, name=name, daemon=True).start()
        return submitted

    async def run(self, call: Callable[[], T]) -> T:
        """Run `call` in a thread, and return what it returns, or raise what it raises.

        If the task is cancelled, the call goes on.
        """
        has_answer = trio.Event()
        results: list[T | Exception] = []

        def take(result: T | Exception) -> None:
            results.append(result)
            has_answer.set()

        self.submit(call, take)
        await has_answer.wait()
        (result,) = results
        if isinstance(result, Exception):
            raise result
        return result

    def note_answer(self) -> None:
        """Count an answer that has arrived."""
        self.unanswered -= 1
        if not self.unanswered:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until all calls are answered."""
        while self.unanswered:
            self._idle = trio.Event()
            await self._idle.wait()

    def close(self) -> None:
        """Let each thread end after the calls that are in the queue."""
        for _ in range(self.threads):
            self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            has_answer = call.run()
            self._on_finished(call, has_answer=has_answer)
            # Do not keep the result until the next call comes.
            del call
