"""Bounds the disk space of a cache directory over all its mounts, and records what they use.

The tier asks `admit` before each write, reports each write and each hit, and calls `flush` about
once a second. `usage_table` explains how the mounts share one bound without a lock that a stopped
process could hold. The records go to the journal (`ledger`), from which the cleaning mount learns
which chunks to evict.

The methods run in the threads of the disk tier. Only `touch` and the metrics may be used on any
thread, because they never wait.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gcsmux_fs.caching.chunk_format import ChunkId
from gcsmux_fs.caching.ledger import ChunkEvent, ChunkRecord, encode_records
from gcsmux_fs.caching.usage_file import LEDGERS, UsageFile
from gcsmux_fs.caching.usage_table import UNLIMITED
from gcsmux_fs.metrics.registry import counter

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.caching.cache_files import CacheFiles
    from gcsmux_fs.caching.usage_table import UsageTable
    from gcsmux_fs.metrics.registry import Registry

__all__ = ["JOURNAL", "SpaceAccount", "SpaceCounters", "SpaceTarget"]

_MIB = 1024 * 1024

JOURNAL = f"{LEDGERS}/journal"

_GRANT_BYTES = 16 * _MIB
"""Disk space that is reserved at once. A reservation reads the table and the free space, 50 us. At
1 GB/s, this is 60 times a second."""

_GRANT_SHARE = 256
"""A reservation is at most this part of the cache size, so that the unused reservations of eight
mounts are 3 % of it."""

_JOURNAL_BYTES = 16 * _MIB
"""If the journal is longer, no mount cleans. Then nothing is recorded, because a journal of any
length would fill the disk. The next mount that cleans finds unrecorded chunks on the disk."""

_RECORDS = 64
"""Number of recorded writes after which the journal is written without waiting for `flush`. At
1 GB/s, these are the writes of a quarter of a second."""

_USES_SECONDS = 10
"""Time between two records of the use of a chunk. So a program that reads 1,000 chunks again and
again causes 36 KB of records in this time."""

_TOUCHED_CHUNKS = 16 * 1024
"""Number of chunks whose use is remembered until the next record, 3 MiB of memory."""


@dataclass(slots=True)
class SpaceCounters:
    """What the metrics show."""

    disk_cache_evictions: int = counter("chunks", "Chunks that this mount evicted from the disk.")
    disk_cache_evicted_bytes: int = counter("bytes", "Disk space that these chunks had.")
    disk_cache_refused_writes: int = counter(
        "writes", "Writes that were dropped because the cache on disk or the disk was full."
    )


@dataclass(frozen=True, slots=True)
class SpaceTarget:
    """What the cleaning mount has to reach.

    Attributes:
        used_bytes: disk space of all chunks, with reservations.
        limit_bytes: the most that the chunks may take now, because of the cache size and because of
            other files on the disk.
        counted: whether `used_bytes` is right.
    """

    used_bytes: int
    limit_bytes: int
    counted: bool


class SpaceAccount:
    """The account of one mount.

    Args:
        files: the cache directory.
        size_bytes: the cache size; None if only the free space of the disk bounds the cache.
        min_free_bytes: free space that the cache leaves on the disk.
        clock: returns the time in seconds since the Unix epoch.

    All methods but `touch` and `declare_metrics` may block, and raise OSError if the disk fails.
    """

    def __init__(
        self,
        files: CacheFiles,
        *,
        size_bytes: int | None,
        min_free_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self.counters = SpaceCounters()
        self._files = files
        self._limit = UNLIMITED if size_bytes is None else size_bytes
        self._min_free = min_free_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._usage: UsageFile | None = None
        # Whether the slot in the file is the one in memory.
        self._is_published = True
        self._running: set[int] = set()
        self._records: dict[ChunkId, ChunkRecord] = {}
        self._touched: dict[tuple[bytes, int], int] = {}
        self._next_uses = 0.0
        self._shown = SpaceTarget(0, self._limit, counted=False)

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of disk space."""
        registry.fields(self.counters)
        registry.gauge(
            "disk_cache_bytes",
            "bytes",
            "Disk space of the cache, of all mounts that share its directory.",
            lambda: self._shown.used_bytes,
        )
        registry.gauge(
            "disk_cache_limit_bytes",
            "bytes",
            "Most disk space that the cache may take now.",
            lambda: self._shown.limit_bytes,
        )

    def touch(self, chunk: tuple[bytes, int]) -> None:
        """Note that bytes of a chunk were used. Never waits."""
        touched = self._touched
        if chunk not in touched and len(touched) < _TOUCHED_CHUNKS:
            touched[chunk] = int(self._clock())

    def admit(self, chunk: ChunkId, new_bytes: int) -> bool:
        """Return whether `new_bytes` may be written to a chunk. Otherwise the write is dropped."""
        with self._lock:
            usage = self._open()
            if usage.slot is None:
                return False
            if new_bytes <= usage.slot.reserved_bytes or self._reserve(usage, new_bytes):
                return True
            self.counters.disk_cache_refused_writes += 1
            return False

    def wrote(self, chunk: ChunkId, allocated_bytes: int, added_bytes: int) -> None:
        """Note a write.

        Other mounts see it after `publish`. Until then they see the space as reserved.

        Args:
            chunk: the chunk.
            allocated_bytes: disk space of its file after the write.
            added_bytes: how much the disk space has grown by the write.
        """
        with self._lock:
            self._take(self._open(), added_bytes)
            self._record(ChunkEvent.WRITTEN, chunk, allocated_bytes)

    def publish(self) -> None:
        """Show other mounts what `wrote` has noted. Call this after some writes."""
        with self._lock:
            self._publish()

    def removed(self, chunk: ChunkId, freed_bytes: int) -> None:
        """Note that the file of a chunk was removed, because its content was not valid."""
        with self._lock:
            self._take(self._open(), -freed_bytes)
            self._record(ChunkEvent.REMOVED, chunk, 0)

    def flush(self) -> None:
        """Append the records to the journal. Call this about once a second."""
        with self._lock:
            usage = self._open()
            if usage.was_removed:
                usage = self._reopen()
            elif usage.slot is not None:
                # This repairs the slot if another program has damaged it.
                usage.publish(usage.slot)
            self._append()
            self._running = usage.running()
            self._shown = self._target(usage)

    def evictions(self) -> int:
        """Return a number that changes when any mount has evicted chunks."""
        with self._lock:
            return self._open().read().evictions

    def close(self) -> None:
        """Write the last records, and return the reservation."""
        with self._lock:
            if self._usage is not None:
                usage, self._usage = self._usage, None
                self._next_uses = 0.0
                try:
                    self._append()
                finally:
                    usage.close()

    # For the cleaner of this mount.

    def has_slot(self) -> bool:
        """Return whether this mount can publish what it frees."""
        with self._lock:
            return self._open().slot is not None

    def target(self) -> SpaceTarget:
        """Return what the cleaner has to reach."""
        with self._lock:
            self._publish()
            self._shown = self._target(self._open())
            return self._shown

    def usage(self) -> UsageTable:
        """Return the disk space that each mount has taken."""
        with self._lock:
            self._publish()
            return self._open().read()

    def evicted(self, chunks: int, freed_bytes: int) -> None:
        """Note that the cleaner has removed the files of some chunks."""
        with self._lock:
            usage = self._open()
            if usage.slot is not None:
                slot = replace(usage.slot, evictions=usage.slot.evictions + chunks)
                usage.publish(slot)
            self._take(usage, -freed_bytes)
            self.counters.disk_cache_evictions += chunks
            self.counters.disk_cache_evicted_bytes += freed_bytes

    def correct(self, error_bytes: int) -> None:
        """Add what a count of the chunks has found, and mark the chunks as counted."""
        with self._lock:
            usage = self._open()
            self._take(usage, error_bytes)
            usage.mark(counted=True)

    def end_slots(self) -> bool:
        """Free what ended mounts have reserved; True if the chunks must be counted for this."""
        with self._lock:
            return self._open().end_slots()

    def _open(self) -> UsageFile:
        return self._reopen() if self._usage is None else self._usage

    def _reopen(self) -> UsageFile:
        if self._usage is not None:
            self._usage.close()
            self._usage = None
        usage = UsageFile(self._files)
        if usage.slot is not None:
            usage.publish(
                replace(usage.slot, limit_bytes=self._limit, min_free_bytes=self._min_free)
            )
        self._running = usage.running()
        self._usage = usage
        return usage

    def _reserve(self, usage: UsageFile, new_bytes: int) -> bool:
        assert usage.slot is not None
        before = usage.slot
        grant = max(new_bytes, min(_GRANT_BYTES, self._limit // _GRANT_SHARE))
        for reserved in sorted({grant, new_bytes}, reverse=True):
            usage.publish(replace(before, reserved_bytes=reserved))
            target = self._target(usage)
            if target.counted and target.used_bytes <= target.limit_bytes:
                return True
        usage.publish(before)
        return False

    def _target(self, usage: UsageFile) -> SpaceTarget:
        table = usage.read()
        used = table.used_bytes
        # Chunks may take what they have, and the free space except for the minimum.
        room = self._files.free_bytes() - table.min_free_bytes(self._running)
        limit = max(0, min(table.limit_bytes(self._running), table.net_bytes + room))
        return SpaceTarget(used, limit, table.counted)

    def _take(self, usage: UsageFile, added_bytes: int) -> None:
        """Note that the disk space of the chunks has grown; `added_bytes` may be negative."""
        slot = usage.slot
        if slot is not None and added_bytes > 0:
            taken, reserved = slot.taken_bytes + added_bytes, slot.reserved_bytes - added_bytes
            usage.slot = replace(slot, taken_bytes=taken, reserved_bytes=max(0, reserved))
            self._is_published = False
            if reserved < 0:
                self._publish()
        elif slot is not None and added_bytes:
            usage.publish(replace(slot, freed_bytes=slot.freed_bytes - added_bytes))

    def _publish(self) -> None:
        """Write the slot, if it has changed since it was written."""
        if not self._is_published:
            self._is_published = True
            usage = self._open()
            if usage.slot is not None:
                usage.publish(usage.slot)

    def _record(self, event: ChunkEvent, chunk: ChunkId, size: int) -> None:
        self._records.pop(chunk, None)
        self._records[chunk] = ChunkRecord(event, chunk, int(self._clock()), size)
        if len(self._records) >= _RECORDS:
            self._append()

    def _append(self) -> None:
        """Append what was recorded. If this fails, the records are lost."""
        records = [*self._records.values()]
        self._records.clear()
        now = self._clock()
        if now >= self._next_uses or len(self._touched) >= _TOUCHED_CHUNKS:
            self._next_uses = now + _USES_SECONDS
            touched, self._touched = self._touched, {}
            # Another thread may still add to `touched`, so it is copied by one operation.
            records += [
                ChunkRecord(ChunkEvent.USED, ChunkId(*chunk), at)
                for chunk, at in list(touched.items())
            ]
        if not records:
            return
        descriptor = self._files.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            if self._files.status(descriptor).size_bytes < _JOURNAL_BYTES:
                self._files.append(descriptor, encode_records(records))
        finally:
            self._files.close(descriptor)
