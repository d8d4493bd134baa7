"""Helpers for tests that read ranges from a stream registry over the fake transport."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.model.values import FinalContent
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry

from .fake_transport import FakeTransport
from .plans import CONTENT, Plan, key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.model.values import ObjectKey

__all__ = ["Bench", "Reader", "bench", "fetch"]


class Reader:
    """Requests one range and records its outcomes. A correct registry gives at most one outcome."""

    def __init__(
        self,
        registry: StreamRegistry,
        key: ObjectKey,
        offset: int,
        length: int,
        *,
        final: FinalContent | None = None,
    ) -> None:
        self.expected = CONTENT[offset : offset + length]
        self.outcomes: list[memoryview | StorageError] = []
        self.ended_at: float | None = None
        self.ended = trio.Event()
        self._requesting = True
        self.ticket = registry.request(key, offset, length, self._done, final=final)
        self._requesting = False

    def _done(self, outcome: memoryview | StorageError) -> None:
        assert not self._requesting
        self.outcomes.append(outcome)
        self.ended_at = trio.current_time()
        self.ended.set()

    def cancel(self) -> None:
        self.ticket.cancel()

    @property
    def served(self) -> bool:
        return [bytes(outcome) for outcome in self.outcomes if isinstance(outcome, memoryview)] == [
            self.expected
        ]

    @property
    def error(self) -> StorageError:
        (outcome,) = self.outcomes
        assert isinstance(outcome, StorageError)
        return outcome


async def fetch(registry: StreamRegistry, key: ObjectKey, offset: int, length: int) -> bytes:
    """Read one range: return its bytes or raise its error. At the end, cancel the range."""
    reader = Reader(registry, key, offset, length)
    try:
        await reader.ended.wait()
    finally:
        reader.cancel()
    (outcome,) = reader.outcomes
    if isinstance(outcome, StorageError):
        raise outcome
    return bytes(outcome)


class Bench:
    """A running registry over a fake transport."""

    def __init__(
        self, registry: StreamRegistry, transport: FakeTransport, nursery: trio.Nursery
    ) -> None:
        self.registry = registry
        self.transport = transport
        self.nursery = nursery
        self.running = trio.CancelScope()

    def read(self, offset: int, length: int, name: str = "object") -> Reader:
        return Reader(self.registry, key_of(name), offset, length)

    def read_whole(self, name: str = "object") -> Reader:
        size = len(CONTENT)
        return Reader(self.registry, key_of(name), 0, size, final=FinalContent(size))

    async def run_registry(self) -> None:
        with self.running:
            await self.registry.run()

    async def settled(self) -> None:
        """Wait until every task is blocked."""
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def bench(
    *plans: Plan,
    plan: Plan | None = None,
    policy: RetryPolicy | None = None,
    max_idle_streams: int = 256,
    max_remembered: int = 4096,
) -> AsyncIterator[Bench]:
    """Run a registry; at the end of the test, stop it and assert that it left nothing open."""
    async with trio.open_nursery() as nursery:
        transport = FakeTransport(nursery, plan or Plan(), list(plans))
        registry = StreamRegistry(
            transport,
            policy or RetryPolicy(),
            Random(0),
            call_soon=trio.lowlevel.current_trio_token().run_sync_soon,
            max_idle_streams=max_idle_streams,
            max_remembered=max_remembered,
        )
        started = Bench(registry, transport, nursery)
        nursery.start_soon(started.run_registry)
        await started.settled()
        yield started
        started.running.cancel()
        await started.settled()
        assert (registry.streams_open, registry.streams_idle) == (0, 0)
        assert registry.ranges_waiting == 0
        assert transport.open_calls == 0
