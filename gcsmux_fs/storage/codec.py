"""Encodes requests, and decodes responses without copying the content of objects.

The protobuf parser would copy the content out of each response, and nearly all received bytes are
content. So this module parses the responses of BidiReadObject and ReadObject itself: it reads the
few fields around the content, and the content becomes a memoryview of the message that gRPC
delivered. Protobuf parses all other messages. Field numbers: protos/storage.proto. Encoding:
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from crc32c import crc32c
from google.protobuf.message import DecodeError

from gcsmux_fs.model.values import ObjectInfo
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import BidiMessage, Chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.ports import OpenSpec, RangeRequest

__all__ = [
    "MalformedMessage",
    "ReadResponse",
    "bucket_path",
    "decode_bidi_response",
    "decode_object",
    "decode_read_response",
    "encode_bidi_request",
    "encode_read_request",
    "nanoseconds",
]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_LAST_NS, _FIRST_NS = (1 << 63) - 1, -(1 << 63)
_NO_METADATA: Mapping[str, str] = MappingProxyType({})


class MalformedMessage(Exception):
    """A response is not a well-formed protobuf message of the expected type."""


def bucket_path(bucket: str) -> str:
    """Return the resource name of a bucket. Requests name the bucket by this name."""
    return f"projects/_/buckets/{bucket}"


def encode_bidi_request(spec: OpenSpec | None, ranges: Iterable[RangeRequest]) -> bytes:
    """Return a serialized BidiReadObjectRequest; only the first message of a call has a `spec`."""
    request = pb.BidiReadObjectRequest()
    if spec is not None:
        target = request.read_object_spec
        target.bucket = bucket_path(spec.key.bucket)
        target.object = spec.key.name
        target.generation = spec.key.generation
        if spec.handle:
            target.read_handle.handle = spec.handle
        if spec.routing_token:
            target.routing_token = spec.routing_token
    for each in ranges:
        request.read_ranges.add(
            read_offset=each.offset, read_length=each.length, read_id=each.read_id
        )
    return request.SerializeToString()


def encode_read_request(key: ObjectKey, request: RangeRequest) -> bytes:
    """Return a serialized ReadObjectRequest for one range."""
    return pb.ReadObjectRequest(
        bucket=bucket_path(key.bucket),
        object=key.name,
        generation=key.generation,
        read_offset=request.offset,
        read_limit=request.length,
    ).SerializeToString()


def decode_bidi_response(data: bytes) -> BidiMessage:
    """Decode one BidiReadObjectResponse.

    The chunks hold views of `data`. A chunk whose CRC32C is wrong is marked as not intact.

    Raises:
        MalformedMessage: `data` is not a BidiReadObjectResponse.
    """
    chunks: list[Chunk] = []
    # If a singular field occurs several times, protobuf merges the occurrences. Parsing their
    # concatenated bytes has the same effect.
    metadata: bytes | None = None
    handle = b""
    view = memoryview(data)
    try:
        for number, wire, value, end in _fields(data, 0, len(data)):
            if wire != _BYTES:
                continue
            if number == 6:
                chunks.append(_decode_chunk(data, view, value, end))
            elif number == 4:
                metadata = (metadata or b"") + data[value:end]
            elif number == 7:
                handle += data[value:end]
        return BidiMessage(
            tuple(chunks),
            decode_object(pb.Object.FromString(metadata)) if metadata is not None else None,
            pb.BidiReadHandle.FromString(handle).handle if handle else b"",
        )
    except (IndexError, DecodeError) as error:
        raise MalformedMessage(f"response of {len(data)} bytes: {error}") from error


def _decode_chunk(data: bytes, view: memoryview, start: int, end: int) -> Chunk:
    read_id = offset = 0
    range_end = False
    content = view[:0]
    checksum: int | None = None
    for number, wire, value, stop in _fields(data, start, end):
        if number == 1 and wire == _BYTES:
            part, crc = _decode_checksummed(data, view, value, stop)
            content = content if part is None else part
            checksum = checksum if crc is None else crc
        elif number == 2 and wire == _BYTES:
            for inner, inner_wire, inner_value, _ in _fields(data, value, stop):
                if inner_wire == _VARINT:
                    if inner == 1:
                        offset = _signed(inner_value)
                    elif inner == 3:
                        read_id = _signed(inner_value)
        elif number == 3 and wire == _VARINT:
            range_end = value != 0
    intact = checksum is None or crc32c(content) == checksum
    return Chunk(read_id, offset, content, range_end, intact, len(data))


def _decode_checksummed(
    data: bytes, view: memoryview, start: int, end: int
) -> tuple[memoryview | None, int | None]:
    """Return the content and the CRC32C of a ChecksummedData; None for an absent field."""
    content: memoryview | None = None
    checksum: int | None = None
    for number, wire, value, stop in _fields(data, start, end):
        if number == 1 and wire == _BYTES:
            content = view[value:stop]
        elif number == 2 and wire == _FIXED32:
            checksum = int.from_bytes(data[value:stop], "little")
    return content, checksum


@dataclass(frozen=True, slots=True)
class ReadResponse:
    """One decoded ReadObjectResponse.

    Attributes:
        content: a view of the response.
        intact: whether the content matches its CRC32C, or the response has no CRC32C.
        start: offset in the object at which the ContentRange begins; None without a ContentRange.
        stop: offset after the last byte of the ContentRange; 0 without a ContentRange.
        metadata: the metadata of the object; None if absent.
        object_crc32c: CRC32C of the whole object; None if absent.
    """

    content: memoryview
    intact: bool
    start: int | None = None
    stop: int = 0
    metadata: ObjectInfo | None = None
    object_crc32c: int | None = None


def decode_read_response(data: bytes) -> ReadResponse:
    """Decode one ReadObjectResponse.

    The content is a view of `data`. If its CRC32C is wrong, the result is marked as not intact.

    Raises:
        MalformedMessage: `data` is not a ReadObjectResponse.
    """
    view = memoryview(data)
    content = view[:0]
    checksum: int | None = None
    metadata: bytes | None = None
    content_range: bytes | None = None
    checksums: bytes | None = None
    try:
        for number, wire, value, end in _fields(data, 0, len(data)):
            if wire != _BYTES:
                continue
            if number == 1:
                part, crc = _decode_checksummed(data, view, value, end)
                content = content if part is None else part
                checksum = checksum if crc is None else crc
            elif number == 2:
                checksums = (checksums or b"") + data[value:end]
            elif number == 3:
                content_range = (content_range or b"") + data[value:end]
            elif number == 4:
                metadata = (metadata or b"") + data[value:end]
        span = pb.ContentRange.FromString(content_range) if content_range is not None else None
        of_object = pb.ObjectChecksums.FromString(checksums or b"")
        return ReadResponse(
            content,
            checksum is None or crc32c(content) == checksum,
            span.start if span is not None else None,
            span.end if span is not None else 0,
            decode_object(pb.Object.FromString(metadata)) if metadata is not None else None,
            of_object.crc32c if of_object.HasField("crc32c") else None,
        )
    except (IndexError, DecodeError) as error:
        raise MalformedMessage(f"response of {len(data)} bytes: {error}") from error


def _fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, value, stop) of the fields in `data[position:end]`.

    For a varint, `value` is the number. For other wire types, `data[value:stop]` is the payload.
    """
    while position < end:
        tag = data[position]
        position += 1
        if tag > 0x7F:
            tag, position = _varint(data, position - 1)
        wire = tag & 7
        if wire == _BYTES:
            length = data[position]
            position += 1
            if length > 0x7F:
                length, position = _varint(data, position - 1)
            value, position = position, position + length
        elif wire == _VARINT:
            value = data[position]
            position += 1
            if value > 0x7F:
                value, position = _varint(data, position - 1)
        elif wire == _FIXED32:
            value, position = position, position + 4
        elif wire == _FIXED64:
            value, position = position, position + 8
        else:
            raise MalformedMessage(f"unknown wire type {wire} at byte {position}")
        if position > end:
            raise MalformedMessage(f"field {tag >> 3} extends beyond the end of its message")
        yield tag >> 3, wire, value, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    for index in range(position, position + _MAX_VARINT_BYTES):
        byte = data[index]
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, index + 1
        shift += 7
    raise MalformedMessage(f"varint at byte {position} is longer than {_MAX_VARINT_BYTES} bytes")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def decode_object(message: pb.Object) -> ObjectInfo:
    """Convert an Object message into an ObjectInfo.

    The namespace keeps thousands of ObjectInfos in memory, so equal strings are shared.
    """
    metadata = message.metadata
    checksums = message.checksums
    return ObjectInfo(
        name=message.name,
        generation=message.generation,
        size=message.size,
        mtime_ns=nanoseconds(message.update_time) or nanoseconds(message.create_time),
        metageneration=message.metageneration,
        crc32c=checksums.crc32c if checksums.HasField("crc32c") else None,
        content_type=sys.intern(message.content_type),
        content_encoding=sys.intern(message.content_encoding),
        storage_class=sys.intern(message.storage_class),
        metadata=dict(metadata) if metadata else _NO_METADATA,
        finalized=message.HasField("finalize_time"),
    )


def nanoseconds(stamp: Timestamp) -> int:
    """Return a time in nanoseconds since 1970, limited to 64 bits.

    64 bits reach to the year 2262, but a Timestamp can hold any year up to 9999.
    """
    return max(_FIRST_NS, min(stamp.seconds * 1_000_000_000 + stamp.nanos, _LAST_NS))
