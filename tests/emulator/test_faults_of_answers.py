"""Tests of faults in chunks and in responses, as a plain gRPC client receives them."""

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
from tests.support.sizes import MIB

from .clients import BIDI, BUCKET, Clients, bidi_request, order, serve

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.message import Message

CHUNK = 2 * MIB
SIZE = 5 * MIB
DATA = (bytes(range(251)) * (SIZE // 251 + 1))[:SIZE]
READS = [BIDI, "ReadObject"]

# A chunk as the client receives it: read_id, offset, length, whether the content is equal to the
# object's bytes, whether the checksum matches (None: there is no checksum), and range_end.
Seen = tuple[int, int, int, bool, bool | None, bool]


@pytest.fixture(autouse=True)
def _object(bucket: Path) -> None:
    (bucket / "f").write_bytes(DATA)


async def received(clients: Clients) -> list[pb.ObjectRangeData]:
    """Read the whole object as one range with read_id 1; return the chunks."""
    responses, code = await clients.bidi(bidi_request("f", [(0, 0, 1)]))
    assert code == grpc.StatusCode.OK
    assert all(response.ByteSize() < 4 * MIB for response in responses)
    return [data for response in responses for data in response.object_data_ranges]


async def chunks(clients: Clients) -> list[Seen]:
    """Read the whole object as one range with read_id 1; return a summary of each chunk."""
    seen: list[Seen] = []
    for data in await received(clients):
        place, content = data.read_range, data.checksummed_data.content
        assert place.read_length == len(content)
        correct = content == DATA[place.read_offset : place.read_offset + len(content)]
        intact = _intact(data.checksummed_data)
        seen.append(
            (place.read_id, place.read_offset, len(content), correct, intact, data.range_end)
        )
    return seen


def _intact(data: pb.ChecksummedData) -> bool | None:
    return data.crc32c == crc32c.crc32c(data.content) if data.HasField("crc32c") else None


def good(start: int, end: int, *, last: bool = False, read_id: int = 1) -> Seen:
    return read_id, start, end - start, True, True, last


FIRST, SECOND = good(0, CHUNK), good(CHUNK, 2 * CHUNK)
THIRD = good(2 * CHUNK, SIZE, last=True)
HALF = CHUNK + MIB


@pytest.mark.parametrize(
    ("fault", "nth", "expected"),
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
def test_a_chunk_fault_changes_one_chunk_and_the_next_read_is_correct(
    served: Path, fault: Fault, nth: int, expected: list[Seen]
) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(fault, nth=nth))
        assert expected == await chunks(clients)
        assert await chunks(clients) == [FIRST, SECOND, THIRD]
        assert sum(clients.emulator.control.counters.faults.values()) == 1

    serve(served, scenario)


def test_chunk_too_long_appends_bytes_to_the_last_chunk(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(ChunkTooLong(3)))
        last = (await received(clients))[-1]
        assert last.checksummed_data.content == DATA[2 * CHUNK :] + b"\xa5" * 3
        assert _intact(last.checksummed_data)
        assert last.range_end

    serve(served, scenario)


def test_a_rule_without_maximum_fires_at_every_read(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(ChunkWrongCrc(), covers=CHUNK + 5, times=FOR_EVER))
        for _ in range(3):
            assert [seen[4] for seen in await chunks(clients)] == [True, False, True]

    serve(served, scenario)


def test_chunk_corrupted_flips_one_bit_and_keeps_the_checksum(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(ChunkCorrupted(), nth=1))
        first, *others = await received(clients)
        content = first.checksummed_data.content
        assert first.checksummed_data.crc32c == crc32c.crc32c(DATA[:CHUNK])
        flipped = [sent ^ true for sent, true in zip(content, DATA, strict=False) if sent != true]
        assert [bits.bit_count() for bits in flipped] == [1]
        assert all(_intact(data.checksummed_data) for data in others)

    serve(served, scenario)


def test_several_faults_apply_to_one_chunk(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(ChunkDuplicated(), nth=3), Rule(ChunkWithoutEnd()))
        without_end = (*THIRD[:5], False)
        assert [FIRST, SECOND, without_end, without_end] == await chunks(clients)

    serve(served, scenario)


def test_empty_message_is_sent_before_the_chunk(served: Path) -> None:
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
    responses: list[pb.ReadObjectResponse] = []
    with contextlib.suppress(grpc.aio.AioRpcError):
        async for response in call:
            assert isinstance(response, pb.ReadObjectResponse)
            responses.append(response)
    return responses


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(ChunkDropped(), nth=2), [(0, CHUNK), (2 * CHUNK, SIZE)]),
        (Rule(ChunkDuplicated(), covers=SIZE - 1), [(0, SIZE), (2 * CHUNK, SIZE)]),
        (Rule(ChunkGap(5), nth=1), [(5, SIZE)]),
        (Rule(ChunkEndsEarly(), nth=2), [(0, HALF)]),
        (Rule(Status(), at=InjectionPoint.CONTENT, after_bytes=12345), [(0, 12345)]),
    ],
    ids=lambda value: repr(value.fault) if isinstance(value, Rule) else "",
)
def test_read_object_has_the_same_chunk_faults(
    served: Path, rule: Rule, expected: list[tuple[int, int]]
) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, rule)
        responses = await plain_read(clients)
        content = b"".join(response.checksummed_data.content for response in responses)
        assert content == b"".join(DATA[start:end] for start, end in expected)
        assert all(_intact(response.checksummed_data) for response in responses)
        assert responses[0].metadata.size == SIZE

    serve(served, scenario)


