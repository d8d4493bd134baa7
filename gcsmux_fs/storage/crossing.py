"""The crossing between the two event loops: trio runs as a guest of asyncio, in one thread.

Theory of operation. grpcio speaks asyncio, the rest of this program speaks trio. asyncio's loop
owns the main thread and runs trio's scheduler as callbacks (`trio.lowlevel.start_guest_run`), so
at any moment either an asyncio callback or a trio task runs, never both. That makes the crossing
plain function calls:

- into trio: a callback from gRPC may call any synchronous trio function (set an event, say); trio
  then runs once for all that happened in this turn of asyncio's loop;
- into asyncio: a trio task may create asyncio tasks and call `loop.call_soon`.

Code between two awaits is atomic for both sides; there is no lock and no queue in between.

Invariants:
1. A coroutine awaited through `await_asyncio` has ended when the call returns or raises, also when
   the trio side is cancelled: nothing of it goes on behind.
2. `run` returns only after trio's main task has ended and every asyncio task has been cancelled
   and awaited.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["await_asyncio", "run"]

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run the trio function `main` to its end, with asyncio as its host, in this thread."""

    async def host() -> T:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[outcome.Outcome[T]] = loop.create_future()
        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=loop.call_soon,
            done_callback=ended.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        return (await ended).unwrap()

    with asyncio.Runner() as runner:
        return runner.run(host())


async def await_asyncio(coroutine: Coroutine[object, object, T]) -> T:
    """Await an asyncio coroutine from a trio task; cancelling one cancels the other."""
    waiter = trio.lowlevel.current_task()
    task = asyncio.get_running_loop().create_task(coroutine)
    raise_cancel: Callable[[], object] | None = None

    def finished(done: asyncio.Task[T]) -> None:
        trio.lowlevel.reschedule(waiter, outcome.Value(done))

    def abort(cancel: Callable[[], object]) -> trio.lowlevel.Abort:
        nonlocal raise_cancel
        raise_cancel = cancel
        task.cancel()
        return trio.lowlevel.Abort.FAILED

    task.add_done_callback(finished)
    await trio.lowlevel.wait_task_rescheduled(abort)
    if raise_cancel is not None and task.cancelled():
        raise_cancel()
    return task.result()
