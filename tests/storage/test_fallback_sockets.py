"""Tests of reads on real sockets, from servers and front ends that lack BidiReadObject."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.model.errors import GenerationGone, StatusCode, Unsupported
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.storage import asyncio_bridge, availability
from gcsmux_fs.storage.bidi import GrpcBidiTransport
from gcsmux_fs.storage.channels import ChannelSettings, open_channels
from gcsmux_fs.storage.fallback import FallbackTransport
from gcsmux_fs.storage.ports import OpenSpec, RangeRequest, StreamEnd
from gcsmux_fs.storage.read_object import GrpcRangeReads
from tests.mux.plans import CONTENT, key_of
from tests.mux.reading import fetch

from .range_plans import Answer
from .range_server import RangeServer, range_server, refusing_front_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from gcsmux_fs.storage.ports import BidiMessage

# Part of an error that gRPC may log in tests. All asyncio loops with gRPC in one process share one
# poller. In tests the server runs in the client's process, so the server's loop may get completions
# of cancelled calls of the client, and logs these completions as errors.
STRAY = "PollerCompletionQueue._handle_events"
UNAVAILABLE = "BidiReadObject unavailable"
pytestmark = [pytest.mark.real_time, pytest.mark.expects_log(STRAY, UNAVAILABLE)]

TIMEOUT_SECONDS = 20


@dataclass
class Client:
    """A stream registry on real connections. Tests set the clock of the fallback (`now`)."""

    streams: GrpcBidiTransport
    transport: FallbackTransport
    registry: StreamRegistry
    now: list[float]

    async def read(self, offset: int, length: int, name: str = "object") -> bytes:
        with trio.fail_after(TIMEOUT_SECONDS):
            return await fetch(self.registry, key_of(name), offset, length)


@asynccontextmanager
async def client_of(endpoint: str, policy: RetryPolicy | None = None) -> AsyncIterator[Client]:
    settings = ChannelSettings(endpoint, plaintext=True, anonymous=True, billing_project="bill")
    channels = await open_channels(settings)
    now = [0.0]
    call_soon = trio.lowlevel.current_trio_token().run_sync_soon
    streams = GrpcBidiTransport(channels.connections(2), settings)
    transport = FallbackTransport(
        streams, GrpcRangeReads(streams, settings), clock=lambda: now[0], call_soon=call_soon
    )
    registry = StreamRegistry(transport, policy or RetryPolicy(), Random(0), call_soon=call_soon)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(registry.run)
            yield Client(streams, transport, registry, now)
            nursery.cancel_scope.cancel()
        transport.close()
        with trio.fail_after(TIMEOUT_SECONDS):
            await streams.drain()
        assert streams.open_calls == 0
        assert (transport.read_object_open, len(transport.unary_streams)) == (0, 0)
    finally:
        with trio.CancelScope(shield=True):
            await channels.close_all()


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with range_server() as scripted:
        yield scripted


@pytest.fixture(autouse=True)
def log_level_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def with_client(
    endpoint: str, test: Callable[[Client], Awaitable[None]], policy: RetryPolicy | None = None
) -> None:
    async def main() -> None:
        async with client_of(endpoint, policy) as client:
            await test(client)

    asyncio_bridge.run(main)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` is true. Poll, because another thread makes the condition true."""
    with trio.fail_after(TIMEOUT_SECONDS):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def logged_losses(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.getMessage().startswith(UNAVAILABLE)]


