"""BidiReadObject over grpc.aio, behind the `BidiTransport` port.

One asyncio task per call both writes the opening message and reads responses until the end; it
is never cancelled by a timeout, because cancelling a task that awaits `read()` cancels the whole
call. Further messages are written by a short task each; the port allows one at a time.
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
from gcsmux_fs.storage.ports import StreamEnd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.storage.ports import BidiListener, OpenSpec, RangeRequest

__all__ = ["GrpcBidiTransport"]

log = logging.getLogger(__name__)

_METHOD = "/google.storage.v2.Storage/BidiReadObject"
_DETAILS_KEY = "grpc-status-details-bin"


class GrpcBidiTransport:
    """Opens calls on one channel; use it inside the loop that made the channel."""

    def __init__(self, channel: grpc.aio.Channel, settings: ChannelSettings) -> None:
        self._settings = settings
        self._start: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            _METHOD, request_serializer=None, response_deserializer=None
        )
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open_calls(self) -> int:
        """Calls whose task has not ended yet."""
        return len(self._tasks)

    def open(
        self, spec: OpenSpec, ranges: Sequence[RangeRequest], listener: BidiListener
    ) -> _GrpcBidiCall:
        """Start a call (see `BidiTransport.open`)."""
        headers = request_headers(self._settings, bucket_path(spec.key.bucket), spec.routing_token)
        return _GrpcBidiCall(self, headers, encode_bidi_request(spec, ranges), listener)

    def start(self, headers: Metadata) -> grpc.aio.StreamStreamCall[bytes, bytes]:
        """Start the bare gRPC call."""
        return self._start(metadata=headers)

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it ends: asyncio itself refers to it only weakly."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _GrpcBidiCall:
    def __init__(
        self,
        transport: GrpcBidiTransport,
        headers: Metadata,
        opening: bytes,
        listener: BidiListener,
    ) -> None:
        self._transport = transport
        self._listener: BidiListener | None = listener
        self._loop = asyncio.get_running_loop()
        self._call = transport.start(headers)
        transport.keep(self._loop.create_task(self._run(opening)))

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        self._transport.keep(self._loop.create_task(self._write(encode_bidi_request(None, ranges))))

    def cancel(self) -> None:
        if self._listener is not None:
            self._listener = None
            self._call.cancel()

    async def _write(self, message: bytes) -> None:
        try:
            await self._call.write(message)
        except (grpc.RpcError, asyncio.InvalidStateError, asyncio.CancelledError):
            return  # the call has ended: the reading task tells how
        if self._listener is not None:
            self._listener.on_sent()

    async def _run(self, opening: bytes) -> None:
        end = await self._pump(opening)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_end(end)

    async def _pump(self, opening: bytes) -> StreamEnd:
        """Write the opening message and hand over responses until the call has ended."""
        try:
            await self._write(opening)
            while True:
                data = await self._call.read()
                if self._listener is None:
                    return StreamEnd(StatusCode.CANCELLED)
                if data is grpc.aio.EOF:
                    break
                self._listener.on_message(decode_bidi_response(cast("bytes", data)))
        except MalformedMessage as error:
            self._call.cancel()
            return StreamEnd(StatusCode.INTERNAL, f"malformed message: {error}")
        except (grpc.RpcError, asyncio.InvalidStateError, asyncio.CancelledError):
            pass  # the status below tells
        except Exception:
            log.exception("handling a message failed")
            self._call.cancel()
            return StreamEnd(StatusCode.INTERNAL, "handling a message failed")
        return await self._status()

    async def _status(self) -> StreamEnd:
        code = StatusCode((await self._call.code()).value[0])
        message = await self._call.details() or ""
        details = b""
        for key, value in await self._call.trailing_metadata() or ():
            if key == _DETAILS_KEY and isinstance(value, bytes):
                details = value
        return decode_stream_end(code, message, details)
