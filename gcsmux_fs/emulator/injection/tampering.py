"""What faults make of a chunk, and of a message: values in, values out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import crc32c as checksum

from gcsmux_fs.emulator.buckets.listing_pages import Position
from gcsmux_fs.emulator.faults.catalogue import (
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
    OmitMetadata,
    Padded,
    PageAgain,
    PageEmpty,
    PageUnsorted,
    Spoiling,
    Turn,
    WrongGeneration,
    WrongSize,
)
from gcsmux_fs.emulator.services.content_messages import varint
from gcsmux_fs.emulator.services.resources import listing_query
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from gcsmux_fs.emulator.faults.catalogue import Fault

__all__ = ["Piece", "alter", "spoil", "tamper"]

# Not zeros, which a reader's fresh buffer holds by itself.
_FILLER = b"\xa5"
_ALL_BITS = 0xFFFFFFFF
# A field number that no message here has, length-delimited.
_UNKNOWN_FIELD = varint(15_000 << 3 | 2)
# A varint ends within ten bytes, none of which has all bits set.
_GARBAGE = b"\xff" * 64
# Field 6, length-delimited, that claims to hold 2 GiB - 1: a chunk of BidiReadObjectResponse.
_HUGE_FIELD = b"\x32" + varint(2**31 - 1)


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk on its way out."""

    read_id: int
    offset: int
    content: bytes
    crc32c: int | None
    last: bool

    def part(self, start: int, end: int, *, last: bool = False) -> Piece:
        """Return the piece that holds `content[start:end]`, with the checksum of that."""
        content = self.content[start:end]
        return Piece(self.read_id, self.offset + start, content, checksum.crc32c(content), last)

    def split(self, at: int) -> tuple[Piece, Piece]:
        """Return the piece in two."""
        return self.part(0, at), self.part(at, len(self.content), last=self.last)


def tamper(piece: Piece, fault: Fault) -> Sequence[Piece]:
    """Return what is sent in place of a piece."""
    size = len(piece.content)
    match fault:
        case ChunkDuplicated():
            return piece, piece
        case ChunkDropped():
            return ()
        case ChunkSwapped() if size > 1:
            first, second = piece.split(size // 2)
            return second, first
        case ChunkOverlaps():
            middle = (size + 1) // 2
            second = piece.part(max(0, middle - fault.by_bytes), size, last=piece.last)
            return piece.part(0, middle), second
        case ChunkGap():
            return (piece.part(min(size, fault.by_bytes), size, last=piece.last),)
        case ChunkTooLong():
            longer = replace(piece, content=piece.content + _FILLER * fault.by_bytes)
            return (longer.part(0, len(longer.content), last=piece.last),)
        case ChunkStray():
            return replace(piece, read_id=fault.read_id), piece
        case ChunkEmpty():
            return piece.part(0, 0), piece
        case ChunkWithoutEnd():
            return (replace(piece, last=False),)
        case ChunkEndsEarly():
            early = piece.part(0, size // 2, last=True)
            return (early, piece.split(size // 2)[1]) if fault.rest else (early,)
        case ChunkWrongCrc():
            return (replace(piece, crc32c=checksum.crc32c(piece.content) ^ _ALL_BITS),)
        case ChunkWithoutCrc():
            return (replace(piece, crc32c=None),)
        case ChunkCorrupted() if size:
            content = bytearray(piece.content)
            content[size // 2] ^= 1
            return (replace(piece, content=bytes(content)),)
    return (piece,)


def alter(answer: Message, request: Message, fault: Fault) -> None:
    """Change what an answer says."""
    match fault:
        case OmitMetadata():
            if isinstance(answer, pb.BidiReadObjectResponse):
                answer.ClearField("metadata")
        case WrongSize():
            for shown in _objects(answer):
                shown.size = max(0, shown.size + fault.by_bytes)
        case WrongGeneration():
            for shown in _objects(answer):
                shown.generation += fault.by
        case PageAgain() | PageEmpty() | PageUnsorted():
            if isinstance(answer, pb.ListObjectsResponse):
                assert isinstance(request, pb.ListObjectsRequest)
                _alter_page(answer, request, fault)


def _alter_page(
    page: pb.ListObjectsResponse,
    request: pb.ListObjectsRequest,
    fault: PageAgain | PageEmpty | PageUnsorted,
) -> None:
    start = Position().token(listing_query(request))
    match fault:
        case PageAgain():
            here = request.page_token or start
            page.next_page_token = here if fault.to is Turn.PAGE else start
        case PageEmpty():
            page.Clear()
            # Another token each time: what is no base64 in it is passed over.
            page.next_page_token = (request.page_token or start) + "."
        case PageUnsorted():
            objects, prefixes = list(page.objects)[::-1], list(page.prefixes)[::-1]
            token = page.next_page_token
            page.Clear()
            page.objects.extend(objects)
            page.prefixes.extend(prefixes)
            page.next_page_token = token


def _objects(answer: Message) -> Sequence[pb.Object]:
    """Return the objects that an answer shows."""
    if isinstance(answer, pb.Object):
        return (answer,)
    if isinstance(answer, pb.ListObjectsResponse):
        return answer.objects
    if isinstance(answer, pb.RewriteResponse):
        return (answer.resource,) if answer.HasField("resource") else ()
    if isinstance(answer, pb.BidiReadObjectResponse | pb.ReadObjectResponse):
        return (answer.metadata,) if answer.HasField("metadata") else ()
    return ()


def spoil(message: bytes, fault: Fault) -> bytes:
    """Return the bytes that are sent in place of a message's."""
    match fault:
        case Malformed(how=Spoiling.GARBAGE):
            return _GARBAGE
        case Malformed(how=Spoiling.TRUNCATED):
            # Without its last byte the last field is short, whatever it is.
            return message[:-1] or _UNKNOWN_FIELD
        case Malformed(how=Spoiling.HUGE):
            return _HUGE_FIELD + message
        case Padded():
            return message + _UNKNOWN_FIELD + varint(fault.by_bytes) + bytes(fault.by_bytes)
    return message
