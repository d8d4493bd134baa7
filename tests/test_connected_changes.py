"""Tests that a mount works, and tries again, while there is no feed of changes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import trio
import trio.testing

from gcsmux_fs import connected_changes
from gcsmux_fs.connected_changes import ConnectedChanges
from gcsmux_fs.fuse.name_pruning import NamePruner
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.errors import CredentialsError
from gcsmux_fs.settings.settings import Settings
from gcsmux_fs.settings.subscription_name import SubscriptionName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


class OpenFeed:
    """A fake of `ChangeFeed`, which is open at once and gets no changes."""

    def __init__(self, *_: object, watcher: Any, **__: object) -> None:
        self._watcher = watcher

    def declare_metrics(self, registry: Registry) -> None:
        pass

    async def run(self) -> NoReturn:
        self._watcher.on_open(trio.current_time())
        await trio.sleep_forever()
        raise AssertionError


async def test_a_mount_without_credentials_for_the_feed_tries_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = 3

    @asynccontextmanager
    async def open_transport(*_: object) -> AsyncIterator[None]:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise CredentialsError("there are no credentials")
        yield

    monkeypatch.setattr(connected_changes, "open_pull_transport", open_transport)
    monkeypatch.setattr(connected_changes, "ChangeFeed", OpenFeed)
    settings = Settings(
        bucket="bucket",
        mountpoint=Path("/mnt"),
        anonymous=True,
        changes=SubscriptionName("project", "subscription"),
    )
    changes = ConnectedChanges.of(settings, NamePruner(), hierarchical=False)
    assert changes is not None
    tree: Any = SimpleNamespace(changes=SimpleNamespace(root=""), invalidate=None)
    context: Any = SimpleNamespace(forget_generation=None)
    changes.connect(tree, context)
    changes.declare_metrics(Registry())
    async with trio.open_nursery() as tasks:
        tasks.start_soon(changes.run)
        await trio.testing.wait_all_tasks_blocked()
        assert changes.freshness.state.value == "lost"
        assert caplog.text.count("there are no credentials") == 1
        assert changes.freshness.valid_until(5.0, 60.0) == 65.0
        await trio.sleep(1000)
        assert changes.freshness.state.value != "lost"
        assert failures == -1
        tasks.cancel_scope.cancel()
    caplog.clear()
