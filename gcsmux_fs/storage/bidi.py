"""Implements `BidiTransport`: BidiReadObject calls over grpc.aio.

Theory of operation. The module `bridged_call` describes the two halves of a call. This module adds
the writing of messages: a short asyncio task writes each message, including the opening message.

If the opening message is the only message of a call (`half_close`), gRPC's interface for single
requests is used. The server receives the same bytes, but gRPC sends the headers, the message and
the half-close in one batch, and no write has to be awaited or cancelled.

Two properties of grpcio 1.85 matter for writing:

- A write that waits for the connection continues to wait after its call was cancelled.
- If a write fails because its call has just ended, gRPC replaces the status and the details from
  the server with "Internal error from Core". Measured: of 100 calls that a server refused
  immediately, 22 lost their status.

One rule avoids both problems: as soon as a call is done, its unfinished write is cancelled, before
the write can fail.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from gcsmux_fs.storage.billing import BilledRequests
from gcsmux_fs.storage.bridged_call import AsyncioHalf, TrioHalf
from gcsmux_fs.storage.call_starter import CallStarter, now
from gcsmux_fs.storage.channels import ChannelSettings, Metadata, request_headers
from gcsmux_fs.storage.codec import bucket_path, decode_bidi_response, encode_bidi_request
from gcsmux_fs.storage.ports import BidiListener

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.storage.connections import Connections
    from gcsmux_fs.storage.ports import BidiMessage, OpenSpec, RangeRequest, StreamEnd
    from gcsmux_fs.storage.request_outcomes import RequestOutcomes
    from gcsmux_fs.storage.tokens import Tokens

__all__ = ["GrpcBidiTransport"]

_METHOD = "/google.storage.v2.Storage/BidiReadObject"


class GrpcBidiTransport:
    """Opens BidiReadObject calls within the trio run that made the channels of `connections`.

    Args:
        connections: the connections that carry the calls.
        settings: the settings of the channels.
        tokens: adds an access token to each call; None if calls need no token.
        billed: the counters to which the ranges are added.
        outcomes: counts the calls by their status.
    """

    def __init__(
        self,
        connections: Connections[grpc.aio.Channel],
        settings: ChannelSettings,
        *,
        tokens: Tokens | None = None,
        billed: BilledRequests | None = None,
        outcomes: RequestOutcomes | None = None,
    ) -> None:
        self.starter = CallStarter(connections, tokens, outcomes)
        self.billed = billed or BilledRequests()
        self._settings = settings

    @property
    def open_calls(self) -> int:
        """Number of asyncio tasks of calls that have not ended."""
        return self.starter.open_tasks

    def open(
        self, spec: OpenSpec, ranges: Sequence[RangeRequest], listener: BidiListener
    ) -> StreamOnTrio:
        """Start a call (see `BidiTransport.open`)."""
        headers = request_headers(self._settings, bucket_path(spec.key.bucket), spec.routing_token)
        self.billed.note_reads(len(ranges))
        opening = encode_bidi_request(spec, ranges)
        if spec.half_close:
            call = StreamOnTrio(self, listener, len(ranges))
            call.start_half_closed(headers, opening)
        else:
            call = StreamOnTrio(self, listener)
            call.start_stream(headers, opening)
        return call

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the gauge `tasks` and the metrics of `billed`."""
        registry.gauge("tasks", "tasks", "Asyncio tasks of open calls.", lambda: self.open_calls)
        self.billed.declare_metrics(registry)

    async def drain(self) -> None:
        """Wait until the tasks of all calls have ended. The caller cancels the calls first."""
        await self.starter.drain()


