"""Tests of faults of connections, as a plain gRPC client of the TCP proxy sees them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from gcsmux_fs.emulator.faults import (
    Bandwidth,
    Close,
    Delay,
    Fault,
    Goaway,
    HalfOpen,
    InjectionPoint,
    PortGone,
    Reset,
    RstStream,
    Stall,
)
from gcsmux_fs.emulator.injection import FOR_EVER, Faults, Rule
from gcsmux_fs.emulator.server import Emulator
from gcsmux_fs.storage.pb import storage_pb2 as pb
from tests.support.sizes import MIB

from .clients import bidi_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

DATA = random.Random(5).randbytes(6 * MIB)
TIMEOUT_SECONDS = 60


def order(emulator: Emulator, *rules: Rule) -> None:
    emulator.control.order(Faults(rules))


class Client:
    """A plain gRPC channel to the TCP proxy.

    If the channel has no connection, every call fails at once.
    """

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(
            address,
            options=[
                ("grpc.initial_reconnect_backoff_ms", 20),
                ("grpc.max_reconnect_backoff_ms", 50),
                ("grpc.enable_retries", 0),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )

    async def close(self) -> None:
        await self._channel.close()

    def begin(self) -> grpc.aio.StreamStreamCall[bytes, pb.BidiReadObjectResponse]:
        call: grpc.aio.StreamStreamMultiCallable[bytes, pb.BidiReadObjectResponse] = (
            self._channel.stream_stream(
                "/google.storage.v2.Storage/BidiReadObject",
                response_deserializer=pb.BidiReadObjectResponse.FromString,
            )
        )
        return call()

    async def open(self) -> grpc.aio.StreamStreamCall[bytes, pb.BidiReadObjectResponse]:
        """Open a stream and wait for its first response."""
        call = self.begin()
        await call.write(bidi_request("f").SerializeToString())
        await call.read()
        return call

    async def read(self) -> tuple[grpc.StatusCode, bytes]:
        """Read the object on a new stream; return the status code and the received content."""
        call = self.begin()
        content = b""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(bidi_request("f", [(0, 0, 1)]).SerializeToString())
            await call.done_writing()
            async for response in call:
                for data in response.object_data_ranges:
                    content += data.checksummed_data.content
        return await call.code(), content

    async def read_until_whole(self) -> bytes:
        """Read the object again and again until a read ends with OK; return the content."""
        while True:
            code, content = await self.read()
            if code == grpc.StatusCode.OK:
                return content


@contextlib.asynccontextmanager
async def proxied(served: Path) -> AsyncIterator[tuple[Emulator, Client]]:
    (served / "b" / "f").write_bytes(DATA)
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        Emulator(served, relay_port=0) as emulator,
    ):
        client = Client(emulator.relay_address)
        try:
            yield emulator, client
        finally:
            await client.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def still_open(call: grpc.aio.StreamStreamCall[bytes, pb.BidiReadObjectResponse]) -> bool:
    """Return whether a stream answers a request within 0.3 s.

    Without an answer, this function cancels the stream. So call it only once per stream.
    """
    await call.write(bidi_request("", [(0, 1, 9)]).SerializeToString())
    reading = asyncio.ensure_future(call.read())
    done, _ = await asyncio.wait([reading], timeout=0.3)
    if not done:
        reading.cancel()
    return bool(done)


def test_without_faults_the_proxy_forwards_all_bytes(served: Path) -> None:
    async def scenario() -> None:
        async with proxied(served) as (_, client):
            assert await client.read() == (grpc.StatusCode.OK, DATA)

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [Reset(), Close(), RstStream()], ids=repr)
@pytest.mark.parametrize("at", [InjectionPoint.NOW, InjectionPoint.TRAFFIC])
def test_a_connection_fault_ends_streams_and_the_next_stream_works(
    served: Path, fault: Fault, at: InjectionPoint
) -> None:
    async def scenario() -> None:
        async with proxied(served) as (emulator, client):
            if at is InjectionPoint.TRAFFIC:
                order(emulator, Rule(fault, at=at, after_bytes=3 * MIB))
                code, content = await client.read()
                assert DATA.startswith(content)
                assert len(content) < len(DATA)
            else:
                call = await client.open()
                await call.write(bidi_request("", [(0, 1, 1)]).SerializeToString())
                await call.read()
                order(emulator, Rule(fault))
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await call.read()
                code = await call.code()
            ended = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
            assert code in ended
            assert await client.read_until_whole() == DATA
            assert sum(emulator.control.counters.faults.values()) == 1

    asyncio.run(scenario())


def test_reset_sends_a_rst_and_close_sends_a_fin(served: Path) -> None:
    async def scenario() -> None:
        async with proxied(served) as (emulator, _):
            host, _, port = emulator.relay_address.partition(":")
            order(emulator, Rule(Reset(), at=InjectionPoint.CONNECT))
            reader, writer = await asyncio.open_connection(host, int(port))
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            order(emulator, Rule(Close(), at=InjectionPoint.CONNECT))
            reader, writer = await asyncio.open_connection(host, int(port))
            assert await reader.read() == b""
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("at", [InjectionPoint.NOW, InjectionPoint.CONNECT])
def test_a_half_open_connection_stays_open_and_sends_nothing(
    served: Path, at: InjectionPoint
) -> None:
    async def scenario() -> None:
        async with proxied(served) as (emulator, client):
            if at is InjectionPoint.NOW:
                call = await client.open()
                order(emulator, Rule(HalfOpen()))
                assert not await still_open(call)
            else:
                order(emulator, Rule(HalfOpen(), at=at))
                reading = asyncio.ensure_future(client.read())
                assert not (await asyncio.wait([reading], timeout=0.3))[0]
                reading.cancel()
            other = Client(emulator.relay_address)
            assert await other.read() == (grpc.StatusCode.OK, DATA)
            await other.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("new_order", [False, True])
def test_a_stall_ends_after_its_time_or_with_a_new_order(served: Path, new_order: bool) -> None:
    async def scenario() -> None:
        async with proxied(served) as (emulator, client):
            seconds = 3600 if new_order else 0.2
            order(emulator, Rule(Stall(seconds), at=InjectionPoint.TRAFFIC, after_bytes=MIB))
            reading = asyncio.ensure_future(client.read())
            if new_order:
                await until(lambda: bool(emulator.control.counters.faults))
                order(emulator)
            assert await reading == (grpc.StatusCode.OK, DATA)
            assert emulator.control.counters.faults == {"stall": 1}

    asyncio.run(scenario())


@pytest.mark.parametrize("new_order", [False, True])
def test_a_closed_port_refuses_connections_and_reopens(served: Path, new_order: bool) -> None:
    async def scenario() -> None:
        async with proxied(served) as (emulator, client):
            call = await client.open()
            address = emulator.relay_address
            order(emulator, Rule(PortGone(3600 if new_order else 0.5)))
            host, _, port = address.partition(":")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(host, int(port))
            with pytest.raises(grpc.aio.AioRpcError):
                await call.read()
            # The emulator's own port still accepts connections.
            async with grpc.aio.insecure_channel(emulator.address) as channel:
                stats: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                    "/gcsmux.emulator.Control/Stats"
                )
                assert b'"port_gone": 1' in await stats(b"")
            if new_order:
                order(emulator)
            assert await client.read_until_whole() == DATA
            assert emulator.relay_address == address

    asyncio.run(scenario())


def connections_to(port: int) -> int:
    """Return how many connections to a local port are established."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_after_a_graceful_goaway_streams_continue_and_new_streams_use_a_new_connection(
    served: Path,
) -> None:
    async def scenario() -> None:
        async with proxied(served) as (emulator, client):
            port = int(emulator.relay_address.rpartition(":")[2])
            call = await client.open()
            assert connections_to(port) == 1
            order(emulator, Rule(Goaway()))
            # The stream still answers, although the client has already received the GOAWAY frame.
            assert await still_open(call)
            assert await client.read() == (grpc.StatusCode.OK, DATA)
            assert connections_to(port) == 2
            call.cancel()

    asyncio.run(scenario())


