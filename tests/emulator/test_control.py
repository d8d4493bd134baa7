from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import grpc
import pytest
from google.cloud.storage.asyncio.async_multi_range_downloader import AsyncMultiRangeDownloader

from gcsmux_fs.emulator.control import BidiCut, Control, Faults
from gcsmux_fs.emulator.refusal import Refusal
from gcsmux_fs.errors import StatusCode

from .clients import Clients, bidi_request, serve

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024


async def control(clients: Clients, method: str, **request: object) -> dict[str, object]:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = clients.channel.unary_unary(
        f"/gcsmux.emulator.Control/{method}"
    )
    answer: dict[str, object] = json.loads(
        await call(json.dumps(request).encode() if request else b"")
    )
    return answer


def test_counters_tell_what_was_asked_and_sent(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(bytes(100))

    async def scenario(clients: Clients) -> None:
        await clients.google.get_object("b", "f")
        await clients.bidi(bidi_request("f", [(0, 10, 1), (95, 10, 2)]))
        wanted = {
            "requests": {"GetObject": 1, "BidiReadObject": 1},
            "ranges": 2,
            "bytes_asked": 15,
            "bytes_sent": 15,
            "cuts": 0,
            "streams_open": 0,
        }
        assert wanted == await control(clients, "Stats", reset=True)
        emptied = await control(clients, "Stats")
        assert emptied["requests"] == {}
        assert emptied["bytes_sent"] == 0

    serve(served, scenario)


def test_streams_are_cut_after_exactly_the_bytes_and_times_ordered(
    served: Path, bucket: Path
) -> None:
    (bucket / "f").write_bytes(bytes(3 * MIB))

    async def scenario(clients: Clients) -> None:
        order = {"after_bytes": 1_000_000, "times": 2, "code": "INTERNAL"}
        assert {"bidi_cut": order} == await control(clients, "Faults", bidi_cut=order)
        for left in (1, 0):
            responses, code = await clients.bidi(bidi_request("f", [(0, 0, 1)]))
            assert code == grpc.StatusCode.INTERNAL
            sent = sum(
                len(data.checksummed_data.content)
                for response in responses
                for data in response.object_data_ranges
            )
            assert sent == 1_000_000
            assert {"bidi_cut": {**order, "times": left}} == await control(clients, "Faults")
        _, code = await clients.bidi(bidi_request("f", [(0, 0, 1)]))
        assert code == grpc.StatusCode.OK
        assert clients.emulator.control.counters.cuts == 2

    serve(served, scenario)


@pytest.mark.expects_log("Cut on order", "Error in stream multiplexer recv loop")
def test_googles_downloader_survives_cuts(served: Path, bucket: Path) -> None:
    data = bytes(range(256)) * 20_000
    (bucket / "f").write_bytes(data)

    async def scenario(clients: Clients) -> None:
        downloader = await AsyncMultiRangeDownloader.create_mrd(clients.google, "b", "f")
        clients.emulator.control.faults = Faults(BidiCut(2_000_000, times=1))
        buffer = io.BytesIO()
        await downloader.download_ranges([(0, 0, buffer)])
        assert data == buffer.getvalue()
        assert clients.emulator.control.counters.cuts == 1
        await downloader.close()

    serve(served, scenario)


def test_a_faults_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    orders = tmp_path / "faults.json"
    control = Control(orders)
    assert control.stream().allowance() is None
    orders.write_text('{"bidi_cut": {"after_bytes": 5, "times": 1}}')
    first = control.stream()
    assert first.allowance() == 5
    first.sent(5)
    assert (first.allowance(), first.cut().code) == (0, StatusCode.UNAVAILABLE)
    # The file has not changed, so that its order is done with.
    assert control.stream().allowance() is None
    orders.write_text('{"bidi_cut": {"after_bytes": 70, "times": -1}}')
    for _ in range(3):
        stream = control.stream()
        assert stream.allowance() == 70
        stream.cut()


@pytest.mark.expects_log("These are not faults in JSON")
def test_a_faults_file_that_makes_no_sense_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    orders = tmp_path / "faults.json"
    orders.write_text('{"bidi_cut": {"after_bytes": 5}}')
    control = Control(orders)
    orders.write_text("{")
    for _ in range(3):
        assert control.stream().allowance() == 5
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{",
        '{"x": 1}',
        '{"bidi_cut": {"code": "NO", "after_bytes": 1}}',
        '{"bidi_cut": {"bytes": 1}}',
    ],
)
def test_orders_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        Faults.parse(text)
    assert refused.value.code == StatusCode.INVALID_ARGUMENT


def test_faults_in_json_are_read_as_they_are_written() -> None:
    for faults in (Faults(), Faults(BidiCut(7, -1, StatusCode.ABORTED))):
        assert faults == Faults.parse(faults.to_json())
