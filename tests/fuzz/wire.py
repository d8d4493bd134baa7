"""Fuzz targets: the decoders of server messages, with arbitrary bytes."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from crc32c import crc32c
from google.protobuf.message import DecodeError

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.mux.assembly import Absorbed, RangeAssembly
from gcsmux_fs.storage.codec import (
    MalformedMessage,
    decode_bidi_response,
    decode_object,
    decode_read_response,
)
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import BidiMessage, Chunk, RangeRequest, StreamEnd
from gcsmux_fs.storage.range_answer import RangeAnswer
from gcsmux_fs.storage.status_details import decode_stream_end

from .source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KEY", "bidi_response", "read_responses", "stream_end"]

KEY = ObjectKey("bucket", "object", 7)
_T = TypeVar("_T")
_CODES = tuple(StatusCode)
# Matches the error of our decoder about a protobuf group. protobuf's own parser skips groups, and
# our decoder refuses them. This difference is allowed, because groups are deprecated and no service
# sends them.
_GROUPS = re.compile("wire type [34]")


def _decode(decode: Callable[[bytes], _T], data: bytes, *, is_good: bool) -> _T | None:
    """Return the decoded message, or None if the decoder refuses the data.

    If protobuf's parser accepts the data (`is_good`), the decoder may refuse only a group.
    """
    try:
        return decode(data)
    except MalformedMessage as error:
        refusal = str(error)
    assert not is_good or _GROUPS.search(refusal), f"refused a good message: {refusal}"
    return None


def bidi_response(data: bytes) -> None:
    """Decode arbitrary bytes as a BidiReadObject response, and compare with protobuf's parser.

    The content of a chunk must be a view of the bytes, not a copy.
    """
    expected = None
    with suppress(DecodeError):
        expected = _as_protobuf_reads(data)
    message = _decode(decode_bidi_response, data, is_good=expected is not None)
    if message is None:
        return
    for chunk in message.chunks:
        assert chunk.content.obj is data
        assert chunk.message_bytes == len(data)
    assert sum(len(chunk.content) for chunk in message.chunks) <= len(data)
    assert expected in (None, message)


def _as_protobuf_reads(data: bytes) -> BidiMessage:
    read = pb.BidiReadObjectResponse.FromString(data)
    chunks = tuple(
        Chunk(
            entry.read_range.read_id,
            entry.read_range.read_offset,
            memoryview(entry.checksummed_data.content),
            entry.range_end,
            _is_intact(entry.checksummed_data),
            len(data),
        )
        for entry in read.object_data_ranges
    )
    metadata = decode_object(read.metadata) if read.HasField("metadata") else None
    return BidiMessage(chunks, metadata, read.read_handle.handle)


def _is_intact(data: pb.ChecksummedData) -> bool:
    return not data.HasField("crc32c") or crc32c(data.content) == data.crc32c


def stream_end(data: bytes) -> None:
    """Decode a status with arbitrary details; invalid details must have no effect."""
    source = Source(data)
    code, message = source.choice(_CODES), source.text()
    details = source.rest()
    end = decode_stream_end(code, message, details)
    assert (end.code, end.message) == (code, message)
    assert len(end.failures) <= len(details)
    try:
        pb.RpcStatus.FromString(details)
    except DecodeError:
        assert end == StreamEnd(code, message)


def read_responses(data: bytes) -> None:
    """Decode arbitrary ReadObject responses, and compare with protobuf's parser.

    The responses must never give a range more bytes than were requested.
    """
    source = Source(data)
    request = RangeRequest(1, source.number(2), 1 + source.number(2))
    answer, assembly = RangeAnswer(request), RangeAssembly(request.offset, request.length)
    while source and not answer.over:
        part = source.take(source.number(2))
        _compare_with_protobuf(part)
        try:
            message = answer.take(part)
        except MalformedMessage:
            return
        _fill(assembly, message)
    for code in (StatusCode.OK, StatusCode.UNAVAILABLE):
        last = answer.close(StreamEnd(code))
        if last is not None:
            _fill(assembly, last)


def _compare_with_protobuf(data: bytes) -> None:
    expected = None
    with suppress(DecodeError):
        expected = pb.ReadObjectResponse.FromString(data)
    response = _decode(decode_read_response, data, is_good=expected is not None)
    if response is None:
        return
    assert response.content.obj is data
    if expected is None:
        return
    assert response.content == expected.checksummed_data.content
    assert response.intact == _is_intact(expected.checksummed_data)
    place = expected.content_range.start if expected.HasField("content_range") else None
    assert response.start == place
    assert response.stop == expected.content_range.end
    metadata = decode_object(expected.metadata) if expected.HasField("metadata") else None
    assert response.metadata == metadata
    checksums = expected.object_checksums
    assert response.object_crc32c == (checksums.crc32c if checksums.HasField("crc32c") else None)


def _fill(assembly: RangeAssembly, message: BidiMessage) -> None:
    for chunk in message.chunks:
        assert chunk.read_id == 1
        before = assembly.received
        outcome = assembly.absorb(chunk)
        assert assembly.received <= assembly.length
        # Only a chunk with a wrong checksum may discard bytes that were received before the chunk.
        assert before <= assembly.received or not chunk.intact
        if outcome is Absorbed.COMPLETE:
            assert len(assembly.result()) == assembly.length
            return
