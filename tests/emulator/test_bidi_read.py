from __future__ import annotations

import asyncio
import io
import os
import random
from pathlib import Path

import crc32c
import grpc
import pytest
from google.api_core import exceptions
from google.cloud.storage.asyncio.async_multi_range_downloader import AsyncMultiRangeDownloader
from google.rpc import status_pb2

from gcsmux_fs.storage.pb import storage_pb2 as pb
from tests.support.sizes import MIB

from .clients import BIDI, Clients, bidi_request, read_rest, serve


async def download(
    clients: Clients, name: str, ranges: list[tuple[int, int]], **how: object
) -> list[bytes]:
    """Read ranges of an object with Google's AsyncMultiRangeDownloader; return their bytes."""
    downloader = await AsyncMultiRangeDownloader.create_mrd(clients.google, "b", name, **how)
    buffers = [io.BytesIO() for _ in ranges]
    try:
        await downloader.download_ranges(
            [
                (offset, length, buffer)
                for (offset, length), buffer in zip(ranges, buffers, strict=True)
            ]
        )
    finally:
        await downloader.close()
    return [buffer.getvalue() for buffer in buffers]


def times_open(path: Path) -> int:
    """Return how many open descriptors this process has for a file."""
    opened = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
    return opened.count(str(path))


def content_of(responses: list[pb.BidiReadObjectResponse]) -> dict[int, bytes]:
    """Return the content of each read_id. Check the checksum and the offset of each chunk."""
    contents: dict[int, bytes] = {}
    positions: dict[int, int] = {}
    for response in responses:
        assert response.ByteSize() < 4 * MIB
        for data in response.object_data_ranges:
            place, chunk = data.read_range, data.checksummed_data
            assert len(chunk.content) == place.read_length <= 2 * MIB
            assert chunk.crc32c == crc32c.crc32c(chunk.content)
            assert positions.get(place.read_id, place.read_offset) == place.read_offset
            positions[place.read_id] = place.read_offset + place.read_length
            contents[place.read_id] = contents.get(place.read_id, b"") + chunk.content
    return contents


def test_googles_downloader_reads_many_ranges_at_once(served: Path, bucket: Path) -> None:
    data = random.Random(1).randbytes(9 * MIB)
    (bucket / "f").write_bytes(data)
    ranges = [(0, 0), (0, 1), (5, 7 * MIB), (9 * MIB - 10, 10), (9 * MIB - 10, 500), (3 * MIB, 3)]

    async def scenario(clients: Clients) -> None:
        read = await download(clients, "f", ranges)
        assert [
            data[offset : offset + length if length else None] for offset, length in ranges
        ] == read

    serve(served, scenario)


def test_googles_downloader_reads_250_ranges(served: Path, bucket: Path) -> None:
    data = random.Random(2).randbytes(MIB)
    (bucket / "f").write_bytes(data)
    ranges = [(number * 4000, 3000 + number) for number in range(250)]

    async def scenario(clients: Clients) -> None:
        read = await download(clients, "f", ranges)
        assert [data[offset : offset + length] for offset, length in ranges] == read
        assert clients.emulator.control.counters.ranges == 250

    serve(served, scenario)


@pytest.mark.parametrize(
    "name", ["ünï çödé/🪣", "new\nline", "a b", "deep/" * 20 + "f", "%41+&=?#"]
)
def test_objects_with_unusual_file_names_are_read(served: Path, bucket: Path, name: str) -> None:
    path = bucket / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(name.encode())

    async def scenario(clients: Clients) -> None:
        assert [name.encode()] == await download(clients, name, [(0, 0)])

    serve(served, scenario)


def test_an_empty_object_is_read_as_one_empty_range(served: Path, bucket: Path) -> None:
    (bucket / "empty").touch()

    async def scenario(clients: Clients) -> None:
        assert await download(clients, "empty", [(0, 0)]) == [b""]
        responses, code = await clients.bidi(bidi_request("empty", [(0, 0, 7)]))
        assert code == grpc.StatusCode.OK
        (data,) = [data for response in responses for data in response.object_data_ranges]
        assert (
            data.read_range.read_id,
            data.range_end,
            data.checksummed_data.content,
        ) == (7, True, b"")

    serve(served, scenario)


