"""Tests of the transport on a real socket: ends of calls, cancelling, shutdown, server errors."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.bidi import GrpcBidiTransport
from gcsmux_fs.storage.channels import ChannelSettings, open_channels
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import (
    BidiMessage,
    OpenSpec,
    RangeFailure,
    RangeRequest,
    StreamEnd,
    StreamRedirect,
)

from .plans import CONTENT, Plan, key_of
from .scripted_server import ScriptedServer, end_call, scripted_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from .scripted_server import Context

# A text in error records that the log may contain during these tests. gRPC has one poller for all
# loops of a process. In these tests the server runs in the client's process, so the server's loop
# may receive the completions of the client's cancelled calls and log errors.
STRAY = "PollerCompletionQueue._handle_events"
pytestmark = [pytest.mark.real_time, pytest.mark.expects_log(STRAY)]

SPEC = OpenSpec(key_of("object"))
SINGLE = OpenSpec(key_of("object"), half_close=True)
WHOLE = [RangeRequest(1, 0, len(CONTENT))]
TIMEOUT_SECONDS = 10


class Listener:
    """Records the events of a call and asserts that they obey the rules of `BidiListener`."""

    def __init__(self) -> None:
        self.sent = 0
        self.messages: list[BidiMessage] = []
        self.ends: list[StreamEnd] = []
        self._event_arrived = trio.Event()

    def on_sent(self) -> None:
        self._note_event()
        self.sent += 1

    def on_message(self, message: BidiMessage) -> None:
        self._note_event()
        self.messages.append(message)

    def on_end(self, end: StreamEnd) -> None:
        self._note_event()
        self.ends.append(end)

    def _note_event(self) -> None:
        assert not self.ends
        trio.lowlevel.current_trio_token()  # raises RuntimeError outside of trio's thread
        self._event_arrived.set()

    @property
    def content(self) -> bytes:
        return b"".join(bytes(c.content) for m in self.messages for c in m.chunks)

    async def until(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(TIMEOUT_SECONDS):
            while not condition():
                self._event_arrived = trio.Event()
                await self._event_arrived.wait()

    async def until_sent(self, count: int) -> None:
        await self.until(lambda: self.sent == count)

    async def end(self) -> StreamEnd:
        await self.until(lambda: self.ends)
        return self.ends[0]


@asynccontextmanager
async def transport_to(endpoint: str) -> AsyncIterator[GrpcBidiTransport]:
    settings = ChannelSettings(endpoint, plaintext=True, anonymous=True, billing_project="bill")
    channels = await open_channels(settings)
    transport = GrpcBidiTransport(channels.connections(1), settings)
    try:
        yield transport
        with trio.fail_after(TIMEOUT_SECONDS):
            await transport.drain()
        assert transport.open_calls == 0
    finally:
        await channels.close_all()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as scripted:
        yield scripted


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition in the server's thread is true."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.01)


def on_socket(server: ScriptedServer, test: Callable[[GrpcBidiTransport], Awaitable[None]]) -> None:
    async def main() -> None:
        async with transport_to(server.endpoint) as transport:
            await test(transport)

    asyncio_bridge.run(main)


# -- content


def test_bytes_arrive_with_metadata_and_handle(server: ScriptedServer) -> None:
    async def test(transport: GrpcBidiTransport) -> None:
        listener = Listener()
        call = transport.open(SPEC, WHOLE, listener)
        await listener.until(lambda: len(listener.content) == len(CONTENT))
        assert listener.content == CONTENT
        first = listener.messages[0]
        assert first.handle == b"handle"
        assert first.metadata is not None
        assert first.metadata.size == len(CONTENT)
        assert all(c.intact for m in listener.messages for c in m.chunks)
        call.cancel()

    on_socket(server, test)


def test_bucket_and_routing_token_travel_in_header_and_spec(server: ScriptedServer) -> None:
    async def test(transport: GrpcBidiTransport) -> None:
        listener = Listener()
        spec = OpenSpec(key_of("name"), b"the handle", "token/=%41")
        call = transport.open(spec, [], listener)
        await listener.until(lambda: listener.messages)
        call.cancel()

    on_socket(server, test)
    (headers,) = server.headers
    expected = "bucket=projects/_/buckets/bucket&routing_token=token/=%41"
    assert headers["x-goog-request-params"] == expected
    assert headers["x-goog-user-project"] == "bill"
    spec = server.requests[0].read_object_spec
    assert (spec.bucket, spec.object) == ("projects/_/buckets/bucket", "name")
    assert (spec.read_handle.handle, spec.routing_token) == (b"the handle", "token/=%41")


def test_each_message_is_confirmed_once(server: ScriptedServer) -> None:
    async def test(transport: GrpcBidiTransport) -> None:
        listener = Listener()
        call = transport.open(SPEC, [RangeRequest(1, 0, 10)], listener)
        for number in range(1, 11):
            await listener.until_sent(number)
            call.send([RangeRequest(number + 1, 0, 10)])
        await listener.until(lambda: len(listener.content) == 110)
        # The answer may arrive before gRPC reports that the request has been sent.
        await listener.until_sent(11)
        assert listener.sent == 11
        call.cancel()

    on_socket(server, test)


def test_a_half_closed_call_serves_its_ranges_and_ends_by_itself(server: ScriptedServer) -> None:
    async def test(transport: GrpcBidiTransport) -> None:
        listener = Listener()
        spec = OpenSpec(key_of("name"), b"the handle", "token", half_close=True)
        transport.open(spec, WHOLE, listener)
        assert (await listener.end()).code is StatusCode.OK
        assert listener.content == CONTENT
        assert listener.sent == 1
        with trio.fail_after(TIMEOUT_SECONDS):
            await until(lambda: server.active == 0)

    on_socket(server, test)
    (request,) = server.requests
    assert request.read_object_spec.read_handle.handle == b"the handle"
    (headers,) = server.headers
    expected = "bucket=projects/_/buckets/bucket&routing_token=token"
    assert headers["x-goog-request-params"] == expected


def test_a_response_after_the_last_range_does_not_keep_a_half_closed_call_from_being_cancelled(
    server: ScriptedServer,
) -> None:
    async def send_one_response_too_many(context: Context) -> None:
        response = pb.BidiReadObjectResponse()
        response.object_data_ranges.add(range_end=True).read_range.read_id = 1
        await context.write(response.SerializeToString())
        await context.write(pb.BidiReadObjectResponse().SerializeToString())

    server.raw = send_one_response_too_many

    async def test(transport: GrpcBidiTransport) -> None:
        listener = Listener()
        call = transport.open(SINGLE, WHOLE, listener)
        await listener.until(lambda: listener.messages)
        assert transport.open_calls == 1
        call.cancel()
        await transport.drain()
        assert len(listener.messages) == 1
        assert listener.ends == []

    on_socket(server, test)


# -- ends


@pytest.mark.parametrize("spec", [SPEC, SINGLE])
def test_the_end_has_code_message_failures_and_redirect(
    server: ScriptedServer, spec: OpenSpec
) -> None:
    end = StreamEnd(
        StatusCode.ABORTED,
        "moved – äü",
        (RangeFailure(1, StatusCode.OUT_OF_RANGE, "beyond"), RangeFailure(9, StatusCode.OK, "")),
        StreamRedirect("east", b"h2"),
    )
    server.plan = Plan(refuse=end)

    async def test(transport: GrpcBidiTransport) -> None:
        listener = Listener()
        transport.open(spec, WHOLE, listener)
        assert await listener.end() == end

    on_socket(server, test)


@pytest.mark.parametrize("spec", [SPEC, SINGLE])
def test_a_server_ends_the_call_with_ok_at_once(server: ScriptedServer, spec: OpenSpec) -> None:
    async def end_with_ok(_: Context) -> None:
        """End the call without a response."""

    server.raw = end_with_ok

    async def test(transport: GrpcBidiTransport) -> None:
        listener = Listener()
        transport.open(spec, WHOLE, listener)
        assert (await listener.end()).code is StatusCode.OK

    on_socket(server, test)


@pytest.mark.parametrize("spec", [SPEC, SINGLE])
def test_the_status_is_kept_when_the_call_ends_during_a_write(
    server: ScriptedServer, spec: OpenSpec
) -> None:
    end = StreamEnd(StatusCode.ABORTED, "moved", (), StreamRedirect("east", b"h2"))

    async def refuse_unread(context: Context) -> None:
        await end_call(context, end)

    server.raw = refuse_unread

    async def test(transport: GrpcBidiTransport) -> None:
        for _ in range(150):
            listener = Listener()
            transport.open(spec, WHOLE, listener)
            assert await listener.end() == end

    on_socket(server, test)


@pytest.mark.expects_log("ExecuteBatchError", STRAY)  # logged by the server
def test_a_message_over_the_limit_ends_the_call(server: ScriptedServer) -> None:
    async def send_too_much(context: Context) -> None:
        await context.write(bytes(17 * 1024 * 1024))

    server.raw = send_too_much

    async def test(transport: GrpcBidiTransport) -> None:
        listener = Listener()
        transport.open(SPEC, WHOLE, listener)
        assert (await listener.end()).code is StatusCode.RESOURCE_EXHAUSTED

    on_socket(server, test)


@pytest.mark.parametrize("garbage", [b"\x32\xff\xff\xff\xff\x0f", b"\x07", b"\x22\x02\xff\xff"])
def test_a_malformed_message_ends_the_call(server: ScriptedServer, garbage: bytes) -> None:
    async def send_garbage(context: Context) -> None:
        await context.write(garbage)
        await asyncio.Event().wait()

    server.raw = send_garbage

    async def test(transport: GrpcBidiTransport) -> None:
        listener = Listener()
        transport.open(SPEC, WHOLE, listener)
        end = await listener.end()
        assert end.code is StatusCode.INTERNAL
        assert end.message.startswith("malformed message")

    on_socket(server, test)


@pytest.mark.parametrize("spec", [SPEC, SINGLE])
def test_no_server_listens_on_the_port(spec: OpenSpec) -> None:
    async def main() -> None:
        async with transport_to("127.0.0.1:1") as transport:
            listener = Listener()
            transport.open(spec, WHOLE, listener)
            assert (await listener.end()).code is StatusCode.UNAVAILABLE

    asyncio_bridge.run(main)


@pytest.mark.expects_log("server stop", STRAY)  # logged by the server
def test_the_server_stops_during_a_stream() -> None:
    async def main() -> None:
        with scripted_server(plan=Plan(cut_after=1000, chunk_bytes=1000, cut_with=None)) as server:
            endpoint = server.endpoint
            listener = Listener()
            manager = transport_to(endpoint)
            transport = await manager.__aenter__()
            transport.open(SPEC, WHOLE, listener)
            await listener.until(lambda: listener.content)
        end = await listener.end()
        assert end.code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)
        await manager.__aexit__(None, None, None)

    asyncio_bridge.run(main)


def test_closing_a_channel_ends_its_calls(server: ScriptedServer) -> None:
    server.plan = Plan(hang=True)

    async def main() -> None:
        settings = ChannelSettings(server.endpoint, plaintext=True)
        channels = await open_channels(settings)
        transport = GrpcBidiTransport(channels.connections(1), settings)
        listener = Listener()
        transport.open(SPEC, WHOLE, listener)
        await listener.until(lambda: listener.sent)
        await channels.close_all()
        assert (await listener.end()).code is StatusCode.CANCELLED
        for spec in (SPEC, SINGLE):
            late = Listener()
            transport.open(spec, WHOLE, late)
            assert (await late.end()).code is StatusCode.UNAVAILABLE
        with trio.fail_after(TIMEOUT_SECONDS):
            await transport.drain()

    asyncio_bridge.run(main)


# -- cancelling


@pytest.mark.parametrize("after_seconds", [None, 0.0, 0.001, 0.003, 0.01, 0.05])
@pytest.mark.parametrize("plan", [Plan(), Plan(hang=True), Plan(chunk_bytes=100)])
@pytest.mark.parametrize("spec", [SPEC, SINGLE])
def test_a_cancelled_call_sends_no_event_and_leaves_no_task(
    server: ScriptedServer, spec: OpenSpec, after_seconds: float | None, plan: Plan
) -> None:
    server.plan = plan

    async def test(transport: GrpcBidiTransport) -> None:
        for _ in range(5):
            listener = Listener()
            call = transport.open(spec, WHOLE, listener)
            if after_seconds is not None:
                await trio.sleep(after_seconds)
            events = (listener.sent, len(listener.messages), len(listener.ends))
            call.cancel()
            call.cancel()
            await trio.sleep(0.005)
            assert events == (listener.sent, len(listener.messages), len(listener.ends))
        with trio.fail_after(TIMEOUT_SECONDS):
            await transport.drain()
        assert transport.open_calls == 0

    on_socket(server, test)


@pytest.mark.parametrize("spec", [SPEC, SINGLE])
def test_a_call_may_be_cancelled_while_it_waits_for_a_connection(spec: OpenSpec) -> None:
    # Nothing accepts connections on this socket, so it neither completes nor refuses a connection.
    async def main() -> None:
        with trio.socket.socket() as silent:
            await silent.bind(("127.0.0.1", 0))
            silent.listen(0)
            async with transport_to(f"127.0.0.1:{silent.getsockname()[1]}") as transport:
                listener = Listener()
                call = transport.open(spec, WHOLE, listener)
                await trio.sleep(0.05)
                call.cancel()
                with trio.fail_after(TIMEOUT_SECONDS):
                    await transport.drain()
                assert listener.ends == []

    asyncio_bridge.run(main)


def test_the_server_sees_the_cancellation_of_a_call(server: ScriptedServer) -> None:
    server.plan = Plan(hang=True)

    async def test(transport: GrpcBidiTransport) -> None:
        calls = [transport.open(spec, WHOLE, Listener()) for spec in [SPEC, SINGLE] * 5]
        with trio.fail_after(TIMEOUT_SECONDS):
            await until(lambda: server.active == 10)
            for call in calls:
                call.cancel()
            await until(lambda: server.active == 0)

    on_socket(server, test)


# -- shutdown


@pytest.mark.slow
@pytest.mark.parametrize("plan", [Plan(), Plan(hang=True), Plan(latency=0.05)])
def test_a_run_that_ends_with_open_calls_leaves_no_thread_and_no_log_line(
    server: ScriptedServer, plan: Plan
) -> None:
    server.plan = plan
    earlier = set(threading.enumerate())

    async def main() -> None:
        settings = ChannelSettings(server.endpoint, plaintext=True)
        channels = await open_channels(settings)
        transport = GrpcBidiTransport(channels.connections(1), settings)
        for spec in [SPEC, SINGLE] * 5:
            transport.open(spec, WHOLE, Listener())
        await trio.sleep(0.02)

    for _ in range(3):
        asyncio_bridge.run(main)
    gc.collect()
    left = set(threading.enumerate()) - earlier
    assert [thread for thread in left if thread.name == "asyncio"] == []
