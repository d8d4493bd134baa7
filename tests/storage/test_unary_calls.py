"""The unary calls against a real server whose answers a test lines up."""

from __future__ import annotations

import asyncio
import functools
import itertools
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
import trio
import trio.testing
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from gcsmux_fs.model.errors import (
    DeadlineExceeded,
    NotFound,
    PermissionDenied,
    StatusCode,
    StorageError,
    Unauthenticated,
    Unavailable,
)
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.model.values import BucketInfo
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.asyncio_bridge import await_asyncio
from gcsmux_fs.storage.channels import Channels, ChannelSettings, open_channels
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.unary_calls import GrpcObjectStore, UnaryPolicy
from tests.support.cancellation import play

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.cancellation import Scenario

    Context = grpc.aio.ServicerContext[bytes, bytes]

pytestmark = pytest.mark.real_time

# What front ends commonly allow on one connection.
MOST_STREAMS = 100

POLICY = UnaryPolicy(
    total_seconds=1.0,
    attempt_seconds=0.3,
    first_backoff_seconds=0.01,
    max_backoff_seconds=0.05,
)


class Server:
    """Answers each call with the next of `answers`: bytes, a status, or None for never.

    `details` go with each status. What asks for `silent` is not answered either.
    """

    def __init__(self) -> None:
        self.answers: list[bytes | grpc.StatusCode | None] = []
        self.details = b""
        self.requests: list[tuple[str, bytes]] = []
        self.peers: set[str] = set()
        self.silent: str | None = None
        self.always: bytes | grpc.StatusCode | None = b""

    def handler(self, method: str) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def answer(request: bytes, context: Context) -> bytes:
            self.requests.append((method, request))
            self.peers.add(context.peer())
            planned = self.answers.pop(0) if self.answers else self.always
            if planned is None or (self.silent and self.silent.encode() in request):
                await asyncio.sleep(60)
            if isinstance(planned, grpc.StatusCode):
                trailer = (("grpc-status-details-bin", self.details),) if self.details else ()
                await context.abort(planned, "a reason", trailing_metadata=trailer)
            assert isinstance(planned, bytes)
            return planned

        return grpc.unary_unary_rpc_method_handler(answer)


def with_store(
    test: Callable[[GrpcObjectStore, Server], Awaitable[None]],
    *,
    hierarchical: bool = False,
    retries: RetryBudget | None = None,
) -> None:
    async def main() -> None:
        async with served() as (server, endpoint):
            settings = ChannelSettings(endpoint, plaintext=True, anonymous=True)
            channels = await open_channels(settings)
            store = GrpcObjectStore(
                channels.connections(1, silence_seconds=0.2),
                settings,
                "bucket",
                policy=POLICY,
                random=Random(0),
                hierarchical=hierarchical,
                retries=retries,
            )
            with trio.fail_after(10):
                await test(store, server)
            await channels.close_all()

    asyncio_bridge.run(main)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Server, str]]:
    """Serve in asyncio's thread, beside the client."""
    answering = Server()

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(options=[("grpc.max_concurrent_streams", MOST_STREAMS)])
        for service, methods in {
            "google.storage.v2.Storage": ["GetObject", "ListObjects", "TestIamPermissions"],
            "google.storage.control.v2.StorageControl": ["GetStorageLayout"],
        }.items():
            handlers = {method: answering.handler(method) for method in methods}
            server.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler(service, handlers)]
            )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = await await_asyncio(start())
    yield answering, f"127.0.0.1:{port}"
    await await_asyncio(server.stop(None))


OBJECT = pb.Object(name="a/b", generation=7, size=5).SerializeToString()


def test_an_object_is_asked_for_by_bucket_name_and_generation() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.always = OBJECT
        found = await store.get_object("a/b", 7)
        assert (found.name, found.generation, found.size) == ("a/b", 7, 5)
        ((method, data),) = server.requests
        request = pb.GetObjectRequest.FromString(data)
        assert method == "GetObject"
        assert (request.bucket, request.object) == ("projects/_/buckets/bucket", "a/b")
        assert request.generation == 7
        assert store.requests == 1

    with_store(test)


