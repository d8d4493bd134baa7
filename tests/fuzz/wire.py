"""Targets: what a server sends, byte by byte."""

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
# Groups, which protobuf gave up in 2008: its parser skips them, and no service sends them.
_GROUPS = re.compile("wire type [34]")


def _decode(decode: Callable[[bytes], _T], data: bytes, *, is_good: bool) -> _T | None:
    """Return what a decoder of ours makes of a message, or None if it rightly refuses it."""
    try:
        return decode(data)
    except MalformedMessage as error:
        refusal = str(error)
    assert not is_good or _GROUPS.search(refusal), f"refused a good message: {refusal}"
    return None


def bidi_response(data: bytes) -> None:
    """A response of BidiReadObject reads as protobuf reads it, and is never copied."""
    expected = None
    with suppress(DecodeError):
        expected = _as_protobuf_reads(data)
    found = _decode(decode_bidi_response, data, is_good=expected is not None)
    if found is None:
        return
    for chunk in found.chunks:
        assert chunk.content.obj is data
        assert chunk.message_bytes == len(data)
    assert sum(len(chunk.content) for chunk in found.chunks) <= len(data)
    assert expected in (None, found)


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
    """A status is what its code and message say; details that are none change nothing."""
    source = Source(data)
    code, message = source.choice(_CODES), source.text()
    details = source.rest()
    found = decode_stream_end(code, message, details)
    assert (found.code, found.message) == (code, message)
    assert len(found.failures) <= len(details)
    try:
        pb.RpcStatus.FromString(details)
    except DecodeError:
        assert found == StreamEnd(code, message)


def read_responses(data: bytes) -> None:
    """Responses of ReadObject read as protobuf reads them, and never fill a range beyond itself."""
    source = Source(data)
    wanted = RangeRequest(1, source.number(2), 1 + source.number(2))
    answer, assembly = RangeAnswer(wanted), RangeAssembly(wanted.offset, wanted.length)
    while source and not answer.over:
        part = source.take(source.number(2))
        _reads_as_protobuf_does(part)
        try:
            message = answer.take(part)
        except MalformedMessage:
            return
        _fill(assembly, message)
    for code in (StatusCode.OK, StatusCode.UNAVAILABLE):
        last = answer.close(StreamEnd(code))
        if last is not None:
            _fill(assembly, last)


def _reads_as_protobuf_does(data: bytes) -> None:
    expected = None
    with suppress(DecodeError):
        expected = pb.ReadObjectResponse.FromString(data)
    found = _decode(decode_read_response, data, is_good=expected is not None)
    if found is None:
        return
    assert found.content.obj is data
    if expected is None:
        return
    assert found.content == expected.checksummed_data.content
    assert found.intact == _is_intact(expected.checksummed_data)
    place = expected.content_range.start if expected.HasField("content_range") else None
    assert found.start == place
    assert found.stop == expected.content_range.end
    metadata = decode_object(expected.metadata) if expected.HasField("metadata") else None
    assert found.metadata == metadata
    told = expected.object_checksums
    assert found.object_crc32c == (told.crc32c if told.HasField("crc32c") else None)


def _fill(assembly: RangeAssembly, message: BidiMessage) -> None:
    for chunk in message.chunks:
        assert chunk.read_id == 1
        before = assembly.received
        outcome = assembly.absorb(chunk)
        assert assembly.received <= assembly.length
        # What is not intact may take back what came before.
        assert before <= assembly.received or not chunk.intact
        if outcome is Absorbed.COMPLETE:
            assert len(assembly.result()) == assembly.length
            return