# ---- Faults at the injection point `answer`


async def raw(clients: Clients, method: str, request: Message) -> list[bytes]:
    """Send one request and return the encoded messages of the response."""
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
        malformed = []
        messages = await raw(clients, BIDI, bidi_request("f", [(0, 0, 1)]))
        for number, message in enumerate(messages):
            try:
                pb.BidiReadObjectResponse.FromString(message)
            except DecodeError:
                malformed.append(number)
        assert malformed == [0 if at is InjectionPoint.ANSWER else 2]
        assert await chunks(clients) == [FIRST, SECOND, THIRD]

    serve(served, scenario)


@pytest.mark.parametrize("how", [*MalformedKind])
def test_unary_responses_are_malformed_too(served: Path, how: MalformedKind) -> None:
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


def test_wrong_size_and_wrong_generation_change_the_response_once(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        correct = await get(clients)
        order(clients, Rule(WrongSize(-10)), Rule(WrongGeneration(7)))
        wrong = await get(clients)
        assert wrong.size == SIZE - 10
        assert wrong.generation == correct.generation + 7
        assert await get(clients) == correct

    serve(served, scenario)


@pytest.mark.expects_log("ExecuteBatchError")
def test_padding_above_the_clients_limit_is_resource_exhausted(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Padded(), method="GetObject"))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await get(clients)
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    serve(served, scenario)


def test_padding_below_the_clients_limit_is_ignored(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Padded(1000), at=InjectionPoint.CHUNK))
        assert await chunks(clients) == [FIRST, SECOND, THIRD]

    serve(served, scenario)


@pytest.mark.parametrize("resumed", [False, True])
def test_omit_metadata_with_resumed_needs_a_read_handle(served: Path, resumed: bool) -> None:
    async def scenario(clients: Clients) -> None:
        (first,), _ = await clients.bidi(bidi_request("f"))
        assert first.HasField("metadata")
        order(clients, Rule(OmitMetadata(), resumed=True, times=FOR_EVER))
        handle = first.read_handle if resumed else None
        (first,), _ = await clients.bidi(bidi_request("f", read_handle=handle))
        assert first.HasField("metadata") != resumed
        assert first.HasField("read_handle")

    serve(served, scenario)


@pytest.mark.parametrize("by_bytes", [1000, -1000, -2 * SIZE])
def test_wrong_size_changes_the_size_in_a_streams_metadata(served: Path, by_bytes: int) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(WrongSize(by_bytes), method=BIDI))
        (first,), _ = await clients.bidi(bidi_request("f"))
        assert first.metadata.size == max(0, SIZE + by_bytes)

    serve(served, scenario)