@pytest.mark.parametrize("hierarchical", [False, True])
def test_folders_are_listed_in_hierarchical_buckets_only(hierarchical: bool) -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.always = pb.ListObjectsResponse(
            objects=[pb.Object(name="a")], prefixes=["b/"], next_page_token="n"
        ).SerializeToString()
        page = await store.list_objects(
            "p", delimiter="/", page_token="t", page_size=9, start_at="s", end_before="e"
        )
        assert [entry.name for entry in page.objects] == ["a"]
        assert (page.prefixes, page.next_page_token) == (("b/",), "n")
        request = pb.ListObjectsRequest.FromString(server.requests[0][1])
        assert request == pb.ListObjectsRequest(
            parent="projects/_/buckets/bucket",
            prefix="p",
            delimiter="/",
            include_trailing_delimiter=True,
            page_token="t",
            page_size=9,
            lexicographic_start="s",
            lexicographic_end="e",
            include_folders_as_prefixes=hierarchical,
        )

    with_store(test, hierarchical=hierarchical)


def test_a_bucket_tells_its_layout() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        layout = pb.StorageLayout(location_type="zone")
        layout.hierarchical_namespace.enabled = True
        server.always = layout.SerializeToString()
        assert await store.get_bucket() == BucketInfo("bucket", "zone", True)
        request = pb.GetStorageLayoutRequest.FromString(server.requests[0][1])
        assert request.name == "projects/_/buckets/bucket/storageLayout"
        assert request.prefix == ""
        # Who may list a folder only may ask as well.
        await store.get_bucket("team/")
        request = pb.GetStorageLayoutRequest.FromString(server.requests[1][1])
        assert request.prefix == "team/"

    with_store(test)


def test_a_layout_of_another_bucket_or_of_none_is_not_taken() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        name = "projects/1/buckets/bucket/storageLayout"
        for wrong in (b"", pb.StorageLayout(name=name.replace("bucket/", "other-bucket/"))):
            data = wrong if isinstance(wrong, bytes) else wrong.SerializeToString()
            server.always = data
            with pytest.raises(Unavailable, match="malformed answer: it is"):
                await store.get_bucket()
        server.always = pb.StorageLayout(name=name).SerializeToString()
        assert await store.get_bucket() == BucketInfo("bucket")

    with_store(test)


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED])
def test_a_bucket_whose_layout_is_not_told_counts_as_flat(code: grpc.StatusCode) -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [code]
        assert await store.get_bucket() == BucketInfo("bucket")
        assert [method for method, _ in server.requests] == ["GetStorageLayout"]

    with_store(test)


def test_a_layout_that_nobody_without_credentials_is_told_is_an_error() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [grpc.StatusCode.UNAUTHENTICATED]
        with pytest.raises(Unauthenticated):
            await store.get_bucket()

    with_store(test)


def test_who_may_read_is_asked_of_the_bucket_and_then_of_the_folder() -> None:
    get = "storage.objects.get"
    granted = pb.TestIamPermissionsResponse(permissions=[get]).SerializeToString()
    bucket = "projects/_/buckets/bucket"

    async def test(store: GrpcObjectStore, server: Server) -> None:
        async def asked(prefix: str, *answers: bytes | grpc.StatusCode) -> tuple[bool, list[str]]:
            server.answers, server.requests = list(answers), []
            may = await store.may_read(prefix)
            requests = [
                pb.TestIamPermissionsRequest.FromString(data)
                for method, data in server.requests
                if method == "TestIamPermissions"
            ]
            assert all(request.permissions == [get] for request in requests)
            return may, [request.resource for request in requests]

        assert await asked("", granted) == (True, [bucket])
        assert await asked("", b"") == (False, [bucket])
        assert await asked("team/", granted) == (True, [bucket])
        both = [bucket, f"{bucket}/objects/team/"]
        assert await asked("team/", b"", granted) == (True, both)
        assert await asked("team/", grpc.StatusCode.PERMISSION_DENIED, granted) == (True, both)
        assert await asked("team/", b"", grpc.StatusCode.NOT_FOUND) == (False, both)
        # A server without the call, as emulators are.
        unknown = grpc.StatusCode.UNIMPLEMENTED
        there = pb.Object(name="team/").SerializeToString()
        assert await asked("team/", unknown, there) == (True, [bucket])
        assert await asked("team/", unknown, grpc.StatusCode.NOT_FOUND) == (True, [bucket])
        assert await asked("team/", unknown, grpc.StatusCode.PERMISSION_DENIED) == (False, [bucket])
        assert await asked("", unknown, grpc.StatusCode.NOT_FOUND) == (True, [bucket])
        server.answers = [grpc.StatusCode.UNAUTHENTICATED]
        with pytest.raises(Unauthenticated):
            await store.may_read("")

    with_store(test)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
)
def test_what_may_pass_is_tried_again(code: grpc.StatusCode) -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [code] * 3 + [OBJECT]
        assert (await store.get_object("a/b")).size == 5
        assert store.requests == 4

    with_store(test)


