from __future__ import annotations

import io
import json
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import pytest
from google.cloud.storage.asyncio.async_multi_range_downloader import AsyncMultiRangeDownloader

from gcsmux_fs.emulator.buckets.store import BucketStore
from gcsmux_fs.emulator.faults import InjectionPoint, Status
from gcsmux_fs.emulator.injection import Faults, Rule
from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
from tests.support.sizes import MIB

from .clients import Clients, bidi_request, serve

if TYPE_CHECKING:
    from pathlib import Path


async def control(clients: Clients, method: str, **request: object) -> dict[str, object]:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = clients.channel.unary_unary(
        f"/gcsmux.emulator.Control/{method}"
    )
    response: dict[str, object] = json.loads(
        await call(json.dumps(request).encode() if request else b"")
    )
    return response


def test_stats_return_requested_and_sent_bytes_and_reset_them(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(bytes(100))

    async def scenario(clients: Clients) -> None:
        await clients.google.get_object("b", "f")
        await clients.bidi(bidi_request("f", [(0, 10, 1), (95, 10, 2)]))
        expected = {
            "requests": {"GetObject": 1, "BidiReadObject": 1},
            "ranges": 2,
            "bytes_asked": 15,
            "bytes_sent": 15,
            "faults": {},
            "tokens": {},
            "streams_open": 0,
        }
        assert expected == await control(clients, "Stats", reset=True)
        after_reset = await control(clients, "Stats")
        assert after_reset["requests"] == {}
        assert after_reset["bytes_sent"] == 0

    serve(served, scenario)


def test_a_status_fault_ends_streams_after_the_exact_bytes_and_times(
    served: Path, bucket: Path
) -> None:
    (bucket / "f").write_bytes(bytes(3 * MIB))
    rule = {
        "fault": {"kind": "status", "code": "INTERNAL"},
        "at": "content",
        "after_bytes": 1_000_000,
        "times": 2,
        "name": "cut",
    }

    async def scenario(clients: Clients) -> None:
        assert {"rules": [rule]} == await control(clients, "Faults", rules=[rule])
        for done in (1, 2):
            responses, code = await clients.bidi(bidi_request("f", [(0, 0, 1)]))
            assert code == grpc.StatusCode.INTERNAL
            sent = sum(
                len(data.checksummed_data.content)
                for response in responses
                for data in response.object_data_ranges
            )
            assert sent == 1_000_000
            counters = await control(clients, "Stats")
            assert counters["faults"] == {"cut": done}
            assert counters["bytes_sent"] == done * 1_000_000
        _, code = await clients.bidi(bidi_request("f", [(0, 0, 1)]))
        assert code == grpc.StatusCode.OK

    serve(served, scenario)


@pytest.mark.expects_log("Cut on order", "Error in stream multiplexer recv loop")
def test_googles_downloader_recovers_from_a_status_fault(served: Path, bucket: Path) -> None:
    data = bytes(range(256)) * 20_000
    (bucket / "f").write_bytes(data)

    async def scenario(clients: Clients) -> None:
        downloader = await AsyncMultiRangeDownloader.create_mrd(clients.google, "b", "f")
        cut = Rule(Status(message="Cut on order"), at=InjectionPoint.CONTENT, after_bytes=2_000_000)
        clients.emulator.control.order(Faults((cut,)))
        buffer = io.BytesIO()
        await downloader.download_ranges([(0, 0, buffer)])
        assert data == buffer.getvalue()
        assert clients.emulator.control.counters.faults["status"] == 1
        await downloader.close()

    serve(served, scenario)


def order_text(after_bytes: int) -> str:
    rule = Rule(Status(), at=InjectionPoint.CONTENT, after_bytes=after_bytes, times=1)
    return Faults((rule,)).to_json().decode()


def polled_after_bytes(orders: FaultOrders) -> list[int]:
    orders.poll_file()
    return [rule.after_bytes for rule in orders.rules.faults.rules]


def test_the_faults_file_is_read_again_when_it_changes(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(bytes(100))
    file = served / "faults.json"

    async def read(clients: Clients) -> grpc.StatusCode:
        return (await clients.bidi(bidi_request("f", [(0, 0, 1)])))[1]

    async def scenario(clients: Clients) -> None:
        assert await read(clients) == grpc.StatusCode.OK
        for after_bytes in (5, 70):
            file.write_text(order_text(after_bytes))
            assert await read(clients) == grpc.StatusCode.UNAVAILABLE
            # The rule does not fire again, because the faults file has not changed.
            assert await read(clients) == grpc.StatusCode.OK

    serve(served, scenario, faults_file=file)


@pytest.mark.expects_log("Not a valid order of faults")
def test_an_invalid_faults_file_changes_nothing_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "faults.json"
    file.write_text(order_text(5))
    orders = FaultOrders(BucketStore(tmp_path), Counter(), file)
    file.write_text("{")
    for _ in range(3):
        assert polled_after_bytes(orders) == [5]
    assert len(caplog.records) == 1


def test_an_invalid_order_fails_and_changes_nothing(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        rule = {"fault": {"kind": "hang"}}
        await control(clients, "Faults", rules=[rule])
        for bad, reason in (
            ({"fault": {"kind": "hang"}, "tims": 1}, "rule 1: a rule has no member 'tims'"),
            ({"fault": {"kind": "reset"}}, "Faults of connections need the TCP proxy"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await control(clients, "Faults", rules=[bad])
            assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert reason in (raised.value.details() or "")
        assert await control(clients, "Faults") == {"rules": [rule]}

    serve(served, scenario)
