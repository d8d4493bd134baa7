"""Readers over a pool, and what must hold when they have gone."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry

from .fake_transport import FakeTransport
from .plans import CONTENT, Plan, key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.model.values import ObjectKey

__all__ = ["Bench", "Reader", "bench", "fetch"]


class Reader:
    """Asks for one range and keeps every outcome, of which there may be one at most."""

    def __init__(
        self, pool: StreamRegistry, key: ObjectKey, offset: int, length: int, *, whole: bool = False
    ) -> None:
        self.wanted = CONTENT[offset : offset + length]
        self.outcomes: list[memoryview | StorageError] = []
        self.ended_at: float | None = None
        self.ended = trio.Event()
        self._asking = True
        self.ticket = pool.request(key, offset, length, self._done, whole=whole)
        self._asking = False

    def _done(self, outcome: memoryview | StorageError) -> None:
        assert not self._asking
        self.outcomes.append(outcome)
        self.ended_at = trio.current_time()
        self.ended.set()

    def cancel(self) -> None:
        self.ticket.cancel()

    @property
    def served(self) -> bool:
        return [bytes(outcome) for outcome in self.outcomes if isinstance(outcome, memoryview)] == [
            self.wanted
        ]

    @property
    def error(self) -> StorageError:
        (outcome,) = self.outcomes
        assert isinstance(outcome, StorageError)
        return outcome


async def fetch(pool: StreamRegistry, key: ObjectKey, offset: int, length: int) -> bytes:
    """Read one range as a program would: wait, take the bytes or raise, leave when cancelled."""
    reader = Reader(pool, key, offset, length)
    try:
        await reader.ended.wait()
    finally:
        reader.cancel()
    (outcome,) = reader.outcomes
    if isinstance(outcome, StorageError):
        raise outcome
    return bytes(outcome)


class Bench:
    """A pool over a fake transport, with its task."""

    def __init__(
        self, pool: StreamRegistry, transport: FakeTransport, nursery: trio.Nursery
    ) -> None:
        self.pool = pool
        self.transport = transport
        self.nursery = nursery
        self.running = trio.CancelScope()

    def read(self, offset: int, length: int, name: str = "object") -> Reader:
        return Reader(self.pool, key_of(name), offset, length)

    def read_whole(self, name: str = "object") -> Reader:
        return Reader(self.pool, key_of(name), 0, len(CONTENT), whole=True)

    async def run_pool(self) -> None:
        with self.running:
            await self.pool.run()

    async def settled(self) -> None:
        """Let everything happen that happens at this instant."""
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def bench(
    *plans: Plan,
    plan: Plan | None = None,
    policy: RetryPolicy | None = None,
    max_idle_streams: int = 256,
    max_remembered: int = 4096,
) -> AsyncIterator[Bench]:
    """Run a pool; when the test is over, end it and look for what it left behind."""
    async with trio.open_nursery() as nursery:
        transport = FakeTransport(nursery, plan or Plan(), list(plans))
        pool = StreamRegistry(
            transport,
            policy or RetryPolicy(),
            Random(0),
            call_soon=trio.lowlevel.current_trio_token().run_sync_soon,
            max_idle_streams=max_idle_streams,
            max_remembered=max_remembered,
        )
        made = Bench(pool, transport, nursery)
        nursery.start_soon(made.run_pool)
        await made.settled()
        yield made
        made.running.cancel()
        await made.settled()
        left = pool.statistics()
        assert (left.streams_open, left.streams_idle, left.ranges_waiting) == (0, 0, 0)
        assert transport.open_calls == 0
