"""Makes the kernel look up its names again after changes of the bucket.

Theory of operation

A change makes some of the kernel's names wrong. FUSE_NOTIFY_INC_EPOCH (Linux 6.16, see
`name_pruning`) makes the kernel look up each of its names again at its next use. The notification
takes a microsecond, and the lookups are answered from the namespace's cache. No other notification
is sent, because the others concern single inodes, or wait for locks.

1. The first change is notified at once. The next notification follows after `BATCH_SECONDS` at the
   earliest, for all changes of this time. The search of rule 2 takes at most a twentieth of a
   processor, because READs wait meanwhile, unless the pause would be longer than
   `_MAX_PAUSE_SECONDS`.
2. The notification makes the kernel unmount each file system that is mounted on a directory of this
   mount. So it is sent only after a search has found none (see `submount_search`).
3. While notifications are possible, the kernel may cache a name for `LONG_NAME_SECONDS`, otherwise
   for `SHORT_NAME_SECONDS`. After this time it gets the answer from the namespace's cache.
4. When the last such file system has been unmounted, one notification is sent for all changes that
   were not notified: at once, or, if it was in another mount namespace, with the next change.

A file system may be mounted after the kernel has got names for `LONG_NAME_SECONDS`. Then a change
of these names may show later by as much.

The search runs before notifications and after changes of the mount table, so an idle mount stays
idle.
"""

from __future__ import annotations

import logging
import os
import select
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import trio

from gcsmux_fs.metrics.registry import counter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from gcsmux_fs.fuse.name_pruning import NamePruner
    from gcsmux_fs.metrics.registry import Registry

__all__ = ["BATCH_SECONDS", "LONG_NAME_SECONDS", "SHORT_NAME_SECONDS", "EpochNotifier"]

log = logging.getLogger(__name__)

BATCH_SECONDS = 0.005
"""Minimum time between two notifications. Each makes every name in use be looked up again, which
takes 0.1 ms per name."""

LONG_NAME_SECONDS = 600.0
"""How long the kernel may cache names that it can drop. After this time, it asks this process once
per name in use."""

SHORT_NAME_SECONDS = 1.0
"""How long the kernel may cache names that it cannot drop. A change shows after this time."""

# The pause after a search, in times of its processor time.
_PAUSE_PER_SEARCH = 19
# Maximum pause. A change shows later by half of it on average, if changes follow one another.
_MAX_PAUSE_SECONDS = 0.1
# Minimum pause between two searches while a submount exists.
_SUBMOUNT_PAUSE_SECONDS = 1.0
# A search that takes longer runs in a thread, because the loop answers no request meanwhile.
_MAX_LOOP_SECONDS = 0.003


