from __future__ import annotations

import asyncio

import pytest

from gcsmux_fs.emulator.rpc_error import RpcError, invalid
from gcsmux_fs.emulator.service_limits import MAX_CHUNK_BYTES
from gcsmux_fs.emulator.services.delayed_sender import DelayedSender
from gcsmux_fs.emulator.shaping import BandwidthLimiter, Shape
from tests.support.sizes import MIB

from .virtual_loop import run_virtually


@pytest.mark.parametrize("bandwidth", [50_000, MIB, 10 * MIB, 100 * MIB, 2000 * MIB])
def test_a_busy_stream_sends_its_bandwidth_per_second(bandwidth: int) -> None:
    shape = Shape(bandwidth_bytes=bandwidth)
    limiter = BandwidthLimiter(shape)
    now, sent = 0.0, 0
    while (now := limiter.free_at(now)) < 1.0:
        limiter.occupy(now, shape.slice_bytes)
        sent += shape.slice_bytes
    assert bandwidth == pytest.approx(sent, rel=0.1)


def test_late_timers_do_not_reduce_the_bandwidth() -> None:
    shape = Shape(bandwidth_bytes=100 * MIB)
    limiter = BandwidthLimiter(shape)
    now, sent = 0.0, 0
    while (now := limiter.free_at(now) + 0.008) < 1.0:
        limiter.occupy(now, shape.slice_bytes)
        sent += shape.slice_bytes
    assert shape.bandwidth_bytes == pytest.approx(sent, rel=0.1)


def test_an_idle_stream_gets_no_burst() -> None:
    shape = Shape(bandwidth_bytes=MIB)
    limiter = BandwidthLimiter(shape)
    limiter.occupy(0.0, shape.slice_bytes)
    limiter.occupy(100.0, MIB)
    assert limiter.free_at(100.0) == pytest.approx(101.0, abs=0.06)


def test_without_a_limit_a_stream_is_always_free_and_slices_are_full() -> None:
    limiter = BandwidthLimiter(Shape())
    limiter.occupy(1.0, 10**12)
    assert limiter.free_at(1.0) == 1.0
    assert Shape().slice_bytes == MAX_CHUNK_BYTES


def test_delayed_messages_are_sent_when_due_without_adding_delays() -> None:
    async def scenario() -> list[tuple[float, bytes]]:
        clock = asyncio.get_running_loop().time
        sent: list[tuple[float, bytes]] = []

        async def send(message: bytes) -> None:
            sent.append((clock(), message))

        async with DelayedSender(send) as sender:
            sender.put(clock() + 1.0, b"one")
            sender.put(clock() + 1.0, b"two")
            await asyncio.sleep(0.5)
            sender.put(clock() + 1.0, b"three")
        return sent

    assert run_virtually(scenario()) == [(1.0, b"one"), (1.0, b"two"), (1.5, b"three")]


def test_delayed_messages_are_sent_before_the_error_that_follows_them() -> None:
    sent: list[bytes] = []

    async def send(message: bytes) -> None:
        sent.append(message)

    async def scenario() -> None:
        async with DelayedSender(send) as sender:
            sender.put(1.0, b"one")
            raise invalid("error after the message")

    with pytest.raises(RpcError):
        run_virtually(scenario())
    assert sent == [b"one"]
