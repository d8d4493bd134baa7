"""All fuzz targets by name, and the seeds of each target: the inputs from which fuzzing starts."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from crc32c import crc32c
from google.protobuf.timestamp_pb2 import Timestamp

from gcsmux_fs.caching.chunk_format import ChunkId
from gcsmux_fs.caching.ledger import ChunkEvent, ChunkRecord, encode_records
from gcsmux_fs.storage.pb import storage_pb2 as pb

from . import change_messages, disk_cache, metadata, naming, streams, typed, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TARGETS", "seeds"]

TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "bidi_response": wire.bidi_response,
    "stream_end": wire.stream_end,
    "read_responses": wire.read_responses,
    "listing_bytes": naming.listing_bytes,
    "listing_pages": naming.listing_pages,
    "names_of_objects": naming.names_of_objects,
    "names_of_paths": naming.names_of_paths,
    "foreign_metadata": metadata.foreign_metadata,
    "stream_core": streams.stream_core,
    "units": typed.units,
    "arguments": typed.arguments,
    "chunk_header": disk_cache.chunk_header,
    "ledger": disk_cache.ledger,
    "usage_table": disk_cache.usage_table,
    "forged_names": disk_cache.forged_names,
    "change_message": change_messages.change_message,
}

_TYPE = "type.googleapis.com/google.storage.v2."


def seeds(target: str) -> list[bytes]:
    """Return the inputs from which fuzzing of the target with this name starts."""
    return {
        "bidi_response": [_bidi_response(), b"\x32\x06\x0a\xff\xff\xff\xff\x07", b"\x23\x24"],
        "stream_end": [bytes([10, 1]) + b"m" + _status()],
        "read_responses": [bytes(4) + _sized(_read_response()) * 2],
        "listing_bytes": [bytes(1) + _sized(_page("1")) + _sized(_page(""))],
        "listing_pages": [bytes(range(64)), b"\x00\x08" + bytes(range(0, 250, 7))],
        "names_of_objects": [b"\x00a/b//.\x00%~x", b"\x01" + b"x" * 600, b"\x00%file~a/%part~"],
        "names_of_paths": [b"\x02\x00a/%~..", b"\xf9\x00" + b"x" * 249 + b"%part~" + b"x" * 249],
        "foreign_metadata": [
            b"\x05\x00\x00\x00\x1e2024-02-29T12:34:56.123+01:30",
            b"\x05\x00\x03\x00\x04true\x01\x00\x03a/b\x04\x00\x0d1700000000.25",
            b"\x05\x00\x05\x00\x0a4294967294\x06\x00\x040755\x07\x00\x010",
        ],
        "stream_core": [b"\x01\x00\x00\xff\x0f\x00\x02\x03\x04" + bytes(range(200))],
        "units": [b"1.5GiB", b"1m30s", b"0o644", b"gs://my-bucket/d", b"[::1]:80", b"ro,memory=1G"],
        "arguments": [bytes([1, 0, 0, 1, 2, 0]), bytes([1, 15, 1, 3, 49, 71, 66])],
        "chunk_header": [b"\x08\x00\x00\x02", b"\x50\x00\x07" + bytes(8), b"\x00\x10\x01ab"],
        "ledger": [_records(), bytes([1, 1, 1]) + bytes(29 * 2 + 20) + _records()],
        "usage_table": [bytes(98), b"\x01" + b"\x00" * 40 + b"\xff" * 8],
        "forged_names": [
            b'[["a/b",["' + b"00" * 16 + b'",1,2,true],null,[["a/b",1,2,3,1,4,"","","",{},true],'
            b"false,null,false,false]]]",
            b'["a/",' + b'"' + b"00" * 16 + b'",1,2,true]',
            b'[{"name":"b"},"identity"]',
            struct.pack("=II", 0, 0) * 2 + struct.pack("=II", 0, 2) + b"[]",
        ],
        "change_message": [
            bytes([3, 0, 3, 0, 0, 5, 0, 4, 0, 0, 10, 0, 5, 0, 0, 14, 0]),
            bytes([2, 1, 0, 0, 1, 0, 10, 0, 0, 4]),
            b"\x00\x01" + b'{"name":"a/b","generation":"7","size":"1","updated":"2026-11-30T00Z"}',
        ],
    }[target]


def _records() -> bytes:
    chunk = ChunkId(bytes(range(16)), 3)
    return encode_records(
        [ChunkRecord(event, chunk, 1_700_000_000, 24_576) for event in ChunkEvent]
    )


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(2, "little") + part


def _object(name: str) -> pb.Object:
    return pb.Object(
        name=name,
        generation=7,
        size=9,
        metageneration=1,
        content_type="text/plain",
        checksums=pb.ObjectChecksums(crc32c=5),
        create_time=Timestamp(seconds=1_700_000_000, nanos=1),
        finalize_time=Timestamp(seconds=1_700_000_000),
        metadata={"key": "value"},
    )


def _bidi_response() -> bytes:
    content = pb.ChecksummedData(content=b"content", crc32c=crc32c(b"content"))
    return pb.BidiReadObjectResponse(
        object_data_ranges=[
            pb.ObjectRangeData(
                checksummed_data=content,
                read_range=pb.ReadRange(read_offset=300, read_length=7, read_id=-1),
                range_end=True,
            )
        ],
        metadata=_object("object"),
        read_handle=pb.BidiReadHandle(handle=b"handle"),
    ).SerializeToString()


def _read_response() -> bytes:
    return pb.ReadObjectResponse(
        checksummed_data=pb.ChecksummedData(content=b"content", crc32c=crc32c(b"content")),
        content_range=pb.ContentRange(start=0, end=7, complete_length=9),
        metadata=_object("object"),
    ).SerializeToString()


def _page(token: str) -> bytes:
    return pb.ListObjectsResponse(
        objects=[_object("a"), _object("a/b")], prefixes=["a/"], next_page_token=token
    ).SerializeToString()


def _status() -> bytes:
    failed = pb.BidiReadObjectError(
        read_range_errors=[
            pb.ReadRangeError(read_id=5, status=pb.RpcStatus(code=11, message="beyond"))
        ]
    )
    moved = pb.BidiReadObjectRedirectedError(
        routing_token="east", read_handle=pb.BidiReadHandle(handle=b"h")
    )
    status = pb.RpcStatus(code=10, message="m")
    status.details.add(type_url=f"{_TYPE}BidiReadObjectError", value=failed.SerializeToString())
    status.details.add(
        type_url=f"{_TYPE}BidiReadObjectRedirectedError", value=moved.SerializeToString()
    )
    return status.SerializeToString()