@dataclass(slots=True)
class EpochCounters:
    """Counters of the notifications."""

    changes_epochs: int = counter(
        "notifications", "Notifications that made the kernel look up all names again."
    )
    changes_epochs_withheld: int = counter(
        "notifications",
        "Notifications that were not sent because a file system is mounted on a directory of this"
        " mount.",
    )


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class EpochNotifier:
    """Notifies the kernel of changes.

    Args:
        names: writes the notifications.
        on_dropped: called when the kernel has dropped all names.
        processor_clock: returns the processor time of the calling thread.
        mount_table: the mount table of this process.
        run_in_thread: runs a function in a worker thread.
    """

    def __init__(
        self,
        names: NamePruner,
        *,
        on_dropped: Callable[[], None] = lambda: None,
        processor_clock: Callable[[], float] = time.thread_time,
        mount_table: str = "/proc/self/mountinfo",
        run_in_thread: Callable[[Callable[[], bool]], Awaitable[bool]] = trio.to_thread.run_sync,
    ) -> None:
        self._names = names
        self._on_dropped = on_dropped
        self._processor_clock = processor_clock
        self._mount_table = mount_table
        self._run_in_thread = run_in_thread
        self._counters = EpochCounters()
        self._limit_names: Callable[[float], None] = lambda seconds: None
        self._is_mounted_on: Callable[[], bool] = lambda: True
        self._seconds = SHORT_NAME_SECONDS
        self._search_seconds = 0.0
        self._had_submount: bool | None = None
        self._has_changes = False
        self._has_work = trio.Event()
        self._started = trio.Event()

    @property
    def name_seconds(self) -> float:
        """How long the kernel may cache a name now."""
        return self._seconds

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of the notifications."""
        registry.fields(self._counters)
        registry.gauge(
            "changes_kernel_seconds",
            "seconds",
            "How long the kernel may cache a name without asking the mount.",
            lambda: round(self._seconds),
        )

    def attach(self, limit_names: Callable[[float], None]) -> None:
        """Call `limit_names` now and later with the maximum time for which to cache a name."""
        self._limit_names = limit_names
        limit_names(self._seconds)

    def start(self, is_mounted_on: Callable[[], bool]) -> None:
        """Begin to notify. `is_mounted_on` searches a submount; it may take some milliseconds."""
        self._is_mounted_on = is_mounted_on
        self._started.set()

    def note(self) -> None:
        """Note that names have changed which the kernel may hold; never waits and never fails."""
        self._has_changes = True
        self._has_work.set()

    async def run(self) -> NoReturn:
        """Send the notifications. Runs until cancelled."""
        await self._started.wait()
        if not self._names.can_drop_all:
            log.info(
                "this kernel cannot drop all names from its cache (Linux 6.16 can): it asks again"
                " after %g s, so a change of the bucket shows after up to this time",
                SHORT_NAME_SECONDS,
            )
            await trio.sleep_forever()
        self._has_work.set()
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._watch_mount_table)
            while True:
                await self._has_work.wait()
                self._has_work = trio.Event()
                await trio.sleep(await self._work())
        raise AssertionError("unreachable")

    async def _work(self) -> float:
        """Search, notify if there are changes, and return how long to pause."""
        has_submount = await self._search()
        self._set_limit(has_submount=has_submount)
        pause = max(BATCH_SECONDS, _PAUSE_PER_SEARCH * self._search_seconds)
        pause = min(pause, _MAX_PAUSE_SECONDS)
        if has_submount:
            self._counters.changes_epochs_withheld += self._has_changes
            return max(pause, _SUBMOUNT_PAUSE_SECONDS)
        if self._has_changes:
            self._has_changes = False
            if self._names.drop_all():
                self._counters.changes_epochs += 1
                self._on_dropped()
        return pause

    async def _search(self) -> bool:
        if self._search_seconds < _MAX_LOOP_SECONDS:
            return self._search_here()
        try:
            return await self._run_in_thread(self._search_here)
        except RuntimeError:
            # No further thread can be started.
            return self._search_here()

    def _search_here(self) -> bool:
        began = self._processor_clock()
        has_submount = self._is_mounted_on()
        self._search_seconds = self._processor_clock() - began
        return has_submount

    def _set_limit(self, *, has_submount: bool) -> None:
        if has_submount is self._had_submount:
            return
        self._seconds = SHORT_NAME_SECONDS if has_submount else LONG_NAME_SECONDS
        self._limit_names(self._seconds)
        if has_submount:
            log.warning(
                "a file system is mounted on a directory of this mount, or may be where this"
                " process cannot see it: the kernel keeps its names, and asks for new ones again"
                " after %g s. A change of a name that it got earlier shows after up to %g minutes,"
                " or after `gcsmux reload`",
                SHORT_NAME_SECONDS,
                LONG_NAME_SECONDS / 60,
            )
        elif self._had_submount:
            log.info(
                "no file system is mounted on this mount: the kernel drops names after changes"
            )
        self._had_submount = has_submount

    async def _watch_mount_table(self) -> NoReturn:
        """Search again whenever the mount table of this process changes."""
        try:
            with select.epoll() as changes, _opened(self._mount_table) as table:
                # The table is always readable, so trio cannot wait for it directly.
                changes.register(table, select.EPOLLPRI | select.EPOLLERR)
                while True:
                    await trio.lowlevel.wait_readable(changes.fileno())
                    changes.poll(0)
                    self._has_work.set()
        except OSError as error:
            log.info("a new mount on this mount is noticed only at the next change: %s", error)
        await trio.sleep_forever()
