"""Answers that leave when they are due, in order, while requests go on being taken in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.shaping import sleep_until

if TYPE_CHECKING:
    from gcsmux_fs.emulator.services.rpc import Send

__all__ = ["DelayedSender"]


class DelayedSender:
    """Sends what is put in; at the end of its `async with` block it sends the rest.

    A refusal that leaves the block follows the answers put in before it.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()

    def put(self, due: float, message: bytes) -> None:
        """Send `message` when it is due and everything before it has gone."""
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