def test_the_first_response_contains_metadata_and_a_read_handle(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(b"hello")

    async def scenario(clients: Clients) -> None:
        responses, code = await clients.bidi(bidi_request("f"))
        assert code == grpc.StatusCode.OK
        (first,) = responses
        assert (first.metadata.name, first.metadata.size) == ("f", 5)
        assert first.metadata.checksums.crc32c == crc32c.crc32c(b"hello")
        assert first.metadata.HasField("finalize_time")
        again, code = await clients.bidi(bidi_request("f", read_handle=first.read_handle))
        assert code == grpc.StatusCode.OK
        assert first.metadata == again[0].metadata
        assert again[0].read_handle.handle not in (b"", first.read_handle.handle)

    serve(served, scenario)


def test_ranges_on_one_stream_are_interleaved(served: Path, bucket: Path) -> None:
    data = random.Random(3).randbytes(12 * MIB)
    (bucket / "f").write_bytes(data)

    async def scenario(clients: Clients) -> None:
        responses, code = await clients.bidi(
            bidi_request("f", [(0, 6 * MIB, 1), (6 * MIB, 6 * MIB, 2)])
        )
        assert code == grpc.StatusCode.OK
        order = [
            data.read_range.read_id
            for response in responses
            for data in response.object_data_ranges
        ]
        assert order == [1, 2, 1, 2, 1, 2]
        assert {1: data[: 6 * MIB], 2: data[6 * MIB :]} == content_of(responses)

    serve(served, scenario)


def test_requests_are_received_while_a_range_is_sent(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(bytes(64 * MIB))

    async def scenario(clients: Clients) -> None:
        call = clients.call(BIDI, pb.BidiReadObjectResponse)
        await call.write(bidi_request("f", [(0, 0, 1)]))
        await call.read()
        await call.write(bidi_request("", [(5, 5, 2)]))
        order: list[tuple[int, bool]] = []
        while {1, 2} - {read_id for read_id, last in order if last}:
            response = await call.read()
            assert isinstance(response, pb.BidiReadObjectResponse)
            order += [
                (data.read_range.read_id, data.range_end) for data in response.object_data_ranges
            ]
        assert order.index((2, True)) < order.index((1, True))
        call.cancel()

    serve(served, scenario)


def test_pending_ranges_are_sent_after_the_client_half_closes(served: Path, bucket: Path) -> None:
    data = random.Random(4).randbytes(8 * MIB)
    (bucket / "f").write_bytes(data)

    async def scenario(clients: Clients) -> None:
        responses, code = await clients.bidi(bidi_request("f", [(0, 0, 1)]))
        assert code == grpc.StatusCode.OK
        assert {1: data} == content_of(responses)

    serve(served, scenario)


def test_ranges_beyond_the_end_are_listed_in_the_trailer(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(b"0123456789")

    async def scenario(clients: Clients) -> None:
        call = clients.call(BIDI, pb.BidiReadObjectResponse)
        await call.write(bidi_request("f", [(0, 4, 1), (11, 1, 2), (0, -1, 3)]))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await read_rest(call, [])
        assert raised.value.code() == grpc.StatusCode.OUT_OF_RANGE
        trailer = dict(raised.value.trailing_metadata())["grpc-status-details-bin"]
        status = status_pb2.Status.FromString(trailer)
        assert grpc.StatusCode.OUT_OF_RANGE.value[0] == status.code
        (detail,) = status.details
        assert detail.type_url == "type.googleapis.com/google.storage.v2.BidiReadObjectError"
        errors = pb.BidiReadObjectError.FromString(detail.value).read_range_errors
        assert [(error.read_id, error.status.code) for error in errors] == [(2, 11), (3, 11)]

    serve(served, scenario)


@pytest.mark.parametrize(
    "requests",
    [
        [bidi_request("", [(0, 1, 1)])],
        [bidi_request("f", [(0, 1, number) for number in range(101)])],
        [bidi_request("f"), bidi_request("f", [(0, 1, 1)])],
        [bidi_request("f", [(0, 1, 5), (1, 1, 5)])],
        [],
    ],
    ids=["no spec", "101 ranges", "second spec", "same read id", "nothing"],
)
def test_invalid_messages_end_the_stream(
    served: Path, bucket: Path, requests: list[pb.BidiReadObjectRequest]
) -> None:
    (bucket / "f").write_bytes(b"0123456789")

    async def scenario(clients: Clients) -> None:
        _, code = await clients.bidi(*requests)
        assert code == grpc.StatusCode.INVALID_ARGUMENT

    serve(served, scenario)


def test_a_hundred_ranges_in_one_message_are_allowed(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(b"0123456789")

    async def scenario(clients: Clients) -> None:
        request = bidi_request("f", [(number % 10, 1, number) for number in range(100)])
        responses, code = await clients.bidi(request)
        assert code == grpc.StatusCode.OK
        assert len(content_of(responses)) == 100

    serve(served, scenario)


@pytest.mark.parametrize("handle", [b"of another server", b"x", b"\0" * 100])
def test_a_read_handle_of_another_server_is_ignored(
    served: Path, bucket: Path, handle: bytes
) -> None:
    (bucket / "f").write_bytes(b"0123456789")

    async def scenario(clients: Clients) -> None:
        foreign = pb.BidiReadHandle(handle=handle)
        responses, code = await clients.bidi(bidi_request("f", [(2, 3, 1)], read_handle=foreign))
        assert code == grpc.StatusCode.OK
        assert responses[0].metadata.size == 10
        assert content_of(responses) == {1: b"234"}
        _, code = await clients.bidi(bidi_request("f", read_handle=foreign, generation=1))
        assert code == grpc.StatusCode.NOT_FOUND

    serve(served, scenario)


def test_a_read_handle_is_valid_for_its_own_generation_only(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(b"old")
    (bucket / "g").write_bytes(b"other")

    async def scenario(clients: Clients) -> None:
        (first,), _ = await clients.bidi(bidi_request("f"))
        _, code = await clients.bidi(bidi_request("g", read_handle=first.read_handle))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        (bucket / "f").write_bytes(b"new")
        _, code = await clients.bidi(bidi_request("f", read_handle=first.read_handle))
        assert code == grpc.StatusCode.NOT_FOUND

    serve(served, scenario)


@pytest.mark.parametrize(
    ("conditions", "code"),
    [
        ({"if_generation_match": 1}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"if_generation_match": 0}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"if_metageneration_match": 2}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"if_metageneration_not_match": 1}, grpc.StatusCode.ABORTED),
        ({"if_metageneration_match": 1}, grpc.StatusCode.OK),
        ({"generation": 1}, grpc.StatusCode.NOT_FOUND),
    ],
)
def test_conditions_are_checked_when_the_stream_opens(
    served: Path, bucket: Path, conditions: dict[str, int], code: grpc.StatusCode
) -> None:
    (bucket / "f").write_bytes(b"0123456789")

    async def scenario(clients: Clients) -> None:
        _, ended = await clients.bidi(bidi_request("f", [(0, 1, 1)], **conditions))
        assert code == ended

    serve(served, scenario)


def test_missing_objects_and_folders_are_not_found(served: Path, bucket: Path) -> None:
    (bucket / "folder").mkdir()

    async def scenario(clients: Clients) -> None:
        for name in ("missing", "folder", "folder/", "missing/f"):
            with pytest.raises(exceptions.NotFound):
                await download(clients, name, [(0, 0)])

    serve(served, scenario)


def test_an_open_stream_continues_after_its_file_is_replaced(served: Path, bucket: Path) -> None:
    old, new = b"o" * 8 * MIB, b"n" * 8 * MIB
    (bucket / "f").write_bytes(old)

    async def scenario(clients: Clients) -> None:
        call = clients.call(BIDI, pb.BidiReadObjectResponse)
        await call.write(bidi_request("f"))
        first = await call.read()
        assert isinstance(first, pb.BidiReadObjectResponse)
        (bucket / "new").write_bytes(new)
        (bucket / "new").replace(bucket / "f")
        await call.write(bidi_request("", [(0, 0, 1)]))
        await call.done_writing()
        responses: list[pb.BidiReadObjectResponse] = []
        await read_rest(call, responses)
        assert {1: old} == content_of(responses)
        _, code = await clients.bidi(bidi_request("f", generation=first.metadata.generation))
        assert code == grpc.StatusCode.NOT_FOUND
        assert [new] == await download(clients, "f", [(0, 0)])

    serve(served, scenario)


@pytest.mark.parametrize("size", [8 * MIB, 1 * MIB, 12 * MIB])
def test_a_change_in_place_ends_the_stream_without_a_new_byte(
    served: Path, bucket: Path, size: int
) -> None:
    (bucket / "f").write_bytes(b"o" * 8 * MIB)

    async def scenario(clients: Clients) -> None:
        call = clients.call(BIDI, pb.BidiReadObjectResponse)
        await call.write(bidi_request("f"))
        await call.read()
        (bucket / "f").write_bytes(b"n" * size)
        await call.write(bidi_request("", [(0, 0, 1)]))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND

    serve(served, scenario)


def test_a_cancelled_stream_closes_its_file(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(bytes(32 * MIB))

    async def scenario(clients: Clients) -> None:
        counters = clients.emulator.control.counters
        for _ in range(20):
            call = clients.call(BIDI, pb.BidiReadObjectResponse)
            await call.write(bidi_request("f", [(0, 0, 1)]))
            await call.read()
            assert times_open(bucket / "f")
            call.cancel()
        while counters.streams_open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert times_open(bucket / "f") == 0

    serve(served, scenario)
