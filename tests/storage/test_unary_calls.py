"""Tests of unary calls to a real server. Each test chooses the answers of the server."""

from __future__ import annotations

import asyncio
import functools
import itertools
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio
import pytest
import trio
import trio.testing
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from gcsmux_fs.metrics.registry import Registry
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
from gcsmux_fs.storage.billing import BilledRequests
from gcsmux_fs.storage.channels import Channels, ChannelSettings, open_channels
from gcsmux_fs.storage.object_store import GrpcObjectStore
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.unary_calls import UnaryPolicy
from tests.support.cancellation import play

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gcsmux_fs.metrics.histogram import Histogram
    from tests.support.cancellation import Scenario

    Context = grpc.aio.ServicerContext[bytes, bytes]

pytestmark = pytest.mark.real_time

# Maximum number of HTTP/2 streams that front ends commonly allow on one connection.
MOST_STREAMS = 100

POLICY = UnaryPolicy(
    total_seconds=1.0,
    attempt_seconds=0.3,
    first_backoff_seconds=0.01,
    max_backoff_seconds=0.05,
)


class Server:
    """A server that answers each call with the next item of `answers`.

    When `answers` is empty, the server answers with `always`. An answer is bytes, a status, or None
    for no answer.

    Attributes:
        details: status details, sent with each status.
        silent: a request that contains this text gets no answer.
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
    billed: BilledRequests | None = None,
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
                billed=billed,
            )
            with trio.fail_after(10):
                await test(store, server)
            await channels.close_all()

    asyncio_bridge.run(main)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Server, str]]:
    """Run a server in the asyncio thread, in which the gRPC client runs as well."""
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


def test_a_request_for_an_object_has_bucket_name_and_generation() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.always = OBJECT
        info = await store.get_object("a/b", 7)
        assert (info.name, info.generation, info.size) == ("a/b", 7, 5)
        ((method, data),) = server.requests
        request = pb.GetObjectRequest.FromString(data)
        assert method == "GetObject"
        assert (request.bucket, request.object) == ("projects/_/buckets/bucket", "a/b")
        assert request.generation == 7
        assert store.requests == 1

    with_store(test)


@pytest.mark.parametrize("hierarchical", [False, True])
def test_listings_include_folders_only_in_hierarchical_buckets(hierarchical: bool) -> None:
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


def test_the_layout_of_a_bucket_is_requested_with_the_prefix() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        layout = pb.StorageLayout(location_type="zone")
        layout.hierarchical_namespace.enabled = True
        server.always = layout.SerializeToString()
        assert await store.get_bucket() == BucketInfo("bucket", "zone", True)
        request = pb.GetStorageLayoutRequest.FromString(server.requests[0][1])
        assert request.name == "projects/_/buckets/bucket/storageLayout"
        assert request.prefix == ""
        # A caller who may list only a folder may request the layout with the prefix of the folder.
        await store.get_bucket("team/")
        request = pb.GetStorageLayoutRequest.FromString(server.requests[1][1])
        assert request.prefix == "team/"

    with_store(test)


@pytest.mark.slow
def test_an_empty_layout_or_one_of_another_bucket_is_malformed() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        name = "projects/1/buckets/bucket/storageLayout"
        for wrong in (b"", pb.StorageLayout(name=name.replace("bucket/", "other-bucket/"))):
            data = wrong if isinstance(wrong, bytes) else wrong.SerializeToString()
            server.always = data
            with pytest.raises(Unavailable, match="malformed answer: it "):
                await store.get_bucket()
        server.always = pb.StorageLayout(name=name).SerializeToString()
        assert await store.get_bucket() == BucketInfo("bucket")

    with_store(test)


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED])
def test_a_bucket_whose_layout_is_refused_counts_as_flat(code: grpc.StatusCode) -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [code]
        assert await store.get_bucket() == BucketInfo("bucket")
        assert [method for method, _ in server.requests] == ["GetStorageLayout"]

    with_store(test)


def test_missing_credentials_for_the_layout_are_an_error() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [grpc.StatusCode.UNAUTHENTICATED]
        with pytest.raises(Unauthenticated):
            await store.get_bucket()

    with_store(test)


def test_read_permission_is_tested_on_the_bucket_and_then_on_the_folder() -> None:
    get = "storage.objects.get"
    granted = pb.TestIamPermissionsResponse(permissions=[get]).SerializeToString()
    bucket = "projects/_/buckets/bucket"

    async def test(store: GrpcObjectStore, server: Server) -> None:
        async def may_read(
            prefix: str, *answers: bytes | grpc.StatusCode
        ) -> tuple[bool, list[str]]:
            server.answers, server.requests = list(answers), []
            may = await store.may_read(prefix)
            requests = [
                pb.TestIamPermissionsRequest.FromString(data)
                for method, data in server.requests
                if method == "TestIamPermissions"
            ]
            assert all(request.permissions == [get] for request in requests)
            return may, [request.resource for request in requests]

        assert await may_read("", granted) == (True, [bucket])
        assert await may_read("", b"") == (False, [bucket])
        assert await may_read("team/", granted) == (True, [bucket])
        both = [bucket, f"{bucket}/objects/team/"]
        assert await may_read("team/", b"", granted) == (True, both)
        assert await may_read("team/", grpc.StatusCode.PERMISSION_DENIED, granted) == (True, both)
        assert await may_read("team/", b"", grpc.StatusCode.NOT_FOUND) == (False, both)
        # Some servers, such as emulators, do not offer TestIamPermissions.
        unknown = grpc.StatusCode.UNIMPLEMENTED
        folder = pb.Object(name="team/").SerializeToString()
        assert await may_read("team/", unknown, folder) == (True, [bucket])
        assert await may_read("team/", unknown, grpc.StatusCode.NOT_FOUND) == (True, [bucket])
        assert await may_read("team/", unknown, grpc.StatusCode.PERMISSION_DENIED) == (
            False,
            [bucket],
        )
        assert await may_read("", unknown, grpc.StatusCode.NOT_FOUND) == (True, [bucket])
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
def test_a_retryable_status_is_retried(code: grpc.StatusCode) -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [code] * 3 + [OBJECT]
        assert (await store.get_object("a/b")).size == 5
        assert store.requests == 4

    with_store(test)


def test_attempts_are_measured_by_method_and_counted_by_billing_class() -> None:
    billed = BilledRequests()

    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [grpc.StatusCode.UNAVAILABLE, OBJECT]
        await store.get_object("a/b")
        await store.list_objects("")
        registry = Registry()
        store.declare_metrics(registry)
        counts = {
            method: cast("Histogram", registry.value("unary_call_seconds", method=method)).count
            for method in ("GetObject", "GetStorageLayout", "ListObjects", "TestIamPermissions")
        }
        assert list(counts.values()) == [2, 0, 1, 0]
        assert registry.value("unary_requests") == 3
        assert (billed.class_a, billed.class_b, billed.free) == (1, 1, 1)

    with_store(test, billed=billed)


def test_a_requested_pause_past_the_deadline_fails_the_call_at_once() -> None:
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
def test_a_final_status_fails_the_call_at_once(
    code: grpc.StatusCode, kind: type[StorageError]
) -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.always = code
        with pytest.raises(kind) as caught:
            await store.get_object("a\n")
        assert store.requests == 1
        assert str(caught.value) == f"gs://bucket/'a\\n': a reason [{code.name}]"

    with_store(test)


def test_a_call_fails_at_its_deadline_during_an_outage() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.always = grpc.StatusCode.UNAVAILABLE
        with pytest.raises(Unavailable):
            await store.get_object("a/b")
        assert 10 < store.requests < 100

    with_store(test)


def test_a_call_that_times_out_reports_the_last_status_of_the_service() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [grpc.StatusCode.UNAVAILABLE]
        server.always = None
        with pytest.raises(Unavailable) as caught:
            await store.get_object("a/b")
        assert caught.value.code is StatusCode.UNAVAILABLE

    with_store(test)


def test_calls_leave_a_silent_connection_for_a_new_one() -> None:
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


def test_unanswered_calls_do_not_block_other_calls() -> None:
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
                    # The calls use two connections, so the order in which requests arrive may
                    # differ from the order of the calls.
                    while len(server.requests) <= MOST_STREAMS:  # noqa: ASYNC110
                        await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
            assert len(server.peers) == 2
            await channels.close_all()

    asyncio_bridge.run(main)


def test_a_lost_call_is_retried_on_the_same_connection_if_it_is_alive() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [None]
        server.always = OBJECT
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(store.get_object, "a/b")
        assert len(server.requests) == 3
        assert len(server.peers) == 1

    with_store(test)


def test_a_call_is_not_retried_while_the_retry_budget_is_exhausted() -> None:
    retries = RetryBudget()

    async def test(store: GrpcObjectStore, server: Server) -> None:
        while retries.take(trio.current_time()) < 5:
            pass
        server.answers = [grpc.StatusCode.UNAVAILABLE, OBJECT]
        with pytest.raises(Unavailable):
            await store.get_object("a/b")
        assert store.requests == 1

    with_store(test, retries=retries)


@pytest.mark.slow
def test_a_call_without_an_answer_is_retried_until_the_deadline() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [None]
        server.always = OBJECT
        assert (await store.get_object("a/b")).size == 5
        server.answers = [None] * 10
        with pytest.raises(DeadlineExceeded):
            await store.get_object("a/b")

    with_store(test)


def test_a_malformed_answer_is_retried_and_then_an_error() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [b"\xff", OBJECT]
        assert (await store.get_object("a/b")).size == 5
        server.always = b"\xff"
        with pytest.raises(Unavailable):
            await store.get_object("a/b")

    with_store(test)


def test_an_object_of_another_name_counts_as_malformed() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        # An empty answer is valid protobuf: an object without a name, of size 0.
        server.answers = [b"", OBJECT]
        assert (await store.get_object("a/b")).size == 5
        server.always = OBJECT.replace(b"a/b", b"a/c")
        with pytest.raises(Unavailable):
            await store.get_object("a/b")

    with_store(test)


def test_a_call_can_be_cancelled_after_any_delay() -> None:
    async def test(store: GrpcObjectStore, server: Server) -> None:
        server.answers = [None] * 6
        for delay in (0.0, 0.001, 0.003, 0.01, 0.03, 0.1):
            with trio.move_on_after(delay) as scope:
                await store.get_object("a/b")
            assert scope.cancelled_caught
        server.answers = []
        server.always = OBJECT
        assert (await store.get_object("a/b")).size == 5

    with_store(test)


def test_a_call_after_the_channels_are_closed_is_an_error() -> None:
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


def test_closing_the_channels_during_a_call_is_an_error() -> None:
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
                async def call() -> None:
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
            # The first attempt fails, so a call can also be cancelled during the delay before the
            # retry.
            server.answers = [grpc.StatusCode.UNAVAILABLE]
            yield functools.partial(store.get_object, "a/b")
            server.answers = []
            assert (await store.get_object("a/b")).generation == 7
            # The tasks of the server, and the tasks with which gRPC finishes a call, end a little
            # later than the call.
            for _ in range(1000):
                if await await_asyncio(count_tasks()) == before:
                    return
                await trio.sleep(0.001)
            raise AssertionError("an asyncio task did not end within 1 s")

        for instant in itertools.count():
            if not await play(stage, instant):
                break
        # The two threads run independently, so also cancel after many different delays.
        for delay in range(30):
            async with stage() as scenario:
                with trio.move_on_after(delay * 0.0005):
                    await scenario()

    with_store(test)
