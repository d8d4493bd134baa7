"""Implements `BidiTransport`: BidiReadObject calls over grpc.aio.

Theory of operation. The module `writable_call` describes the two halves of a call, and how messages
are written.

If the opening message is the only message of a call (`half_close`), gRPC's interface for single
requests is used. The server receives the same bytes, but gRPC sends the headers, the message and
the half-close in one batch, and no write has to be awaited or cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.storage.billing import BilledRequests
from gcsmux_fs.storage.call_starter import CallStarter
from gcsmux_fs.storage.channels import ChannelSettings, Metadata, request_headers
from gcsmux_fs.storage.codec import bucket_path, decode_bidi_response, encode_bidi_request
from gcsmux_fs.storage.ports import BidiMessage
from gcsmux_fs.storage.writable_call import WritableAsyncioHalf, WritableTrioHalf

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc.aio

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.storage.connections import Connections
    from gcsmux_fs.storage.ports import BidiListener, OpenSpec, RangeRequest, StreamEnd
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


class StreamOnTrio(WritableTrioHalf[BidiMessage]):
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

    def start_half_closed(self, headers: Metadata, opening: bytes) -> None:
        """Start the call with its only message."""
        # No user of a half-closed call waits for `on_sent`. To save a wake-up of the trio thread,
        # `on_sent` is reported together with the first response.
        self._unconfirmed = True
        self.start_single(headers, opening)

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Send one message (see `BidiCall.send`)."""
        self._billed.note_reads(len(ranges))
        self.write(encode_bidi_request(None, ranges))

    def on_message(self, message: BidiMessage) -> None:
        """Pass a response to the listener."""
        if self._unconfirmed:
            self._unconfirmed = False
            self.on_sent()
        super().on_message(message)


class StreamOnAsyncio(WritableAsyncioHalf[BidiMessage]):
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

    def _receive(self, data: bytes) -> bool:
        message = decode_bidi_response(data)
        # No program waits for a response without content, such as the first one of a new stream.
        self._report_message(message, unhurried=not message.chunks)
        if self._expected_ranges is None:
            return True
        for chunk in message.chunks:
            self._expected_ranges -= chunk.range_end
        return self._expected_ranges > 0

    def _report_end(self, end: StreamEnd) -> None:
        # No program waits for the end of a half-closed call whose ranges have been answered.
        if self._expected_ranges is not None and self._expected_ranges <= 0:
            self._to_trio_unhurried(lambda: self._trio_half.on_end(end))
        else:
            super()._report_end(end)
