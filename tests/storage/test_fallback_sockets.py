"""Reading without streams on real sockets: servers and front ends that lack them, and cuts."""

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

# gRPC has one poller for all loops of a process: the server's, which lives in this one only in
# tests, may be handed what the client's cancelled calls complete after their loop was closed.
STRAY = "PollerCompletionQueue._handle_events"
LOSS = "BidiReadObject is not to be had"
pytestmark = [pytest.mark.real_time, pytest.mark.expects_log(STRAY, LOSS)]

PATIENCE_SECONDS = 20


@dataclass
class Client:
    """A registry over real connections; `now` is the fallback's clock, moved by hand."""

    streams: GrpcBidiTransport
    transport: FallbackTransport
    registry: StreamRegistry
    now: list[float]

    async def read(self, offset: int, length: int, name: str = "object") -> bytes:
        with trio.fail_after(PATIENCE_SECONDS):
            return await fetch(self.registry, key_of(name), offset, length)


@asynccontextmanager
async def client_of(endpoint: str, policy: RetryPolicy | None = None) -> AsyncIterator[Client]:
    settings = ChannelSettings(endpoint, plaintext=True, anonymous=True, billing_project="bill")
    channels = await open_channels(settings)
    now = [0.0]
    soon = trio.lowlevel.current_trio_token().run_sync_soon
    streams = GrpcBidiTransport(channels.connections(2), settings)
    transport = FallbackTransport(
        streams, GrpcRangeReads(streams, settings), clock=lambda: now[0], call_soon=soon
    )
    registry = StreamRegistry(transport, policy or RetryPolicy(), Random(0), call_soon=soon)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(registry.run)
            yield Client(streams, transport, registry, now)
            nursery.cancel_scope.cancel()
        transport.close()
        with trio.fail_after(PATIENCE_SECONDS):
            await streams.drain()
        assert streams.open_calls == 0
        found = transport.statistics()
        assert (found.read_object_open, found.stand_ins) == (0, 0)
    finally:
        with trio.CancelScope(shield=True):
            await channels.close_all()


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with range_server() as scripted:
        yield scripted


