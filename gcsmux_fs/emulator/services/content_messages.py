"""Encodes responses with content by hand, so that the content is copied only once.

The field numbers come from protos/storage.proto. The protobuf library encodes the small fields
other than content. These fields can simply be appended, because concatenated protobuf messages
merge into one message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.protobuf_wire import varint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.emulator.services.range_schedule import Slice

__all__ = ["ContentChunk", "encode_bidi_response", "encode_read_response"]

# Tags of protobuf fields. A tag is field number << 3 | wire type. Wire types: 0 varint, 2
# length-delimited, 5 fixed32.
_CHECKSUMMED_DATA = b"\x0a"  # field 1 of ObjectRangeData and of ReadObjectResponse
_CONTENT = b"\x0a"  # field 1 of ChecksummedData
_CRC32C = b"\x15"  # field 2 of ChecksummedData
_READ_RANGE = b"\x12"  # field 2 of ObjectRangeData
_RANGE_END = b"\x18\x01"  # field 3 of ObjectRangeData, with the value true
_READ_OFFSET = b"\x08"  # field 1 of ReadRange
_READ_LENGTH = b"\x10"  # field 2 of ReadRange
_READ_ID = b"\x18"  # field 3 of ReadRange
_OBJECT_DATA_RANGES = b"\x32"  # field 6 of BidiReadObjectResponse


@dataclass(frozen=True, slots=True)
class ContentChunk:
    """A slice, its content, and the CRC32C of the content."""

    place: Slice
    content: memoryview
    crc32c: int


def encode_bidi_response(chunks: Sequence[ContentChunk]) -> bytes:
    """Return a BidiReadObjectResponse with these chunks."""
    parts: list[bytes | memoryview] = []
    for chunk in chunks:
        head, tail = _checksummed(chunk.content, chunk.crc32c)
        tail += _read_range(chunk.place)
        if chunk.place.last:
            tail += _RANGE_END
        size = len(head) + len(chunk.content) + len(tail)
        parts += (_OBJECT_DATA_RANGES + varint(size) + head, chunk.content, tail)
    return b"".join(parts)


def encode_read_response(content: memoryview, crc32c: int, other_fields: bytes) -> bytes:
    """Return a ReadObjectResponse with `content` and the already encoded `other_fields`."""
    head, tail = _checksummed(content, crc32c)
    return b"".join((head, content, tail, other_fields))


def _checksummed(content: memoryview, crc32c: int) -> tuple[bytes, bytes]:
    """Return the bytes before and after the content in a field `checksummed_data`."""
    head = _CONTENT + varint(len(content))
    tail = _CRC32C + crc32c.to_bytes(4, "little")
    return _CHECKSUMMED_DATA + varint(len(head) + len(content) + len(tail)) + head, tail


def _read_range(place: Slice) -> bytes:
    fields = ((_READ_OFFSET, place.offset), (_READ_LENGTH, place.length), (_READ_ID, place.read_id))
    body = b"".join(tag + varint(number) for tag, number in fields if number)
    return _READ_RANGE + varint(len(body)) + body
