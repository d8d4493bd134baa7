"""Applies faults to responses: to decoded messages, to chunks of content, and to encoded bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import crc32c as checksum

from gcsmux_fs.emulator.buckets.listing_pages import Position, listing_query
from gcsmux_fs.emulator.faults import (
    ChunkCorrupted,
    ChunkDropped,
    ChunkDuplicated,
    ChunkEmpty,
    ChunkEndsEarly,
    ChunkGap,
    ChunkOverlaps,
    ChunkStray,
    ChunkSwapped,
    ChunkTooLong,
    ChunkWithoutCrc,
    ChunkWithoutEnd,
    ChunkWrongCrc,
    Malformed,
    MalformedKind,
    OmitMetadata,
    Padded,
    PageAgain,
    PageEmpty,
    PageTokenTarget,
    PageUnsorted,
    WrongGeneration,
    WrongSize,
)
from gcsmux_fs.emulator.protobuf_wire import length_delimited, varint
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from gcsmux_fs.emulator.faults import Fault

__all__ = ["ResponseChunk", "apply_to_bytes", "apply_to_chunk", "apply_to_response"]

# The byte that ChunkTooLong appends to chunks. The byte is not zero, because a client's new buffer
# may already hold zeros. Appended zeros could therefore hide an error.
_FILLER = b"\xa5"
_ALL_BITS = 0xFFFFFFFF
# Number of an unknown field: no message of the service has a field with this number.
_UNKNOWN_FIELD = 15_000
# An incomplete message: the start of an unknown field whose length is missing.
_INCOMPLETE_FIELD = length_delimited(_UNKNOWN_FIELD, b"")[:-1]
# Bytes with which no protobuf message begins, because a varint has at most ten bytes, and the
# highest bit of its last byte is 0.
_GARBAGE = b"\xff" * 64
# Field 6, object_data_ranges of BidiReadObjectResponse, with a claimed length of 2 GiB - 1.
_HUGE_FIELD = b"\x32" + varint(2**31 - 1)


@dataclass(frozen=True, slots=True)
class ResponseChunk:
    """A chunk of content in a response. `last`: the chunk ends its range."""

    read_id: int
    offset: int
    content: bytes
    crc32c: int | None
    last: bool

    def part(self, start: int, end: int, *, last: bool = False) -> ResponseChunk:
        """Return a chunk with `content[start:end]` and the checksum of this part."""
        content = self.content[start:end]
        return ResponseChunk(
            self.read_id, self.offset + start, content, checksum.crc32c(content), last
        )

    def split(self, at: int) -> tuple[ResponseChunk, ResponseChunk]:
        """Return the chunk as two chunks; the first has `at` bytes."""
        return self.part(0, at), self.part(at, len(self.content), last=self.last)


def apply_to_chunk(chunk: ResponseChunk, fault: Fault) -> Sequence[ResponseChunk]:
    """Apply a fault: return the chunks to send instead of `chunk`."""
    size = len(chunk.content)
    match fault:
        case ChunkDuplicated():
            return chunk, chunk
        case ChunkDropped():
            return ()
        case ChunkSwapped() if size > 1:
            first, second = chunk.split(size // 2)
            return second, first
        case ChunkOverlaps():
            middle = (size + 1) // 2
            second = chunk.part(max(0, middle - fault.by_bytes), size, last=chunk.last)
            return chunk.part(0, middle), second
        case ChunkGap():
            return (chunk.part(min(size, fault.by_bytes), size, last=chunk.last),)
        case ChunkTooLong():
            longer = replace(chunk, content=chunk.content + _FILLER * fault.by_bytes)
            return (longer.part(0, len(longer.content), last=chunk.last),)
        case ChunkStray():
            return replace(chunk, read_id=fault.read_id), chunk
        case ChunkEmpty():
            return chunk.part(0, 0), chunk
        case ChunkWithoutEnd():
            return (replace(chunk, last=False),)
        case ChunkEndsEarly():
            early = chunk.part(0, size // 2, last=True)
            return (early, chunk.split(size // 2)[1]) if fault.rest else (early,)
        case ChunkWrongCrc():
            return (replace(chunk, crc32c=checksum.crc32c(chunk.content) ^ _ALL_BITS),)
        case ChunkWithoutCrc():
            return (replace(chunk, crc32c=None),)
        case ChunkCorrupted() if size:
            content = bytearray(chunk.content)
            content[size // 2] ^= 1
            return (replace(chunk, content=bytes(content)),)
    return (chunk,)


def apply_to_response(response: Message, request: Message, fault: Fault) -> None:
    """Apply a fault to the fields of a response. Ignore faults of chunks or of encoded bytes."""
    match fault:
        case OmitMetadata():
            if isinstance(response, pb.BidiReadObjectResponse):
                response.ClearField("metadata")
        case WrongSize():
            for resource in _objects_in(response):
                resource.size = max(0, resource.size + fault.by_bytes)
        case WrongGeneration():
            for resource in _objects_in(response):
                resource.generation += fault.by
        case PageAgain() | PageEmpty() | PageUnsorted():
            if isinstance(response, pb.ListObjectsResponse):
                assert isinstance(request, pb.ListObjectsRequest)
                _apply_to_page(response, request, fault)


def _apply_to_page(
    page: pb.ListObjectsResponse,
    request: pb.ListObjectsRequest,
    fault: PageAgain | PageEmpty | PageUnsorted,
) -> None:
    start_token = Position().token(listing_query(request))
    own_token = request.page_token or start_token
    match fault:
        case PageAgain():
            page.next_page_token = own_token if fault.to is PageTokenTarget.PAGE else start_token
        case PageEmpty():
            page.Clear()
            # The full stop makes the token different from the token of this page. base64 decoding
            # ignores the full stop, so the token leads to the same position.
            page.next_page_token = own_token + "."
        case PageUnsorted():
            objects, prefixes = list(page.objects)[::-1], list(page.prefixes)[::-1]
            token = page.next_page_token
            page.Clear()
            page.objects.extend(objects)
            page.prefixes.extend(prefixes)
            page.next_page_token = token


def _objects_in(response: Message) -> Sequence[pb.Object]:
    """Return the object resources that a response contains."""
    if isinstance(response, pb.Object):
        return (response,)
    if isinstance(response, pb.ListObjectsResponse):
        return response.objects
    if isinstance(response, pb.RewriteResponse):
        return (response.resource,) if response.HasField("resource") else ()
    if isinstance(response, pb.BidiReadObjectResponse | pb.ReadObjectResponse):
        return (response.metadata,) if response.HasField("metadata") else ()
    return ()


def apply_to_bytes(message: bytes, faults: Sequence[Fault]) -> bytes:
    """Apply `malformed` and `padded` faults to an encoded message, in order."""
    for fault in faults:
        match fault:
            case Malformed(how=MalformedKind.GARBAGE):
                message = _GARBAGE
            case Malformed(how=MalformedKind.TRUNCATED):
                # Without the last byte of the message, its last field is too short, whatever the
                # type.
                message = message[:-1] or _INCOMPLETE_FIELD
            case Malformed(how=MalformedKind.HUGE):
                message = _HUGE_FIELD + message
            case Padded():
                message += length_delimited(_UNKNOWN_FIELD, bytes(fault.by_bytes))
    return message
