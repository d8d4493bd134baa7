"""ReadObject over grpc.aio: one range of one generation, answered in the terms of a shared stream.

Theory of operation. A call of ReadObject carries one range and tells neither its id nor, except in
its first response, an offset: both are added here. Responses are decoded and verified on asyncio's
side, as those of streams are (`gcsmux_fs.storage.bidi`).

Since no message tells where it belongs, content that was lost or repeated on the way shows in the
sum alone: the call ends with fewer bytes than were announced, or more. So the last bytes of a range
are handed over when the call has ended, and where the sum is wrong, or the checksum of an object
that was read whole, all that the call has brought is taken back.

Invariants:
1. Bytes are placed one after the other, from where the first response says that it begins, or else
   from where the range was asked for.
2. Of a range that was not answered whole, whoever waits is told so: by a status, by an empty chunk
   that ends the range early, or by one that is not intact and takes back what came before it.
3. A range is complete only after a call whose sum was right has ended.
4. `on_end` comes once and last, unless the call was cancelled: then nothing comes any more.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, cast

import grpc.aio
from crc32c import crc32c

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.bidi import blame_token, end_of, give_up
from gcsmux_fs.storage.channels import ChannelSettings, Metadata, request_headers
from gcsmux_fs.storage.codec import bucket_path, decode_read_response, encode_read_request
from gcsmux_fs.storage.ports import BidiMessage, Chunk, StreamEnd

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.bidi import GrpcBidiTransport
    from gcsmux_fs.storage.codec import ReadResponse
    from gcsmux_fs.storage.connections import Connection
    from gcsmux_fs.storage.ports import RangeRequest
    from gcsmux_fs.storage.tokens import Token

    _Call = grpc.aio.UnaryStreamCall[bytes, bytes]
    _Connection = Connection[grpc.aio.Channel]

__all__ = ["GrpcRangeReads", "RangeAnswer", "RangeListener", "RangeRead", "RangeReads"]

log = logging.getLogger(__name__)

_METHOD = "/google.storage.v2.Storage/ReadObject"


class RangeListener(Protocol):
    """Receives what comes of one range: any number of messages, then `on_end` once, last."""

    def on_message(self, message: BidiMessage) -> None:
        """Chunks of the range, or what is known of its object."""

    def on_short(self, came: int) -> None:
        """The answer has ended after so many bytes, and was to have more; then comes a message."""

    def on_end(self, end: StreamEnd) -> None:
        """The call is over; OK means that nothing is left to be told of the range."""


class RangeRead(Protocol):
    """One range under way."""

    def cancel(self) -> None:
        """Give it up: no callback follows. Idempotent."""


class RangeReads(Protocol):
    """Reads ranges, each by itself; callbacks never run inside `start`."""

    def start(self, key: ObjectKey, wanted: RangeRequest, listener: RangeListener) -> RangeRead:
        """Ask for one range of one generation."""


class RangeAnswer:
    """The answer to one range while it arrives, sans-IO."""

    __slots__ = (
        "_begin",
        "_crc32c",
        "_end",
        "_first",
        "_last",
        "_next",
        "_read_id",
        "_stop",
        "_told_crc32c",
        "came_short",
        "corrupt",
        "over",
    )

    def __init__(self, wanted: RangeRequest) -> None:
        self._read_id = wanted.read_id
        self._begin = self._next = wanted.offset
        self._end = wanted.offset + wanted.length
        # Where the answer says that it ends, if it does.
        self._stop: int | None = None
        # What completes the range, until its call has ended.
        self._last: Chunk | None = None
        self._crc32c = 0
        # Of the object, if this range is all of it.
        self._told_crc32c: int | None = None
        self._first = True
        #: The range has ended: every byte has come, or one that is not what was sent.
        self.over = False
        self.corrupt = False
        #: How many bytes came in an answer that was to have more.
        self.came_short = 0

    def take(self, data: bytes) -> BidiMessage:
        """Return what one response holds for the range.

        Raises:
            MalformedMessage: it is no response.
        """
        found = decode_read_response(data)
        if self._first:
            self._open(found)
        size = len(found.content)
        if not size:
            return BidiMessage((), found.metadata)
        offset = self._next
        self._next += size
        if not found.intact:
            self.corrupt = self.over = True
            corrupt = Chunk(self._read_id, offset, found.content, True, False, len(data))
            return BidiMessage((corrupt,), found.metadata)
        if self._next > (self._end if self._stop is None else self._stop):
            return BidiMessage((self._take_back(),), found.metadata)
        if self._told_crc32c is not None:
            self._crc32c = crc32c(found.content, self._crc32c)
        completes = self._next >= self._end
        chunk = Chunk(self._read_id, offset, found.content, completes, True, len(data))
        if completes and (self._stop is None or self._stop == self._end):
            self._last = chunk
            return BidiMessage((), found.metadata)
        # A server that has announced more than was asked for is not waited for.
        self.over = completes
        return BidiMessage((chunk,), found.metadata)

    def close(self, end: StreamEnd) -> BidiMessage | None:
        """Return what is still to be told when the call ended with `end`."""
        # The answer is part of a cycle, which may be there for long, with all that it refers to.
        last, self._last = self._last, None
        if self.over:
            return None
        if last is not None:
            if self._told_crc32c is not None and self._told_crc32c != self._crc32c:
                return BidiMessage((self._take_back(),))
            self.over = True
            return BidiMessage((last,))
        if end.code is not StatusCode.OK:
            return None
        if self._stop is not None and self._next < min(self._stop, self._end):
            self.came_short = self._next - self._begin
            return BidiMessage((self._take_back(),))
        return BidiMessage((self._chunk(self._next, intact=True),))

    def _open(self, found: ReadResponse) -> None:
        self._first = False
        if found.start is None:
            return
        self._begin = self._next = found.start
        if found.stop > found.start:
            self._stop = found.stop
        if found.metadata is not None and (found.start, found.stop) == (0, found.metadata.size):
            self._told_crc32c = found.object_crc32c

    def _take_back(self) -> Chunk:
        self.corrupt = self.over = True
        return self._chunk(self._begin, intact=False)

    def _chunk(self, offset: int, *, intact: bool) -> Chunk:
        return Chunk(
            self._read_id, offset, memoryview(b""), range_end=True, intact=intact, message_bytes=0
        )


class GrpcRangeReads:
    """Reads ranges on the connections of a transport, beside its streams."""

    def __init__(self, transport: GrpcBidiTransport, settings: ChannelSettings) -> None:
        self._transport = transport
        self._settings = settings

    def start(self, key: ObjectKey, wanted: RangeRequest, listener: RangeListener) -> _TrioHalf:
        """Ask for one range (see `RangeReads.start`)."""
        read = _TrioHalf(self._transport, wanted, listener)
        read.start(
            request_headers(self._settings, bucket_path(key.bucket), ""),
            encode_read_request(key, wanted),
        )
        return read


class _TrioHalf:
    """The call as its user sees it; after `cancel` the listener hears nothing more."""

    def __init__(
        self, transport: GrpcBidiTransport, wanted: RangeRequest, listener: RangeListener
    ) -> None:
        self._crossing = transport.crossing
        self._listener: RangeListener | None = listener
        self._other = _AsyncioHalf(transport, self, RangeAnswer(wanted))

    def start(self, headers: Metadata, request: bytes) -> None:
        self._crossing.to_asyncio(lambda: self._other.start(headers, request))

    def cancel(self) -> None:
        """Give the call up (see `RangeRead.cancel`)."""
        if self._listener is not None:
            self._listener = None
            self._crossing.to_asyncio(self._other.cancel)

    def on_message(self, message: BidiMessage) -> None:
        if self._listener is not None:
            self._listener.on_message(message)

    def on_short(self, came: int) -> None:
        if self._listener is not None:
            self._listener.on_short(came)

    def on_end(self, end: StreamEnd) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_end(end)


class _AsyncioHalf:
    """The gRPC call and what it tells the other half."""

    def __init__(self, transport: GrpcBidiTransport, other: _TrioHalf, answer: RangeAnswer) -> None:
        self._transport = transport
        self._other = other
        self._answer = answer
        self._call: _Call | None = None
        self._connection: _Connection | None = None
        self._token: Token | None = None

    def start(self, headers: Metadata, request: bytes) -> None:
        self._token = self._transport.token()
        try:
            call, connection = self._transport.start_read(_METHOD, headers, request)
        except Exception as error:
            # A closed channel, most likely; whatever it is, somebody waits for this call's end.
            log.debug("a call could not be started", exc_info=True)
            self._tell_end(StreamEnd(StatusCode.UNAVAILABLE, str(error)))
            return
        self._call, self._connection = call, connection
        self._transport.start_task(self._run(call, connection))

    def cancel(self) -> None:
        if self._call is not None and self._connection is not None:
            give_up(self._call, self._connection)

    async def _run(self, call: _Call, connection: _Connection) -> None:
        end = await end_of(call, connection, self._read(call, connection))
        # As in `bidi`: an ended call is not left to Python's collector.
        self._call = self._connection = None
        end = blame_token(end, self._token)
        rest = self._answer.close(end)
        if self._answer.came_short:
            came = self._answer.came_short
            self._transport.crossing.to_trio(lambda: self._other.on_short(came))
        if rest is not None:
            self._tell_message(rest)
        self._tell_end(StreamEnd(StatusCode.OK) if self._answer.over else end)

    async def _read(self, call: _Call, connection: _Connection) -> None:
        """Hand over responses until the call, or the range, has ended."""
        answered = False
        while (data := await call.read()) is not grpc.aio.EOF:
            connection.heard()
            if self._answer.over:
                call.cancel()  # the server goes on beyond what was asked for
                return
            if not answered:
                answered = True
                self._token = self._transport.token()
            self._tell_message(self._answer.take(cast("bytes", data)))
            if self._answer.corrupt:
                call.cancel()
                return

    def _tell_message(self, message: BidiMessage) -> None:
        self._transport.crossing.to_trio(lambda: self._other.on_message(message))

    def _tell_end(self, end: StreamEnd) -> None:
        self._transport.crossing.to_trio(lambda: self._other.on_end(end))
