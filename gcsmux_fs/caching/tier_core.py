"""Decides for each range which bytes come from the disk and which from the service; sans-IO.

Theory of operation. A range is *reading* while a thread looks for it on the disk. What the disk
does not have is requested from the service, all parts in one turn, so that they travel in one
message. Bytes from the service are passed to `keep`, which writes them behind the reader. The disk
is a port (`DiskReads`), whose answers come as calls.

Each range has one bounded attempt on the disk. If the answer does not come in time, the whole range
is requested from the service, and a late answer is ignored. The breaker leaves a failing disk
alone. While it is not closed, every range goes to the service at once.

Invariants:

1. The callback of a range is called once, and never during `request`. It is not called after the
   range was cancelled.
2. A range waits for the disk for at most `ATTEMPT_SECONDS`. A failure of the disk is never the
   answer to a range.
3. Only bytes that the disk does not have are requested from the service, except after a failure.
4. While the breaker is not closed, no range waits for the disk.
5. A cancelled range leaves nothing in flight, except for a call in a thread, which cannot be
   interrupted.
"""

from __future__ import annotations

import errno
import functools
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from gcsmux_fs.caching.chunk_format import CHUNK_BYTES, GRANULE_BYTES, identity_of
from gcsmux_fs.caching.chunk_store import Presence
from gcsmux_fs.caching.disk_breaker import Breaker, BreakerState, Severity
from gcsmux_fs.caching.tier_range import TierRange, missing_parts
from gcsmux_fs.caching.write_queue import QueuedRange
from gcsmux_fs.model.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.caching.tier_counters import TierCounters
    from gcsmux_fs.metrics.histogram import Histogram
    from gcsmux_fs.model.values import FinalContent, ObjectKey
    from gcsmux_fs.reading.range_source import RangeSource, RangeTicket

    Parts = Sequence[tuple[int, memoryview]]

__all__ = ["ATTEMPT_SECONDS", "DiskJob", "DiskReads", "TierCore"]

ATTEMPT_SECONDS = 0.5
"""The longest time that a range waits for the disk. A disk that works answers within milliseconds.
The block cache has 16 MiB in flight for one reader, which a disk of 100 MB/s reads in 0.16 s."""

_INSTANT_BYTES = 256 * 1024
"""Shorter ranges are read on trio's thread, if the kernel has them in memory. To read and check
256 KiB takes about as long as to wake a thread (50 us)."""

_KNOWN_OBJECTS = 4096
"""Number of object generations whose identity is remembered; they take 1.5 MiB of memory."""

# A copy of an enum member, because a lookup in the enum is slower than a module variable.
_CLOSED = BreakerState.CLOSED

_FATAL_ERRORS = {errno.EBADF, errno.ENODEV, errno.ENOTCONN, errno.ENXIO, errno.ESTALE}


class DiskJob(Protocol):
    """A call that waits for a thread, or that a thread runs."""

    def cancel(self) -> None:
        """Skip the call, if no thread has begun it."""


class DiskReads(Protocol):
    """The disk, as far as it is read."""

    def read_now(
        self, identity: bytes, size: int, offset: int, length: int
    ) -> memoryview | Presence:
        """Return verified bytes if all of them are in memory; never blocks."""

    def is_absent_now(self, identity: bytes, size: int, offset: int, length: int) -> bool:
        """Return whether no byte of a range is on the disk, as far as that is known."""

    def read(
        self,
        identity: bytes,
        size: int,
        offset: int,
        length: int,
        answer: Callable[[Parts | Exception], None],
    ) -> DiskJob:
        """Read in a thread. Later, `answer` gets the verified parts in order, or the error."""

    def touch(self, chunk: tuple[bytes, int]) -> None:
        """Note a hit of a chunk: the identity of the object, and the number of the chunk."""


