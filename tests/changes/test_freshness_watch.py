"""Tests, in virtual time, what the freshness of names makes the mount do."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.changes.freshness import GRACE_SECONDS, SETTLING_SECONDS, START_SECONDS, Freshness
from gcsmux_fs.changes.freshness_watch import FreshnessWatch
from gcsmux_fs.changes.unannounced_changes import PATIENCE_SECONDS
from gcsmux_fs.metrics.registry import Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


TTL = 60.0


class Kernel:
    """Counts how often the kernel drops its names."""

    def __init__(self) -> None:
        self.drops = 0

    def drop(self) -> None:
        self.drops += 1


@asynccontextmanager
async def watching(kernel: Kernel, *, is_complete: bool = True) -> AsyncIterator[FreshnessWatch]:
    freshness = Freshness(trio.current_time(), is_complete=is_complete)
    watch = FreshnessWatch(freshness, kernel.drop, TTL)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(watch.run)
        yield watch
        tasks.cancel_scope.cancel()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    texts = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return texts


async def test_each_change_of_the_state_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    kernel = Kernel()
    async with watching(kernel) as watch:
        watch.on_open(trio.current_time())
        await trio.sleep(SETTLING_SECONDS + 1)
        opening, healthy = lines(caplog)
        assert "catching up" in opening
        assert healthy == "feed of changes: healthy: names are valid until they change"
        # A short interruption is no line.
        watch.on_interrupted(trio.current_time(), "UNAVAILABLE")
        await trio.sleep(GRACE_SECONDS - 1)
        watch.on_open(trio.current_time())
        await trio.sleep(100)
        assert lines(caplog) == []
        assert kernel.drops == 0
        for _ in range(100):
            watch.on_interrupted(trio.current_time(), "UNAVAILABLE")
            await trio.sleep(1)
        (line,) = lines(caplog)
        assert "interrupted (UNAVAILABLE)" in line
        assert "--metadata-ttl" in line
        assert kernel.drops == 1


async def test_a_gap_makes_the_kernel_ask_again(caplog: pytest.LogCaptureFixture) -> None:
    kernel = Kernel()
    async with watching(kernel) as watch:
        watch.on_open(trio.current_time())
        watch.on_quiet(trio.current_time())
        watch.on_gap(trio.current_time())
        assert kernel.drops == 1
        (line,) = lines(caplog)
        assert "missed" in line


async def test_a_change_that_is_not_announced_ends_the_promise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kernel = Kernel()
    async with watching(kernel) as watch:
        watch.on_open(trio.current_time())
        watch.on_quiet(trio.current_time())
        # What was asked before the feed was open may have changed unannounced.
        watch.note_found("early")
        await trio.sleep(TTL)
        for name in ("late", "announced", "never"):
            watch.note_found(name)
        watch.note_announced(["announced"])
        await trio.sleep(PATIENCE_SECONDS - 1)
        watch.note_announced(["late"])
        assert lines(caplog) == []
        asked_at = trio.current_time()
        await trio.sleep(2)
        gap, lost = lines(caplog)
        assert "missed" in gap
        assert "lost (a change of 'never' was not announced" in lost
        assert kernel.drops > 0
        assert watch.freshness.valid_until(asked_at, TTL) == asked_at
        # After this, no change has to be announced.
        watch.note_found("another")
        await trio.sleep(2 * PATIENCE_SECONDS)
        assert lines(caplog) == []


async def test_a_feed_that_never_opens_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async with watching(Kernel()):
        await trio.sleep(START_SECONDS + 1)
    (line,) = lines(caplog)
    assert "interrupted" in line


async def test_the_log_says_that_names_of_a_bucket_with_folders_keep_their_ttl(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    async with watching(Kernel(), is_complete=False) as watch:
        watch.on_open(trio.current_time())
        watch.on_quiet(trio.current_time())
    assert "--metadata-ttl, because" in lines(caplog)[-1]


async def test_the_state_is_a_metric() -> None:
    async with watching(Kernel()) as watch:
        registry = Registry()
        watch.declare_metrics(registry)
        watch.on_open(trio.current_time())
        watch.on_quiet(trio.current_time())
        assert registry.snapshot()["changes_state"] == {
            "starting": 0,
            "catching_up": 0,
            "healthy": 1,
            "interrupted": 0,
            "lost": 0,
        }
        assert watch.freshness.deadline == math.inf


async def test_names_have_their_ttl_while_another_mount_has_the_subscription(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    kernel = Kernel()
    async with watching(kernel) as watch:
        freshness = watch.freshness
        watch.on_open(trio.current_time())
        await trio.sleep(100)
        asked_at = trio.current_time() - 1
        lines(caplog)
        watch.on_shared("projects/p/subscriptions/s", is_shared=True)
        _, line = lines(caplog)
        assert "another mount of this machine uses projects/p/subscriptions/s" in line
        assert kernel.drops
        # Changes may have been missed before this was known.
        assert freshness.valid_until(asked_at, TTL) == asked_at
        for _ in range(3):
            watch.on_interrupted(trio.current_time(), "UNAVAILABLE")
            watch.on_open(trio.current_time())
            watch.on_quiet(trio.current_time())
            await trio.sleep(100)
            now = trio.current_time()
            assert freshness.valid_until(now, TTL) == now + TTL
        assert lines(caplog) == []
        before = trio.current_time() - 1
        watch.on_shared("projects/p/subscriptions/s", is_shared=False)
        await trio.sleep(SETTLING_SECONDS + 1)
        assert freshness.valid_until(before, TTL) == before
        assert freshness.valid_until(trio.current_time(), TTL) == math.inf
        lines(caplog)


async def test_a_feed_that_is_not_open_stays_so_without_the_other_mount(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watching(Kernel()) as watch:
        watch.on_shared("projects/p/subscriptions/s", is_shared=True)
        await trio.sleep(100)
        watch.on_shared("projects/p/subscriptions/s", is_shared=False)
        await trio.sleep(100)
        assert watch.freshness.state.value == "interrupted"
        watch.on_open(trio.current_time())
        await trio.sleep(SETTLING_SECONDS + 1)
        assert watch.freshness.state.value == "healthy"
        lines(caplog)
