"""Tests of StreamingPull calls on a real socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
import trio

from gcsmux_fs.model.errors import NotFound, StatusCode
from gcsmux_fs.settings.service_address import ServiceAddress
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.channels import ChannelSettings
from gcsmux_fs.storage.pb import pubsub_pb2 as pb
from gcsmux_fs.storage.ports import PulledMessage, PullOrder, PullResponse, PullSpec, StreamEnd
from gcsmux_fs.storage.streaming_pull import GrpcPullTransport, open_pull_transport
from tests.support.threaded_server import threaded_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Context = grpc.aio.ServicerContext[bytes, bytes]

# gRPC has one poller for all loops of a process, and the server runs in the client's process.
STRAY = "PollerCompletionQueue._handle_events"
pytestmark = [pytest.mark.real_time, pytest.mark.expects_log(STRAY)]

SUBSCRIPTION = "projects/p/subscriptions/s"
SPEC = PullSpec(60, 1000, 1 << 20, "client")
TIMEOUT_SECONDS = 10


@dataclass
class PullServer:
    """Serves calls: sends `responses`, then answers keep-alives, and ends the call if `refuse`."""

    responses: list[bytes] = field(default_factory=list)
    refuse: grpc.StatusCode | None = None
    requests: list[pb.StreamingPullRequest] = field(default_factory=list)
    seeks: list[pb.SeekRequest] = field(default_factory=list)
    headers: list[dict[str, str | bytes]] = field(default_factory=list)
    active: int = 0

    async def pull(self, _: object, context: Context) -> None:
        self.headers.append(dict(context.invocation_metadata() or ()))
        self.active += 1
        try:
            while isinstance(data := await context.read(), bytes):
                self.requests.append(pb.StreamingPullRequest.FromString(data))
                if self.refuse is not None:
                    await context.abort(self.refuse, "no")
                for response in self.responses:
                    await context.write(response)
                self.responses.clear()
                if not data:
                    await context.write(b"")
        except (asyncio.CancelledError, grpc.aio.InternalError):
            pass  # The client ended the call.
        finally:
            self.active -= 1

    async def seek(self, request: bytes, context: Context) -> bytes:
        self.seeks.append(pb.SeekRequest.FromString(request))
        if self.refuse is not None:
            await context.abort(self.refuse, "no")
        return b""


@pytest.fixture
def server() -> Iterator[tuple[PullServer, int]]:
    served = PullServer()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "StreamingPull": grpc.stream_stream_rpc_method_handler(served.pull),
        "Seek": grpc.unary_unary_rpc_method_handler(served.seek),
    }
    with threaded_server("google.pubsub.v1.Subscriber", handlers) as port:
        yield served, port


class Listener:
    """Records the events of a call."""

    def __init__(self) -> None:
        self.sent = 0
        self.messages: list[PullResponse] = []
        self.ends: list[StreamEnd] = []

    def on_sent(self) -> None:
        assert not self.ends
        self.sent += 1

    def on_message(self, message: PullResponse) -> None:
        assert not self.ends
        self.messages.append(message)

    def on_end(self, end: StreamEnd) -> None:
        assert not self.ends
        self.ends.append(end)


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(TIMEOUT_SECONDS):
        while not condition():  # noqa: ASYNC110 - the server changes in another thread
            await trio.sleep(0.002)


@asynccontextmanager
async def transport_to(port: int) -> AsyncIterator[GrpcPullTransport]:
    settings = ChannelSettings("storage.invalid:1", anonymous=True, billing_project="bill")
    address = ServiceAddress(f"127.0.0.1:{port}", plaintext=True, anonymous=True)
    pubsub = settings.for_pubsub(address)
    async with open_pull_transport(pubsub, SUBSCRIPTION, Random(0)) as transport:
        yield transport


def on_socket(port: int, test: Callable[[GrpcPullTransport], Awaitable[None]]) -> None:
    async def main() -> None:
        async with transport_to(port) as transport:
            await test(transport)
        assert transport.open_tasks == 0

    asyncio_bridge.run(main)


def test_the_opening_message_and_the_headers(server: tuple[PullServer, int]) -> None:
    served, port = server

    async def test(transport: GrpcPullTransport) -> None:
        listener = Listener()
        transport.open(SPEC, listener)
        await until(lambda: served.requests and listener.sent)

    on_socket(port, test)
    assert served.requests[0] == pb.StreamingPullRequest(
        subscription=SUBSCRIPTION,
        stream_ack_deadline_seconds=60,
        client_id="client",
        max_outstanding_messages=1000,
        max_outstanding_bytes=1 << 20,
        protocol_version=1,
    )
    assert served.headers[0]["x-goog-request-params"] == f"subscription={SUBSCRIPTION}"
    assert "x-goog-user-project" not in served.headers[0]


def test_messages_arrive_and_orders_leave(server: tuple[PullServer, int]) -> None:
    served, port = server
    response = pb.StreamingPullResponse()
    received = response.received_messages.add(ack_id="1", delivery_attempt=3)
    received.message.data = b"payload"
    received.message.attributes.update({"k": "v", "l": "\u00e9"})
    received.message.publish_time.FromNanoseconds(1_500_000_000_250_000_000)
    response.received_messages.add(ack_id="2")
    served.responses.append(response.SerializeToString())

    async def test(transport: GrpcPullTransport) -> None:
        listener = Listener()
        call = transport.open(SPEC, listener)
        await until(lambda: listener.messages and listener.sent == 1)
        call.send(PullOrder(("1",), ("2", "3"), 60))
        await until(lambda: listener.sent == 2)
        call.send(PullOrder())
        await until(lambda: len(listener.messages) == 2)
        first, second = listener.messages
        assert first.messages == (
            PulledMessage("1", b"payload", {"k": "v", "l": "\u00e9"}, 1_500_000_000.25),
            PulledMessage("2", b"", {}, 0.0),
        )
        assert second == PullResponse()
        call.cancel()
        call.cancel()
        await until(lambda: served.active == 0)
        assert listener.ends == []

    on_socket(port, test)
    assert served.requests[1:] == [
        pb.StreamingPullRequest(
            ack_ids=["1"], modify_deadline_ack_ids=["2", "3"], modify_deadline_seconds=[60, 60]
        ),
        pb.StreamingPullRequest(),
    ]


def test_a_refusal_ends_the_call_with_its_status(server: tuple[PullServer, int]) -> None:
    served, port = server
    served.refuse = grpc.StatusCode.NOT_FOUND

    async def test(transport: GrpcPullTransport) -> None:
        for _ in range(20):
            listener = Listener()
            transport.open(SPEC, listener)
            await until(lambda: listener.ends)  # noqa: B023
            assert listener.ends == [StreamEnd(StatusCode.NOT_FOUND, "no")]

    on_socket(port, test)


def test_a_malformed_response_ends_the_call(server: tuple[PullServer, int]) -> None:
    served, port = server
    served.responses.append(b"\xff")

    async def test(transport: GrpcPullTransport) -> None:
        listener = Listener()
        transport.open(SPEC, listener)
        await until(lambda: listener.ends)
        assert listener.ends[0].code is StatusCode.INTERNAL

    on_socket(port, test)


def test_an_open_call_ends_with_the_transport(server: tuple[PullServer, int]) -> None:
    served, port = server

    async def test(transport: GrpcPullTransport) -> None:
        listener = Listener()
        transport.open(SPEC, listener)
        await until(lambda: served.active == 1)

    on_socket(port, test)


def test_seek(server: tuple[PullServer, int]) -> None:
    served, port = server

    async def test(transport: GrpcPullTransport) -> None:
        await transport.seek(1_500_000_000.25)
        served.refuse = grpc.StatusCode.NOT_FOUND
        with pytest.raises(NotFound, match=SUBSCRIPTION):
            await transport.seek(1.0)

    on_socket(port, test)
    request = served.seeks[0]
    assert request.subscription == SUBSCRIPTION
    assert request.time.ToNanoseconds() == 1_500_000_000_250_000_000