class StreamOnTrio(TrioHalf[BidiListener]):
    """The half of a BidiReadObject call on trio's side (see `BidiCall`)."""

    _asyncio_half: StreamOnAsyncio
    _method = _METHOD

    def __init__(
        self,
        transport: GrpcBidiTransport,
        listener: BidiListener,
        expected_ranges: int | None = None,
    ) -> None:
        super().__init__(transport.starter, listener)
        self._billed = transport.billed
        self._asyncio_half = StreamOnAsyncio(transport.starter, self, expected_ranges)
        self._unconfirmed = False

    def start_stream(self, headers: Metadata, opening: bytes) -> None:
        """Start the call with its opening message; `send` sends further messages."""
        self._bridge.to_asyncio(lambda: self._asyncio_half.start_stream(headers, opening))

    def start_half_closed(self, headers: Metadata, opening: bytes) -> None:
        """Start the call with its only message."""
        # No user of a half-closed call waits for `on_sent`. To save a wake-up of the trio thread,
        # `on_sent` is reported together with the first response.
        self._unconfirmed = True
        self.start_single(headers, opening)

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Send one message (see `BidiCall.send`)."""
        message = encode_bidi_request(None, ranges)
        self._billed.note_reads(len(ranges))
        self._bridge.to_asyncio(lambda: self._asyncio_half.send(message))

    def on_sent(self) -> None:
        """Report to the listener that a message has been sent."""
        if self._listener is not None:
            self._listener.on_sent()

    def on_message(self, message: BidiMessage) -> None:
        """Pass a response to the listener."""
        if self._unconfirmed:
            self._unconfirmed = False
            self.on_sent()
        if self._listener is not None:
            self._listener.on_message(message)


class StreamOnAsyncio(AsyncioHalf):
    """The half of a BidiReadObject call on asyncio's side, which owns the gRPC call.

    `expected_ranges` is the number of ranges of a half-closed call, None for other calls. After the
    end of the last expected range, no response is read, because each read costs a batch of gRPC and
    two wake-ups of threads. gRPC then reports the status when it arrives. If the server sends a
    further response instead, gRPC never reports the status; the mux closes such a call as an idle
    stream.
    """

    _trio_half: StreamOnTrio

    def __init__(
        self, starter: CallStarter, trio_half: StreamOnTrio, expected_ranges: int | None
    ) -> None:
        super().__init__(starter, trio_half)
        self._expected_ranges = expected_ranges
        self._writable: grpc.aio.StreamStreamCall[bytes, bytes] | None = None
        self._write_task: asyncio.Task[None] | None = None

    def start_stream(self, headers: Metadata, opening: bytes) -> None:
        """Start a call that can send further messages."""
        self._token = self._starter.token
        try:
            call, connection = self._starter.start_stream(_METHOD, headers)
        except Exception as error:
            self._report_not_started(error)
            return
        self._writable = call
        self._serve(call, connection)
        self.send(opening)
        call.add_done_callback(self._stop_writing)

    def send(self, message: bytes) -> None:
        """Write one message, unless the call has ended."""
        if self._writable is not None and not self._writable.done():
            assert self._connection is not None
            self._connection.note_sent(now())
            self._write_task = self._starter.start_task(self._write(self._writable, message))

    def _receive(self, data: bytes) -> bool:
        message = decode_bidi_response(data)
        # No program waits for a response without content, such as the first one of a new stream.
        self._report_message(message, unhurried=not message.chunks)
        if self._expected_ranges is None:
            return True
        for chunk in message.chunks:
            self._expected_ranges -= chunk.range_end
        return self._expected_ranges > 0

    def _close(self, end: StreamEnd) -> StreamEnd:
        self._writable = self._write_task = None
        return end

    def _report_end(self, end: StreamEnd) -> None:
        # No program waits for the end of a half-closed call whose ranges have been answered.
        if self._expected_ranges is not None and self._expected_ranges <= 0:
            self._to_trio_unhurried(lambda: self._trio_half.on_end(end))
        else:
            super()._report_end(end)

    def _stop_writing(self, _call: object) -> None:
        if self._write_task is not None:
            self._write_task.cancel()

    async def _write(self, call: grpc.aio.StreamStreamCall[bytes, bytes], message: bytes) -> None:
        try:
            await call.write(message)
        except (grpc.RpcError, asyncio.InvalidStateError):
            return  # the call has ended, and the reading task reports its status
        self._to_trio(self._trio_half.on_sent)
