"""Decides which fetched bytes are written to the disk, and when; sans-IO.

Theory of operation. Fetched bytes wait in a queue until a thread writes them, in batches. Two
batches are handed over at a time, so that the thread does not wait for the next one. No reader ever
waits for a write. Short ranges are collected for a moment, because each batch wakes a thread, which
then competes with trio's thread for the interpreter.

If the queue is full, only the place of a range is remembered. When there is room, its bytes are
taken from the block cache, where most of them still are. So a disk that is slower than the network
for a while loses nothing until the block cache is full, too.

A disk that refuses writes, because it is full for example, can still be read. So writes have a
breaker of their own. While it is not closed, nothing is queued, except for the probe.

Invariants:
1. The bytes that wait, with those that are being written, never exceed the limit of the queue.
2. While the breaker is open, nothing is handed over, and no memory is in use.
3. The remembered places are bounded.
"""

from __future__ import annotations

import errno
import functools
import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gcsmux_fs.caching.disk_breaker import Breaker, Severity
from gcsmux_fs.caching.write_queue import MissedRange, WriteQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.caching.tier_counters import TierCounters
    from gcsmux_fs.caching.write_queue import QueuedRange

__all__ = ["WRITE_SECONDS", "DiskWrites", "WriteBehind", "WriteReport"]

_MAX_BATCHES = 2

_LINGER_BYTES = 1024 * 1024
_LINGER_SECONDS = 0.05
"""Ranges wait for others until they have this many bytes together, or for this time."""

_MAX_MISSED = 4096
"""Number of remembered places: 8 GiB in ranges of 2 MiB. They take 1 MiB of memory."""

WRITE_SECONDS = 15.0
"""If a batch takes longer than this, the disk is regarded as failing. The kernel makes writers wait
for seconds while it writes much data to a slow disk, so a shorter wait is no failure."""

_REFUSALS = {errno.EDQUOT, errno.ENOSPC, errno.EROFS}


class WriteReport(NamedTuple):
    """What a thread reports of a batch.

    Attributes:
        complete: the ranges after which all bytes of a chunk were on the disk.
        differing: whole objects whose bytes have another CRC32C than the object. Not written.
        error: why the rest of the batch was not written; None if all was written or refused.
    """

    complete: list[QueuedRange]
    differing: Sequence[QueuedRange] = ()
    error: Exception | None = None


class DiskWrites(Protocol):
    """The disk, as far as it is written. The calls return at once."""

    def write(
        self,
        batch: list[QueuedRange],
        answer: Callable[[WriteReport], None],
        *,
        is_behind: bool,
    ) -> None:
        """Write a batch in a thread, after the batches before it; later call `answer`.

        If `is_behind`, much waits already, so the thread must not wait for the disk.
        """

    def check(self, queued: QueuedRange) -> None:
        """Compare the whole object with its CRC32C in a thread, if all of it is on the disk."""

    def report_difference(self, queued: QueuedRange) -> None:
        """Report that the content of an object has another CRC32C than the object."""


