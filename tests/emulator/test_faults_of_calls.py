"""Tests of faults that affect a whole call, as a plain gRPC client receives them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from gcsmux_fs.emulator.buckets.object_handles import ObjectHandle
from gcsmux_fs.emulator.faults import (
    Bandwidth,
    Delay,
    Delete,
    Details,
    EndOk,
    ExpireToken,
    Fault,
    Hang,
    InjectionPoint,
    Overwrite,
    RangeError,
    Redirect,
    Status,
)
from gcsmux_fs.emulator.injection import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb
from tests.support.sizes import MIB

from .clients import BIDI, BUCKET, Clients, bidi_request, order, read_rest, serve

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.message import Message

DATA = bytes(range(256)) * 20_000
ERRORS = [code for code in StatusCode if code is not StatusCode.OK]
Headers = tuple[tuple[str, str], ...]


@pytest.fixture(autouse=True)
def _object(bucket: Path) -> None:
    (bucket / "f").write_bytes(DATA)


async def unary(
    clients: Clients,
    method: str,
    request: Message,
    response_type: type[Message],
    headers: Headers = (),
) -> Message:
    call: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = clients.channel.unary_unary(
        f"/google.storage.v2.Storage/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response_type.FromString,
    )
    return await call(request, metadata=headers)


async def get(clients: Clients, token: str = "") -> pb.Object:
    headers = (("authorization", token),) if token else ()
    request = pb.GetObjectRequest(bucket=BUCKET, object="f")
    response = await unary(clients, "GetObject", request, pb.Object, headers)
    assert isinstance(response, pb.Object)
    return response


async def read(
    clients: Clients, *ranges: tuple[int, int, int], headers: Headers = (), **spec: object
) -> tuple[list[pb.BidiReadObjectResponse], grpc.StatusCode, status_pb2.Status]:
    """Read ranges on a new stream; return the responses, the status code and the status details."""
    call = clients.call(BIDI, pb.BidiReadObjectResponse, headers=headers)
    received: list[pb.BidiReadObjectResponse] = []
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(bidi_request("f", ranges, **spec))
        await call.done_writing()
    with contextlib.suppress(grpc.aio.AioRpcError):
        await read_rest(call, received)
    trailer = dict(await call.trailing_metadata() or ())
    details = trailer.get("grpc-status-details-bin", b"")
    assert isinstance(details, bytes)
    return received, await call.code(), status_pb2.Status.FromString(details)


def content(responses: list[pb.BidiReadObjectResponse], read_id: int = 1) -> bytes:
    return b"".join(
        data.checksummed_data.content
        for response in responses
        for data in response.object_data_ranges
        if data.read_range.read_id == read_id
    )


@pytest.mark.parametrize("code", ERRORS, ids=lambda code: code.name)
def test_any_status_ends_calls_at_open_and_at_content(served: Path, code: StatusCode) -> None:
    async def scenario(clients: Clients) -> None:
        expected = grpc.StatusCode[code.name]
        order(clients, Rule(Status(code, "On order"), times=2))
        received, ended, _ = await read(clients, (0, 0, 1))
        assert (received, ended) == ([], expected)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await get(clients)
        assert (raised.value.code(), raised.value.details()) == (expected, "On order")
        order(clients, Rule(Status(code), at=InjectionPoint.CONTENT, after_bytes=1234))
        received, ended, _ = await read(clients, (0, 0, 1))
        assert (content(received), ended) == (DATA[:1234], expected)
        # By default a rule fires only once, so the next call succeeds.
        assert (await read(clients, (0, 0, 1)))[1] == grpc.StatusCode.OK

    serve(served, scenario)


@pytest.mark.parametrize("at", [InjectionPoint.OPEN, InjectionPoint.CONTENT])
def test_status_details_are_those_of_the_order(served: Path, at: InjectionPoint) -> None:
    async def scenario(clients: Clients) -> None:
        code = StatusCode.RESOURCE_EXHAUSTED
        order(clients, Rule(Status(code, "Wait", Details.RETRY_INFO, 2.5), at=at))
        _, _, status = await read(clients, (0, 0, 1))
        assert (status.code, status.message) == (code, "Wait")
        retry = error_details_pb2.RetryInfo()
        assert status.details[0].Unpack(retry)
        assert retry.retry_delay.ToTimedelta().total_seconds() == 2.5
        order(clients, Rule(Status(code, "Wait", Details.ERROR_INFO), at=at))
        _, _, status = await read(clients, (0, 0, 1))
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.reason == "RESOURCE_EXHAUSTED"
        order(clients, Rule(Status(code, "Wait", Details.MALFORMED), at=at))
        with pytest.raises(Exception, match="parsing"):
            await read(clients, (0, 0, 1))
        order(clients, Rule(Status(code, "Wait"), at=at))
        assert (await read(clients, (0, 0, 1)))[2] == status_pb2.Status()

    serve(served, scenario)


def test_end_ok_ends_a_call_early_with_ok(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(EndOk(), times=2))
        assert (await read(clients, (0, 0, 1)))[:2] == ([], grpc.StatusCode.OK)
        assert await get(clients) == pb.Object()
        order(clients, Rule(EndOk(), at=InjectionPoint.CONTENT, after_bytes=7))
        received, ended, _ = await read(clients, (0, 0, 1))
        assert (content(received), ended) == (DATA[:7], grpc.StatusCode.OK)
        order(clients, Rule(EndOk(), at=InjectionPoint.RANGE, nth=2))
        received, ended, _ = await read(clients, (0, 1, 1), (0, 1, 2))
        assert (content(received, 2), ended) == (b"", grpc.StatusCode.OK)

    serve(served, scenario)


async def opened(clients: Clients) -> grpc.aio.StreamStreamCall[Message, Message]:
    call = clients.call(BIDI, pb.BidiReadObjectResponse)
    await call.write(bidi_request("f"))
    await call.read()
    return call


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_at_idle_ends_streams_opened_before_or_after_the_order(
    served: Path, when: str
) -> None:
    async def scenario(clients: Clients) -> None:
        rule = Rule(Status(StatusCode.ABORTED), at=InjectionPoint.IDLE, after_seconds=0.05)
        if when == "before":
            order(clients, rule)
        call = await opened(clients)
        if when == "after":
            order(clients, rule)
        with pytest.raises(grpc.aio.AioRpcError):
            await call.read()
        assert await call.code() == grpc.StatusCode.ABORTED

    serve(served, scenario)


def test_a_fault_after_0_bytes_ends_open_streams(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        calls = [await opened(clients) for _ in range(3)]
        order(clients, Rule(Status(), at=InjectionPoint.CONTENT, times=FOR_EVER, name="cut"))
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError):
                await call.read()
        assert clients.emulator.control.counters.faults == {"cut": 3}

    serve(served, scenario)


def test_a_redirect_holds_a_token_and_a_handle_and_spares_streams_with_the_token(
    served: Path,
) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Redirect("cell/7", handle=True), method=BIDI, times=FOR_EVER))
        _, ended, status = await read(clients, (0, 1, 1))
        assert ended == grpc.StatusCode.ABORTED
        (detail,) = status.details
        name = "type.googleapis.com/google.storage.v2.BidiReadObjectRedirectedError"
        assert detail.type_url == name
        error = pb.BidiReadObjectRedirectedError.FromString(detail.value)
        assert error.routing_token == "cell/7"
        handle = error.read_handle.handle
        assert ObjectHandle.unseal(handle).name == "f"
        params = "bucket=projects/_/buckets/b&routing_token=cell/7"
        for how in (
            {"routing_token": "cell/7", "read_handle": pb.BidiReadHandle(handle=handle)},
            {"headers": (("x-goog-request-params", params),)},
            {"headers": (("x-goog-request-params", params.replace("l/7", "l%2F7")),)},
        ):
            received, ended, _ = await read(clients, (0, 1, 1), **how)
            assert (content(received), ended) == (DATA[:1], grpc.StatusCode.OK)
        order(clients, Rule(Redirect("cell/7", loop=True), times=2))
        for expected in ("ABORTED", "ABORTED", "OK"):
            _, ended, _ = await read(clients, (0, 1, 1), routing_token="cell/7")
            assert ended == grpc.StatusCode[expected]

    serve(served, scenario)


def test_resumed_selects_streams_with_a_read_handle(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Status(StatusCode.FAILED_PRECONDITION), resumed=True, times=FOR_EVER))
        received, ended, _ = await read(clients, (0, 1, 1))
        assert ended == grpc.StatusCode.OK
        _, ended, _ = await read(clients, (0, 1, 1), read_handle=received[0].read_handle)
        assert ended == grpc.StatusCode.FAILED_PRECONDITION

    serve(served, scenario)


def test_a_range_error_names_the_failed_range(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        ranges = [(number * 10, 10, number) for number in range(1, 6)]
        fault = RangeError(StatusCode.DATA_LOSS, "A bad disk")
        for rule in (Rule(fault, nth=3), Rule(fault, covers=35)):
            order(clients, rule)
            received, ended, status = await read(clients, *ranges)
            assert ended == grpc.StatusCode.DATA_LOSS
            error = pb.BidiReadObjectError.FromString(status.details[0].value)
            (failed,) = error.read_range_errors
            assert (failed.read_id, failed.status.code) == (3, StatusCode.DATA_LOSS)
            assert content(received, 1) == DATA[10:20]
            assert content(received, 3) == b""

    serve(served, scenario)


@pytest.mark.parametrize(
    ("fault", "at", "served_ids"),
    [
        (Hang(), InjectionPoint.OPEN, []),
        (Hang(), InjectionPoint.CONTENT, [1]),
        (Hang(), InjectionPoint.RANGE, [1, 3]),
        (Delay(3600.0), InjectionPoint.RANGE, [1, 3]),
    ],
)
def test_hang_and_long_delays_stop_the_stream_or_one_range(
    served: Path, fault: Fault, at: InjectionPoint, served_ids: list[int]
) -> None:
    async def scenario(clients: Clients) -> None:
        rule = (
            Rule(fault, at=at, after_bytes=10)
            if at is InjectionPoint.CONTENT
            else Rule(fault, at=at, nth=2 if at is InjectionPoint.RANGE else 0)
        )
        order(clients, rule)
        call = clients.call(BIDI, pb.BidiReadObjectResponse)
        await call.write(bidi_request("f", [(0, 10, 1), (10, 10, 2), (20, 10, 3)]))
        received: list[pb.BidiReadObjectResponse] = []
        reading = asyncio.ensure_future(read_rest(call, received))
        assert not (await asyncio.wait([reading], timeout=0.2))[0]
        assert served_ids == [read_id for read_id in (1, 2, 3) if content(received, read_id)]
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        # The next stream succeeds, because the rule fires only once.
        assert (await read(clients, (0, 0, 1)))[1] == grpc.StatusCode.OK

    serve(served, scenario)


def test_delay_and_bandwidth_take_the_time_of_the_order(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        clock = asyncio.get_running_loop().time
        for rule, least in (
            (Rule(Delay(0.1, 0.1), times=FOR_EVER), 0.1),
            (Rule(Delay(0.1), at=InjectionPoint.CHUNK, times=FOR_EVER), 0.3),
            (Rule(Delay(0.1), at=InjectionPoint.RANGE), 0.1),
            (Rule(Delay(0.1), at=InjectionPoint.CONTENT, after_bytes=5), 0.1),
            (Rule(Bandwidth(20 * MIB)), 0.15),
        ):
            order(clients, rule)
            begin = clock()
            received, ended, _ = await read(clients, (0, 0, 1))
            assert (content(received), ended) == (DATA, grpc.StatusCode.OK)
            assert clock() - begin >= least
        order(clients, Rule(Delay(0.1), method="GetObject"))
        begin = clock()
        await get(clients)
        assert clock() - begin >= 0.1

    serve(served, scenario)


def test_calls_with_an_expired_token_fail_until_a_new_token_is_sent(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(ExpireToken()))
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await get(clients, "Bearer old")
            assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert (await get(clients, "Bearer new")).size == len(DATA)
        _, ended, status = await read(clients, headers=(("authorization", "Bearer old"),))
        assert ended == grpc.StatusCode.UNAUTHENTICATED
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.reason == "ACCESS_TOKEN_EXPIRED"

    serve(served, scenario)


def test_a_seed_repeats_the_same_failures_of_unary_calls_and_streams(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        def storm() -> None:
            code = StatusCode.RESOURCE_EXHAUSTED
            order(clients, Rule(Status(code), probability=0.5, times=FOR_EVER), seed=4)

        async def outcomes() -> list[grpc.StatusCode]:
            storm()
            codes: list[grpc.StatusCode] = []
            for _ in range(10):
                codes.append((await read(clients, (0, 1, 1)))[1])
                try:
                    await get(clients)
                    codes.append(grpc.StatusCode.OK)
                except grpc.aio.AioRpcError as error:
                    codes.append(error.code())
            return codes

        first = await outcomes()
        assert {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED} == set(first)
        assert first == await outcomes()

    serve(served, scenario)


@pytest.mark.parametrize("grow_bytes", [0, 100, -100])
def test_overwrite_makes_a_new_generation_and_the_stream_continues(
    served: Path, bucket: Path, grow_bytes: int
) -> None:
    async def scenario(clients: Clients) -> None:
        before = await get(clients)
        order(clients, Rule(Overwrite(grow_bytes), at=InjectionPoint.CONTENT, after_bytes=MIB))
        received, ended, _ = await read(clients, (0, 0, 1))
        assert (content(received), ended) == (DATA, grpc.StatusCode.OK)
        after = await get(clients)
        assert after.generation > before.generation
        expected = bytes((value + 1) % 256 for value in DATA[: len(DATA) + min(0, grow_bytes)])
        assert (bucket / "f").read_bytes() == expected + bytes(max(0, grow_bytes))
        _, ended, _ = await read(clients, (0, 0, 1), generation=before.generation)
        assert ended == grpc.StatusCode.NOT_FOUND

    serve(served, scenario)


def test_overwrite_in_place_ends_the_stream_and_delete_does_not(served: Path, bucket: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Overwrite(in_place=True), at=InjectionPoint.CONTENT, after_bytes=MIB))
        received, ended, _ = await read(clients, (0, 0, 1))
        assert ended == grpc.StatusCode.NOT_FOUND
        assert DATA.startswith(content(received))
        order(clients, Rule(Delete(), at=InjectionPoint.CONTENT, after_bytes=MIB))
        received, ended, _ = await read(clients, (0, 0, 1))
        assert (len(content(received)), ended) == (len(DATA), grpc.StatusCode.OK)
        assert (await read(clients, (0, 0, 1)))[1] == grpc.StatusCode.NOT_FOUND

    serve(served, scenario)


def test_read_object_works_while_bidi_read_object_is_unimplemented(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        order(clients, Rule(Status(StatusCode.UNIMPLEMENTED), method=BIDI, times=FOR_EVER))
        assert (await read(clients))[1] == grpc.StatusCode.UNIMPLEMENTED
        call = clients.call("ReadObject", pb.ReadObjectResponse)
        await call.write(pb.ReadObjectRequest(bucket=BUCKET, object="f"))
        await call.done_writing()
        parts = [response async for response in call]
        assert b"".join(part.checksummed_data.content for part in parts) == DATA  # type: ignore[attr-defined]

    serve(served, scenario)
