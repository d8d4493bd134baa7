"""BidiReadObject over grpc.aio, behind the `BidiTransport` port.

Theory of operation. The port's face is on trio's side, the call itself on asyncio's. There, one
task per call reads responses until the end and then tells how the call ended; each message is
written by a short task of its own, the opening one included. A call that is half-closed with its
opening message is made by gRPC's interface for single requests: on the wire it is the same, but
headers, message and half-close go out in one batch, and nothing has to be written or cancelled.
Responses are decoded, and their checksums verified, on asyncio's side, beside the serving of the
kernel's requests. Three things
that grpcio 1.85 does shape this:

- Cancelling a task that awaits `read()` cancels the whole call, so the reading task is never under
  a timeout.
- A write that waits for the connection goes on waiting after its call was cancelled.
- A write that fails because the call has just ended overwrites the status that the server sent,
  details and all, with an "Internal error from Core": measured, 22 of 100 calls that were refused
  at once lost their status so.

The last two are avoided alike: whatever is being written is cancelled the moment the call is done,
before the write can take notice.

Invariants:
1. `on_end` comes once and last, unless the call was cancelled: then nothing comes any more.
2. When a call has ended or was cancelled, its tasks end by themselves.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.asyncio_bridge import await_asyncio, current
from gcsmux_fs.storage.channels import ChannelSettings, Metadata, request_headers
from gcsmux_fs.storage.codec import (
    MalformedMessage,
    bucket_path,
    decode_bidi_response,
    encode_bidi_request,
)
from gcsmux_fs.storage.ports import StreamEnd
from gcsmux_fs.storage.status_details import decode_stream_end, details_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from gcsmux_fs.storage.connections import Connection, Connections
    from gcsmux_fs.storage.ports import BidiListener, BidiMessage, OpenSpec, RangeRequest
    from gcsmux_fs.storage.tokens import Token, Tokens

    _Connection = Connection[grpc.aio.Channel]
    _Call = grpc.aio.StreamStreamCall[bytes, bytes] | grpc.aio.UnaryStreamCall[bytes, bytes]

__all__ = ["GrpcBidiTransport", "blame_token", "end_of", "give_up"]

log = logging.getLogger(__name__)

_METHOD = "/google.storage.v2.Storage/BidiReadObject"


class GrpcBidiTransport:
    """Opens calls on connections; made and used within the trio run that made their channels.

    `tokens` are what the channels of the connections give to their calls.
    """

    def __init__(
        self,
        connections: Connections[grpc.aio.Channel],
        settings: ChannelSettings,
        *,
        tokens: Tokens | None = None,
    ) -> None:
        self.crossing = current()
        self._settings = settings
        self._tokens = tokens
        self._connections = connections
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
        call.start(headers, encode_bidi_request(spec, ranges), half_close=spec.half_close)
        return call

    async def drain(self) -> None:
        """Wait until the tasks of all calls have ended; cancel the calls before."""

        async def ended() -> None:
            while self._tasks:
                await asyncio.wait(self._tasks)

        await await_asyncio(ended())

    # On asyncio's side.

    def token(self) -> Token | None:
        """Return the token of a call that begins now, or is answered now for the first time."""
        return None if self._tokens is None else self._tokens.current

    def start_call(
        self, headers: Metadata
    ) -> tuple[grpc.aio.StreamStreamCall[bytes, bytes], _Connection]:
        """Start the bare gRPC call; return it and the connection that it is on."""
        connection = self._connections.pick(_now())
        start: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = connection.channel.stream_stream(
            _METHOD, request_serializer=None, response_deserializer=None
        )
        call = start(metadata=headers)
        _count(call, connection)
        return call, connection

    def start_read(
        self, method: str, headers: Metadata, request: bytes
    ) -> tuple[grpc.aio.UnaryStreamCall[bytes, bytes], _Connection]:
        """Start a call with a single request: a stream that is half-closed, or another method."""
        connection = self._connections.pick(_now())
        start: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = connection.channel.unary_stream(
            method, request_serializer=None, response_deserializer=None
        )
        connection.sent(_now())
        call = start(request, metadata=headers)
        _count(call, connection)
        return call, connection

    def start_task(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start a task and hold it until it ends: asyncio itself refers to it only weakly."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _now() -> float:
    return asyncio.get_running_loop().time()


def _count(call: grpc.aio.Call, connection: _Connection) -> None:
    clock = asyncio.get_running_loop().time
    connection.begun()
    call.add_done_callback(lambda _call: connection.ended(clock()))


class _TrioHalf:
    """The call as the port shows it; after `cancel` its listener hears nothing more."""

    def __init__(self, transport: GrpcBidiTransport, listener: BidiListener) -> None:
        self._crossing = transport.crossing
        self._listener: BidiListener | None = listener
        self._other = _AsyncioHalf(transport, self)
        self._unconfirmed = False

    def start(self, headers: Metadata, opening: bytes, *, half_close: bool) -> None:
        """Start the call on the other side."""
        # Nobody waits to send more, so that it is not worth a wake-up to tell that this has gone.
        self._unconfirmed = half_close
        start = self._other.start_single if half_close else self._other.start
        self._crossing.to_asyncio(lambda: start(headers, opening))

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
        if self._unconfirmed:
            self._unconfirmed = False
            self.on_sent()
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
        self._call: _Call | None = None
        self._connection: _Connection | None = None
        self._writable: grpc.aio.StreamStreamCall[bytes, bytes] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._token: Token | None = None

    def start(self, headers: Metadata, opening: bytes) -> None:
        self._token = self._transport.token()
        try:
            call, connection = self._transport.start_call(headers)
        except Exception as error:
            self._tell_not_started(error)
            return
        self._call = self._writable = call
        self._connection = connection
        self._transport.start_task(self._run(call, connection))
        self.send(opening)
        call.add_done_callback(self._stop_writing)

    def start_single(self, headers: Metadata, opening: bytes) -> None:
        self._token = self._transport.token()
        try:
            call, connection = self._transport.start_read(_METHOD, headers, opening)
        except Exception as error:
            self._tell_not_started(error)
            return
        self._call, self._connection = call, connection
        self._transport.start_task(self._run(call, connection))

    def send(self, message: bytes) -> None:
        if self._writable is not None and not self._writable.done():
            assert self._connection is not None
            self._connection.sent(_now())
            self._writing = self._transport.start_task(self._write(self._writable, message))

    def cancel(self) -> None:
        if self._call is not None and self._connection is not None:
            give_up(self._call, self._connection)

    def _tell_not_started(self, error: Exception) -> None:
        # A closed channel, most likely; whatever it is, somebody waits for this call's end.
        log.debug("a call could not be started", exc_info=error)
        self._tell_end(StreamEnd(StatusCode.UNAVAILABLE, str(error)))

    def _stop_writing(self, _call: object) -> None:
        if self._writing is not None:
            self._writing.cancel()

    async def _write(self, call: grpc.aio.StreamStreamCall[bytes, bytes], message: bytes) -> None:
        try:
            await call.write(message)
        except (grpc.RpcError, asyncio.InvalidStateError):
            return  # the call has ended: the reading task tells how
        self._transport.crossing.to_trio(self._other.on_sent)

    async def _run(self, call: _Call, connection: _Connection) -> None:
        end = await end_of(call, connection, self._read(call, connection))
        # The halves refer to each other: an idle process would wait for Python's collector with a
        # call, which keeps its connection open after its channel was closed.
        self._call = self._writable = self._writing = self._connection = None
        self._tell_end(blame_token(end, self._token))

    async def _read(self, call: _Call, connection: _Connection) -> None:
        """Hand over responses until the call has ended."""
        answered = False
        while (data := await call.read()) is not grpc.aio.EOF:
            connection.heard()
            if not answered:
                answered = True
                # The one from the beginning may have been replaced before the call was sent.
                self._token = self._transport.token()
            self._tell_message(decode_bidi_response(cast("bytes", data)))

    def _tell_message(self, message: BidiMessage) -> None:
        self._transport.crossing.to_trio(lambda: self._other.on_message(message))

    def _tell_end(self, end: StreamEnd) -> None:
        self._transport.crossing.to_trio(lambda: self._other.on_end(end))


def give_up(call: grpc.aio.Call, connection: _Connection) -> None:
    """Cancel a call that nobody wants any more, unless it has ended."""
    if not call.done():
        connection.given_up(_now())
        call.cancel()


async def end_of(
    call: grpc.aio.Call, connection: _Connection, reading: Coroutine[object, object, None]
) -> StreamEnd:
    """Await the reading of a call, and return how the call ended, whatever ended it."""
    try:
        end = await _await_end(call, reading)
    except MalformedMessage as error:
        call.cancel()
        return StreamEnd(StatusCode.INTERNAL, f"malformed message: {error}")
    except asyncio.CancelledError:
        # The call was cancelled, by the other half or with its channel, or the loop is ending.
        call.cancel()
        return StreamEnd(StatusCode.CANCELLED, "cancelled on this side")
    except Exception as error:
        log.exception("reading a stream failed")
        call.cancel()
        return StreamEnd(StatusCode.INTERNAL, f"reading failed: {error}")
    # gRPC tells of a call that was cancelled here as if the server had ended it.
    if not call.cancelled():
        connection.heard()
    return end


def blame_token(end: StreamEnd, token: Token | None) -> StreamEnd:
    """Have the token of a call that was refused for it renewed; return the end that tells so."""
    if token is None or end.code is not StatusCode.UNAUTHENTICATED:
        return end
    token.refused = True
    return replace(end, token_refused=True)


async def _await_end(call: grpc.aio.Call, reading: Coroutine[object, object, None]) -> StreamEnd:
    with suppress(grpc.RpcError):  # the status tells
        await reading
    details = details_of(await call.trailing_metadata())
    code = StatusCode((await call.code()).value[0])
    return decode_stream_end(code, await call.details() or "", details)