@pytest.fixture(autouse=True)
def log_of_information(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def with_client(
    endpoint: str, test: Callable[[Client], Awaitable[None]], policy: RetryPolicy | None = None
) -> None:
    async def main() -> None:
        async with client_of(endpoint, policy) as client:
            await test(client)

    asyncio_bridge.run(main)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something in the server's thread."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def losses(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.getMessage().startswith(LOSS)]


def test_a_server_without_streams_is_read_by_ranges(
    server: RangeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(client: Client) -> None:
        content = await client.read(0, len(CONTENT))
        assert content == CONTENT
        for number in range(5):
            at = number * 1001
            assert await client.read(at, 500, f"object {number}") == CONTENT[at : at + 500]

    with_client(server.endpoint, test)
    assert server.streams == 1
    assert len(server.requests) == 6
    assert server.requests[0].bucket == "projects/_/buckets/bucket"
    assert server.requests[0].generation == key_of("object").generation
    headers = server.headers[0]
    assert headers["x-goog-request-params"] == "bucket=projects/_/buckets/bucket"
    assert headers["x-goog-user-project"] == "bill"
    assert len(losses(caplog)) == 1


@pytest.mark.parametrize(
    ("code", "plan"),
    [
        (StatusCode.UNAVAILABLE, Answer(chunk_bytes=5_000, cut_after=3)),
        (StatusCode.INTERNAL, Answer(chunk_bytes=5_000, cut_after=1)),
        (StatusCode.OK, Answer(chunk_bytes=5_000, cut_after=2)),
    ],
)
def test_reads_that_are_cut_again_and_again(
    server: RangeServer, code: StatusCode, plan: Answer
) -> None:
    cut = Answer(plan.chunk_bytes, plan.cut_after, StreamEnd(code, "cut"))
    server.plan = cut

    async def test(client: Client) -> None:
        assert await client.read(11, 100_000) == CONTENT[11:100_011]

    with_client(server.endpoint, test)
    step = plan.chunk_bytes * (plan.cut_after or 0)
    offsets = [r.read_offset for r in server.requests]
    assert sorted(set(offsets)) == list(range(11, 100_011, step))
    if code is not StatusCode.OK:
        assert len(set(offsets)) == len(offsets)


def test_a_corrupt_answer_and_one_beyond_the_range(server: RangeServer) -> None:
    spoilt = Answer(chunk_bytes=1000, cut_after=4, corrupt=3, hang=True)
    server.plans = [spoilt, Answer(), Answer(chunk_bytes=1000, whole=True)]

    async def test(client: Client) -> None:
        assert await client.read(0, 100_000) == CONTENT[:100_000]
        assert client.registry.counters.checksum_failures == 1
        assert await client.read(100, 100) == CONTENT[100:200]
        # Neither is read any further, and neither takes anything else along.
        await until(lambda: server.active_reads == 0)
        await until(lambda: client.transport.statistics().read_object_open == 0)
        assert client.registry.counters.streams_failed == 0

    with_client(server.endpoint, test)


def test_statuses_become_the_errors_that_streams_would_give(server: RangeServer) -> None:
    server.plan = Answer(cut_after=0, end=StreamEnd(StatusCode.NOT_FOUND, "No such object"))

    async def test(client: Client) -> None:
        with pytest.raises(GenerationGone, match="No such object"):
            await client.read(0, 100)

    with_client(server.endpoint, test)


def test_many_ranges_at_once_are_all_right(server: RangeServer) -> None:
    async def test(client: Client) -> None:
        wrong: list[int] = []

        async def read(number: int) -> None:
            at = number * 997 % 200_000
            if await client.read(at, 3_000, f"object {number % 5}") != CONTENT[at:][:3_000]:
                wrong.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(400):
                nursery.start_soon(read, number)
        assert wrong == []

    with_client(server.endpoint, test)
    assert len(server.requests) == 400


@pytest.mark.parametrize("page", [b"", b"<html>no</html>"], ids=["bare", "with a page"])
@pytest.mark.parametrize("status", [404, 405, 408, 411, 415, 501, 505])
def test_a_front_end_that_refuses_streams_by_http_is_told_by_its_status(
    status: int, page: bytes
) -> None:
    """This front end refuses ReadObject as well, so that only the decision can be seen."""

    async def main(endpoint: str) -> None:
        async with client_of(endpoint, RetryPolicy(give_up_seconds=0.5)) as client:
            with pytest.raises(Exception, match=r".*"):
                await client.read(0, 100)
            found = client.transport.statistics()
            assert (found.bidi_missing, found.read_object_requests > 0) == (1, True)

    with refusing_front_end(status, page=page) as endpoint:
        asyncio_bridge.run(lambda: main(endpoint))


@pytest.mark.parametrize("status", [400, 403, 429, 500, 502, 503, 504])
def test_a_front_end_that_is_in_trouble_is_not_taken_for_one_without_streams(status: int) -> None:
    async def main(endpoint: str) -> None:
        async with client_of(endpoint, RetryPolicy(give_up_seconds=0.1)) as client:
            with pytest.raises(Exception, match=r"status: \d+"):
                await client.read(0, 100)
            assert client.transport.statistics().bidi_losses == 0

    with refusing_front_end(status) as endpoint:
        asyncio_bridge.run(lambda: main(endpoint))


def test_a_server_with_neither_says_so() -> None:
    async def test(client: Client) -> None:
        with pytest.raises(Unsupported):
            await client.read(0, 100)

    with range_server(
        RangeServer(Answer(cut_after=0, end=StreamEnd(StatusCode.UNIMPLEMENTED, "none")))
    ) as server:
        with_client(server.endpoint, test)


def test_a_proxy_that_waits_for_the_end_of_streams_is_gone_round(
    server: RangeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.silent = True

    async def test(client: Client) -> None:
        client.registry.request(key_of("object"), 0, 100, lambda _: None)
        await until(lambda: server.streams == 1)
        client.now[0] = availability.STREAM_SILENCE_SECONDS  # and the mux gives it up:
        assert await client.read(50, 100) == CONTENT[50:150]
        assert client.transport.statistics().bidi_missing == 1
        await until(lambda: server.streams == 2)  # the probe
        server.silent, server.with_streams = False, True
        client.now[0] += availability.RETRY_SECONDS
        assert await client.read(60, 100) == CONTENT[60:160]
        await until(lambda: client.transport.statistics().bidi_missing == 0)

    with_client(server.endpoint, test, RetryPolicy(open_seconds=0.5))
    assert len(losses(caplog)) == 1


def test_streams_that_are_back_serve_everybody(
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
        await until(lambda: client.transport.statistics().bidi_missing == 0)
        before = len(server.requests)
        for name in ("one", "two", "three"):
            assert await client.read(3, 100, name) == CONTENT[3:103]
        assert len(server.requests) == before
        found = client.transport.statistics()
        assert (found.bidi_losses, found.bidi_probes) == (1, 1)

    with_client(server.endpoint, test)
    assert len(losses(caplog)) == 1
    assert [r.levelname for r in caplog.records if "is back" in r.getMessage()] == ["INFO"]


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str | BidiMessage | StreamEnd] = []

    def on_sent(self) -> None:
        self._hear("sent")

    def on_message(self, message: BidiMessage) -> None:
        self._hear(message)

    def on_end(self, end: StreamEnd) -> None:
        self._hear(end)

    def _hear(self, what: str | BidiMessage | StreamEnd) -> None:
        trio.lowlevel.current_trio_token()  # only in trio's thread
        self.heard.append(what)


# From the server: a write that was under way when the call went is in its final status's way.
@pytest.mark.expects_log(STRAY, LOSS, "ExecuteBatchError")
@pytest.mark.parametrize("after_seconds", [None, 0.0, 0.002, 0.01, 0.05])
def test_a_cancelled_call_tells_nothing_and_leaves_nothing(
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
            heard = len(listener.heard)
            call.cancel()
            call.cancel()
            await trio.sleep(0.01)
            assert len(listener.heard) == heard
        with trio.fail_after(PATIENCE_SECONDS):
            await client.streams.drain()
        await until(lambda: server.active_reads == 0)

    with_client(server.endpoint, test)


def test_a_channel_that_is_closed_ends_stand_ins(server: RangeServer) -> None:
    server.plan = Answer(cut_after=0, hang=True)

    async def main() -> None:
        settings = ChannelSettings(server.endpoint, plaintext=True)
        channels = await open_channels(settings)
        streams = GrpcBidiTransport(channels.connections(1), settings)
        soon = trio.lowlevel.current_trio_token().run_sync_soon
        transport = FallbackTransport(
            streams, GrpcRangeReads(streams, settings), clock=lambda: 0.0, call_soon=soon
        )
        first, late = Listener(), Listener()
        transport.open(OpenSpec(key_of("object")), [RangeRequest(1, 0, 10)], first)
        await until(lambda: server.active_reads == 1)
        await channels.close_all()
        await until(lambda: len(first.heard) == 2)
        transport.open(OpenSpec(key_of("object")), [RangeRequest(1, 0, 10)], late)
        await until(lambda: len(late.heard) == 2)
        ends = [listener.heard[-1] for listener in (first, late)]
        assert [end.code for end in ends if isinstance(end, StreamEnd)] == [
            StatusCode.CANCELLED,
            StatusCode.UNAVAILABLE,
        ]
        with trio.fail_after(PATIENCE_SECONDS):
            await streams.drain()

    asyncio_bridge.run(main)
