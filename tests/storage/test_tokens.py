"""Tests of refused tokens and their renewal, with a real gRPC server and a real token server."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
import trio
from google.oauth2 import service_account

from gcsmux_fs.model.errors import CredentialsError, StatusCode, Unauthenticated
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.asyncio_bridge import await_asyncio
from gcsmux_fs.storage.bidi import GrpcBidiTransport
from gcsmux_fs.storage.channels import Channels, ChannelSettings, open_channels
from gcsmux_fs.storage.credentials import LoadedCredentials
from gcsmux_fs.storage.credentials_source import BoundedRequest, CredentialsSource
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
from tests.support.harness import wait_until
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


class Server:
    """Accepts the first token for `calls_of_first` calls, and later tokens unless `closed`."""

    def __init__(self, calls_of_first: int) -> None:
        self.streams = ScriptedServer()
        self.ranges = RangeServer()
        self.with_streams = True
        self.closed = False
        self.received_tokens: list[str] = []
        self.headers: tuple[tuple[str, str | bytes], ...] = ()
        self._left = calls_of_first

    async def check(self, context: Context) -> None:
        self.headers = tuple(context.invocation_metadata() or ())
        headers = dict(self.headers)
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
    loaded = LoadedCredentials(credentials, "service account a@b")
    tokens = Tokens(CredentialsSource(lambda: loaded, BoundedRequest()), clock=clock)
    tokens.start()
    return tokens


@asynccontextmanager
async def client_of(
    server: Server, tokens: Tokens, billing_project: str = ""
) -> AsyncIterator[Client]:
    serving, port = await await_asyncio(server.start())
    settings = ChannelSettings(f"localhost:{port}", billing_project=billing_project)
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


def run(
    server: Server,
    tokens: Tokens,
    test: Callable[[Client], Awaitable[None]],
    billing_project: str = "",
) -> None:
    async def main() -> None:
        async with client_of(server, tokens, billing_project) as client:
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

    with token_server(answer) as token_source:
        now = [0.0]
        tokens = tokens_of(token_source, tmp_path, lambda: now[0])
        first = Call(tokens)
        assert requested.wait(20)
        others = [Call(tokens) for _ in range(8)]
        answered.set()
        for call in (first, *others):
            assert "invalid_grant" in call.error()
        assert len(token_source.asked) == 1
        # A call during the pause after the failure fails with the same error.
        assert "invalid_grant" in Call(tokens).error()
        assert len(token_source.asked) == 1
        now[0] += 10.0
        assert "invalid_grant" in Call(tokens).error()
        assert len(token_source.asked) == 2
        tokens.close()


def test_a_refused_renewal_fails_a_call_at_once_with_its_reason(
    token_source: TokenServer, tmp_path: Path
) -> None:
    now = [0.0]
    server = Server(calls_of_first=1)

    async def test(client: Client) -> None:
        await client.look_up()
        token_source.refusing = True
        for operation in (client.look_up, client.read):
            now[0] += 60.0
            with pytest.raises(Unauthenticated, match="invalid_grant") as caught:
                await operation()
            assert "service account a@b" in str(caught.value)
            assert "plugin" not in str(caught.value)
        token_source.refusing = False
        now[0] += 60.0
        await client.look_up()

    run(server, tokens_of(token_source, tmp_path, lambda: now[0]), test)


def test_a_call_waits_through_an_outage_of_the_token_server(
    token_source: TokenServer, tmp_path: Path
) -> None:
    """An outage ends by itself, so calls are retried, as in an outage of the service."""
    server = Server(calls_of_first=1)

    async def test(client: Client) -> None:
        await client.look_up()
        token_source.outages = 2
        await client.look_up()

    tokens = tokens_of(token_source, tmp_path, time.monotonic)
    run(server, tokens, test)
    assert server.received_tokens[-1] != "token-1"
    assert tokens.failure is None


def test_calls_use_the_old_token_while_the_next_one_is_fetched(tmp_path: Path) -> None:
    """The token server answers only after calls have read with the old token."""
    renewed = threading.Event()
    now = [0.0]

    def answer(number: int) -> dict[str, object]:
        if number > 1:
            assert renewed.wait(20)
        return access_token(f"token-{number}")

    server = Server(calls_of_first=1000)

    with token_server(answer) as token_source:
        tokens = tokens_of(token_source, tmp_path, lambda: now[0])

        async def test(client: Client) -> None:
            await client.look_up()
            now[0] = 3600.0 - 400.0
            for _ in range(3):
                await client.look_up()
                await client.read()
            wait_until(lambda: len(token_source.asked) == 2, "the renewal has begun")
            await client.look_up()
            assert {*server.received_tokens} == {"token-1"}
            renewed.set()
            wait_until(lambda: tokens.fetches == 2, "the renewal has ended")
            await client.look_up()
            assert server.received_tokens[-1] == "token-2"
            # The first call of all had to wait, and no other.
            assert tokens.waits == 1

        run(server, tokens, test)


def test_each_call_names_the_billed_project_once(token_source: TokenServer, tmp_path: Path) -> None:
    """The credentials have a quota project of their own."""
    key_file(tmp_path / "key.json", token_source.address)
    credentials = service_account.Credentials.from_service_account_file(
        tmp_path / "key.json", scopes=["scope"], quota_project_id="quota"
    )
    loaded = LoadedCredentials(credentials, "service account a@b")
    server = Server(calls_of_first=1000)

    async def test(client: Client) -> None:
        for operation in (client.look_up, client.read):
            await operation()
            projects = [text for name, text in server.headers if name == "x-goog-user-project"]
            assert projects == ["billed"]

    source = CredentialsSource(lambda: loaded, BoundedRequest(), with_project=False)
    tokens = Tokens(source)
    tokens.start()
    run(server, tokens, test, billing_project="billed")


class Call(grpc.AuthMetadataPluginCallback):
    """A call that asks for its headers."""

    class _Context(grpc.AuthMetadataContext):
        service_url = "https://localhost/google.storage.v2.Storage"
        method_name = "GetObject"

    def __init__(self, tokens: Tokens) -> None:
        self._answers: queue.Queue[tuple[object, object]] = queue.Queue()
        tokens(self._Context(), self)

    def __call__(self, metadata: object, error: object) -> None:
        self._answers.put((metadata, error))

    def error(self) -> str:
        """Wait for the answer, which must be an error."""
        metadata, error = self._answers.get(timeout=20)
        assert metadata == ()
        return str(error)


def test_a_start_without_the_service_needs_no_token() -> None:
    async def main() -> None:
        settings = ChannelSettings("127.0.0.1:1", token_command=("false",))
        with pytest.raises(CredentialsError):
            await open_channels(settings)
        channels = await open_channels(settings, needs_token=False)
        assert channels.tokens is not None
        assert channels.tokens.identity == "the token command 'false'"
        await channels.close_all()

    asyncio_bridge.run(main)


def test_wrong_credentials_end_a_start_without_the_service() -> None:
    async def main() -> None:
        settings = ChannelSettings("127.0.0.1:1", token_command=("/does/not/exist",))
        with pytest.raises(CredentialsError):
            await open_channels(settings, needs_token=False)

    asyncio_bridge.run(main)
