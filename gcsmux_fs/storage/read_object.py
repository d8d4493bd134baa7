"""ReadObject over grpc.aio: each call reads one range.

The listener of a call gets the answer as messages like those of a BidiReadObject stream.
`bridged_call` describes the two halves of a call; `range_answer` describes how responses become
chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.bridged_call import AsyncioHalf, CallListener, TrioHalf
from gcsmux_fs.storage.channels import ChannelSettings, request_headers
from gcsmux_fs.storage.codec import bucket_path, encode_read_request
from gcsmux_fs.storage.ports import BidiMessage, StreamEnd
from gcsmux_fs.storage.range_answer import RangeAnswer

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.bidi import GrpcBidiTransport
    from gcsmux_fs.storage.call_starter import CallStarter
    from gcsmux_fs.storage.ports import RangeRequest

__all__ = ["GrpcRangeReads", "RangeListener", "RangeRead", "RangeReads"]

_METHOD = "/google.storage.v2.Storage/ReadObject"


class RangeListener(CallListener[BidiMessage], Protocol):
    """Receives the answer to one range: any number of messages, and finally `on_end` once.

    If `on_end` has the status OK, the messages say whether the range is complete or has failed.
    """

    def on_short(self, received_bytes: int) -> None:
        """The answer was shorter than announced. The next message revokes this answer."""


class RangeRead(Protocol):
    """One ReadObject call."""

    def cancel(self) -> None:
        """Cancel the call. No callback follows. May be called more than once."""


class RangeReads(Protocol):
    """Reads each range by one ReadObject call. No callback runs before `start` has returned."""

    def start(self, key: ObjectKey, request: RangeRequest, listener: RangeListener) -> RangeRead:
        """Start to read one range of one generation of an object."""


class GrpcRangeReads:
    """Reads ranges by ReadObject, on the connections that the streams of `transport` use too."""

    def __init__(self, transport: GrpcBidiTransport, settings: ChannelSettings) -> None:
        self._starter = transport.starter
        self._billed = transport.billed
        self._settings = settings

    def start(self, key: ObjectKey, request: RangeRequest, listener: RangeListener) -> RangeRead:
        """Start to read one range (see `RangeReads.start`)."""
        headers = request_headers(self._settings, bucket_path(key.bucket), "")
        data = encode_read_request(key, request)
        self._billed.note_reads(1)
        read = RangeReadOnTrio(self._starter, listener, request)
        read.start_single(headers, data)
        return read


class RangeReadOnTrio(TrioHalf[BidiMessage]):
    """The half of a ReadObject call on trio's side (see `RangeRead`)."""

    _listener: RangeListener | None
    _method = _METHOD

    def __init__(
        self, starter: CallStarter, listener: RangeListener, request: RangeRequest
    ) -> None:
        super().__init__(starter, listener)
        self._asyncio_half = RangeReadOnAsyncio(starter, self, RangeAnswer(request))

    def on_short(self, received_bytes: int) -> None:
        """Report to the listener that the answer was shorter than announced."""
        if self._listener is not None:
            self._listener.on_short(received_bytes)


class RangeReadOnAsyncio(AsyncioHalf[BidiMessage]):
    """The half of a ReadObject call on asyncio's side, which owns the gRPC call."""

    _trio_half: RangeReadOnTrio

    def __init__(
        self, starter: CallStarter, trio_half: RangeReadOnTrio, answer: RangeAnswer
    ) -> None:
        super().__init__(starter, trio_half)
        self._answer = answer

    def _receive(self, data: bytes) -> bool:
        if not self._answer.over:
            self._report_message(self._answer.take(data))
            if not self._answer.corrupt:
                return True
        # The answer is corrupt, or the server sends more than the request asked for.
        assert self._call is not None
        self._call.cancel()
        return False

    def _close(self, end: StreamEnd) -> StreamEnd:
        rest = self._answer.close(end)
        if short_bytes := self._answer.short_bytes:
            self._to_trio(lambda: self._trio_half.on_short(short_bytes))
        if rest is not None:
            self._report_message(rest)
        return StreamEnd(StatusCode.OK) if self._answer.over else end
