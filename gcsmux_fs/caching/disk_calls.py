"""Runs the operations of the disk tier in threads: the disk as the sans-IO modules see it.

Reads and writes have lanes of their own (`disk_threads`). Objects are dropped in the lane of the
writes, so that an earlier write cannot bring a part of them back.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

import trio
from crc32c import crc32c

from gcsmux_fs.caching.chunk_format import CHUNK_BYTES, GRANULE_BYTES, ChunkId
from gcsmux_fs.caching.object_check import ObjectVerdict
from gcsmux_fs.caching.write_behind import WriteReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.caching.disk_cache import OpenedCache
    from gcsmux_fs.caching.disk_threads import DiskCall, DiskThreads
    from gcsmux_fs.caching.write_queue import QueuedRange

__all__ = ["DiskCalls"]

log = logging.getLogger(__name__)

_READERS = 4
"""Threads that read. More do not help a disk without queues, and a thread holds up to 2 MiB."""

_LAST_READ_SECONDS = 0.2
"""How long the end of a mount waits for reads that were cancelled."""

_FILE_OVERHEAD_BYTES = 8192
"""What a file of a chunk takes on the disk besides its content: its header, and the index of its
extents."""

_MAX_WAITING_DROPS = 256
"""While more calls wait, generations that no longer exist are not dropped, but evicted later."""


class DiskCalls:
    """The disk of one opened cache. All methods return at once, and are for trio's thread."""

    def __init__(self, cache: OpenedCache, threads: DiskThreads) -> None:
        self._store = cache.store
        self._account = cache.account
        self._files = cache.directory.files
        self._reads = threads.new_lane("cache reader", _READERS)
        self._writes = threads.new_lane("cache writer", 1)
        self._is_stopped = False
        # Each call between a READ and the bytes would make a hit slower.
        self.read_now = cache.store.read_now
        self.is_absent_now = cache.store.is_absent_now
        self.touch = cache.account.touch

    def read(
        self,
        identity: bytes,
        size: int,
        offset: int,
        length: int,
        answer: Callable[[Sequence[tuple[int, memoryview]] | Exception], None],
    ) -> DiskCall:
        """Read in a thread. Later, `answer` gets the verified parts in order, or the error."""
        call = functools.partial(self._store.read, identity, size, offset, length)
        return self._reads.submit(call, answer)

    def write(
        self,
        batch: list[QueuedRange],
        answer: Callable[[WriteReport], None],
        *,
        is_behind: bool,
    ) -> None:
        """Write a batch in a thread; see `DiskWrites`."""

        def report(result: WriteReport | Exception) -> None:
            answer(WriteReport([], error=result) if isinstance(result, Exception) else result)

        self._writes.submit(functools.partial(self._write_batch, batch, is_behind), report)

    def check(self, queued: QueuedRange) -> None:
        """Compare the whole object with its CRC32C in a thread, if all of it is on the disk."""
        crc32c = queued.final.crc32c
        if crc32c is not None:
            call = functools.partial(
                self._store.check_object, queued.identity, queued.final.size, crc32c
            )
            self._writes.submit(call, functools.partial(self._on_checked, queued))

    def report_difference(self, queued: QueuedRange) -> None:
        """Report that the content of an object has another CRC32C than the object."""
        log.error(
            "%s: its content has another CRC32C than the object, so the cache on disk does not keep"
            " it: check the memory of this machine",
            queued.key,
        )

    def _on_checked(self, queued: QueuedRange, verdict: ObjectVerdict | Exception) -> None:
        if verdict is ObjectVerdict.DIFFERENT:
            self.report_difference(queued)

    def drop(self, identity: bytes, size: int) -> None:
        """Remove an object from the disk in a thread."""
        self._writes.submit(functools.partial(self._store.drop_object, identity, size), _ignore)

    def drop_if_present(self, identity: bytes, size: int) -> None:
        """Remove an object, unless it is not there or many calls wait for the disk."""
        is_absent = size <= CHUNK_BYTES and self.is_absent_now(identity, size, 0, size)
        if not is_absent and self._writes.unanswered < _MAX_WAITING_DROPS:
            self.drop(identity, size)

    async def finish_writes(self) -> None:
        """Wait until everything that was to be written, checked or dropped is done."""
        await self._writes.run(_do_nothing)

    async def finish_reads(self) -> bool:
        """Wait a moment for the threads that read; return whether all of them are done."""
        with trio.move_on_after(_LAST_READ_SECONDS):
            await self._reads.wait_idle()
            return True
        return False

    def stop(self) -> None:
        """Skip all further writes, also those that wait for the thread."""
        self._is_stopped = True

    def _write_batch(self, batch: list[QueuedRange], is_behind: bool) -> WriteReport:
        """Write a batch, in a thread."""
        differing: list[QueuedRange] = []
        report = WriteReport([], differing)
        self._files.avoids_waiting = is_behind
        try:
            for queued in batch:
                if self._is_stopped:
                    break
                if _is_whole(queued):
                    # Most objects are small. To check them here saves opening their files again.
                    if crc32c(queued.content) == queued.final.crc32c:
                        self._write(queued)
                        self._store.counters.disk_cache_objects_verified += 1
                    else:
                        differing.append(queued)
                        self._store.counters.disk_cache_objects_dropped += 1
                elif self._write(queued):
                    report.complete.append(queued)
            self._account.publish()
        except OSError as error:
            return report._replace(error=error)
        return report

    def _write(self, queued: QueuedRange) -> bool:
        """Write one range; return whether its chunk is complete then."""
        chunk = ChunkId(queued.identity, queued.offset // CHUNK_BYTES)
        granules = -(-len(queued.content) // GRANULE_BYTES)
        if not self._account.admit(chunk, granules * GRANULE_BYTES + _FILE_OVERHEAD_BYTES):
            return False
        written = self._store.write(
            queued.identity, queued.final.size, queued.offset, queued.content
        )
        if written.allocated_bytes:
            self._account.wrote(chunk, written.allocated_bytes, written.added_bytes)
        return written.complete


def _is_whole(queued: QueuedRange) -> bool:
    """Return whether a range is a whole object of known CRC32C."""
    return len(queued.content) == queued.final.size and queued.final.crc32c is not None


def _ignore(_: object) -> None: ...


def _do_nothing() -> None: ...