def test_a_pause_that_the_server_asks_for_beyond_our_time_is_not_waited_for() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        status = Status(code=8)
        status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=5)))
        server.details = status.SerializeToString()
        server.always = grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(Unavailable, match="a reason"):
            await store.get_object("a/b")
        assert store.requests == 1

    with_store(test)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied),
        (grpc.StatusCode.UNKNOWN, StorageError),
    ],
)
def test_what_is_final_is_told_at_once(code: grpc.StatusCode, kind: type[StorageError]) -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.always = code
        with pytest.raises(kind) as caught:
            await store.get_object("a\n")
        assert store.requests == 1
        assert str(caught.value) == f"gs://bucket/'a\\n': a reason [{code.name}]"

    with_store(test)


def test_an_outage_ends_within_the_time_for_the_whole() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.always = grpc.StatusCode.UNAVAILABLE
        with pytest.raises(Unavailable):
            await store.get_object("a/b")
        assert 10 < store.requests < 100

    with_store(test)


def test_the_end_of_an_outage_is_told_by_what_the_service_said() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [grpc.StatusCode.UNAVAILABLE]
        server.always = None
        with pytest.raises(Unavailable) as caught:
            await store.get_object("a/b")
        assert caught.value.code is StatusCode.UNAVAILABLE

    with_store(test)


def test_a_connection_that_has_fallen_silent_is_left_for_a_new_one() -> None:
    async def main() -> None:
        async with served() as (silent, first), served() as (answering, second):
            silent.always = None
            answering.always = OBJECT
            endpoints = [first, first, second]
            settings = ChannelSettings(first, plaintext=True, anonymous=True)
            channels = Channels(lambda: grpc.aio.insecure_channel(endpoints.pop(0)), None)
            store = GrpcObjectStore(
                channels.connections(1, silence_seconds=0.2),
                settings,
                "bucket",
                policy=POLICY,
                random=Random(0),
            )
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(store.get_object, "a/b")
            assert (len(silent.requests), len(answering.requests)) == (8, 4)
            await store.get_object("a/b")
            assert len(answering.requests) == 5
            await channels.close_all()

    asyncio_bridge.run(main)


def test_names_that_are_not_answered_keep_no_connection_from_others() -> None:
    async def main() -> None:
        async with served() as (server, endpoint):
            settings = ChannelSettings(endpoint, plaintext=True, anonymous=True)
            server.silent = "silent"
            server.always = OBJECT
            channels = await open_channels(settings)
            store = GrpcObjectStore(
                channels.connections(2),
                settings,
                "bucket",
                policy=UnaryPolicy(),
                random=Random(0),
            )
            async with trio.open_nursery() as nursery:
                for _ in range(MOST_STREAMS):
                    nursery.start_soon(store.get_object, "silent")
                await trio.testing.wait_all_tasks_blocked()
                with trio.fail_after(20):
                    await store.get_object("a/b")
                    # What was asked first may reach the server last: it goes another way.
                    while len(server.requests) <= MOST_STREAMS:  # noqa: ASYNC110
                        await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
            assert len(server.peers) == 2
            await channels.close_all()

    asyncio_bridge.run(main)


def test_a_call_that_a_live_connection_has_lost_is_tried_again_there() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [None]
        server.always = OBJECT
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(store.get_object, "a/b")
        assert len(server.requests) == 3
        assert len(server.peers) == 1

    with_store(test)


