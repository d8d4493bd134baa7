"""Tests of what readers receive when the server misbehaves.

Each scenario runs over the fake transport and over a real socket. This shows that the fake
transport behaves like the real one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import (
    DataCorruption,
    DeadlineExceeded,
    GenerationGone,
    PermissionDenied,
    RangeUnsatisfiable,
    StatusCode,
    StorageError,
    Unauthenticated,
    Unavailable,
)
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.bidi import GrpcBidiTransport
from gcsmux_fs.storage.channels import ChannelSettings, open_channels
from gcsmux_fs.storage.ports import StreamEnd, StreamRedirect

from .fake_transport import FakeTransport
from .plans import CONTENT, Plan, key_of
from .reading import Reader, fetch
from .scripted_server import ScriptedServer, scripted_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# A text in error records that the log may contain during these tests. gRPC has one poller for all
# loops of a process. In these tests the server runs in the client's process, so the server's loop
# may receive the completions of the client's cancelled calls and log errors.
STRAY = "PollerCompletionQueue._handle_events"
pytestmark = [pytest.mark.real_time, pytest.mark.expects_log(STRAY)]

UNAVAILABLE = StreamEnd(StatusCode.UNAVAILABLE, "away")

#: A retry policy with times that are short enough for tests with a real clock.
POLICY = RetryPolicy(
    first_backoff_seconds=0.01,
    max_backoff_seconds=0.05,
    give_up_seconds=0.5,
    open_seconds=1.0,
    stall_seconds=1.0,
)


@dataclass
class World:
    """A registry and the server behind it; the scenario sets the plans of the server."""

    registry: StreamRegistry
    server: FakeTransport | ScriptedServer

    def plan(self, *plans: Plan, then: Plan | None = None) -> None:
        self.server.plans[:] = plans
        self.server.plan = then or Plan()

    async def fetch(self, offset: int, length: int, name: str = "object") -> bytes:
        with trio.fail_after(20):
            return await fetch(self.registry, key_of(name), offset, length)

    async def fetch_all(self, *ranges: tuple[int, int]) -> list[bytes | StorageError]:
        """Request all ranges at once and return their outcomes."""
        readers = [Reader(self.registry, key_of("object"), *bounds) for bounds in ranges]
        with trio.fail_after(20):
            for reader in readers:
                await reader.ended.wait()
        outcomes = [reader.outcomes for reader in readers]
        assert [len(outcome) for outcome in outcomes] == [1] * len(readers)
        return [
            outcome if isinstance(outcome, StorageError) else bytes(outcome)
            for (outcome,) in outcomes
        ]

    @property
    def specs(self) -> list[tuple[bytes, str]]:
        """Read handle and routing token of each stream, as the server received them."""
        if isinstance(self.server, FakeTransport):
            return [(o.spec.handle, o.spec.routing_token) for o in self.server.opened]
        return [
            (r.read_object_spec.read_handle.handle, r.read_object_spec.routing_token)
            for r in self.server.requests
            if r.HasField("read_object_spec")
        ]

    @property
    def batches(self) -> list[int]:
        """Number of ranges in each message that the server received."""
        if isinstance(self.server, FakeTransport):
            return [len(ranges) for o in self.server.opened for _, ranges in o.messages]
        return [len(r.read_ranges) for r in self.server.requests]


@asynccontextmanager
async def fake_world() -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        transport = FakeTransport(nursery)
        async with running_registry(transport) as registry:
            yield World(registry, transport)
        await trio.testing.wait_all_tasks_blocked()
        assert transport.open_calls == 0


@asynccontextmanager
async def real_world() -> AsyncIterator[World]:
    with scripted_server() as server:
        settings = ChannelSettings(server.endpoint, plaintext=True, anonymous=True)
        channels = await open_channels(settings)
        transport = GrpcBidiTransport(channels.connections(1), settings)
        async with running_registry(transport) as registry:
            yield World(registry, server)
        with trio.fail_after(5):
            await transport.drain()
        assert transport.open_calls == 0
        await channels.close_all()


@asynccontextmanager
async def running_registry(
    transport: FakeTransport | GrpcBidiTransport,
) -> AsyncIterator[StreamRegistry]:
    call_soon = trio.lowlevel.current_trio_token().run_sync_soon
    registry = StreamRegistry(transport, POLICY, Random(0), call_soon=call_soon)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.run)
        yield registry
        nursery.cancel_scope.cancel()
    assert (registry.streams_open, registry.ranges_waiting) == (0, 0)


Scenario = Callable[[World], Awaitable[None]]


def in_fake(scenario: Scenario) -> None:
    async def main() -> None:
        async with fake_world() as world:
            await scenario(world)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def in_real(scenario: Scenario) -> None:
    async def main() -> None:
        async with real_world() as world:
            await scenario(world)

    asyncio_bridge.run(main)


@pytest.fixture(params=[in_fake, in_real])
def live(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Return a function that runs a scenario over the fake transport, or over a real socket."""
    run: Callable[[Scenario], None] = request.param
    return run


