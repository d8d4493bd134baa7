"""Chunks, answers and pages that are wrong, as a plain gRPC client sees them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import crc32c
import grpc
import grpc.aio
import pytest
from google.protobuf.message import DecodeError

from gcsmux_fs.emulator.faults import (
    ChunkCorrupted,
    ChunkDropped,
    ChunkDuplicated,
    ChunkEmpty,
    ChunkEndsEarly,
    ChunkGap,
    ChunkOverlaps,
    ChunkStray,
    ChunkSwapped,
    ChunkTooLong,
    ChunkWithoutCrc,
    ChunkWithoutEnd,
    ChunkWrongCrc,
    EmptyMessage,
    Fault,
    InjectionPoint,
    Malformed,
    MalformedKind,
    OmitMetadata,
    Padded,
    Status,
    WrongGeneration,
    WrongSize,
)
from gcsmux_fs.emulator.injection import FOR_EVER, Rule
from gcsmux_fs.storage.pb import storage_pb2 as pb

from .clients import BIDI, BUCKET, Clients, bidi_request, order, serve

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.message import Message

MIB = 1024 * 1024
CHUNK = 2 * MIB
SIZE = 5 * MIB
DATA = (bytes(range(251)) * (SIZE // 251 + 1))[:SIZE]
READS = [BIDI, "ReadObject"]

# What a client sees of a chunk: read_id, offset, length, whether its content is that of the object,
# whether its checksum is right (None: there is none), and whether its range ends.
Seen = tuple[int, int, int, bool, bool | None, bool]


@pytest.fixture(autouse=True)
def _object(bucket: Path) -> None:
    (bucket / "f").write_bytes(DATA)


async def received(clients: Clients) -> list[pb.ObjectRangeData]:
    """Read all of the object as range 1; return its chunks."""
    responses, code = await clients.bidi(bidi_request("f", [(0, 0, 1)]))
    assert code == grpc.StatusCode.OK
    assert all(response.ByteSize() < 4 * MIB for response in responses)
    return [data for response in responses for data in response.object_data_ranges]


async def chunks(clients: Clients) -> list[Seen]:
    """Read all of the object as range 1; return how its chunks look."""
    seen: list[Seen] = []
    for data in await received(clients):
        place, content = data.read_range, data.checksummed_data.content
        assert place.read_length == len(content)
        true = content == DATA[place.read_offset : place.read_offset + len(content)]
        intact = _intact(data.checksummed_data)
        seen.append((place.read_id, place.read_offset, len(content), true, intact, data.range_end))
    return seen


def _intact(data: pb.ChecksummedData) -> bool | None:
    return data.crc32c == crc32c.crc32c(data.content) if data.HasField("crc32c") else None


def good(start: int, end: int, *, last: bool = False, read_id: int = 1) -> Seen:
    return read_id, start, end - start, True, True, last


FIRST, SECOND = good(0, CHUNK), good(CHUNK, 2 * CHUNK)
THIRD = good(2 * CHUNK, SIZE, last=True)
HALF = CHUNK + MIB


@pytest.mark.parametrize(
    ("fault", "nth", "wanted"),
    [
        (ChunkDuplicated(), 2, [FIRST, SECOND, SECOND, THIRD]),
        (ChunkDuplicated(), 3, [FIRST, SECOND, THIRD, THIRD]),
        (ChunkDropped(), 2, [FIRST, THIRD]),
        (ChunkDropped(), 3, [FIRST, SECOND]),
        (ChunkSwapped(), 2, [FIRST, good(HALF, 2 * CHUNK), good(CHUNK, HALF), THIRD]),
        (ChunkOverlaps(9), 2, [FIRST, good(CHUNK, HALF), good(HALF - 9, 2 * CHUNK), THIRD]),
        (ChunkGap(9), 2, [FIRST, good(CHUNK + 9, 2 * CHUNK), THIRD]),
        (ChunkGap(2 * CHUNK), 2, [FIRST, good(2 * CHUNK, 2 * CHUNK), THIRD]),
        (ChunkStray(77), 2, [FIRST, good(CHUNK, 2 * CHUNK, read_id=77), SECOND, THIRD]),
        (ChunkEmpty(), 2, [FIRST, good(CHUNK, CHUNK), SECOND, THIRD]),
        (ChunkWithoutEnd(), 0, [FIRST, SECOND, (*THIRD[:5], False)]),
        (ChunkEndsEarly(), 2, [FIRST, good(CHUNK, HALF, last=True)]),
        (
            ChunkEndsEarly(rest=True),
            2,
            [FIRST, good(CHUNK, HALF, last=True), good(HALF, 2 * CHUNK), THIRD],
        ),
        (ChunkWrongCrc(), 2, [FIRST, (*SECOND[:4], False, False), THIRD]),
        (ChunkWithoutCrc(), 2, [FIRST, (*SECOND[:4], None, False), THIRD]),
    ],
    ids=lambda value: repr(value) if isinstance(value, Fault) else "",
)
def test_a_chunk_is_sent_as_ordered_and_the_next_read_is_right(
    served: Path, fault: Fault, nth: int, wanted: list[Seen]
) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(fault, nth=nth))
        assert wanted == await chunks(clients)
        assert await chunks(clients) == [FIRST, SECOND, THIRD]
        assert sum(clients.emulator.control.counters.faults.values()) == 1

    serve(served, scenario)


def test_a_chunk_that_is_too_long_ends_its_range_with_bytes_of_nobody(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(ChunkTooLong(3)))
        last = (await received(clients))[-1]
        assert last.checksummed_data.content == DATA[2 * CHUNK :] + b"\xa5" * 3
        assert _intact(last.checksummed_data)
        assert last.range_end

    serve(served, scenario)


def test_a_wrong_checksum_comes_once_or_for_ever(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(ChunkWrongCrc(), covers=CHUNK + 5, times=FOR_EVER))
        for _ in range(3):
            assert [seen[4] for seen in await chunks(clients)] == [True, False, True]

    serve(served, scenario)


def test_corrupted_content_differs_in_one_bit_and_keeps_its_checksum(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(ChunkCorrupted(), nth=1))
        first, *others = await received(clients)
        content = first.checksummed_data.content
        assert first.checksummed_data.crc32c == crc32c.crc32c(DATA[:CHUNK])
        flipped = [one ^ other for one, other in zip(content, DATA, strict=False) if one != other]
        assert [one.bit_count() for one in flipped] == [1]
        assert all(_intact(data.checksummed_data) for data in others)

    serve(served, scenario)


def test_several_faults_of_one_chunk_add_up(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(ChunkDuplicated(), nth=3), Rule(ChunkWithoutEnd()))
        open_end = (*THIRD[:5], False)
        assert [FIRST, SECOND, open_end, open_end] == await chunks(clients)

    serve(served, scenario)


def test_an_empty_message_comes_between(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(EmptyMessage(), nth=2))
        responses, code = await clients.bidi(bidi_request("f", [(0, 0, 1)]))
        assert code == grpc.StatusCode.OK
        assert responses.count(pb.BidiReadObjectResponse()) == 1
        assert len(responses) == 5

    serve(served, scenario)


async def plain_read(clients: Clients) -> list[pb.ReadObjectResponse]:
    call = clients.call("ReadObject", pb.ReadObjectResponse)
    await call.write(pb.ReadObjectRequest(bucket=BUCKET, object="f"))
    await call.done_writing()
    found: list[pb.ReadObjectResponse] = []
    with contextlib.suppress(grpc.aio.AioRpcError):
        async for response in call:
            assert isinstance(response, pb.ReadObjectResponse)
            found.append(response)
    return found


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (Rule(ChunkDropped(), nth=2), [(0, CHUNK), (2 * CHUNK, SIZE)]),
        (Rule(ChunkDuplicated(), covers=SIZE - 1), [(0, SIZE), (2 * CHUNK, SIZE)]),
        (Rule(ChunkGap(5), nth=1), [(5, SIZE)]),
        (Rule(ChunkEndsEarly(), nth=2), [(0, HALF)]),
        (Rule(Status(), at=InjectionPoint.CONTENT, after_bytes=12345), [(0, 12345)]),
    ],
    ids=lambda value: repr(value.fault) if isinstance(value, Rule) else "",
)
def test_plain_reads_have_the_same_faults(
    served: Path, rule: Rule, wanted: list[tuple[int, int]]
) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, rule)
        found = await plain_read(clients)
        content = b"".join(one.checksummed_data.content for one in found)
        assert content == b"".join(DATA[start:end] for start, end in wanted)
        assert all(_intact(one.checksummed_data) for one in found)
        assert found[0].metadata.size == SIZE

    serve(served, scenario)


# ---- Answers


async def raw(clients: Clients, method: str, request: Message) -> list[bytes]:
    """Return the undecoded messages that answer one request."""
    call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = clients.channel.stream_stream(
        f"/google.storage.v2.Storage/{method}"
    )
    return [message async for message in call(iter([request.SerializeToString()]))]


@pytest.mark.parametrize("how", [*MalformedKind])
@pytest.mark.parametrize("at", [InjectionPoint.ANSWER, InjectionPoint.CHUNK])
def test_malformed_messages_cannot_be_decoded(
    served: Path, how: MalformedKind, at: InjectionPoint
) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Malformed(how), at=at, nth=2 if at is InjectionPoint.CHUNK else 0))
        broken = []
        messages = await raw(clients, BIDI, bidi_request("f", [(0, 0, 1)]))
        for number, message in enumerate(messages):
            try:
                pb.BidiReadObjectResponse.FromString(message)
            except DecodeError:
                broken.append(number)
        assert broken == [0 if at is InjectionPoint.ANSWER else 2]
        assert await chunks(clients) == [FIRST, SECOND, THIRD]

    serve(served, scenario)


@pytest.mark.parametrize("how", [*MalformedKind])
def test_unary_answers_are_malformed_too(served: Path, how: MalformedKind) -> None:
    async def scenario(clients: Clients) -> None:
        request = pb.GetObjectRequest(bucket=BUCKET, object="f")
        order(clients, Rule(Malformed(how), method="GetObject"))
        (message,) = await raw(clients, "GetObject", request)
        with pytest.raises(DecodeError):
            pb.Object.FromString(message)
        (message,) = await raw(clients, "GetObject", request)
        assert pb.Object.FromString(message).size == SIZE

    serve(served, scenario)


async def get(clients: Clients) -> pb.Object:
    (message,) = await raw(clients, "GetObject", pb.GetObjectRequest(bucket=BUCKET, object="f"))
    return pb.Object.FromString(message)


def test_answers_show_sizes_and_generations_that_are_not_so(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        truth = await get(clients)
        order(clients, Rule(WrongSize(-10)), Rule(WrongGeneration(7)))
        lie = await get(clients)
        assert lie.size == SIZE - 10
        assert lie.generation == truth.generation + 7
        assert await get(clients) == truth

    serve(served, scenario)


@pytest.mark.expects_log("ExecuteBatchError")
def test_a_message_above_the_clients_limit_is_refused_by_its_grpc(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Padded(), method="GetObject"))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await get(clients)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    serve(served, scenario)


def test_padding_within_the_clients_limit_is_skipped(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Padded(1000), at=InjectionPoint.CHUNK))
        assert await chunks(clients) == [FIRST, SECOND, THIRD]

    serve(served, scenario)


@pytest.mark.parametrize("resumed", [False, True])
def test_metadata_is_missing_after_an_open_with_a_handle(served: Path, resumed: bool) -> None:
    async def scenario(clients: Clients) -> None:
        (opening,), _ = await clients.bidi(bidi_request("f"))
        assert opening.HasField("metadata")
        order(clients, Rule(OmitMetadata(), resumed=True, times=FOR_EVER))
        handle = opening.read_handle if resumed else None
        (opening,), _ = await clients.bidi(bidi_request("f", read_handle=handle))
        assert opening.HasField("metadata") != resumed
        assert opening.HasField("read_handle")

    serve(served, scenario)


@pytest.mark.parametrize("by_bytes", [1000, -1000, -2 * SIZE])
def test_sizes_that_streams_show_grow_and_shrink(served: Path, by_bytes: int) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(WrongSize(by_bytes), method=BIDI))
        (opening,), _ = await clients.bidi(bidi_request("f"))
        assert opening.metadata.size == max(0, SIZE + by_bytes)

    serve(served, scenario)
