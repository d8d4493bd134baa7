"""The cache on disk as a range source: the shell around the sans-IO modules of the disk tier.

`tier_core` decides about reads, `write_behind` about writes, `disk_breaker` about failures. This
module gives them the clock, the threads and the log. `cache_lifetime` opens and closes the cache.

Until the cache is open, and if it cannot be opened, all ranges come from the service.
"""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import trio

from gcsmux_fs.caching.cache_lifetime import CacheLifetime
from gcsmux_fs.caching.disk_calls import DiskCalls
from gcsmux_fs.caching.disk_threads import DiskThreads
from gcsmux_fs.caching.tier_core import TierCore
from gcsmux_fs.caching.tier_counters import TierCounters
from gcsmux_fs.caching.write_behind import WriteBehind
from gcsmux_fs.caching.write_queue import queue_limit
from gcsmux_fs.metrics.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gcsmux_fs.caching.disk_breaker import Breaker
    from gcsmux_fs.caching.disk_cache import OpenedCache
    from gcsmux_fs.caching.write_queue import MissedRange, QueuedRange
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.model.values import FinalContent, ObjectKey
    from gcsmux_fs.reading.range_source import RangeSource, RangeTicket
    from gcsmux_fs.settings.cache_options import CacheOptions

    ReadNow: TypeAlias = Callable[[ObjectKey, int, int, FinalContent | None], memoryview | None]

__all__ = ["METRICS_SECTION", "DiskSource"]

log = logging.getLogger(__name__)

METRICS_SECTION = "the cache on disk"
"""The heading of the metrics."""

_DRAIN_SECONDS = 2.0
"""How long the end of a mount waits until what was fetched is on the disk."""


