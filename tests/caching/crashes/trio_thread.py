"""Runs trio in a thread, so that a state machine can use asynchronous objects step by step."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["TrioThread"]

T = TypeVar("T")


class TrioThread:
    """A thread that runs trio until `close`."""

    def __init__(self) -> None:
        self._is_ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._is_ready.wait(10)

    def run(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Run an asynchronous function in trio's thread, and return its result."""
        return trio.from_thread.run(function, *arguments, trio_token=self._token)

    async def start(self, function: Callable[..., Awaitable[object]]) -> Any:
        """Start a task that goes on; see `trio.Nursery.start`. Call this in trio's thread."""
        return await self._nursery.start(function)

    def close(self) -> None:
        """End all tasks, and raise what one of them has raised."""
        trio.from_thread.run_sync(self._nursery.cancel_scope.cancel, trio_token=self._token)
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as failure:
            self._failure = failure

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            self._is_ready.set()
            await trio.sleep_forever()
