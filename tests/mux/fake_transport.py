"""A fake transport in memory and in trio's time. Its calls follow plans (see `Plan`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.values import ObjectInfo
from gcsmux_fs.storage.ports import BidiMessage, Chunk, RangeFailure, StreamEnd

from .plans import CONTENT, Plan, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.storage.ports import BidiListener, OpenSpec, RangeRequest

__all__ = ["FakeTransport", "Opened"]


@dataclass
class Opened:
    """Record of one call, as the server saw the call.

    `messages` holds the time and the requested ranges of each message.
    """

    at: float
    spec: OpenSpec
    messages: list[tuple[float, tuple[RangeRequest, ...]]]
    cancelled_at: float | None = None


@dataclass
class FakeTransport:
    """Opens calls in `nursery`. A call takes the next of `plans`, or `plan` if none is left."""

    nursery: trio.Nursery
    plan: Plan = field(default_factory=Plan)
    plans: list[Plan] = field(default_factory=list)
    opened: list[Opened] = field(default_factory=list)
    open_calls: int = 0
    raise_on_open: Callable[[], None] = lambda: None

    def open(
        self, spec: OpenSpec, ranges: Sequence[RangeRequest], listener: BidiListener
    ) -> _FakeCall:
        self.raise_on_open()
        opened = Opened(trio.current_time(), spec, [])
        self.opened.append(opened)
        plan = self.plans.pop(0) if self.plans else self.plan
        call = _FakeCall(self, plan, opened, listener)
        call.send(ranges)
        if spec.half_close:
            call.half_close()
        self.nursery.start_soon(call.run)
        return call


class _FakeCall:
    def __init__(
        self, transport: FakeTransport, plan: Plan, opened: Opened, listener: BidiListener
    ) -> None:
        self._transport = transport
        self._plan = plan
        self._opened = opened
        self._listener: BidiListener | None = listener
        self._scope = trio.CancelScope()
        self._to_server, self._from_client = trio.open_memory_channel[tuple["RangeRequest", ...]](
            1000
        )
        self._token = trio.lowlevel.current_trio_token()
        self._sending = False
        self._sent_bytes = 0
        self._corrupt = plan.corrupt_chunks
        transport.open_calls += 1

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        assert self._listener is not None
        assert not self._sending
        assert len(ranges) <= 100
        self._sending = True
        self._opened.messages.append((trio.current_time(), tuple(ranges)))
        self._to_server.send_nowait(tuple(ranges))
        self._token.run_sync_soon(self._sent)

    def half_close(self) -> None:
        self._to_server.close()

    def cancel(self) -> None:
        if self._listener is not None:
            self._listener = None
            self._opened.cancelled_at = trio.current_time()
            self._scope.cancel()

    def _sent(self) -> None:
        self._sending = False
        if self._listener is not None:
            self._listener.on_sent()

    async def run(self) -> None:
        try:
            with self._scope:
                end = await self._serve()
                if self._listener is not None:
                    listener, self._listener = self._listener, None
                    listener.on_end(end)
        finally:
            self._transport.open_calls -= 1

    async def _serve(self) -> StreamEnd:
        plan = self._plan
        if plan.hang:
            await trio.sleep_forever()
        await trio.sleep(plan.latency)
        if plan.refuse is not None:
            return plan.refuse
        name = self._opened.spec.key.name
        metadata = ObjectInfo(name, plan.generation, len(CONTENT), 0, 0, finalized=False)
        self._hand_over(BidiMessage((), metadata if plan.generation else None, plan.handle))
        first = True
        async for ranges in self._from_client:
            if not first:
                await trio.sleep(plan.latency)
            first = False
            for request in ranges:
                end = await self._answer(request)
                if end is not None:
                    return end
        return StreamEnd(StatusCode.OK)

    async def _answer(self, request: RangeRequest) -> StreamEnd | None:
        plan = self._plan
        refused = plan.refused_ranges.get(request.offset)
        if refused is not None:
            return StreamEnd(refused, "a range", (RangeFailure(request.read_id, refused, "no"),))
        for piece in pieces(request, plan.chunk_bytes):
            if plan.cut_after is not None and self._sent_bytes >= plan.cut_after:
                if plan.cut_with is None:
                    await trio.sleep_forever()
                    raise AssertionError("sleep_forever returned")
                return plan.cut_with
            await trio.lowlevel.checkpoint()
            self._sent_bytes += len(piece.content)
            self._corrupt -= 1
            content = memoryview(piece.content)
            intact = self._corrupt < 0
            chunk = Chunk(
                piece.read_id, piece.offset, content, piece.range_end, intact, len(content)
            )
            self._hand_over(BidiMessage((chunk,)))
        if request.offset >= len(CONTENT):
            failure = RangeFailure(request.read_id, StatusCode.OUT_OF_RANGE, "beyond the end")
            return StreamEnd(StatusCode.OUT_OF_RANGE, "a range", (failure,))
        return None

    def _hand_over(self, message: BidiMessage) -> None:
        assert self._listener is not None
        self._listener.on_message(message)
