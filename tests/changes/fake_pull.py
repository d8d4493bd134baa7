"""A fake subscription in memory and in trio's time; the test plays the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.storage.ports import PullResponse

if TYPE_CHECKING:
    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.storage.ports import (
        PulledMessage,
        PullListener,
        PullOrder,
        PullSpec,
        StreamEnd,
    )

__all__ = ["FakePull", "FakePullCall"]

ROUND_TRIP_SECONDS = 0.02


@dataclass
class FakePull:
    """Opens calls. Each call answers its keep-alives after a round trip, unless `silent`.

    `end_with`: how each new call ends before it answers; None for calls that stay open.
    """

    nursery: trio.Nursery
    silent: bool = False
    end_with: StreamEnd | None = None
    seek_error: StorageError | None = None
    raise_on_open: Exception | None = None
    seeks: list[float] = field(default_factory=list)
    calls: list[FakePullCall] = field(default_factory=list)
    acked: list[str] = field(default_factory=list)

    def open(self, spec: PullSpec, listener: PullListener) -> FakePullCall:
        if self.raise_on_open is not None:
            raise self.raise_on_open
        call = FakePullCall(self, spec, listener)
        self.calls.append(call)
        call.send(None)
        if self.end_with is not None:
            self.nursery.start_soon(call.end_later, self.end_with)
        return call

    async def seek(self, publish_time: float) -> None:
        self.seeks.append(publish_time)
        await trio.sleep(ROUND_TRIP_SECONDS)
        if self.seek_error is not None:
            raise self.seek_error

    @property
    def open_calls(self) -> list[FakePullCall]:
        return [call for call in self.calls if call.is_open]

    def deliver(self, *messages: PulledMessage) -> None:
        """Send messages on the open call."""
        (call,) = self.open_calls
        call.listener.on_message(PullResponse(messages))


class FakePullCall:
    def __init__(self, transport: FakePull, spec: PullSpec, listener: PullListener) -> None:
        self.spec = spec
        self.listener = listener
        self.is_open = True
        self.orders: list[PullOrder] = []
        self._transport = transport

    def send(self, order: PullOrder | None) -> None:
        assert self.is_open
        if order is not None:
            self.orders.append(order)
            self._transport.acked += order.ack_ids
        self._transport.nursery.start_soon(self._answer, order)

    def cancel(self) -> None:
        self.is_open = False

    def end(self, end: StreamEnd) -> None:
        assert self.is_open
        self.is_open = False
        self.listener.on_end(end)

    async def end_later(self, end: StreamEnd) -> None:
        await trio.sleep(ROUND_TRIP_SECONDS / 2)
        if self.is_open:
            self.end(end)

    async def _answer(self, order: PullOrder | None) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_open:
            self.listener.on_sent()
        await trio.sleep(ROUND_TRIP_SECONDS)
        is_answered = order is not None and order.is_keep_alive and not self._transport.silent
        if self.is_open and is_answered:
            self.listener.on_message(PullResponse())
