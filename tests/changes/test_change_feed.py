"""Tests of the feed in virtual time, with a fake subscription."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.changes import change_feed
from gcsmux_fs.changes.change_feed import ChangeFeed
from gcsmux_fs.changes.pull_actions import PullPolicy
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.errors import PermissionDenied, StatusCode
from gcsmux_fs.storage.ports import StreamEnd

from .fake_pull import FakePull
from .messages import BUCKET, attributes_of, message_about

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gcsmux_fs.changes.change_event import Change

POLICY = PullPolicy()
WALL = 1_000_000.0
SUBSCRIPTION = "projects/p/subscriptions/s"
UNAVAILABLE = StreamEnd(StatusCode.UNAVAILABLE, "moved on")
NOT_FOUND = StreamEnd(StatusCode.NOT_FOUND, "no such subscription")


@dataclass
class Watcher:
    """Records what the feed reports."""

    events: list[tuple[object, ...]] = field(default_factory=list)

    def on_open(self, now: float) -> None:
        self.events.append(("open",))

    def on_messages(self, oldest: float, now: float, wall: float) -> None:
        self.events.append(("messages", oldest, wall))

    def on_quiet(self, now: float) -> None:
        self.events.append(("quiet",))

    def on_interrupted(self, now: float, why: str) -> None:
        self.events.append(("interrupted", why))

    def on_lost(self, now: float, why: str) -> None:
        self.events.append(("lost", why))

    def on_gap(self, now: float) -> None:
        self.events.append(("gap",))

    def take(self) -> list[tuple[object, ...]]:
        events, self.events = self.events, []
        return events


class Fixture:
    def __init__(self, transport: FakePull, *, is_cold: bool) -> None:
        self.transport = transport
        self.watcher = Watcher()
        self.slices: list[list[str]] = []
        self.error: Exception | None = None
        self.feed = ChangeFeed(
            transport,
            SUBSCRIPTION,
            BUCKET,
            apply=self.apply,
            watcher=self.watcher,
            random=Random(0),
            is_cold=is_cold,
            wall=lambda: WALL,
        )

    @property
    def applied(self) -> list[str]:
        return [name for names in self.slices for name in names]

    def apply(self, changes: Sequence[Change]) -> Sequence[Change]:
        self.slices.append([change.name for change in changes])
        if self.error is not None:
            raise self.error
        return changes


@asynccontextmanager
async def running(*, is_cold: bool = False, **transport: object) -> AsyncIterator[Fixture]:
    async with trio.open_nursery() as nursery:
        fake = FakePull(nursery, **transport)  # type: ignore[arg-type]
        fixture = Fixture(fake, is_cold=is_cold)
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await fixture.feed.run()

        nursery.start_soon(run)
        await trio.sleep(0.1)
        yield fixture
        scope.cancel()
        await trio.sleep(0.1)
        assert fake.open_calls == []
        nursery.cancel_scope.cancel()


async def test_changes_are_applied_and_acknowledged() -> None:
    async with running() as fixture:
        assert fixture.watcher.take() == [("open",)]
        fixture.transport.deliver(
            message_about("b", publish_time=7.0),
            message_about("a", publish_time=5.0),
            message_about("c", publish_time=6.0),
        )
        await trio.sleep(0.01)
        assert fixture.slices == [["b", "a", "c"]]
        assert fixture.watcher.take() == [("messages", 5.0, WALL)]
        await trio.sleep(POLICY.ack_delay)
        assert fixture.transport.acked == ["ack of b", "ack of a", "ack of c"]


async def test_many_changes_are_applied_in_slices_between_which_other_tasks_run() -> None:
    async with running() as fixture:
        turns = 0

        async def other_task() -> None:
            nonlocal turns
            while len(fixture.applied) < 1000:
                turns += 1
                await trio.lowlevel.checkpoint()

        names = [f"{number:03}" for number in range(1000)]
        fixture.transport.deliver(*(message_about(name) for name in names))
        await other_task()
        assert fixture.applied == names
        assert max(map(len, fixture.slices)) <= 128
        assert turns >= 1000 // 128


@pytest.mark.parametrize(
    ("size", "seconds", "following"),
    [
        (1, 0.0, 128),
        (10, 0.001, 10),
        (10, 0.002, 5),
        (10, 1.0, 1),
        (100, 0.0005, 128),
        (1, 0.00025, 4),
    ],
)
def test_slices_take_the_same_time(size: int, seconds: float, following: int) -> None:
    assert change_feed._next_size(size, seconds) == following


async def test_a_quiet_subscription_is_reported() -> None:
    async with running() as fixture:
        await trio.sleep(POLICY.settle + 0.1)
        assert fixture.watcher.take() == [("open",), ("quiet",)]
        await trio.sleep(POLICY.ping + 0.1)
        assert fixture.watcher.take() == [("quiet",)]


async def test_the_settings_of_the_call() -> None:
    async with running() as fixture:
        fixture.transport.calls[0].end(UNAVAILABLE)
        first, second = (call.spec for call in fixture.transport.calls)
        assert first == second
        assert len(first.client_id) == 32
        assert (first.max_messages, first.max_bytes) == (POLICY.max_messages, POLICY.max_bytes)
        assert first.ack_deadline_seconds == POLICY.ack_deadline


async def test_a_lost_stream_is_opened_again() -> None:
    async with running() as fixture:
        fixture.watcher.take()
        await trio.sleep(POLICY.steady)
        fixture.watcher.take()
        fixture.transport.open_calls[0].end(UNAVAILABLE)
        await trio.sleep(0.1)
        assert fixture.watcher.take() == [("interrupted", "moved on [UNAVAILABLE]"), ("open",)]
        fixture.transport.deliver(message_about("a"))
        await trio.sleep(0.1)
        assert fixture.applied == ["a"]


async def test_a_silent_stream_is_replaced() -> None:
    async with running() as fixture:
        fixture.transport.silent = True
        await trio.sleep(POLICY.settle + POLICY.answer + 0.1)
        assert len(fixture.transport.calls) == 2
        assert not fixture.transport.calls[0].is_open
        why = "no answer for 15 s [DEADLINE_EXCEEDED]"
        assert fixture.watcher.take() == [("open",), ("interrupted", why)]


async def test_a_refused_stream_is_tried_again_every_minute() -> None:
    async with running(end_with=NOT_FOUND) as fixture:
        ((kind, why),) = fixture.watcher.take()
        assert kind == "lost"
        assert str(why).startswith(f"{SUBSCRIPTION}: the subscription does not exist, `gcsmux")
        await trio.sleep(10 * POLICY.refused)
        assert 9 <= len(fixture.transport.calls) <= 12
        fixture.transport.end_with = None
        fixture.watcher.take()
        await trio.sleep(1.2 * POLICY.refused)
        assert fixture.watcher.take()[:2] == [("gap",), ("open",)]


async def test_what_the_transport_raises_counts_as_a_lost_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as fixture:
        fixture.transport.raise_on_open = RuntimeError("broken")
        fixture.transport.open_calls[0].end(UNAVAILABLE)
        await trio.sleep(1.0)
        assert "the transport failed" in caplog.text
        caplog.clear()
        fixture.transport.raise_on_open = None
        await trio.sleep(POLICY.max_backoff)
        assert len(fixture.transport.open_calls) == 1
        assert fixture.watcher.take()[-1] in [("open",), ("quiet",)]


async def test_what_apply_raises_is_a_gap(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as fixture:
        fixture.watcher.take()
        fixture.error = RuntimeError("broken")
        fixture.transport.deliver(message_about("a", publish_time=5.0))
        await trio.sleep(0.1)
        assert "changes could not be applied" in caplog.text
        caplog.clear()
        assert fixture.watcher.take() == [("gap",), ("messages", math.inf, WALL)]
        assert fixture.feed.counters.changes_gaps == 1
        fixture.error = None
        fixture.transport.deliver(message_about("b"))
        await trio.sleep(0.1)
        assert fixture.applied == ["a", "b"]


async def test_foreign_messages_are_acknowledged_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as fixture:
        foreign = message_about("x", attributes=attributes_of() | {"bucketId": "another"})
        fixture.transport.deliver(foreign, message_about("a"), foreign)
        await trio.sleep(0.1)
        assert fixture.applied == ["a"]
        assert fixture.feed.counters.changes_foreign == 2
        assert len(fixture.transport.acked) == 3
        (record,) = caplog.get_records("call")
        assert "ignoring messages that are not about a change of gs://bucket" in (
            record.getMessage()
        )
        caplog.clear()


async def test_a_change_that_is_published_late_counts_as_late() -> None:
    async with running() as fixture:
        fixture.watcher.take()
        happened = datetime.fromtimestamp(WALL - 60.0, UTC).isoformat()
        fixture.transport.deliver(
            message_about(
                attributes=attributes_of(eventTime=happened), publish_time=WALL - 1.0, data=b""
            )
        )
        await trio.sleep(0.1)
        assert fixture.watcher.take() == [("messages", WALL - 60.0, WALL)]


async def test_a_cold_feed_skips_the_messages_from_before_its_start() -> None:
    async with running(is_cold=True) as fixture:
        assert fixture.transport.seeks == [WALL - 600.0]
        fixture.transport.deliver(
            message_about("old", publish_time=WALL - 601.0),
            message_about("new", publish_time=WALL - 599.0),
        )
        await trio.sleep(0.1)
        assert fixture.applied == ["new"]
        assert fixture.transport.acked == ["ack of old", "ack of new"]


async def test_a_cold_feed_does_not_wait_for_the_seek() -> None:
    async with running(is_cold=True, seek_error=PermissionDenied("no")) as fixture:
        assert fixture.watcher.take() == [("open",)]
        fixture.transport.deliver(message_about("old", publish_time=1.0))
        await trio.sleep(0.1)
        assert fixture.applied == []
        assert fixture.transport.acked == ["ack of old"]


async def test_a_warm_feed_applies_the_backlog() -> None:
    async with running() as fixture:
        assert fixture.transport.seeks == []
        fixture.transport.deliver(message_about("old", publish_time=1.0))
        await trio.sleep(0.1)
        assert fixture.applied == ["old"]


async def test_a_suspended_machine_opens_the_stream_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as fixture:
        monkeypatch.setattr(change_feed, "_suspended_time", lambda: 1e6)
        await trio.sleep(POLICY.ping)
        assert len(fixture.transport.calls) == 2
        assert ("gap",) in fixture.watcher.take()
        await trio.sleep(100.0)
        assert len(fixture.transport.calls) == 2


async def test_the_metrics_of_a_feed() -> None:
    async with running() as fixture:
        registry = Registry()
        fixture.feed.declare_metrics(registry)
        fixture.transport.deliver(message_about("a"), message_about("b"))
        assert registry.value("changes_queued") == 2
        await trio.sleep(0.1)
        assert registry.value("changes_queued") == 0
        assert registry.value("changes_handed") == 2
        assert registry.value("changes_streams_opened") == 1
        assert repr(fixture.feed).startswith(f"<ChangeFeed {SUBSCRIPTION}: <PullCore OPEN")
