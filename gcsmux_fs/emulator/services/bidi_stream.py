"""One BidiReadObject call: the ranges asked for on it, sent until the client is done.

Two tasks share it, both on one event loop. One takes requests in; the other sends what is due, one
message after the other, so that the client's flow control is what holds it back. All decisions are
made between two awaits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.injection.faulty_call import CallEnded, Fate, current_call
from gcsmux_fs.emulator.rpc_error import RANGE_ERRORS_TYPE, RpcError, invalid, status_details
from gcsmux_fs.emulator.services.range_schedule import FailedRange, RangeSchedule, Slice
from gcsmux_fs.emulator.shaping import Line
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from gcsmux_fs.emulator.control import Control
    from gcsmux_fs.emulator.services.rpc import Send
    from gcsmux_fs.emulator.shaping import Shape

__all__ = ["BidiStream"]

_GOOD = Fate()
# The service's cap on the ranges of one message.
_MAX_RANGES_PER_MESSAGE = 100


class BidiStream:
    """The state of one call.

    `size` returns the object's size in bytes, which grows while an appendable object is written.
    `encode` reads slices and returns the message that carries them.
    """

    def __init__(
        self,
        size: Callable[[], int],
        shape: Shape,
        control: Control,
        encode: Callable[[Sequence[Slice]], bytes],
    ) -> None:
        self._size = size
        self._schedule = RangeSchedule(size())
        self._control = control
        self._call = current_call(control)
        self._shape = self._call.shaped(shape)
        self._line = Line(self._shape)
        self._counters = control.counters
        self._encode = encode
        self._news = asyncio.Event()
        self._half_closed = False
        self._failure: RpcError | CallEnded | None = None

    def add(self, request: pb.BidiReadObjectRequest, due: float) -> None:
        """Take in the ranges of one message.

        Raises:
            RpcError: they break a rule, which ends the whole call (INVALID_ARGUMENT).
            CallEnded: it was ordered to end.
        """
        if len(request.read_ranges) > _MAX_RANGES_PER_MESSAGE:
            raise invalid(
                f"{len(request.read_ranges)} ranges in one message, and at most"
                f" {_MAX_RANGES_PER_MESSAGE} are allowed"
            )
        for wanted in request.read_ranges:
            self._counters.ranges += 1
            size = self._schedule.size = self._size()
            fate = self._call.range(wanted, size) if self._control.armed else _GOOD
            self._counters.bytes_asked += self._schedule.add(
                wanted.read_id,
                wanted.read_offset,
                wanted.read_length,
                due + fate.delay_seconds,
                fate.failure,
            )

    async def take_in(self, requests: AsyncIterator[pb.BidiReadObjectRequest]) -> None:
        """Take in all messages after the first, until the client closes its side."""
        loop = asyncio.get_running_loop()
        try:
            async for request in requests:
                if request.HasField("read_object_spec"):
                    raise invalid("Only the first message may hold a read_object_spec")
                self.add(request, self._shape.due(loop.time()))
                self._news.set()
        except (RpcError, CallEnded) as failure:
            self._failure = failure
        finally:
            self._half_closed = True
            self._news.set()

    async def send_out(self, send: Send) -> None:
        """Send what is asked for, until the client has closed its side and has it all.

        Raises:
            RpcError: the call has to end with an error.
            CallEnded: it was ordered to end.
        """
        self._control.listeners.add(self._news.set)
        try:
            await self._send_all(send)
        finally:
            self._control.listeners.discard(self._news.set)

    async def _send_all(self, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            self._news.clear()
            if self._failure is not None:
                raise self._failure
            if self._control.armed:
                await self._call.reached(0)
            now = clock()
            due = self._schedule.next_due(now)
            if due is None:
                if self._half_closed:
                    return
                await self._wait_for_news()
                continue
            due = self._line.free_at(due)
            if due > now:
                await self._wait_until(due)
                continue
            await self._send(self._schedule.take(now, self._shape.slice_bytes), now, send)

    async def _send(self, taken: Sequence[Slice | FailedRange], now: float, send: Send) -> None:
        slices = [one for one in taken if isinstance(one, Slice)]
        if slices:
            size = sum(one.length for one in slices)
            message = self._encode(slices)
            self._line.occupy(now, size)
            self._counters.bytes_sent += size
            await send(message)
        failed = [one for one in taken if isinstance(one, FailedRange)]
        if failed:
            raise _range_errors(failed)

    async def _wait_for_news(self) -> None:
        """Wait while nothing is asked for; what befalls idle streams happens meanwhile."""
        clock = asyncio.get_running_loop().time
        begin = clock()
        while not self._news.is_set():
            until = self._call.idle_until()
            if until is None:
                await self._news.wait()
                return
            await self._wait_until(begin + until)
            if not self._news.is_set():
                await self._call.idled(until)

    async def _wait_until(self, due: float) -> None:
        """Wait until it is time to send, or until there is something else to consider."""
        try:
            async with asyncio.timeout_at(due):
                await self._news.wait()
        except TimeoutError:
            return


def _range_errors(failed: Sequence[FailedRange]) -> RpcError:
    """Return how a stream ends when ranges fail: with the first one's status, and all by id."""
    first = failed[0].reason
    errors = pb.BidiReadObjectError(
        read_range_errors=[
            pb.ReadRangeError(
                read_id=one.read_id,
                status=pb.RpcStatus(code=one.reason.code, message=one.reason.message),
            )
            for one in failed
        ]
    )
    details = status_details(
        first.code, first.message, RANGE_ERRORS_TYPE, errors.SerializeToString()
    )
    return RpcError(first.code, first.message, details)
