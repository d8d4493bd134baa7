"""Responses that carry content, encoded by hand: the content is copied once, into its message.

Field numbers are those of protos/storage.proto. Everything small is left to protobuf: messages
concatenated on the wire merge, so that a part of it may simply be appended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.emulator.services.range_schedule import Slice

__all__ = ["ContentChunk", "encode_bidi_response", "encode_read_response", "varint"]

_MASK_64 = (1 << 64) - 1
_MASK_7 = 0x7F

# (field number << 3 | wire type): 0 varint, 2 length-delimited, 5 fixed32.
_CHECKSUMMED_DATA = b"\x0a"  # ObjectRangeData 1 and ReadObjectResponse 1
_CONTENT = b"\x0a"  # ChecksummedData 1
_CRC32C = b"\x15"  # ChecksummedData 2
_READ_RANGE = b"\x12"  # ObjectRangeData 2
_RANGE_END = b"\x18\x01"  # ObjectRangeData 3, true
_READ_OFFSET = b"\x08"  # ReadRange 1
_READ_LENGTH = b"\x10"  # ReadRange 2
_READ_ID = b"\x18"  # ReadRange 3
_OBJECT_DATA_RANGES = b"\x32"  # BidiReadObjectResponse 6


@dataclass(frozen=True, slots=True)
class ContentChunk:
    """A slice with its content and the content's CRC32C."""

    place: Slice
    content: memoryview
    crc32c: int


def varint(number: int) -> bytes:
    """Return a protobuf varint; negative numbers take ten bytes, as int64 does."""
    number &= _MASK_64
    encoded = bytearray()
    while number > _MASK_7:
        encoded.append(number & _MASK_7 | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


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


def encode_read_response(content: memoryview, crc32c: int, others: bytes) -> bytes:
    """Return a ReadObjectResponse with this content; `others` holds its other fields, encoded."""
    head, tail = _checksummed(content, crc32c)
    return b"".join((head, content, tail, others))


def _checksummed(content: memoryview, crc32c: int) -> tuple[bytes, bytes]:
    """Return what goes before and after the content in a field `checksummed_data`."""
    head = _CONTENT + varint(len(content))
    tail = _CRC32C + crc32c.to_bytes(4, "little")
    return _CHECKSUMMED_DATA + varint(len(head) + len(content) + len(tail)) + head, tail


def _read_range(place: Slice) -> bytes:
    fields = ((_READ_OFFSET, place.offset), (_READ_LENGTH, place.length), (_READ_ID, place.read_id))
    body = b"".join(tag + varint(number) for tag, number in fields if number)
    return _READ_RANGE + varint(len(body)) + body
