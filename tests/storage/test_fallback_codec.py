"""Tests of the ReadObject codec: it agrees with Google's classes and detects broken bytes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from crc32c import crc32c
from google.cloud import _storage_v2 as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.storage.codec import (
    MalformedMessage,
    ReadResponse,
    decode_object,
    decode_read_response,
    encode_read_request,
)
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import RangeRequest
from tests.support.examples import examples

KEY = ObjectKey("bucket", "na/me ü\n", 2**62 + 1)

int64 = st.integers(-(2**63), 2**63 - 1)
positive = st.integers(1, 2**63 - 1)
uint32 = st.integers(0, 2**32 - 1)


@given(st.builds(RangeRequest, positive, positive, positive))
def test_google_classes_parse_our_read_request(request: RangeRequest) -> None:
    decoded = theirs.ReadObjectRequest.deserialize(encode_read_request(KEY, request))
    assert decoded.bucket == "projects/_/buckets/bucket"
    assert (decoded.object_, decoded.generation) == (KEY.name, KEY.generation)
    assert (decoded.read_offset, decoded.read_limit) == (request.offset, request.length)


@given(
    st.binary(max_size=200),
    st.one_of(st.none(), st.just("right"), uint32),
    st.one_of(st.none(), int64),
    st.one_of(st.none(), int64),
)
def test_our_codec_decodes_a_response_made_by_google_classes(
    content: bytes, checksum: int | str | None, start: int | None, generation: int | None
) -> None:
    data = theirs.ChecksummedData(content=content)
    if checksum is not None:
        data.crc32c = crc32c(content) if isinstance(checksum, str) else checksum
    response = theirs.ReadObjectResponse(checksummed_data=data)
    if start is not None:
        response.content_range = theirs.ContentRange(start=start, end=5, complete_length=9)
    if generation is not None:
        response.metadata = theirs.Object(name="n", generation=generation)
    encoded = theirs.ReadObjectResponse.serialize(response)
    decoded = decode_read_response(encoded)
    assert bytes(decoded.content) == content
    assert decoded.content.obj is encoded
    assert decoded.content.readonly
    assert decoded.intact == (checksum in (None, "right", crc32c(content)))
    assert decoded.start == start
    assert (decoded.metadata.generation if decoded.metadata else None) == generation


def decode_with_protobuf(data: bytes) -> ReadResponse:
    decoded = pb.ReadObjectResponse.FromString(data)
    content, checksummed = decoded.checksummed_data.content, decoded.checksummed_data
    return ReadResponse(
        memoryview(content),
        not checksummed.HasField("crc32c") or crc32c(content) == checksummed.crc32c,
        decoded.content_range.start if decoded.HasField("content_range") else None,
        decoded.content_range.end,
        decode_object(decoded.metadata) if decoded.HasField("metadata") else None,
        decoded.object_checksums.crc32c if decoded.object_checksums.HasField("crc32c") else None,
    )


responses = st.builds(
    pb.ReadObjectResponse,
    checksummed_data=st.one_of(
        st.none(),
        st.builds(
            pb.ChecksummedData, content=st.binary(max_size=30), crc32c=st.one_of(st.none(), uint32)
        ),
    ),
    object_checksums=st.one_of(st.none(), st.builds(pb.ObjectChecksums, crc32c=uint32)),
    content_range=st.one_of(st.none(), st.builds(pb.ContentRange, start=int64, end=int64)),
    metadata=st.one_of(st.none(), st.builds(pb.Object, generation=int64, size=int64)),
).map(pb.ReadObjectResponse.SerializeToString)


@settings(max_examples=examples(300))
@given(st.lists(responses, max_size=3).map(b"".join))
def test_repeated_fields_decode_as_protobuf_decodes_them(data: bytes) -> None:
    assert decode_read_response(data) == decode_with_protobuf(data)


@settings(max_examples=examples(500))
@given(responses, st.data())
def test_a_damaged_response_is_malformed_or_decodes_within_its_bounds(
    data: bytes, drawn: st.DataObject
) -> None:
    broken = bytearray(data)
    if broken:
        broken[drawn.draw(st.integers(0, len(broken) - 1))] = drawn.draw(st.integers(0, 255))
    cut = bytes(broken[: drawn.draw(st.integers(0, len(broken)))])
    with suppress(MalformedMessage):
        decoded = decode_read_response(cut)
        assert decoded.content.obj is cut
        assert len(decoded.content) <= len(cut)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a\xff\xff\xff\xff\x07", id="claims 2 GiB"),
        pytest.param(b"\x0a\x04\x0a\x05ab", id="content beyond its message"),
        pytest.param(b"\x1a\x01\xff", id="a broken content range"),
        pytest.param(b"\x22\x01\xff", id="broken metadata"),
    ],
)
def test_bytes_that_are_no_read_response_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_read_response(data)
