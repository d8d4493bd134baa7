"""One BidiReadObject call: receives requests for ranges, and sends their content.

Two tasks of one event loop share the stream. One task receives requests. The other task sends the
ranges that are due, one message at a time, so that the client's flow control slows this task down.
After an await, a task reads the shared state again, because the other task may have changed it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.injection.faulty_call import CallEndedOk, RangeOutcome, current_call
from gcsmux_fs.emulator.rpc_error import RANGE_ERRORS_TYPE, RpcError, invalid, status_details
from gcsmux_fs.emulator.service_limits import MAX_RANGES_PER_MESSAGE
from gcsmux_fs.emulator.services.range_schedule import FailedRange, RangeSchedule, Slice
from gcsmux_fs.emulator.shaping import BandwidthLimiter
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from gcsmux_fs.emulator.call_counters import CallCounters
    from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
    from gcsmux_fs.emulator.injection.response_sender import Send
    from gcsmux_fs.emulator.shaping import Shape

__all__ = ["BidiStream"]

_NO_FAULT = RangeOutcome()


class BidiStream:
    """One BidiReadObject call.

    `size` returns the current size of the object in bytes; the size of an appendable object
    increases while it is written. `encode` reads the content of slices and returns a message with
    this content.
    """

    def __init__(
        self,
        size: Callable[[], int],
        shape: Shape,
        orders: FaultOrders,
        counters: CallCounters,
        encode: Callable[[Sequence[Slice]], bytes],
    ) -> None:
        self._size = size
        self._schedule = RangeSchedule(size())
        self._orders = orders
        self._call = current_call(orders)
        self._shape = self._call.shaped(shape)
        self._limiter = BandwidthLimiter(self._shape)
        self._counters = counters
        self._encode = encode
        # This event wakes the task that sends ranges.
        self._changed = asyncio.Event()
        self._half_closed = False
        self._failure: RpcError | CallEndedOk | None = None

    def add(self, request: pb.BidiReadObjectRequest, due: float) -> None:
        """Schedule the ranges of one message. From the time `due` on, these ranges may be sent.

        Raises:
            RpcError: the message is not valid (INVALID_ARGUMENT), or a fault ends the call.
            CallEndedOk: a fault ends the call with OK.
        """
        if len(request.read_ranges) > MAX_RANGES_PER_MESSAGE:
            raise invalid(
                f"The message requests {len(request.read_ranges)} ranges; the maximum is"
                f" {MAX_RANGES_PER_MESSAGE}."
            )
        for requested in request.read_ranges:
            self._counters.ranges += 1
            size = self._schedule.size = self._size()
            outcome = self._call.range(requested, size) if self._orders.armed else _NO_FAULT
            self._counters.bytes_asked += self._schedule.add(
                requested.read_id,
                requested.read_offset,
                requested.read_length,
                due + outcome.delay_seconds,
                outcome.failure,
            )

    async def receive(self, requests: AsyncIterator[pb.BidiReadObjectRequest]) -> None:
        """Schedule the ranges of all messages after the first, until the client half-closes."""
        loop = asyncio.get_running_loop()
        try:
            async for request in requests:
                if request.HasField("read_object_spec"):
                    raise invalid("Only the first message may contain a read_object_spec.")
                self.add(request, self._shape.due(loop.time()))
                self._changed.set()
        except (RpcError, CallEndedOk) as failure:
            self._failure = failure
        finally:
            self._half_closed = True
            self._changed.set()

    async def send_ranges(self, send: Send) -> None:
        """Send the scheduled ranges until the client has half-closed and all ranges are sent.

        Raises:
            RpcError: the call ends with an error.
            CallEndedOk: a fault ends the call with OK.
        """
        self._orders.listeners.add(self._changed.set)
        try:
            await self._send_ranges(send)
        finally:
            self._orders.listeners.discard(self._changed.set)

    async def _send_ranges(self, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            self._changed.clear()
            if self._failure is not None:
                raise self._failure
            if self._orders.armed:
                await self._call.reached(0)
            now = clock()
            due = self._schedule.next_due(now)
            if due is None:
                if self._half_closed:
                    return
                await self._wait_idle()
                continue
            due = self._limiter.free_at(due)
            if due > now:
                await self._wait_until(due)
                continue
            await self._send(self._schedule.take(now, self._shape.slice_bytes), now, send)

    async def _send(self, taken: Sequence[Slice | FailedRange], now: float, send: Send) -> None:
        slices = [part for part in taken if isinstance(part, Slice)]
        if slices:
            size = sum(part.length for part in slices)
            message = self._encode(slices)
            self._limiter.occupy(now, size)
            self._counters.bytes_sent += size
            await send(message)
        failed = [part for part in taken if isinstance(part, FailedRange)]
        if failed:
            raise _range_errors(failed)

    async def _wait_idle(self) -> None:
        """Wait until `_changed` is set. Meanwhile, cause faults at the injection point `idle`."""
        clock = asyncio.get_running_loop().time
        begin = clock()
        while not self._changed.is_set():
            idle_seconds = self._call.idle_until()
            if idle_seconds is None:
                await self._changed.wait()
                return
            await self._wait_until(begin + idle_seconds)
            if not self._changed.is_set():
                await self._call.idled(idle_seconds)

    async def _wait_until(self, due: float) -> None:
        """Wait until the time `due`, or until `_changed` is set."""
        try:
            async with asyncio.timeout_at(due):
                await self._changed.wait()
        except TimeoutError:
            return


def _range_errors(failed: Sequence[FailedRange]) -> RpcError:
    """Return the error that ends a stream with failed ranges.

    The error has the status of the first failed range. Its details list all failed ranges.
    """
    first = failed[0].reason
    errors = pb.BidiReadObjectError(
        read_range_errors=[
            pb.ReadRangeError(
                read_id=failure.read_id,
                status=pb.RpcStatus(code=failure.reason.code, message=failure.reason.message),
            )
            for failure in failed
        ]
    )
    details = status_details(
        first.code, first.message, RANGE_ERRORS_TYPE, errors.SerializeToString()
    )
    return RpcError(first.code, first.message, details)
