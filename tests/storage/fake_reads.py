"""A fake of ReadObject in memory, in virtual time. Each call follows a plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.codec import encode_read_request
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import StreamEnd
from gcsmux_fs.storage.range_answer import RangeAnswer

from .range_plans import Answer, answers

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.ports import RangeRequest
    from gcsmux_fs.storage.read_object import RangeListener

__all__ = ["FakeReads"]


@dataclass
class FakeReads:
    """Starts calls in `nursery`. Calls follow `plans` in order; all further calls follow `plan`.

    Each call waits `latency` seconds before its first response, and one scheduler tick before each
    further response.
    """

    nursery: trio.Nursery
    plan: Answer = field(default_factory=Answer)
    plans: list[Answer] = field(default_factory=list)
    latency: float = 0.001
    requests: list[pb.ReadObjectRequest] = field(default_factory=list)
    started_at: list[float] = field(default_factory=list)
    open_calls: int = 0
    most_open: int = 0

    def start(self, key: ObjectKey, request: RangeRequest, listener: RangeListener) -> _FakeRead:
        self.requests.append(pb.ReadObjectRequest.FromString(encode_read_request(key, request)))
        self.started_at.append(trio.current_time())
        plan = self.plans.pop(0) if self.plans else self.plan
        read = _FakeRead(self, plan, request, self.requests[-1], listener)
        self.open_calls += 1
        self.most_open = max(self.most_open, self.open_calls)
        self.nursery.start_soon(read.run)
        return read


class _FakeRead:
    def __init__(
        self,
        reads: FakeReads,
        plan: Answer,
        range_request: RangeRequest,
        request: pb.ReadObjectRequest,
        listener: RangeListener,
    ) -> None:
        self._reads = reads
        self._plan = plan
        self._request = request
        self._answer = RangeAnswer(range_request)
        self._listener = listener
        self._scope = trio.CancelScope()

    def cancel(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        end = None
        try:
            with self._scope:
                end = await self._serve()
        finally:
            self._reads.open_calls -= 1
        # Report no end if the listener cancelled the call when it got the last message.
        if end is not None and not self._scope.cancel_called:
            self._listener.on_end(end)

    async def _serve(self) -> StreamEnd:
        await trio.sleep(self._reads.latency)
        for data in answers(self._plan, self._request):
            if self._answer.over:
                break
            self._listener.on_message(self._answer.take(data))
            await trio.lowlevel.checkpoint()
        if self._plan.hang:
            await trio.sleep_forever()
        end = StreamEnd(StatusCode.OK) if self._answer.over else self._plan.end
        rest = self._answer.close(end)
        if self._answer.short_bytes:
            self._listener.on_short(self._answer.short_bytes)
        if rest is not None:
            self._listener.on_message(rest)
        return end
