"""Calls from a thread of the control server into trio's loop, with a limit of the wait.

Invariant: a call that was given up before the loop ran it is never run. So a command that reports
that the loop is blocked has changed nothing.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

import outcome
import trio

from gcsmux_fs.control.protocol import CommandFailed, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["LoopCalls"]

_T = TypeVar("_T")

_WAIT_SECONDS = 2.0
"""Maximum time in seconds for which a command waits until the loop runs its call. A busy loop runs
a call within milliseconds."""

_POLL_SECONDS = 0.2


class LoopCalls:
    """Runs functions in the trio loop of `nursery`.

    `age_seconds` returns for how long the loop has not run its heartbeat.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        age_seconds: Callable[[], float],
        *,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> None:
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._age_seconds = age_seconds
        self._wait_seconds = wait_seconds

    def call(self, function: Callable[[], _T]) -> _T:
        """Run `function` in the loop and return its result. Called in another thread.

        Raises:
            CommandFailed: the loop does not run, or the mount is ending.
        """
        answers: queue.SimpleQueue[outcome.Outcome[_T]] = queue.SimpleQueue()
        # Acquired once: by the loop before it runs the function, or by the waiting thread when it
        # gives up.
        claim = threading.Lock()

        def run() -> None:
            if claim.acquire(blocking=False):
                answers.put(outcome.capture(function))

        self._run_soon(run)
        try:
            return answers.get(timeout=self._wait_seconds).unwrap()
        except queue.Empty:
            if not claim.acquire(blocking=False):
                return answers.get().unwrap()  # The loop runs the function now.
        raise CommandFailed(
            ErrorCode.BLOCKED,
            f"the event loop of the mount has not run for {self._age_seconds():.0f} s: nothing was"
            " changed, try again later.",
        )

    def run(self, function: Callable[[], Awaitable[_T]], meanwhile: Callable[[], bool]) -> _T:
        """Run an async function as a task of the loop and return its result.

        `meanwhile` is called about five times a second in the calling thread. If it returns False,
        the task is cancelled.

        Raises:
            CommandFailed: the loop does not run, the mount is ending, or the task was cancelled.
        """
        answers: queue.SimpleQueue[outcome.Outcome[_T] | None] = queue.SimpleQueue()
        scope = trio.CancelScope()

        async def task() -> None:
            answer: outcome.Outcome[_T] | None = None
            try:
                with scope:
                    answer = await outcome.acapture(function)
                    if isinstance(answer, outcome.Error) and not isinstance(
                        answer.error, Exception
                    ):
                        answer.unwrap()  # A cancellation must reach its scope.
            finally:
                answers.put(answer)

        self.call(lambda: self._nursery.start_soon(task))
        while True:
            try:
                answer = answers.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if not meanwhile():
                    self._run_soon(scope.cancel)
                continue
            if answer is None or not isinstance(getattr(answer, "error", None), Exception | None):
                raise CommandFailed(ErrorCode.ENDING, "the command was cancelled.")
            return answer.unwrap()

    def _run_soon(self, function: Callable[[], object]) -> None:
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            raise CommandFailed(ErrorCode.ENDING, "the mount is being unmounted.") from None
