"""Sends responses when they are due, while the service continues to receive requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.shaping import sleep_until

if TYPE_CHECKING:
    from gcsmux_fs.emulator.injection.response_sender import Send

__all__ = ["DelayedSender"]


class DelayedSender:
    """Sends messages in the order in which `put` receives them.

    The `async with` block ends after all messages have been sent. If an RpcError ends the block,
    the messages are sent first, and then the error is raised.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()

    def put(self, due: float, message: bytes) -> None:
        """Send `message` at the time `due`, but not before an earlier message."""
        self._queue.put_nowait((due, message))

    async def __aenter__(self) -> DelayedSender:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if error is None or isinstance(error, RpcError):
            self._queue.put_nowait(None)
        else:
            self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            if error is None:
                raise

    async def _run(self) -> None:
        while (entry := await self._queue.get()) is not None:
            due, message = entry
            await sleep_until(due)
            await self._send(message)
