"""BidiReadObject over grpc.aio, behind the `BidiTransport` port.

The port's face is on trio's side, the call itself on asyncio's. One asyncio task per call both
writes the opening message and reads responses until the end; it is never cancelled by a timeout,
because cancelling a task that awaits `read()` cancels the whole call. Further messages are written
by a short task each; the port allows one at a time. Responses are decoded, and their checksums
verified, on asyncio's side, beside the serving of the kernel's requests.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio

from gcsmux_fs.errors import StatusCode
from gcsmux_fs.storage.channel import ChannelSettings, Metadata, request_headers
from gcsmux_fs.storage.codec import (
    MalformedMessage,
    bucket_path,
    decode_bidi_response,
    decode_stream_end,
    encode_bidi_request,
)
from gcsmux_fs.storage.crossing import await_asyncio, current
from gcsmux_fs.storage.ports import StreamEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from gcsmux_fs.storage.ports import BidiListener, BidiMessage, OpenSpec, RangeRequest

__all__ = ["GrpcBidiTransport"]

log = logging.getLogger(__name__)

_METHOD = "/google.storage.v2.Storage/BidiReadObject"
_DETAILS_KEY = "grpc-status-details-bin"


class GrpcBidiTransport:
    """Opens calls on one channel; made and used within the trio run that made the channel."""

    def __init__(self, channel: grpc.aio.Channel, settings: ChannelSettings) -> None:
        self.crossing = current()
        self._settings = settings
        self._channel = channel
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open_calls(self) -> int:
        """Asyncio tasks that have not ended yet."""
        return len(self._tasks)

    def open(
        self, spec: OpenSpec, ranges: Sequence[RangeRequest], listener: BidiListener
    ) -> _TrioHalf:
        """Start a call (see `BidiTransport.open`)."""
        headers = request_headers(self._settings, bucket_path(spec.key.bucket), spec.routing_token)
        call = _TrioHalf(self, listener)
        call.start(headers, encode_bidi_request(spec, ranges))
        return call

    async def drain(self) -> None:
        """Wait until the tasks of all calls have ended; cancel the calls before."""

        async def ended() -> None:
            while self._tasks:
                await asyncio.wait(self._tasks)

        await await_asyncio(ended())

    # On asyncio's side.

    def start_call(self, headers: Metadata) -> grpc.aio.StreamStreamCall[bytes, bytes]:
        """Start the bare gRPC call."""
        start: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(
            _METHOD, request_serializer=None, response_deserializer=None
        )
        return start(metadata=headers)

    def start_task(self, coroutine: Coroutine[object, object, None]) -> None:
        """Start a task and hold it until it ends: asyncio itself refers to it only weakly."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _TrioHalf:
    """The call as the port shows it; after `cancel` its listener hears nothing more."""

    def __init__(self, transport: GrpcBidiTransport, listener: BidiListener) -> None:
        self._crossing = transport.crossing
        self._listener: BidiListener | None = listener
        self._other = _AsyncioHalf(transport, self)

    def start(self, headers: Metadata, opening: bytes) -> None:
        """Start the call on the other side."""
        self._crossing.to_asyncio(lambda: self._other.start(headers, opening))

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Send one message (see `BidiCall.send`)."""
        message = encode_bidi_request(None, ranges)
        self._crossing.to_asyncio(lambda: self._other.send(message))

    def cancel(self) -> None:
        """Give the call up (see `BidiCall.cancel`)."""
        if self._listener is not None:
            self._listener = None
            self._crossing.to_asyncio(self._other.cancel)

    def on_sent(self) -> None:
        """Hand on that a message has gone."""
        if self._listener is not None:
            self._listener.on_sent()

    def on_message(self, message: BidiMessage) -> None:
        """Hand on a response."""
        if self._listener is not None:
            self._listener.on_message(message)

    def on_end(self, end: StreamEnd) -> None:
        """Hand on the end."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_end(end)


class _AsyncioHalf:
    """The gRPC call and what it tells the other half."""

    def __init__(self, transport: GrpcBidiTransport, other: _TrioHalf) -> None:
        self._transport = transport
        self._other = other
        self._call: grpc.aio.StreamStreamCall[bytes, bytes] | None = None

    def start(self, headers: Metadata, opening: bytes) -> None:
        call = self._call = self._transport.start_call(headers)
        self._transport.start_task(self._run(call, opening))

    def send(self, message: bytes) -> None:
        if self._call is not None:
            self._transport.start_task(self._write(self._call, message))

    def cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()

    def _tell(self, call: Callable[[], object]) -> None:
        self._transport.crossing.to_trio(call)

    async def _write(self, call: grpc.aio.StreamStreamCall[bytes, bytes], message: bytes) -> None:
        try:
            await call.write(message)
        except (grpc.RpcError, asyncio.InvalidStateError, asyncio.CancelledError):
            return  # the call has ended: the reading task tells how
        self._tell(self._other.on_sent)

    async def _run(self, call: grpc.aio.StreamStreamCall[bytes, bytes], opening: bytes) -> None:
        end = await self._pump(call, opening)
        self._tell(lambda: self._other.on_end(end))

    async def _pump(
        self, call: grpc.aio.StreamStreamCall[bytes, bytes], opening: bytes
    ) -> StreamEnd:
        """Write the opening message and hand over responses until the call has ended."""
        try:
            await self._write(call, opening)
            while (data := await call.read()) is not grpc.aio.EOF:
                self._tell_message(decode_bidi_response(cast("bytes", data)))
        except MalformedMessage as error:
            call.cancel()
            return StreamEnd(StatusCode.INTERNAL, f"malformed message: {error}")
        except (grpc.RpcError, asyncio.InvalidStateError, asyncio.CancelledError):
            pass  # the status below tells
        code = StatusCode((await call.code()).value[0])
        details = b""
        for key, value in await call.trailing_metadata() or ():
            if key == _DETAILS_KEY and isinstance(value, bytes):
                details = value
        return decode_stream_end(code, await call.details() or "", details)

    def _tell_message(self, message: BidiMessage) -> None:
        self._tell(lambda: self._other.on_message(message))