def test_nothing_is_tried_again_while_the_retries_of_the_mount_are_used_up() -> None:
    retries = RetryBudget()

    async def test(store: GrpcObjectStore, server: Server) -> None:
        while retries.take(trio.current_time()) < 5:
            pass
        server.answers = [grpc.StatusCode.UNAVAILABLE, OBJECT]
        with pytest.raises(Unavailable):
            await store.get_object("a/b")
        assert store.requests == 1

    with_store(test, retries=retries)


def test_a_call_that_is_never_answered_is_tried_again_and_given_up() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [None]
        server.always = OBJECT
        assert (await store.get_object("a/b")).size == 5
        server.answers = [None] * 10
        with pytest.raises(DeadlineExceeded):
            await store.get_object("a/b")

    with_store(test)


def test_a_malformed_answer_is_tried_again_and_then_an_error() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [b"\xff", OBJECT]
        assert (await store.get_object("a/b")).size == 5
        server.always = b"\xff"
        with pytest.raises(Unavailable):
            await store.get_object("a/b")

    with_store(test)


def test_an_object_of_another_name_is_not_taken_for_the_one_asked_for() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        # No bytes at all are a message too: an object without a name, of size 0.
        server.answers = [b"", OBJECT]
        assert (await store.get_object("a/b")).size == 5
        server.always = OBJECT.replace(b"a/b", b"a/c")
        with pytest.raises(Unavailable):
            await store.get_object("a/b")

    with_store(test)


def test_a_caller_may_leave_at_any_moment() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [None] * 6
        for patience in (0.0, 0.001, 0.003, 0.01, 0.03, 0.1):
            with trio.move_on_after(patience) as scope:
                await store.get_object("a/b")
            assert scope.cancelled_caught
        server.answers = []
        server.always = OBJECT
        assert (await store.get_object("a/b")).size == 5

    with_store(test)


def test_after_its_channel_a_store_answers_with_an_error() -> None:
    async def main() -> None:
        settings = ChannelSettings("127.0.0.1:1", plaintext=True)
        channels = await open_channels(settings)
        store = GrpcObjectStore(
            channels.connections(1), settings, "bucket", policy=POLICY, random=Random(0)
        )
        await channels.close_all()
        with pytest.raises(Unavailable) as caught:
            await store.get_object("a/b")
        assert caught.value.code is StatusCode.CANCELLED

    asyncio_bridge.run(main)


def test_a_channel_that_closes_under_a_call_ends_it_with_an_error() -> None:
    async def main() -> None:
        async with served() as (server, endpoint):
            server.always = None
            settings = ChannelSettings(endpoint, plaintext=True)
            channels = await open_channels(settings)
            store = GrpcObjectStore(
                channels.connections(1), settings, "bucket", policy=POLICY, random=Random(0)
            )
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def ask() -> None:
                    with pytest.raises(Unavailable):
                        await store.get_object("a/b")

                await trio.sleep(0.05)
                await channels.close_all()

    asyncio_bridge.run(main)


def test_a_call_cancelled_at_any_instant_leaves_no_task_and_the_next_one_works() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        async def count_tasks() -> int:
            return len(asyncio.all_tasks())

        before = await await_asyncio(count_tasks())
        server.always = OBJECT

        @asynccontextmanager
        async def stage() -> AsyncIterator[Scenario]:
            # The pause after a failure is among the instants.
            server.answers = [grpc.StatusCode.UNAVAILABLE]
            yield functools.partial(store.get_object, "a/b")
            server.answers = []
            assert (await store.get_object("a/b")).generation == 7
            # The server's, and gRPC's own that see to the end of a call, end a little later.
            for _ in range(1000):
                if await await_asyncio(count_tasks()) == before:
                    return
                await trio.sleep(0.001)
            raise AssertionError("a task is left")

        for instant in itertools.count():
            if not await play(stage, instant):
                break
        # Where the other side is at an instant of this one is left to chance.
        for delay in range(30):
            async with stage() as scenario:
                with trio.move_on_after(delay * 0.0005):
                    await scenario()

    with_store(test)
