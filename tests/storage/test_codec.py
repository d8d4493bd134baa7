"""Tests of the BidiReadObject codec: it agrees with Google's classes and detects broken bytes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from crc32c import crc32c
from google.cloud import _storage_v2 as theirs
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.values import ObjectInfo, ObjectKey
from gcsmux_fs.storage.codec import (
    MalformedMessage,
    decode_bidi_response,
    decode_object,
    encode_bidi_request,
)
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import (
    BidiMessage,
    Chunk,
    OpenSpec,
    RangeFailure,
    RangeRequest,
    StreamEnd,
    StreamRedirect,
)
from gcsmux_fs.storage.status_details import decode_stream_end
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = ObjectKey("bucket", "na/me ü\n", 2**62 + 1)
TYPE = "type.googleapis.com/google.storage.v2."

int64 = st.integers(-(2**63), 2**63 - 1)
uint32 = st.integers(0, 2**32 - 1)


# -- our requests are parsed by Google's classes


@given(
    st.builds(OpenSpec, st.just(KEY), st.binary(max_size=40), st.text(max_size=40)),
    st.lists(st.builds(RangeRequest, int64, int64, int64), max_size=100),
)
def test_google_classes_parse_our_opening_message(
    spec: OpenSpec, ranges: list[RangeRequest]
) -> None:
    decoded = theirs.BidiReadObjectRequest.deserialize(encode_bidi_request(spec, ranges))
    target = decoded.read_object_spec
    assert target.bucket == "projects/_/buckets/bucket"
    assert (target.object_, target.generation) == (KEY.name, KEY.generation)
    assert (target.read_handle.handle, target.routing_token) == (spec.handle, spec.routing_token)
    assert ("read_handle" in target, "routing_token" in target) == (
        bool(spec.handle),
        bool(spec.routing_token),
    )
    parsed = [RangeRequest(r.read_id, r.read_offset, r.read_length) for r in decoded.read_ranges]
    assert parsed == ranges


def test_a_later_message_has_ranges_and_no_spec() -> None:
    decoded = theirs.BidiReadObjectRequest.deserialize(
        encode_bidi_request(None, [RangeRequest(1, 2, 3)])
    )
    assert "read_object_spec" not in decoded
    assert len(decoded.read_ranges) == 1


# -- responses from Google's classes are decoded by our codec


def their_chunk(chunk: Chunk, checksum: int | None) -> theirs.ObjectRangeData:
    return theirs.ObjectRangeData(
        checksummed_data=theirs.ChecksummedData(content=bytes(chunk.content), crc32c=checksum),
        read_range=theirs.ReadRange(
            read_id=chunk.read_id, read_offset=chunk.offset, read_length=len(chunk.content)
        ),
        range_end=chunk.range_end,
    )


@st.composite
def chunks_with_checksums(draw: st.DrawFn) -> tuple[Chunk, int | None]:
    content = draw(st.binary(max_size=300))
    checksum = draw(st.one_of(st.none(), st.just(crc32c(content)), uint32))
    intact = checksum is None or checksum == crc32c(content)
    chunk = Chunk(
        draw(int64), draw(int64), memoryview(content), draw(st.booleans()), intact, len(content)
    )
    return chunk, checksum


@given(
    st.lists(chunks_with_checksums(), max_size=5),
    st.binary(max_size=40),
    st.one_of(st.none(), int64),
)
def test_our_codec_decodes_a_bidi_response_made_by_google_classes(
    chunks: list[tuple[Chunk, int | None]], handle: bytes, generation: int | None
) -> None:
    response = theirs.BidiReadObjectResponse(
        object_data_ranges=[their_chunk(chunk, checksum) for chunk, checksum in chunks]
    )
    if handle:
        response.read_handle = theirs.BidiReadHandle(handle=handle)
    if generation is not None:
        response.metadata = theirs.Object(name="n", generation=generation)
    data = theirs.BidiReadObjectResponse.serialize(response)
    size = len(data)
    decoded = decode_bidi_response(data)
    assert decoded.handle == handle
    assert (decoded.metadata.generation if decoded.metadata else None) == generation
    assert [
        (c.read_id, c.offset, bytes(c.content), c.range_end, c.intact) for c in decoded.chunks
    ] == [(c.read_id, c.offset, bytes(c.content), c.range_end, c.intact) for c, _ in chunks]
    for chunk in decoded.chunks:
        assert chunk.content.obj is data
        assert chunk.content.readonly
        assert chunk.message_bytes == size


def test_an_empty_response_is_a_keep_alive() -> None:
    assert decode_bidi_response(b"") == BidiMessage()


# -- unusual encodings are decoded as by protobuf's own parser


def varint(value: int, padding: int = 0) -> bytes:
    """Encode a varint with up to `padding` redundant bytes, which every parser has to accept."""
    out = bytearray()
    value &= 2**64 - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(min(padding, 5 - len(out))):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def field(number: int, wire: int, payload: bytes) -> bytes:
    return varint(number << 3 | wire) + payload


def sized(number: int, payload: bytes, padding: int = 0) -> bytes:
    return field(number, 2, varint(len(payload), padding) + payload)


paddings = st.integers(0, 3)


def message(*fields: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.one_of(*fields), max_size=6).map(b"".join)


unknown_fields = st.one_of(
    st.builds(lambda n, v: field(n, 0, varint(v)), st.integers(100, 2**28), int64),
    st.builds(sized, st.integers(100, 2**28), st.binary(max_size=20), paddings),
    st.builds(field, st.integers(100, 200), st.just(1), st.binary(min_size=8, max_size=8)),
    st.builds(field, st.integers(100, 200), st.just(5), st.binary(min_size=4, max_size=4)),
)
read_ranges = message(
    unknown_fields,
    st.builds(
        lambda n, v, p: field(n, 0, varint(v, p)), st.sampled_from([1, 2, 3]), int64, paddings
    ),
    st.builds(sized, st.just(1), st.binary(max_size=5)),
)
checksummed = message(
    unknown_fields,
    st.builds(sized, st.just(1), st.binary(max_size=50), paddings),
    st.builds(field, st.just(2), st.just(5), st.binary(min_size=4, max_size=4)),
    st.builds(lambda v: field(2, 0, varint(v)), uint32),
)
range_data = message(
    unknown_fields,
    st.builds(sized, st.just(1), checksummed, paddings),
    st.builds(sized, st.just(2), read_ranges, paddings),
    st.builds(lambda v: field(3, 0, varint(v)), int64),
)
objects = message(
    unknown_fields,
    st.builds(sized, st.just(1), st.text(max_size=10).map(str.encode)),
    st.builds(lambda v: field(3, 0, varint(v)), int64),
)
responses = message(
    unknown_fields,
    st.builds(sized, st.just(6), range_data, paddings),
    st.builds(sized, st.just(4), objects),
    st.builds(sized, st.just(7), st.builds(sized, st.just(1), st.binary(max_size=10))),
    st.builds(lambda v: field(6, 0, varint(v)), int64),
)


def decode_with_protobuf(data: bytes) -> BidiMessage:
    decoded = pb.BidiReadObjectResponse.FromString(data)
    chunks: list[Chunk] = []
    for entry in decoded.object_data_ranges:
        content = entry.checksummed_data.content
        intact = (
            not entry.checksummed_data.HasField("crc32c")
            or crc32c(content) == entry.checksummed_data.crc32c
        )
        span = entry.read_range
        chunks.append(
            Chunk(
                span.read_id,
                span.read_offset,
                memoryview(content),
                entry.range_end,
                intact,
                len(data),
            )
        )
    metadata = decode_object(decoded.metadata) if decoded.HasField("metadata") else None
    return BidiMessage(tuple(chunks), metadata, decoded.read_handle.handle)


@settings(max_examples=examples(500))
@given(responses)
def test_reordered_repeated_and_unknown_fields_decode_as_protobuf_decodes_them(data: bytes) -> None:
    assert decode_bidi_response(data) == decode_with_protobuf(data)


@settings(max_examples=examples(500))
@given(responses, st.data())
def test_a_truncated_or_damaged_response_is_malformed_or_decodes_within_its_bounds(
    data: bytes, drawn: st.DataObject
) -> None:
    broken = bytearray(data)
    if broken and drawn.draw(st.booleans()):
        broken[drawn.draw(st.integers(0, len(broken) - 1))] = drawn.draw(st.integers(0, 255))
    cut = bytes(broken[: drawn.draw(st.integers(0, len(broken)))])
    try:
        decoded = decode_bidi_response(cut)
    except MalformedMessage:
        return
    assert all(c.content.obj is cut for c in decoded.chunks)
    assert sum(len(c.content) for c in decoded.chunks) <= len(cut)


@settings(max_examples=examples(500))
@given(st.binary(max_size=200))
def test_random_bytes_are_malformed_or_a_response(data: bytes) -> None:
    with suppress(MalformedMessage):
        decode_bidi_response(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(sized(6, sized(1, b"\x0a\xff\xff\xff\xff\x07")), id="claims 2 GiB"),
        pytest.param(b"\x32\x05\x0a", id="cut in the length"),
        pytest.param(b"\x80" * 11, id="a tag longer than 10 bytes"),
        pytest.param(field(9, 0, b"\xff" * 11), id="a varint longer than 10 bytes"),
        pytest.param(field(9, 3, b""), id="the wire type of groups"),
        pytest.param(field(9, 7, b""), id="an undefined wire type"),
        pytest.param(sized(4, b"\xff"), id="broken metadata"),
        pytest.param(sized(4, sized(1, b"\xff\xfe")), id="a name that is not UTF-8"),
        pytest.param(sized(7, b"\xff"), id="a broken handle"),
        pytest.param(sized(6, b"\x0d\x00\x00"), id="a field that exceeds its message"),
        pytest.param(
            sized(6, b"\x0d\x00\x00") + bytes(10), id="a field that reaches into the next message"
        ),
    ],
)
def test_bytes_that_are_no_bidi_response_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_bidi_response(data)


# -- ends of calls


def their_status(code: int, details: Sequence[tuple[str, bytes]]) -> bytes:
    status = pb.RpcStatus(code=code, message="m")
    for kind, value in details:
        status.details.add(type_url=f"{TYPE}{kind}", value=value)
    return status.SerializeToString()


def test_range_failures_are_decoded_from_the_status_details() -> None:
    error = theirs.BidiReadObjectError(
        read_range_errors=[
            theirs.ReadRangeError(read_id=5, status={"code": 11, "message": "beyond"}),
            theirs.ReadRangeError(read_id=-6, status={"code": 99}),
        ]
    )
    details = their_status(
        11, [("BidiReadObjectError", theirs.BidiReadObjectError.serialize(error))]
    )
    assert decode_stream_end(StatusCode.OUT_OF_RANGE, "m", details) == StreamEnd(
        StatusCode.OUT_OF_RANGE,
        "m",
        (
            RangeFailure(5, StatusCode.OUT_OF_RANGE, "beyond"),
            RangeFailure(-6, StatusCode.UNKNOWN, ""),
        ),
    )


def test_a_redirect_is_decoded_from_the_status_details() -> None:
    error = theirs.BidiReadObjectRedirectedError(
        routing_token="east", read_handle=theirs.BidiReadHandle(handle=b"h")
    )
    value = theirs.BidiReadObjectRedirectedError.serialize(error)
    details = their_status(10, [("Strange", b"\xff"), ("BidiReadObjectRedirectedError", value)])
    assert decode_stream_end(StatusCode.ABORTED, "m", details) == StreamEnd(
        StatusCode.ABORTED, "m", redirect=StreamRedirect("east", b"h")
    )


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ({"seconds": 2, "nanos": 500_000_000}, 2.5),
        ({"seconds": -1}, 0.0),
        ({"seconds": 315_576_000_000}, 315_576_000_000.0),
    ],
)
def test_a_requested_pause_is_decoded_from_the_status_details(
    delay: dict[str, int], seconds: float
) -> None:
    info = RetryInfo(retry_delay=Duration(**delay))
    status = Status(code=8)
    status.details.add().Pack(info)
    details = status.SerializeToString()
    end = decode_stream_end(StatusCode.RESOURCE_EXHAUSTED, "m", details)
    assert end == StreamEnd(StatusCode.RESOURCE_EXHAUSTED, "m", retry_seconds=seconds)


@given(st.binary(max_size=100))
def test_malformed_details_are_ignored(details: bytes) -> None:
    end = decode_stream_end(StatusCode.ABORTED, "m", details)
    assert (end.code, end.message) == (StatusCode.ABORTED, "m")


# -- objects


def their_object(name: str) -> theirs.Object:
    return theirs.Object(
        name=name,
        bucket="projects/_/buckets/bucket",
        generation=7,
        metageneration=2,
        size=2**40,
        content_type="text/plain",
        content_encoding="gzip",
        storage_class="STANDARD",
        etag="e",
        checksums=theirs.ObjectChecksums(crc32c=0, md5_hash=b"0" * 16),
        create_time={"seconds": 1_700_000_000, "nanos": 5},
        update_time={"seconds": 1_700_000_001, "nanos": 999_999_999},
        finalize_time={"seconds": 1_700_000_000},
        metadata={"key" * 300: "ü" * 2000, "other": "v" * 3000},
    )


def test_all_fields_of_an_object_made_by_google_classes_are_decoded() -> None:
    data = theirs.Object.serialize(their_object("a/ü"))
    assert len(data) > 8000
    assert decode_object(pb.Object.FromString(data)) == ObjectInfo(
        name="a/ü",
        generation=7,
        size=2**40,
        mtime_ns=1_700_000_001_999_999_999,
        metageneration=2,
        crc32c=0,
        content_type="text/plain",
        content_encoding="gzip",
        storage_class="STANDARD",
        metadata={"key" * 300: "ü" * 2000, "other": "v" * 3000},
        finalized=True,
    )


def test_an_unfinalized_object_has_no_checksum_and_the_creation_time() -> None:
    created = theirs.Object(name="a", generation=1, create_time={"seconds": 5})
    decoded = decode_object(pb.Object.FromString(theirs.Object.serialize(created)))
    assert (decoded.crc32c, decoded.finalized) == (None, False)
    assert decoded.mtime_ns == 5_000_000_000


@pytest.mark.parametrize(
    ("seconds", "expected"), [(253_402_300_799, 2**63 - 1), (-62_135_596_800, -(2**63))]
)
def test_a_time_beyond_64_bits_is_clamped(seconds: int, expected: int) -> None:
    message = pb.Object(update_time=Timestamp(seconds=seconds))
    assert decode_object(message).mtime_ns == expected