class DiskSource:
    """The cache on disk of one mount. Create this on trio's thread.

    Args:
        options: where the cache is, and how large it may become.
        service: which service the content comes from (`service_of`).
        memory_bytes: the user's memory budget, of which `queue_bytes` are for bytes to be written.
        call_soon: runs a function in the next turn.
    """

    def __init__(
        self,
        options: CacheOptions,
        service: str,
        *,
        memory_bytes: int,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.counters = TierCounters()
        self._read_seconds = Histogram()
        #: The most memory that bytes take until they are written.
        self.queue_bytes = queue_limit(memory_bytes)
        self._options = options
        self._service = service
        self._call_soon = call_soon
        self._source: RangeSource | None = None
        self._threads = DiskThreads()
        self._life = CacheLifetime(options, self._threads, self.counters, self._on_open)
        self._disk: DiskCalls | None = None
        self._core: TierCore | None = None
        #: Returns bytes that the kernel has in memory; see `LowerTier.read_now`. An attribute,
        #: because a method would make each hit slower.
        self.read_now: ReadNow = _read_nothing
        self._writes: WriteBehind | None = None
        self._watched_until = -math.inf
        self._changed = trio.Event()
        self._registry: Registry | None = None
        self._cached_bytes: Callable[[ObjectKey, int, int], memoryview | None] | None = None

    def __repr__(self) -> str:
        return f"<DiskSource {self._options.directory} {self._core and self._core.breaker!r}>"

    # -- the life of the cache

    @asynccontextmanager
    async def in_use(self, tasks: trio.Nursery) -> AsyncIterator[None]:
        """Open the cache, and keep it in order by tasks until the end. Then close it.

        If the disk fails or does not answer, the cache is opened later.

        Raises:
            CacheDirectoryError: the directory cannot be used; the message is for the user.
        """
        try:
            await self._life.open()
            tasks.start_soon(self._watch_deadlines)
            tasks.start_soon(self._life.keep)
            yield
        finally:
            await self._close()

    def read_from(self, source: RangeSource) -> None:
        """Fetch from `source` what is not on the disk. Call this once, before the first request."""
        self._source = source

    def recall_from(self, cached_bytes: Callable[[ObjectKey, int, int], memoryview | None]) -> None:
        """Take bytes for which the queue had no room from the block cache later."""
        self._cached_bytes = cached_bytes

    async def _close(self) -> None:
        """Write what waits to be written, within a bound.

        Threads that hang are left alone.
        """
        self._life.stop_keeping()
        writes, disk = self._writes, self._disk
        if writes is not None and disk is not None:
            is_written = trio.Event()
            writes.stop(is_written.set)
            with trio.move_on_after(_DRAIN_SECONDS, shield=True):
                await is_written.wait()
                await disk.finish_writes()
                # From now on, nothing uses the directory on trio's thread.
                self._core = None
                self.read_now = _read_nothing
                await self._life.close(is_in_use=not await disk.finish_reads())
            disk.stop()
        self._threads.close()

    # -- what the block cache asks

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        final: FinalContent | None = None,
    ) -> RangeTicket:
        """Request a range; see `RangeSource.request`."""
        core = self._core
        if core is None:
            assert self._source is not None
            return self._source.request(key, offset, length, done, final=final)
        ticket = core.request(key, offset, length, done, final)
        self._note_deadline()
        return ticket

    @property
    def problem(self) -> str:
        """Why the cache is not used now, as a sentence for the user; "" while it is used."""
        if self._core is None:
            return self._life.problem
        breaker = self._core.breaker
        return "" if breaker.is_closed else f"the cache on disk {breaker.reason}."

    @property
    def capacity_bytes(self) -> int:
        """How many bytes of objects the disk can hold; 0 if there is no cache now."""
        return 0 if self._life.cache is None else self._life.cache.capacity_bytes

    def has_room(self, length: int) -> bool:
        """Return whether `length` fetched bytes would not be dropped for lack of memory."""
        return self._writes is None or self._writes.has_room(length)

    def forget(self, matches: Callable[[str], bool]) -> None:
        """Drop the objects whose names match from the disk, as far as this mount knows them.

        The cache keeps no names. So an object that was not read since the start of the mount stays,
        until it is evicted.
        """
        core, writes, disk = self._core, self._writes, self._disk
        if core is None or writes is None or disk is None:
            return
        writes.drop(lambda queued: matches(queued.key.name))
        for key, identity, size in core.known_objects():
            if matches(key.name):
                disk.drop(identity, size)

    def forget_generation(self, key: ObjectKey, size: Callable[[], int | None]) -> None:
        """Drop an object generation that no longer exists from the disk.

        It stays until it is evicted if neither the caller nor this mount knows its size, or if the
        disk is far behind.
        """
        core, writes, disk = self._core, self._writes, self._disk
        if core is None or writes is None or disk is None:
            return
        known = core.known_object(key, size)
        if known is None:
            return
        if writes.queue:
            writes.drop(lambda queued: queued.key == key)
        disk.drop_if_present(*known)

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of the cache on disk."""
        registry.fields(self.counters)
        registry.histogram(
            "disk_cache_read_seconds",
            "Time from a question to the answer of a thread that reads the disk.",
            self._read_seconds,
        )
        gauge = registry.gauge
        gauge(
            "disk_cache_state",
            "states",
            "State of the cache on disk: 0 not open, 1 in use, 2 left alone after failures,"
            " 3 being tried again.",
            lambda: 0 if self._core is None else self._core.breaker.state,
        )
        gauge(
            "disk_cache_write_state",
            "states",
            "State of the writes to the cache on disk; the numbers are those of disk_cache_state.",
            lambda: 0 if self._writes is None else self._writes.breaker.state,
        )
        gauge(
            "disk_cache_queued_bytes",
            "bytes",
            "Memory of fetched bytes that wait to be written to the disk.",
            lambda: 0 if self._writes is None else self._writes.queue.used,
        )
        gauge(
            "disk_cache_ranges_reading",
            "ranges",
            "Ranges that wait for the disk.",
            lambda: 0 if self._core is None else self._core.ranges_reading,
        )
        self._registry = registry
        if self._life.cache is not None:
            self._declare_disk_metrics(self._life.cache, registry)

    # -- internals

    def _on_open(self, cache: OpenedCache) -> None:
        assert self._source is not None
        if self._registry is not None:
            self._declare_disk_metrics(cache, self._registry)
        self._disk = disk = DiskCalls(cache, self._threads)
        self._writes = WriteBehind(
            disk,
            self.queue_bytes,
            self.counters,
            trio.current_time,
            self._log_writes,
            self._recall,
        )
        self._core = TierCore(
            self._source,
            self._service,
            disk,
            self._keep,
            self.counters,
            self._read_seconds,
            trio.current_time,
            self._call_soon,
            self._log_disk,
        )
        self.read_now = self._core.read_now

    def _declare_disk_metrics(self, cache: OpenedCache, registry: Registry) -> None:
        registry.section = METRICS_SECTION
        registry.fields(cache.store.counters)
        cache.account.declare_metrics(registry)

    def _recall(self, missed: MissedRange) -> memoryview | None:
        if self._cached_bytes is None:
            return None
        return self._cached_bytes(missed.key, missed.offset, missed.length)

    def _keep(self, queued: QueuedRange) -> None:
        assert self._writes is not None
        self._writes.keep(queued)
        self._life.stir()
        self._note_deadline()

    def _note_deadline(self) -> None:
        """Wake the task that watches the deadlines, if there is an earlier one."""
        if self._next_deadline() < self._watched_until:
            self._watched_until = -math.inf
            self._changed.set()

    def _next_deadline(self) -> float:
        if self._core is None or self._writes is None:
            return math.inf
        return min(self._core.next_deadline, self._writes.next_deadline)

    async def _watch_deadlines(self) -> None:
        while True:
            self._changed = trio.Event()
            self._watched_until = self._next_deadline()
            with trio.move_on_at(self._watched_until):
                await self._changed.wait()
                continue
            # A loop that was blocked may find answers and deadlines at the same time.
            self._threads.deliver()
            if self._core is not None and self._writes is not None:
                self._core.expire()
                self._writes.expire()

    def _log_disk(self, breaker: Breaker) -> None:
        directory = self._options.directory
        if breaker.is_closed:
            log.info("the cache on disk %s works again", directory)
        else:
            log.warning(
                "the cache on disk %s %s: reading from the service only, and trying the disk again"
                " every %g to 60 s; if this stays, check the disk",
                directory,
                breaker.reason,
                breaker.pause_seconds,
            )

    def _log_writes(self, breaker: Breaker) -> None:
        directory = self._options.directory
        if breaker.is_closed:
            log.info("the cache on disk %s can be written again", directory)
        else:
            log.warning(
                "the cache on disk %s %s: reading what is there, keeping nothing new, and trying"
                " again every %g to 60 s; if this stays, check the disk and its free space",
                directory,
                breaker.reason,
                breaker.pause_seconds,
            )


def _read_nothing(
    key: ObjectKey, offset: int, length: int, final: FinalContent | None
) -> memoryview | None:
    """Return no bytes, because the cache is not open."""