Live = Callable[[Scenario], None]


def test_requested_ranges_are_delivered(live: Live) -> None:
    async def scenario(world: World) -> None:
        ranges = [(0, 10), (100, 70_000), (0, len(CONTENT)), (len(CONTENT) - 1, 1)]
        assert await world.fetch_all(*ranges) == [CONTENT[o : o + n] for o, n in ranges]
        assert world.batches == [4]

    live(scenario)


def test_hundreds_of_ranges_share_few_messages(live: Live) -> None:
    async def scenario(world: World) -> None:
        ranges = [(offset, 10) for offset in range(350)]
        assert await world.fetch_all(*ranges) == [CONTENT[o : o + n] for o, n in ranges]
        assert world.batches == [100, 100, 100, 50]
        assert len(world.specs) == 1

    live(scenario)


def test_one_stream_serves_later_reads(live: Live) -> None:
    async def scenario(world: World) -> None:
        for offset in range(20):
            assert await world.fetch(offset, 100) == CONTENT[offset : offset + 100]
        assert world.specs == [(b"", "")]

    live(scenario)


def test_readers_do_not_notice_streams_that_are_cut_repeatedly(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(then=Plan(cut_after=20_000, chunk_bytes=10_000))
        ranges = [(offset, 50_000) for offset in range(0, 200_000, 50_000)]
        assert await world.fetch_all(*ranges) == [CONTENT[o : o + n] for o, n in ranges]
        assert len(world.specs) >= 9
        # The second stream may lack the handle, because gRPC drops received messages when an error
        # follows at once.
        assert (b"handle", "") in world.specs

    live(scenario)


@pytest.mark.parametrize(
    "code", [StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.ABORTED, StatusCode.OK]
)
def test_readers_do_not_notice_failures_to_open_a_stream(live: Live, code: StatusCode) -> None:
    async def scenario(world: World) -> None:
        world.plan(*[Plan(refuse=StreamEnd(code, "no"))] * 4)
        assert await world.fetch(5, 100) == CONTENT[5:105]
        assert len(world.specs) == 5

    live(scenario)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.NOT_FOUND, GenerationGone),
        (StatusCode.PERMISSION_DENIED, PermissionDenied),
        (StatusCode.UNKNOWN, StorageError),
    ],
)
def test_final_failures_are_reported_without_delay(
    live: Live, code: StatusCode, kind: type[StorageError]
) -> None:
    async def scenario(world: World) -> None:
        world.plan(Plan(refuse=StreamEnd(code, "a reason")))
        with pytest.raises(kind, match="a reason"):
            await world.fetch(0, 10)
        assert len(world.specs) == 1
        assert await world.fetch(0, 10) == CONTENT[:10]

    live(scenario)


