"""The gate that a request must pass if it may wait for the service.

Theory of operation. A mount always ends by the same steps: the gate closes, requests in progress
end or are cancelled, the kernel's mount is removed, and the file handles are closed. A closed gate
refuses new requests at once. The main loop runs until the requests in progress have ended, so no
program hangs between the signal that ends the mount and the unmount.

Requests that are answered from memory do not pass the gate. Such requests never wait, so none of
them is in progress while the mount ends. A READ that hits the cache therefore spends no time on the
gate.

Invariants:
1. A request enters only while the gate is open.
2. The event `_idle` is set when the gate is closed and no request is in progress.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gcsmux_fs.filesystem.operation_refused import MOUNT_ENDING, OperationRefused

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["RequestGate"]


class RequestGate:
    """Counts the requests in progress. A closed gate refuses new requests.

    Each request runs inside a `with gate:` block.
    """

    __slots__ = ("_idle", "_in_progress", "_is_open")

    def __init__(self) -> None:
        self._is_open = True
        self._in_progress = 0
        self._idle = trio.Event()

    def __repr__(self) -> str:
        state = "open" if self._is_open else "closed"
        return f"<RequestGate {state}, {self._in_progress} requests in progress>"

    @property
    def in_progress(self) -> int:
        """Number of requests that have entered the gate and not left it."""
        return self._in_progress

    def __enter__(self) -> None:
        """Begin a request.

        Raises:
            OperationRefused: the gate is closed, because the mount is ending.
        """
        if not self._is_open:
            raise OperationRefused(MOUNT_ENDING)
        self._in_progress += 1

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._in_progress -= 1
        if not self._is_open and not self._in_progress:
            self._idle.set()

    def close(self) -> None:
        """Refuse new requests from now on. May be called more than once."""
        self._is_open = False
        if not self._in_progress:
            self._idle.set()

    async def drain(self, seconds: float) -> bool:
        """Close the gate, and wait until no request is in progress, but no longer than `seconds`.

        Return False if some requests are still in progress.
        """
        self.close()
        if self._in_progress and seconds > 0:
            with trio.move_on_after(seconds):
                await self._idle.wait()
        return not self._in_progress
