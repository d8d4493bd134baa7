"""Converts the responses of one ReadObject call into chunks of a stream; sans-IO.

A ReadObject response carries no read id, and only the first response may carry an offset. This
module adds both, so that an answer looks like chunks of a BidiReadObject stream.

Because later responses carry no offset, lost or repeated content shows only in the total: the call
ends with fewer or more bytes than the first response announced. So the last bytes of a range are
delivered only when the call has ended. If the total is wrong, the answer is revoked. If the whole
object is read and its checksum is wrong, the answer is revoked too. To revoke an answer, this
module delivers an empty chunk that is marked as not intact. This chunk makes the receiver discard
all bytes of the call.

Invariants:
1. Chunks are contiguous. They begin at the offset in the first response, or else at the offset of
   the request.
2. Every range that is not answered completely gets one of three signals: the status of the call, an
   empty chunk that ends the range early, or an empty chunk that revokes the answer.
3. A range becomes complete only when its call has ended with the right total.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crc32c import crc32c

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.codec import decode_read_response
from gcsmux_fs.storage.ports import BidiMessage, Chunk

if TYPE_CHECKING:
    from gcsmux_fs.storage.codec import ReadResponse
    from gcsmux_fs.storage.ports import RangeRequest, StreamEnd

__all__ = ["RangeAnswer"]


class RangeAnswer:
    """Converts the responses of one ReadObject call into messages of a BidiReadObject stream."""

    __slots__ = (
        "_announced_end",
        "_begin",
        "_crc32c",
        "_end",
        "_final_chunk",
        "_is_first",
        "_next",
        "_object_crc32c",
        "_read_id",
        "corrupt",
        "over",
        "short_bytes",
    )

    def __init__(self, request: RangeRequest) -> None:
        self._read_id = request.read_id
        self._begin = self._next = request.offset
        self._end = request.offset + request.length
        # The offset at which the answer ends, if the first response announces this offset.
        self._announced_end: int | None = None
        # The chunk that completes the range. It is kept back until the call has ended.
        self._final_chunk: Chunk | None = None
        self._crc32c = 0
        # The CRC32C of the object, if this range covers the whole object.
        self._object_crc32c: int | None = None
        self._is_first = True
        #: Whether no further response matters: the range is complete, or the answer is corrupt.
        self.over = False
        #: Whether the call delivered bytes that do not match a checksum or the announced total.
        self.corrupt = False
        #: The number of bytes received, if the call ended before the announced end; else 0.
        self.short_bytes = 0

    def take(self, data: bytes) -> BidiMessage:
        """Convert one ReadObjectResponse into a message as on a BidiReadObject stream.

        Raises:
            MalformedMessage: `data` is not a ReadObjectResponse.
        """
        response = decode_read_response(data)
        if self._is_first:
            self._open(response)
        size = len(response.content)
        if not size:
            return BidiMessage((), response.metadata)
        offset = self._next
        self._next += size
        if not response.intact:
            self.corrupt = self.over = True
            corrupt = Chunk(self._read_id, offset, response.content, True, False, len(data))
            return BidiMessage((corrupt,), response.metadata)
        if self._next > (self._end if self._announced_end is None else self._announced_end):
            return BidiMessage((self._revoke(),), response.metadata)
        if self._object_crc32c is not None:
            self._crc32c = crc32c(response.content, self._crc32c)
        completes = self._next >= self._end
        chunk = Chunk(self._read_id, offset, response.content, completes, True, len(data))
        if completes and (self._announced_end is None or self._announced_end == self._end):
            self._final_chunk = chunk
            return BidiMessage((), response.metadata)
        # If the server announced more bytes than were requested, do not wait for the bytes
        # after the range.
        self.over = completes
        return BidiMessage((chunk,), response.metadata)

    def close(self, end: StreamEnd) -> BidiMessage | None:
        """Return the last message, if any, when the call has ended with the status `end`."""
        # This RangeAnswer can stay in a reference cycle for a long time, so drop the chunk, which
        # keeps its response in memory.
        final_chunk, self._final_chunk = self._final_chunk, None
        if self.over:
            return None
        if final_chunk is not None:
            if self._object_crc32c is not None and self._object_crc32c != self._crc32c:
                return BidiMessage((self._revoke(),))
            self.over = True
            return BidiMessage((final_chunk,))
        if end.code is not StatusCode.OK:
            return None
        if self._announced_end is not None and self._next < min(self._announced_end, self._end):
            self.short_bytes = self._next - self._begin
            return BidiMessage((self._revoke(),))
        return BidiMessage((self._empty_chunk(self._next, intact=True),))

    def _open(self, response: ReadResponse) -> None:
        self._is_first = False
        if response.start is None:
            return
        self._begin = self._next = response.start
        if response.stop > response.start:
            self._announced_end = response.stop
        metadata = response.metadata
        if metadata is not None and (response.start, response.stop) == (0, metadata.size):
            self._object_crc32c = response.object_crc32c

    def _revoke(self) -> Chunk:
        self.corrupt = self.over = True
        return self._empty_chunk(self._begin, intact=False)

    def _empty_chunk(self, offset: int, *, intact: bool) -> Chunk:
        return Chunk(
            self._read_id, offset, memoryview(b""), range_end=True, intact=intact, message_bytes=0
        )