class TierCore:
    """The reads of one mount.

    Args:
        source: fetches from the service.
        service: which service that is (`service_of`).
        disk: the disk.
        keep: takes bytes from the service, to write them later.
        counters: what the metrics show.
        read_seconds: the times from a question to the answer of a thread that reads the disk.
        clock: returns the time in seconds.
        call_soon: runs a function in the next turn.
        on_change: called when the breaker opens or closes.
    """

    def __init__(
        self,
        source: RangeSource,
        service: str,
        disk: DiskReads,
        keep: Callable[[QueuedRange], None],
        counters: TierCounters,
        read_seconds: Histogram,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
        on_change: Callable[[Breaker], None],
    ) -> None:
        self.breaker = Breaker()
        self._source = source
        self._service = service
        self._disk = disk
        self._read_now = disk.read_now
        self._touch = disk.touch
        self._keep = keep
        self._counters = counters
        self._read_seconds = read_seconds
        self._clock = clock
        self._call_soon = call_soon
        self._on_change = on_change
        # The ranges that wait for the disk, the oldest first, so the first has the next deadline.
        self._reading: OrderedDict[TierRange, DiskJob] = OrderedDict()
        self._answered_at = -math.inf
        # The answer to the probe is not late before this time.
        self._probe_deadline = math.inf
        self._is_probe_running = False
        # The last range that `read_now` could not return, and why.
        self._last_presence: tuple[bytes, int, int, Presence] | None = None
        self._identities: OrderedDict[ObjectKey, tuple[bytes, int]] = OrderedDict()
        # The arguments and the result of the last call of `_identity`.
        self._last_key: ObjectKey | None = None
        self._last_size = 0
        self._last_identity = b""

    @property
    def ranges_reading(self) -> int:
        """Number of ranges that wait for the disk."""
        return len(self._reading)

    @property
    def next_deadline(self) -> float:
        """The time at which `expire` has something to do."""
        for wanted in self._reading:
            return min(self._probe_deadline, wanted.requested_at + ATTEMPT_SECONDS)
        return self._probe_deadline

    def known_objects(self) -> list[tuple[ObjectKey, bytes, int]]:
        """Return key, identity and size of the object generations of the last requests."""
        return [(key, *known) for key, known in self._identities.items()]

    def known_object(
        self, key: ObjectKey, known_size: Callable[[], int | None]
    ) -> tuple[bytes, int] | None:
        """Return identity and size of an object generation; None if its size is unknown.

        `known_size` returns the size, or None.
        """
        known = self._identities.get(key)
        if known is not None or (size := known_size()) is None:
            return known
        return identity_of(key, size, self._service), size

    def read_now(
        self, key: ObjectKey, offset: int, length: int, final: FinalContent | None
    ) -> memoryview | None:
        """Return bytes that the kernel has in memory; see `LowerTier.read_now`."""
        if final is None or self.breaker.state is not _CLOSED:
            return None
        size = final.size
        skipped = offset % GRANULE_BYTES
        whole = skipped + length
        whole += -whole % GRANULE_BYTES
        start = offset - skipped
        if start + whole > size:
            whole = size - start
        # To look the key up takes longer than to compare it with the last one.
        if key is self._last_key and size == self._last_size:
            identity = self._last_identity
        else:
            identity = self._identity(key, size)
        found = self._read_now(identity, size, start, whole)
        if isinstance(found, Presence):
            # The same range is requested next, so remember the answer.
            self._last_presence = identity, start, whole, found
            return None
        # The same as `_note_hit`, without a call.
        counters = self._counters
        counters.disk_cache_hits += 1
        counters.disk_cache_hit_bytes += length
        self._touch((identity, start // CHUNK_BYTES))
        return found if length == whole else found[skipped : skipped + length]

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        final: FinalContent | None,
    ) -> RangeTicket:
        """Request a range; see `RangeSource.request`."""
        if final is None or not _is_cacheable(offset, length, final.size):
            return self._source.request(key, offset, length, done, final=final)
        identity = self._identity(key, final.size)
        wanted = TierRange(key, identity, offset, length, final, done, self._on_cancel)
        wanted.requested_at = self._clock()
        if not self.breaker.is_closed:
            self._counters.disk_cache_bypasses += 1
            self._probe_if_due(wanted)
            self._fetch(wanted, [(offset, offset + length)])
            return wanted
        if length <= _INSTANT_BYTES:
            found = self._find_now(wanted)
            if isinstance(found, memoryview):
                self._note_hit(identity, offset, length)
                self._call_soon(functools.partial(wanted.finish, found))
                return wanted
            is_absent = found is Presence.ABSENT
        else:
            is_absent = self._disk.is_absent_now(identity, final.size, offset, length)
        if is_absent:
            self._counters.disk_cache_misses += 1
            self._fetch(wanted, [(offset, offset + length)])
            return wanted
        self._reading[wanted] = self._read(wanted, self._on_answer)
        return wanted

    def expire(self) -> None:
        """Fetch the ranges that have waited for the disk for too long."""
        now = self._clock()
        if now >= self._probe_deadline:
            self._probe_deadline = math.inf
            self._note_failure(now, _silence(), Severity.WHOLE)
        late: list[TierRange] = []
        for wanted in self._reading:
            if now < wanted.requested_at + ATTEMPT_SECONDS:
                break
            late.append(wanted)
        if late:
            self._counters.disk_cache_timeouts += len(late)
            # If the disk has answered other ranges meanwhile, it is slow, but it works.
            hangs = self._answered_at <= late[0].requested_at
            self._give_up(late)
            self._note_failure(now, _silence(), Severity.WHOLE if hangs else Severity.SINGLE)

    def _find_now(self, wanted: TierRange) -> memoryview | Presence:
        """Ask the disk for a short range, unless it has just said that it cannot answer at once."""
        last, self._last_presence = self._last_presence, None
        if last is not None and last[:3] == (wanted.identity, wanted.offset, wanted.length):
            return last[3]
        return self._disk.read_now(wanted.identity, wanted.final.size, wanted.offset, wanted.length)

    def _identity(self, key: ObjectKey, size: int) -> bytes:
        known = self._identities.get(key)
        if known is None or known[1] != size:
            known = self._identities[key] = identity_of(key, size, self._service), size
            if len(self._identities) > _KNOWN_OBJECTS:
                self._identities.popitem(last=False)
        self._last_key, self._last_size, self._last_identity = key, size, known[0]
        return known[0]

    def _read(
        self, wanted: TierRange, answer: Callable[[TierRange, Parts | Exception], None]
    ) -> DiskJob:
        return self._disk.read(
            wanted.identity,
            wanted.final.size,
            wanted.offset,
            wanted.length,
            functools.partial(answer, wanted),
        )

    def _on_answer(self, wanted: TierRange, answer: Parts | Exception) -> None:
        now = self._answered_at = self._clock()
        is_late = self._reading.pop(wanted, None) is None
        self._read_seconds.observe(now - wanted.requested_at)
        parts: Parts = ()
        if isinstance(answer, Exception):
            self._note_error(now, answer)
        else:
            parts = answer
            self._note_answer(now)
        if not is_late:
            self._use(wanted, parts)

    def _use(self, wanted: TierRange, parts: Parts) -> None:
        """Answer a range from its parts on the disk, and fetch the others."""
        found_bytes = sum([len(content) for _, content in parts])
        if not found_bytes:
            self._counters.disk_cache_misses += 1
            self._fetch(wanted, [(wanted.offset, wanted.offset + wanted.length)])
            return
        if found_bytes == wanted.length:
            self._note_hit(wanted.identity, wanted.offset, wanted.length)
            if len(parts) == 1:
                wanted.finish(parts[0][1])
            else:
                wanted.finish(memoryview(b"".join([content for _, content in parts])))
            return
        self._counters.disk_cache_partial_hits += 1
        self._counters.disk_cache_hit_bytes += found_bytes
        self._touch((wanted.identity, wanted.offset // CHUNK_BYTES))
        missing = missing_parts(wanted.offset, wanted.length, parts)
        wanted.begin_join(parts, len(missing))
        self._fetch(wanted, missing)

    def _fetch(self, wanted: TierRange, missing: Sequence[tuple[int, int]]) -> None:
        """Request the missing parts of a range from the service."""
        wanted.tickets = [
            self._source.request(
                wanted.key,
                start,
                end - start,
                functools.partial(self._on_fetched, wanted, start),
                final=wanted.final,
            )
            for start, end in missing
        ]

    def _on_fetched(
        self, wanted: TierRange, offset: int, result: memoryview | StorageError
    ) -> None:
        if isinstance(result, StorageError):
            wanted.finish(result)
            return
        # The reader continues before the bytes are queued.
        if len(result) == wanted.length:
            wanted.finish(result)
        else:
            wanted.add(offset, result)
        if self.breaker.is_closed:
            self._keep(QueuedRange(wanted.identity, wanted.key, wanted.final, offset, result))

    def _on_cancel(self, wanted: TierRange) -> None:
        job = self._reading.pop(wanted, None)
        if job is not None:
            job.cancel()

    def _give_up(self, ranges: Sequence[TierRange]) -> None:
        for wanted in ranges:
            self._reading.pop(wanted).cancel()
            self._fetch(wanted, [(wanted.offset, wanted.offset + wanted.length)])

    def _probe_if_due(self, wanted: TierRange) -> None:
        """Let the disk read a range that is fetched anyway, if it is time for a probe."""
        if not self._is_probe_running and self.breaker.take_probe(wanted.requested_at):
            self._is_probe_running = True
            self._probe_deadline = wanted.requested_at + ATTEMPT_SECONDS
            self._read(wanted, self._on_probe_answer)

    def _on_probe_answer(self, _: TierRange, answer: Parts | Exception) -> None:
        now = self._answered_at = self._clock()
        self._is_probe_running = False
        self._probe_deadline = math.inf
        if isinstance(answer, Exception):
            self._note_error(now, answer)
        elif answer:
            self._note_answer(now)
        elif self.breaker.note_empty_probe(now):
            self._on_change(self.breaker)

    def _note_hit(self, identity: bytes, offset: int, length: int) -> None:
        counters = self._counters
        counters.disk_cache_hits += 1
        counters.disk_cache_hit_bytes += length
        self._touch((identity, offset // CHUNK_BYTES))

    def _note_answer(self, now: float) -> None:
        if self.breaker.note_answer(now):
            self._on_change(self.breaker)

    def _note_error(self, now: float, error: Exception) -> None:
        self._counters.note_error("read", error)
        is_fatal = isinstance(error, OSError) and error.errno in _FATAL_ERRORS
        severity = Severity.WHOLE if is_fatal else Severity.SINGLE
        self._note_failure(now, f"cannot be read ({error})", severity)

    def _note_failure(self, now: float, reason: str, severity: Severity) -> None:
        if self.breaker.note_failure(now, reason, severity):
            self._counters.disk_cache_pauses += 1
            self._on_change(self.breaker)
            self._give_up(list(self._reading))


def _is_cacheable(offset: int, length: int, size: int) -> bool:
    """Return whether a range consists of whole granules of one chunk."""
    end = offset + length
    return (
        not offset % GRANULE_BYTES
        and (not end % GRANULE_BYTES or end == size)
        and offset // CHUNK_BYTES == (end - 1) // CHUNK_BYTES
        and end <= size
    )


def _silence() -> str:
    return f"has not answered within {ATTEMPT_SECONDS:g} s"