def test_a_goaway_with_last_stream_id_0_ends_streams_during_content(
    served: Path,
) -> None:
    async def scenario() -> None:
        async with proxied(served) as (emulator, client):
            goaway = Goaway(error_code=11, last_stream_id=0, debug="too_many_pings")
            order(emulator, Rule(goaway, at=InjectionPoint.TRAFFIC, after_bytes=2 * MIB + 5))
            code, content = await client.read()
            assert code == grpc.StatusCode.UNAVAILABLE
            assert DATA.startswith(content)
            assert await client.read_until_whole() == DATA

    asyncio.run(scenario())


def test_bandwidth_and_delay_slow_a_connection(served: Path) -> None:
    async def scenario() -> None:
        async with proxied(served) as (emulator, client):
            order(emulator, Rule(Bandwidth(20 * MIB), at=InjectionPoint.CONNECT, times=FOR_EVER))
            clock = asyncio.get_running_loop().time
            begin = clock()
            assert await client.read() == (grpc.StatusCode.OK, DATA)
            assert clock() - begin > 0.2
            late = Client(emulator.relay_address)
            order(emulator, Rule(Delay(0.2), at=InjectionPoint.CONNECT, times=FOR_EVER))
            begin = clock()
            assert await late.read() == (grpc.StatusCode.OK, DATA)
            assert clock() - begin > 0.4
            await late.close()

    asyncio.run(scenario())


def test_all_descriptors_are_closed_after_connections_have_ended(served: Path) -> None:
    async def scenario() -> None:
        (served / "b" / "f").write_bytes(DATA)
        async with Emulator(served, relay_port=0) as emulator:
            host, _, port = emulator.relay_address.partition(":")
            before = open_files()
            for fault in (Reset(), Close(), HalfOpen()):
                order(emulator, Rule(fault, at=InjectionPoint.CONNECT, times=FOR_EVER))
                for _ in range(5):
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
            order(emulator)
            await until(lambda: open_files() <= before)

    asyncio.run(scenario())
