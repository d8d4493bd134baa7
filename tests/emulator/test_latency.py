"""Tests of the emulated latency and bandwidth, in virtual time and without gRPC."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.access_tokens import AccessTokens
from gcsmux_fs.emulator.buckets.checksums import Checksums
from gcsmux_fs.emulator.buckets.store import BucketStore
from gcsmux_fs.emulator.call_counters import CallCounters
from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
from gcsmux_fs.emulator.services.meta_service import MetaService
from gcsmux_fs.emulator.services.method_handlers import MethodHandlers
from gcsmux_fs.emulator.services.read_service import ReadService
from gcsmux_fs.emulator.services.write_service import WriteService
from gcsmux_fs.emulator.shaping import Shape
from gcsmux_fs.storage.pb import storage_pb2 as pb
from tests.support.sizes import MIB

from .clients import BUCKET, bidi_request
from .virtual_loop import run_virtually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def arriving(
    *steps: tuple[float, pb.BidiReadObjectRequest],
) -> AsyncIterator[pb.BidiReadObjectRequest]:
    """Yield each request of `steps` at its virtual time in seconds."""
    for instant, request in steps:
        await asyncio.sleep(instant - asyncio.get_running_loop().time())
        yield request


def sent_by_bidi(
    served: Path, shape: Shape, *steps: tuple[float, pb.BidiReadObjectRequest]
) -> list[tuple[float, pb.BidiReadObjectResponse]]:
    """Return the responses of a stream, each with the virtual time in seconds when it is sent."""
    sent: list[tuple[float, pb.BidiReadObjectResponse]] = []

    async def send(message: bytes) -> None:
        now = asyncio.get_running_loop().time()
        sent.append((now, pb.BidiReadObjectResponse.FromString(message)))

    store, counters = BucketStore(served), CallCounters()
    orders = FaultOrders(store, counters.faults)
    service = ReadService(store, Checksums(), shape, orders, counters)
    run_virtually(service.bidi_read_object(arriving(*steps), send))
    return sent


def test_opening_a_stream_with_ranges_takes_one_latency(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(bytes(5 * MIB))
    first = bidi_request("f", [(0, 0, 1), (0, 10, 2)])
    sent = sent_by_bidi(served, Shape(latency_seconds=3.0), (0.0, first))
    assert {3.0} == {when for when, _ in sent}
    assert sent[0][1].HasField("metadata")


def test_latency_of_a_range_counts_from_its_request(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(b"0123456789")
    sent = sent_by_bidi(
        served,
        Shape(latency_seconds=3.0),
        (0.0, bidi_request("f")),
        (1.0, bidi_request("", [(0, 1, 1)])),
        (1.0, bidi_request("", [(1, 1, 2)])),
        (2.5, bidi_request("", [(2, 1, 3)])),
        (9.0, bidi_request("", [(3, 1, 4)])),
    )
    ranges = [
        (when, data.read_range.read_id)
        for when, response in sent
        for data in response.object_data_ranges
    ]
    assert ranges == [(4.0, 1), (4.0, 2), (5.5, 3), (12.0, 4)]


def test_bandwidth_limits_the_content_of_a_stream(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(bytes(10 * MIB))
    shape = Shape(latency_seconds=1.0, bandwidth_bytes=MIB)
    sent = sent_by_bidi(served, shape, (0.0, bidi_request("f", [(0, 0, 1)])))
    amounts = [
        (when, sum(len(data.checksummed_data.content) for data in response.object_data_ranges))
        for when, response in sent
    ]
    assert sum(amount for _, amount in amounts) == 10 * MIB
    for second in range(1, 10):
        within = sum(amount for when, amount in amounts if second <= when < second + 1)
        assert pytest.approx(within, rel=0.1) == MIB


def test_simultaneous_unary_calls_are_answered_together(served: Path, bucket: Path) -> None:
    (bucket / "f").write_bytes(b"x")
    store, counters = BucketStore(served), CallCounters()
    orders = FaultOrders(store, counters.faults)
    handlers = MethodHandlers(
        Shape(latency_seconds=3.0), orders, counters, AccessTokens(None, Counter())
    )
    meta = MetaService(store, Checksums())
    _, handler = handlers.unary("GetObject", pb.GetObjectRequest, meta.get_object)
    handle = handler.unary_unary
    request = pb.GetObjectRequest(bucket=BUCKET, object="f").SerializeToString()

    async def scenario() -> list[float]:
        async def call() -> float:
            await handle(request, None)  # type: ignore[misc, arg-type]
            return asyncio.get_running_loop().time()

        return await asyncio.gather(*(call() for _ in range(50)))

    assert {3.0} == set(run_virtually(scenario()))
    assert counters.requests["GetObject"] == 50


def test_latencies_on_a_write_stream_do_not_add_up(served: Path) -> None:
    resource = pb.Object(bucket=BUCKET, name="f")
    first = pb.BidiWriteObjectRequest(
        write_object_spec=pb.WriteObjectSpec(resource=resource, appendable=True)
    )
    sent: list[float] = []

    async def requests() -> AsyncIterator[pb.BidiWriteObjectRequest]:
        yield first
        yield pb.BidiWriteObjectRequest(state_lookup=True)
        yield pb.BidiWriteObjectRequest(state_lookup=True)
        await asyncio.sleep(1.0)
        yield pb.BidiWriteObjectRequest(finish_write=True)

    async def send(message: bytes) -> None:
        sent.append(asyncio.get_running_loop().time())

    service = WriteService(BucketStore(served), Checksums(), Shape(latency_seconds=3.0))
    run_virtually(service.bidi_write_object(requests(), send))
    assert sent == [3.0, 3.0, 3.0, 4.0]
