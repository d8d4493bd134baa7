"""Tests of refused tokens and their renewal, with a real gRPC server and a real token server."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import google.auth.exceptions
import google.auth.transport.requests
import grpc
import grpc.aio
import pytest
import trio
from google.oauth2 import service_account

from gcsmux_fs.model.errors import StatusCode, StorageError, Unauthenticated
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.asyncio_bridge import await_asyncio
from gcsmux_fs.storage.bidi import GrpcBidiTransport
from gcsmux_fs.storage.channels import Channels, ChannelSettings
from gcsmux_fs.storage.fallback import FallbackTransport
from gcsmux_fs.storage.object_store import GrpcObjectStore
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import StreamEnd
from gcsmux_fs.storage.read_object import GrpcRangeReads
from gcsmux_fs.storage.tokens import Tokens
from gcsmux_fs.storage.unary_calls import UnaryPolicy
from tests.mux.plans import CONTENT, Plan, key_of
from tests.mux.reading import fetch
from tests.mux.scripted_server import ScriptedServer
from tests.support.tls import TokenServer, access_token, key_file, token_server

from .range_plans import Answer
from .range_server import RangeServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    Context = grpc.aio.ServicerContext[bytes, bytes]

pytestmark = pytest.mark.real_time

EXPIRED = StreamEnd(StatusCode.UNAUTHENTICATED, "expired")
OBJECT = pb.Object(name="object", generation=7, size=5).SerializeToString()
# How long a test waits until a call has started in another thread. The start cannot be observed.
_START_SECONDS = 0.2


class Server:
    """Accepts the first token for `calls_of_first` calls, and later tokens unless `closed`."""

    def __init__(self, calls_of_first: int) -> None:
        self.streams = ScriptedServer()
        self.ranges = RangeServer()
        self.with_streams = True
        self.closed = False
        self.received_tokens: list[str] = []
        self._left = calls_of_first

    async def check(self, context: Context) -> None:
        headers = dict(context.invocation_metadata() or ())
        self.received_tokens.append(str(headers["authorization"]).removeprefix("Bearer "))
        if self.received_tokens[-1] == "token-1":
            self._left -= 1
            if self._left >= 0:
                return
        elif not self.closed:
            return
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "expired")

    async def get_object(self, _: bytes, context: Context) -> bytes:
        await self.check(context)
        return OBJECT

    async def stream(self, requests: object, context: Context) -> None:
        await self.check(context)
        if not self.with_streams:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        await self.streams.serve(requests, context)

    async def read(self, data: bytes, context: Context) -> None:
        await self.check(context)
        await self.ranges.read_object(data, context)

    async def start(self) -> tuple[grpc.aio.Server, int]:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "GetObject": grpc.unary_unary_rpc_method_handler(self.get_object),
            "BidiReadObject": grpc.stream_stream_rpc_method_handler(self.stream),
            "ReadObject": grpc.unary_stream_rpc_method_handler(self.read),
        }
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("google.storage.v2.Storage", handlers)]
        )
        # gRPC sends tokens only over a secure connection. A local connection counts as secure.
        port = server.add_secure_port("localhost:0", grpc.local_server_credentials())
        await server.start()
        return server, port


class Client:
    """A client that looks an object up and reads it, and uses the same tokens for both."""

    def __init__(self, store: GrpcObjectStore, registry: StreamRegistry) -> None:
        self.store = store
        self.registry = registry

    async def look_up(self) -> None:
        assert (await self.store.get_object("object")).size == 5

    async def read(self) -> None:
        assert await fetch(self.registry, key_of("object"), 0, len(CONTENT)) == CONTENT


@pytest.fixture
def token_source() -> Iterator[TokenServer]:
    with token_server(lambda number: access_token(f"token-{number}")) as server:
        yield server


def tokens_of(token_source: TokenServer, folder: Path, clock: Callable[[], float]) -> Tokens:
    key_file(folder / "key.json", token_source.address)
    credentials = service_account.Credentials.from_service_account_file(
        folder / "key.json", scopes=["scope"]
    )
    return Tokens(credentials, google.auth.transport.requests.Request(), clock=clock)


@asynccontextmanager
async def client_of(server: Server, tokens: Tokens) -> AsyncIterator[Client]:
    serving, port = await await_asyncio(server.start())
    settings = ChannelSettings(f"localhost:{port}")
    credentials = grpc.composite_channel_credentials(
        grpc.local_channel_credentials(), grpc.metadata_call_credentials(tokens)
    )
    channels = Channels(partial(grpc.aio.secure_channel, settings.endpoint, credentials), tokens)
    call_soon = trio.lowlevel.current_trio_token().run_sync_soon
    streams = GrpcBidiTransport(channels.connections(1), settings, tokens=tokens)
    transport = FallbackTransport(
        streams,
        GrpcRangeReads(streams, settings),
        clock=trio.current_time,
        call_soon=call_soon,
    )
    registry = StreamRegistry(transport, RetryPolicy(), Random(0), call_soon=call_soon)
    store = GrpcObjectStore(
        channels.connections(1),
        settings,
        "bucket",
        policy=UnaryPolicy(),
        random=Random(0),
        tokens=tokens,
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(registry.run)
            with trio.fail_after(20):
                yield Client(store, registry)
            nursery.cancel_scope.cancel()
        transport.close()
        await streams.drain()
    finally:
        with trio.CancelScope(shield=True):
            await channels.close_all()
            await await_asyncio(serving.stop(None))


def run(server: Server, tokens: Tokens, test: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        async with client_of(server, tokens) as client:
            await test(client)

    asyncio_bridge.run(main)


@pytest.fixture
def tokens(token_source: TokenServer, tmp_path: Path) -> Tokens:
    return tokens_of(token_source, tmp_path, time.monotonic)


def test_a_token_that_expires_during_a_stream_is_renewed(
    token_source: TokenServer, tokens: Tokens
) -> None:
    server = Server(calls_of_first=1)
    server.streams.plans = [Plan(cut_after=128 * 1024, cut_with=EXPIRED)]
    run(server, tokens, Client.read)
    assert server.received_tokens == ["token-1", "token-2"]
    assert server.streams.requests[1].read_ranges[0].read_offset == 128 * 1024
    assert len(token_source.asked) == 2


@pytest.mark.expects_log("BidiReadObject unavailable")
def test_a_token_that_expires_during_a_read_object_call_is_renewed(
    token_source: TokenServer, tokens: Tokens
) -> None:
    server = Server(calls_of_first=2)
    server.with_streams = False
    server.ranges.plans = [Answer(cut_after=2, end=EXPIRED)]
    run(server, tokens, Client.read)
    assert server.received_tokens == ["token-1", "token-1", "token-2"]
    assert len(token_source.asked) == 2


def test_calls_that_are_refused_together_fetch_one_token(
    token_source: TokenServer, tokens: Tokens
) -> None:
    server = Server(calls_of_first=1)

    async def test(client: Client) -> None:
        await client.look_up()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(client.look_up)
            nursery.start_soon(client.read)
        await client.look_up()

    run(server, tokens, test)
    assert {*server.received_tokens} == {"token-1", "token-2"}
    assert len(token_source.asked) == 2


@pytest.mark.parametrize("operation", [Client.look_up, Client.read])
def test_a_refused_fresh_token_is_an_error_at_once(
    token_source: TokenServer, tokens: Tokens, operation: Callable[[Client], Awaitable[None]]
) -> None:
    server = Server(calls_of_first=1)
    server.closed = True

    async def test(client: Client) -> None:
        await client.look_up()
        for number in range(1, 6):
            with pytest.raises(Unauthenticated):
                await operation(client)
            assert len(server.received_tokens) == 1 + 2 * number

    run(server, tokens, test)
    assert server.received_tokens[:3] == ["token-1", "token-1", "token-2"]
    assert len(token_source.asked) == 2


def test_a_server_that_refuses_all_tokens_causes_one_fetch_in_ten_seconds(
    token_source: TokenServer, tmp_path: Path
) -> None:
    now = [0.0]
    server = Server(calls_of_first=0)
    server.closed = True

    async def test(client: Client) -> None:
        for _ in range(60):
            with pytest.raises(Unauthenticated):
                await client.look_up()
            now[0] += 1.0
        server.closed = False
        now[0] += 10.0
        await client.look_up()

    run(server, tokens_of(token_source, tmp_path, lambda: now[0]), test)
    assert len(token_source.asked) == 1 + 60 // 10 + 1


def test_a_late_refusal_of_an_old_token_does_not_drop_the_new_token(
    token_source: TokenServer, tokens: Tokens
) -> None:
    async def test(client: Client) -> None:
        await client.look_up()
        before = tokens.current
        before.refused = True
        await client.look_up()
        before.refused = True
        await client.look_up()

    server = Server(calls_of_first=1)
    run(server, tokens, test)
    assert server.received_tokens == ["token-1", "token-2", "token-2"]
    assert len(token_source.asked) == 2


def test_calls_that_wait_for_a_token_share_the_failed_fetch(tmp_path: Path) -> None:
    requested, answered = threading.Event(), threading.Event()

    def answer(_: int) -> dict[str, object]:
        requested.set()
        assert answered.wait(20)
        return {"error": "invalid_grant"}

    class _Headers(grpc.AuthMetadataPluginCallback):
        def __call__(self, *_: object) -> None:
            raise AssertionError(
                "a call was given authorization headers although no token was fetched"
            )

    class _Context(grpc.AuthMetadataContext):
        service_url = "https://localhost/google.storage.v2.Storage"
        method_name = "GetObject"

    def call(tokens: Tokens) -> None:
        with pytest.raises(google.auth.exceptions.RefreshError):
            tokens(_Context(), _Headers())

    with token_server(answer) as token_source, ThreadPoolExecutor(9) as threads:
        tokens = tokens_of(token_source, tmp_path, time.monotonic)
        calls = [threads.submit(call, tokens)]
        assert requested.wait(20)
        calls += [threads.submit(call, tokens) for _ in range(8)]
        time.sleep(_START_SECONDS)
        answered.set()
        for each in calls:
            each.result(20)
        assert len(token_source.asked) == 1
        # A later call asks the token server again.
        call(tokens)
        assert len(token_source.asked) == 2


@pytest.mark.expects_log("raised exception")
def test_a_failed_renewal_of_a_refused_token_is_reported_with_its_reason(
    token_source: TokenServer, tokens: Tokens
) -> None:
    server = Server(calls_of_first=1)

    async def test(client: Client) -> None:
        await client.look_up()
        token_source.refusing = True
        with pytest.raises(StorageError, match="invalid_grant") as caught:
            await client.look_up()
        assert caught.value.code is StatusCode.UNAVAILABLE
        token_source.refusing = False
        await client.look_up()

    run(server, tokens, test)