def test_a_long_outage_fails_the_range(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(then=Plan(refuse=UNAVAILABLE))
        with pytest.raises(Unavailable, match="away"):
            await world.fetch(0, 10)

    live(scenario)


def test_a_redirect_is_followed_with_token_and_handle(live: Live) -> None:
    async def scenario(world: World) -> None:
        redirected = StreamEnd(
            StatusCode.ABORTED, "moved", redirect=StreamRedirect("to/the=east", b"h2")
        )
        world.plan(Plan(refuse=redirected))
        assert await world.fetch(0, 10) == CONTENT[:10]
        assert world.specs == [(b"", ""), (b"h2", "to/the=east")]

    live(scenario)


def test_a_refused_handle_is_dropped(live: Live) -> None:
    async def scenario(world: World) -> None:
        cut = Plan(cut_after=10, chunk_bytes=10)
        world.plan(cut, Plan(refuse=StreamEnd(StatusCode.FAILED_PRECONDITION, "handle")))
        # After this complete read the handle has arrived for certain. Without the read, the handle
        # may be missing, because gRPC may drop received messages when an error follows at once.
        assert await world.fetch(0, 10) == CONTENT[:10]
        assert await world.fetch(10, 90) == CONTENT[10:100]
        assert world.specs == [(b"", ""), (b"handle", ""), (b"", "")]

    live(scenario)


def test_a_failed_range_does_not_fail_others(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(then=Plan(refused_ranges={70: StatusCode.DATA_LOSS}))
        first, second, third, beyond = await world.fetch_all(
            (0, 50), (70, 10), (100, 50), (10**9, 10)
        )
        assert (first, third) == (CONTENT[:50], CONTENT[100:150])
        assert isinstance(second, DataCorruption)
        assert isinstance(beyond, RangeUnsatisfiable)

    live(scenario)


def test_corrupt_chunks_never_reach_a_reader(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(Plan(corrupt_chunks=2, chunk_bytes=1000))
        assert await world.fetch(0, 5000) == CONTENT[:5000]
        assert world.registry.counters.checksum_failures == 1
        assert world.batches == [1, 1]

    live(scenario)


def test_endless_corruption_fails_the_range(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(then=Plan(corrupt_chunks=10**6))
        with pytest.raises(DataCorruption):
            await world.fetch(0, 5000)
        assert await world.fetch_all((0, 1)) != [CONTENT[:1]]

    live(scenario)


def test_another_generation_is_never_served(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(Plan(generation=8))
        with pytest.raises(GenerationGone):
            await world.fetch(0, 10)

    live(scenario)


def test_metadata_may_be_missing(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(Plan(generation=0))
        assert await world.fetch(0, 10) == CONTENT[:10]

    live(scenario)


def test_without_a_token_unauthenticated_is_final(live: Live) -> None:
    async def scenario(world: World) -> None:
        refused = StreamEnd(StatusCode.UNAUTHENTICATED, "who?")
        world.plan(Plan(cut_after=10, chunk_bytes=10, cut_with=refused))
        with pytest.raises(Unauthenticated):
            await world.fetch(0, 100)
        assert len(world.specs) == 1

    live(scenario)


def test_an_open_that_hangs_is_replaced(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(Plan(hang=True))
        assert await world.fetch(0, 10) == CONTENT[:10]
        assert len(world.specs) == 2

    live(scenario)


@pytest.mark.slow
def test_a_server_that_never_answers_is_an_error(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(then=Plan(hang=True))
        with pytest.raises(DeadlineExceeded):
            await world.fetch(0, 10)

    live(scenario)


def test_a_stream_that_stalls_is_replaced(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(Plan(cut_after=1000, chunk_bytes=1000, cut_with=None))
        assert await world.fetch(0, 5000) == CONTENT[:5000]
        assert len(world.specs) == 2

    live(scenario)


def test_readers_who_leave_leave_nothing(live: Live) -> None:
    async def scenario(world: World) -> None:
        world.plan(then=Plan(latency=0.02, chunk_bytes=1000))
        for seconds in (0.0, 0.001, 0.01, 0.02, 0.025, 0.03, 0.05):
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    for number in range(30):
                        nursery.start_soon(world.fetch, number, 20_000, f"object {number % 3}")
        registry = world.registry
        assert registry.ranges_waiting == 0
        assert registry.streams_open == registry.streams_idle
        assert await world.fetch(0, 10, "object 0") == CONTENT[:10]

    live(scenario)
