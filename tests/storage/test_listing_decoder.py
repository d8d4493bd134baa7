"""Tests that decoding a page into columns gives the same objects as decoding each object."""

from __future__ import annotations

from google.cloud import _storage_v2 as theirs
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.storage.codec import decode_object
from gcsmux_fs.storage.listing_decoder import decode_listing
from gcsmux_fs.storage.pb import storage_pb2 as pb

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.sampled_from(["", "text/plain", "gzip", "é"])
STAMPS = st.builds(
    Timestamp,
    seconds=st.integers(-62_135_596_800, 253_402_300_799),
    nanos=st.integers(0, 10**9 - 1),
)
CHECKSUMS = st.builds(pb.ObjectChecksums, crc32c=st.sampled_from([None, 0, 1, 2**32 - 1]))
OBJECTS = st.builds(
    pb.Object,
    name=st.text(st.characters(codec="utf-8"), max_size=8),
    generation=INT64,
    metageneration=INT64,
    size=INT64,
    content_type=TEXT,
    content_encoding=TEXT,
    storage_class=TEXT,
    checksums=st.none() | CHECKSUMS,
    create_time=st.none() | STAMPS,
    update_time=st.none() | STAMPS,
    finalize_time=st.none() | STAMPS,
    metadata=st.dictionaries(TEXT, TEXT, max_size=2),
)


@given(objects=st.lists(OBJECTS, max_size=5))
def test_an_object_in_a_listing_decodes_as_a_single_object_does(objects: list[pb.Object]) -> None:
    page = decode_listing(pb.ListObjectsResponse(objects=objects))
    assert list(page.objects) == [decode_object(each) for each in objects]


def test_a_page_made_by_google_classes_decodes_in_order() -> None:
    names = [f"object {number:04}" for number in range(1000)]
    metadata = {"key" * 300: "ü" * 2000, "other": "v" * 3000}
    page = theirs.ListObjectsResponse(
        objects=[
            theirs.Object(name=name, size=2**40, generation=7, metadata=metadata) for name in names
        ],
        prefixes=["a/", "b/"],
        next_page_token="next",
    )
    data = theirs.ListObjectsResponse.serialize(page)
    assert len(data) > 7_000_000
    decoded = decode_listing(pb.ListObjectsResponse.FromString(data))
    assert [entry.name for entry in decoded.objects] == names
    assert all(entry.metadata == metadata for entry in decoded.objects)
    assert (decoded.prefixes, decoded.next_page_token) == (("a/", "b/"), "next")