def test_a_server_without_bidi_read_object_is_read_by_read_object(
    server: RangeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(client: Client) -> None:
        content = await client.read(0, len(CONTENT))
        assert content == CONTENT
        for number in range(5):
            offset = number * 1001
            content = await client.read(offset, 500, f"object {number}")
            assert content == CONTENT[offset : offset + 500]

    with_client(server.endpoint, test)
    assert server.streams == 1
    assert len(server.requests) == 6
    assert server.requests[0].bucket == "projects/_/buckets/bucket"
    assert server.requests[0].generation == key_of("object").generation
    headers = server.headers[0]
    assert headers["x-goog-request-params"] == "bucket=projects/_/buckets/bucket"
    assert headers["x-goog-user-project"] == "bill"
    assert len(logged_losses(caplog)) == 1


@pytest.mark.parametrize(
    ("code", "plan"),
    [
        (StatusCode.UNAVAILABLE, Answer(chunk_bytes=5_000, cut_after=3)),
        (StatusCode.INTERNAL, Answer(chunk_bytes=5_000, cut_after=1)),
        (StatusCode.OK, Answer(chunk_bytes=5_000, cut_after=2)),
    ],
)
def test_an_answer_interrupted_many_times_is_read_completely(
    server: RangeServer, code: StatusCode, plan: Answer
) -> None:
    server.plan = Answer(plan.chunk_bytes, plan.cut_after, StreamEnd(code, "cut"))

    async def test(client: Client) -> None:
        assert await client.read(11, 100_000) == CONTENT[11:100_011]

    with_client(server.endpoint, test)
    step = plan.chunk_bytes * (plan.cut_after or 0)
    offsets = [r.read_offset for r in server.requests]
    assert sorted(set(offsets)) == list(range(11, 100_011, step))
    if code is not StatusCode.OK:
        assert len(set(offsets)) == len(offsets)


def test_calls_with_a_corrupt_or_a_too_long_answer_are_cancelled(server: RangeServer) -> None:
    corrupt = Answer(chunk_bytes=1000, cut_after=4, corrupt=3, hang=True)
    server.plans = [corrupt, Answer(), Answer(chunk_bytes=1000, ignores_range=True, hang=True)]

    async def test(client: Client) -> None:
        assert await client.read(0, 100_000) == CONTENT[:100_000]
        assert client.registry.counters.checksum_failures == 1
        assert await client.read(100, 100) == CONTENT[100:200]
        # The calls with the two bad answers are cancelled, and no other call fails.
        await until(lambda: server.active_reads == 0)
        await until(lambda: client.transport.read_object_open == 0)
        assert client.registry.counters.streams_failed == 0

    with_client(server.endpoint, test)


def test_a_missing_object_raises_generation_gone_as_on_a_stream(server: RangeServer) -> None:
    server.plan = Answer(cut_after=0, end=StreamEnd(StatusCode.NOT_FOUND, "No such object"))

    async def test(client: Client) -> None:
        with pytest.raises(GenerationGone, match="No such object"):
            await client.read(0, 100)

    with_client(server.endpoint, test)


def test_four_hundred_concurrent_ranges_are_correct(server: RangeServer) -> None:
    async def test(client: Client) -> None:
        wrong: list[int] = []

        async def read(number: int) -> None:
            offset = number * 997 % 200_000
            content = await client.read(offset, 3_000, f"object {number % 5}")
            if content != CONTENT[offset:][:3_000]:
                wrong.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(400):
                nursery.start_soon(read, number)
        assert wrong == []

    with_client(server.endpoint, test)
    assert len(server.requests) == 400


@pytest.mark.parametrize("page", [b"", b"<html>no</html>"], ids=["bare", "with a page"])
@pytest.mark.parametrize("status", [404, 405, 408, 411, 415, 501, 505])
def test_an_http_status_that_refuses_streams_makes_bidi_read_object_missing(
    status: int, page: bytes
) -> None:
    """The front end also refuses ReadObject, so no read succeeds.

    The test checks only that the client treats BidiReadObject as missing.
    """

    async def main(endpoint: str) -> None:
        async with client_of(endpoint, RetryPolicy(give_up_seconds=0.5)) as client:
            with pytest.raises(Exception, match=r".*"):
                await client.read(0, 100)
            assert client.transport.availability.missing
            assert client.transport.read_object_requests > 0

    with refusing_front_end(status, page=page) as endpoint:
        asyncio_bridge.run(lambda: main(endpoint))


@pytest.mark.parametrize("status", [400, 403, 429, 500, 502, 503, 504])
def test_other_http_statuses_do_not_make_bidi_read_object_missing(status: int) -> None:
    async def main(endpoint: str) -> None:
        async with client_of(endpoint, RetryPolicy(give_up_seconds=0.1)) as client:
            with pytest.raises(Exception, match=r"status: \d+"):
                await client.read(0, 100)
            assert client.transport.availability.losses == 0

    with refusing_front_end(status) as endpoint:
        asyncio_bridge.run(lambda: main(endpoint))


def test_a_server_without_either_method_raises_unsupported() -> None:
    async def test(client: Client) -> None:
        with pytest.raises(Unsupported):
            await client.read(0, 100)

    with range_server(
        RangeServer(Answer(cut_after=0, end=StreamEnd(StatusCode.UNIMPLEMENTED, "none")))
    ) as server:
        with_client(server.endpoint, test)


def test_behind_a_proxy_that_holds_streams_back_read_object_is_used(
    server: RangeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.silent = True

    async def test(client: Client) -> None:
        client.registry.request(key_of("object"), 0, 100, lambda _: None)
        await until(lambda: server.streams == 1)
        client.now[0] = availability.STREAM_SILENCE_SECONDS  # the mux then cancels the stream
        assert await client.read(50, 100) == CONTENT[50:150]
        assert client.transport.availability.missing
        await until(lambda: server.streams == 2)  # the second stream is a probe
        server.silent, server.with_streams = False, True
        client.now[0] += availability.RETRY_SECONDS
        assert await client.read(60, 100) == CONTENT[60:160]
        await until(lambda: not client.transport.availability.missing)

    with_client(server.endpoint, test, RetryPolicy(open_seconds=0.5))
    assert len(logged_losses(caplog)) == 1


def test_when_streams_are_available_again_all_reads_use_them(
    server: RangeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(client: Client) -> None:
        for name in ("one", "two"):
            assert await client.read(0, 100, name) == CONTENT[:100]
        server.with_streams = True
        assert await client.read(1, 100, "one") == CONTENT[1:101]
        assert server.streams == 1
        client.now[0] = availability.RETRY_SECONDS
        assert await client.read(2, 100, "one") == CONTENT[2:102]
        await until(lambda: not client.transport.availability.missing)
        before = len(server.requests)
        for name in ("one", "two", "three"):
            assert await client.read(3, 100, name) == CONTENT[3:103]
        assert len(server.requests) == before
        availability_now = client.transport.availability
        assert (availability_now.losses, availability_now.probes) == (1, 1)

    with_client(server.endpoint, test)
    assert len(logged_losses(caplog)) == 1
    assert [r.levelname for r in caplog.records if "available again" in r.getMessage()] == ["INFO"]


class Listener:
    """A listener that records all callbacks of a call."""

    def __init__(self) -> None:
        self.callbacks: list[str | BidiMessage | StreamEnd] = []

    def on_sent(self) -> None:
        self._record("sent")

    def on_message(self, message: BidiMessage) -> None:
        self._record(message)

    def on_end(self, end: StreamEnd) -> None:
        self._record(end)

    def _record(self, callback: str | BidiMessage | StreamEnd) -> None:
        trio.lowlevel.current_trio_token()  # raises if this is not the trio thread
        self.callbacks.append(callback)


# The server logs ExecuteBatchError if a call ends during a write.
@pytest.mark.expects_log(STRAY, UNAVAILABLE, "ExecuteBatchError")
@pytest.mark.parametrize("after_seconds", [None, 0.0, 0.002, 0.01, 0.05])
def test_a_cancelled_read_object_call_makes_no_callback_and_leaves_no_task(
    server: RangeServer, after_seconds: float | None
) -> None:
    server.plan = Answer(chunk_bytes=100, cut_after=20, hang=True)
    ranges = [RangeRequest(number, 0, len(CONTENT)) for number in range(1, 30)]

    async def test(client: Client) -> None:
        for _ in range(5):
            listener = Listener()
            call = client.transport.open(OpenSpec(key_of("object")), ranges, listener)
            if after_seconds is not None:
                await trio.sleep(after_seconds)
            callbacks = len(listener.callbacks)
            call.cancel()
            call.cancel()
            await trio.sleep(0.01)
            assert len(listener.callbacks) == callbacks
        with trio.fail_after(TIMEOUT_SECONDS):
            await client.streams.drain()
        await until(lambda: server.active_reads == 0)

    with_client(server.endpoint, test)


def test_closing_the_channels_ends_unary_streams(server: RangeServer) -> None:
    server.plan = Answer(cut_after=0, hang=True)

    async def main() -> None:
        settings = ChannelSettings(server.endpoint, plaintext=True)
        channels = await open_channels(settings)
        streams = GrpcBidiTransport(channels.connections(1), settings)
        call_soon = trio.lowlevel.current_trio_token().run_sync_soon
        transport = FallbackTransport(
            streams, GrpcRangeReads(streams, settings), clock=lambda: 0.0, call_soon=call_soon
        )
        first, late = Listener(), Listener()
        transport.open(OpenSpec(key_of("object")), [RangeRequest(1, 0, 10)], first)
        await until(lambda: server.active_reads == 1)
        await channels.close_all()
        await until(lambda: len(first.callbacks) == 2)
        transport.open(OpenSpec(key_of("object")), [RangeRequest(1, 0, 10)], late)
        await until(lambda: len(late.callbacks) == 2)
        ends = [listener.callbacks[-1] for listener in (first, late)]
        assert [end.code for end in ends if isinstance(end, StreamEnd)] == [
            StatusCode.CANCELLED,
            StatusCode.UNAVAILABLE,
        ]
        with trio.fail_after(TIMEOUT_SECONDS):
            await streams.drain()

    asyncio_bridge.run(main)