class WriteBehind:
    """The writes of one mount.

    Args:
        disk: the disk.
        limit: the most bytes that wait or are being written.
        counters: what the metrics show.
        clock: returns the time in seconds.
        on_change: called when the breaker opens or closes.
        recall: returns the bytes of a range, if they are still in memory.
    """

    def __init__(
        self,
        disk: DiskWrites,
        limit: int,
        counters: TierCounters,
        clock: Callable[[], float],
        on_change: Callable[[Breaker], None],
        recall: Callable[[MissedRange], memoryview | None] = lambda _: None,
    ) -> None:
        self.queue = WriteQueue(limit)
        self.breaker = Breaker()
        self._disk = disk
        self._counters = counters
        self._clock = clock
        self._on_change = on_change
        self._recall = recall
        self._missed: deque[MissedRange] = deque()
        # Number of batches that are handed over, and since when the disk owes the next answer.
        self._batches = 0
        self._waiting_since = math.inf
        self._linger_until = math.inf
        self._is_stopped = False
        self._on_idle: Callable[[], None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is being written."""
        return not self._batches and not self.queue and not self._missed

    @property
    def next_deadline(self) -> float:
        """The time at which `expire` has something to do."""
        stuck_at = self._waiting_since + WRITE_SECONDS if self.breaker.is_closed else math.inf
        return min(stuck_at, self._linger_until)

    def has_room(self, length: int) -> bool:
        """Return whether `length` bytes would not be dropped for lack of memory."""
        return not self.breaker.is_closed or self.queue.has_room(length)

    def keep(self, queued: QueuedRange) -> None:
        """Write a range later, or drop it."""
        if not self._accepts():
            self._counters.disk_cache_dropped_bytes += len(queued.content)
        elif self.queue.has_room(len(queued.content)):
            self.queue.put(queued)
            self._hand_over_later()
        else:
            self._remember(MissedRange(*queued[:-1], len(queued.content)))

    def drop(self, matches: Callable[[QueuedRange], bool]) -> None:
        """Drop the ranges that match and are not yet handed over."""
        self._counters.disk_cache_dropped_bytes += self.queue.drop(matches)
        for missed in list(self._missed):
            if matches(missed.with_content(memoryview(b""))):
                self._missed.remove(missed)
                self._counters.disk_cache_dropped_bytes += missed.length

    def stop(self, on_idle: Callable[[], None]) -> None:
        """Accept nothing more. Call `on_idle` when everything that waits is written."""
        self._is_stopped = True
        self._on_idle = on_idle
        self._hand_over()
        if self.is_idle:
            on_idle()

    def expire(self) -> None:
        """Hand over ranges that have lingered, and note a batch that takes too long."""
        now = self._clock()
        if now >= self._linger_until:
            self._hand_over()
        if now >= self.next_deadline:
            self._waiting_since = math.inf
            self._note_failure(now, f"has not finished a write within {WRITE_SECONDS:g} s")

    def _accepts(self) -> bool:
        if self._is_stopped:
            return False
        if self.breaker.is_closed:
            return True
        # While a batch is with the disk, its answer shows whether the disk works again.
        return not self._batches and self.breaker.take_probe(self._clock())

    def _remember(self, missed: MissedRange) -> None:
        self._missed.append(missed)
        if len(self._missed) > _MAX_MISSED:
            self._counters.disk_cache_dropped_bytes += self._missed.popleft().length

    def _recall_missed(self) -> None:
        """Queue remembered ranges again, as far as there is room."""
        while self._missed and self.queue.has_room(self._missed[0].length):
            missed = self._missed.popleft()
            content = self._recall(missed)
            if content is None:
                self._counters.disk_cache_dropped_bytes += missed.length
            else:
                self.queue.put(missed.with_content(content))

    def _hand_over_later(self) -> None:
        """Hand over what waits, now or after a moment in which more may come."""
        if self.queue.waiting_bytes >= _LINGER_BYTES or not self.breaker.is_closed:
            self._hand_over()
        elif self._linger_until == math.inf:
            self._linger_until = self._clock() + _LINGER_SECONDS

    def _hand_over(self) -> None:
        self._linger_until = math.inf
        is_behind = self.queue.is_half_full
        while self._batches < _MAX_BATCHES and (batch := self.queue.take_batch()):
            if not self._batches:
                self._waiting_since = self._clock()
            self._batches += 1
            self._disk.write(batch, functools.partial(self._on_written, batch), is_behind=is_behind)

    def _on_written(self, batch: list[QueuedRange], report: WriteReport) -> None:
        now = self._clock()
        self._batches -= 1
        self._waiting_since = now if self._batches else math.inf
        self.queue.finish(batch)
        error = report.error
        if error is None:
            if self.breaker.note_answer(now):
                self._on_change(self.breaker)
        else:
            self._counters.note_error("write", error)
            refused = isinstance(error, OSError) and error.errno in _REFUSALS
            severity = Severity.WHOLE if refused else Severity.SINGLE
            self._note_failure(now, f"cannot be written ({error})", severity)
        # One check of an object is enough, however many of its chunks are complete now.
        for queued in {each.identity: each for each in report.complete}.values():
            self._disk.check(queued)
        for queued in report.differing:
            self._disk.report_difference(queued)
        self._recall_missed()
        if self.queue and not self._is_stopped:
            self._hand_over_later()
        else:
            self._hand_over()
        if self._on_idle is not None and self.is_idle:
            self._on_idle()

    def _note_failure(self, now: float, reason: str, severity: Severity = Severity.WHOLE) -> None:
        if self.breaker.note_failure(now, reason, severity):
            self._counters.disk_cache_pauses += 1
            self._on_change(self.breaker)
        if not self.breaker.is_closed:
            self.drop(lambda _: True)
