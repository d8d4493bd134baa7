from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.emulator.services.content_messages import (
    ContentChunk,
    encode_bidi_response,
    encode_read_response,
)
from gcsmux_fs.emulator.services.range_schedule import Slice
from gcsmux_fs.storage.pb import storage_pb2 as pb

int64s = st.integers(-(2**63), 2**63 - 1)
crcs = st.integers(0, 2**32 - 1)
chunks = st.builds(
    lambda read_id, offset, content, last, crc: ContentChunk(
        Slice(read_id, offset, len(content), last), memoryview(content), crc
    ),
    int64s,
    int64s,
    st.binary(max_size=300),
    st.booleans(),
    crcs,
)


@given(st.lists(chunks, max_size=4))
def test_protobuf_decodes_an_encoded_bidi_response(sent: list[ContentChunk]) -> None:
    response = pb.BidiReadObjectResponse.FromString(encode_bidi_response(sent))
    assert len(sent) == len(response.object_data_ranges)
    for chunk, data in zip(sent, response.object_data_ranges, strict=True):
        assert chunk.content == data.checksummed_data.content
        assert chunk.crc32c == data.checksummed_data.crc32c
        assert data.checksummed_data.HasField("crc32c")
        place = data.read_range
        assert chunk.place == Slice(
            place.read_id, place.read_offset, place.read_length, data.range_end
        )


@given(st.binary(max_size=300), crcs)
def test_protobuf_decodes_an_encoded_read_response(content: bytes, crc: int) -> None:
    others = pb.ReadObjectResponse(content_range=pb.ContentRange(start=1, end=2))
    response = pb.ReadObjectResponse.FromString(
        encode_read_response(memoryview(content), crc, others.SerializeToString())
    )
    assert (content, crc) == (response.checksummed_data.content, response.checksummed_data.crc32c)
    assert others.content_range == response.content_range
