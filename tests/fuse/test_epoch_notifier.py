"""Tests, in virtual time, when the kernel is notified of changes, and how long it caches names."""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.fuse.epoch_notifier import (
    BATCH_SECONDS,
    LONG_NAME_SECONDS,
    SHORT_NAME_SECONDS,
    EpochNotifier,
)
from gcsmux_fs.fuse.name_pruning import EPOCH_MESSAGE, NamePruner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

settle = trio.testing.wait_all_tasks_blocked


class Kernel:
    """A fake of the kernel and of the mount tables; records when it was notified."""

    def __init__(self, error: int = 0) -> None:
        self.error = error
        self.notified: list[float] = []
        self.searches = 0
        self.is_mounted_on = False
        self.name_seconds = 0.0
        self.dropped = 0
        self.names = NamePruner(self._write)
        self.names.attach(7)
        self.names.drop_all()  # As at the start of a mount.
        self.notified.clear()

    def _write(self, _: int, message: bytes) -> int:
        assert message == EPOCH_MESSAGE
        if self.error:
            raise OSError(self.error, "refused")
        self.notified.append(trio.current_time())
        return len(message)

    def search(self) -> bool:
        self.searches += 1
        return self.is_mounted_on

    def limit_names(self, seconds: float) -> None:
        self.name_seconds = seconds

    def drop(self) -> None:
        self.dropped += 1


@asynccontextmanager
async def notifying(kernel: Kernel) -> AsyncIterator[EpochNotifier]:
    notifier = EpochNotifier(kernel.names, on_dropped=kernel.drop, mount_table="/does-not-exist")
    notifier.attach(kernel.limit_names)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(notifier.run)
        await settle()
        assert kernel.name_seconds == SHORT_NAME_SECONDS
        notifier.start(kernel.search)
        await trio.sleep(2 * SHORT_NAME_SECONDS)
        yield notifier
        tasks.cancel_scope.cancel()


async def test_the_first_change_is_notified_at_once_and_the_next_ones_together() -> None:
    kernel = Kernel()
    async with notifying(kernel) as notifier:
        began = trio.current_time()
        for _ in range(3):
            notifier.note()
        await settle()
        assert kernel.notified == [began]
        assert kernel.dropped == 1
        for _ in range(3):
            notifier.note()
        await trio.sleep(1)
        assert kernel.notified == [began, began + BATCH_SECONDS]


async def test_a_mount_without_changes_is_not_searched() -> None:
    kernel = Kernel()
    async with notifying(kernel):
        searches = kernel.searches
        await trio.sleep(80_000)
        assert kernel.searches == searches
        assert kernel.notified == []


async def test_names_are_cached_for_long_while_they_can_be_dropped() -> None:
    kernel = Kernel()
    async with notifying(kernel) as notifier:
        assert kernel.name_seconds == LONG_NAME_SECONDS == notifier.name_seconds


async def test_a_file_system_on_a_directory_is_never_unmounted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kernel = Kernel()
    async with notifying(kernel) as notifier:
        kernel.is_mounted_on = True
        for _ in range(10):
            notifier.note()
            await trio.sleep(SHORT_NAME_SECONDS)
        assert kernel.notified == []
        assert kernel.name_seconds == SHORT_NAME_SECONDS
        assert caplog.text.count("mounted on a directory") == 1
        caplog.clear()
        # What has changed meanwhile is notified after the file system was unmounted.
        kernel.is_mounted_on = False
        notifier.note()
        await trio.sleep(2 * SHORT_NAME_SECONDS)
        assert len(kernel.notified) == 1
        assert kernel.name_seconds == LONG_NAME_SECONDS


async def test_an_older_kernel_gets_no_notification_and_short_names() -> None:
    kernel = Kernel(errno.EINVAL)
    async with notifying(kernel) as notifier:
        kernel.error = 0
        notifier.note()
        await trio.sleep(10)
        assert kernel.notified == []
        assert kernel.searches == 0
        assert kernel.name_seconds == SHORT_NAME_SECONDS


@pytest.mark.parametrize(
    ("search_seconds", "pause_seconds"), [(0.0, BATCH_SECONDS), (0.002, 0.038), (0.05, 0.1)]
)
async def test_the_pause_depends_on_the_processor_time_of_a_search(
    search_seconds: float, pause_seconds: float
) -> None:
    kernel = Kernel()
    processor_time = 0.0

    async def run_in_thread(search: Callable[[], bool]) -> bool:
        return search()

    def search() -> bool:
        nonlocal processor_time
        processor_time += search_seconds
        return False

    notifier = EpochNotifier(
        kernel.names,
        processor_clock=lambda: processor_time,
        mount_table="/does-not-exist",
        run_in_thread=run_in_thread,
    )
    notifier.start(search)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(notifier.run)
        for _ in range(1000):
            notifier.note()
            await trio.sleep(0.001)
        tasks.cancel_scope.cancel()
    assert 0.9 < len(kernel.notified) * pause_seconds < 1.2
