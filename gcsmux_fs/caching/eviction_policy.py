"""Decides which chunks the cache on disk keeps; sans-IO.

Theory of operation. The queues are those of S3-FIFO (Yang et al., "FIFO queues are all you need for
cache eviction", SOSP 23). A new chunk enters the *small* queue, which holds a tenth of the bytes.
The *main* queue holds the rest. A chunk that reaches the end of the main queue starts there again,
once for each use, up to `MAX_USES`. *Ghosts* are chunks that were evicted most recently.

S3-FIFO moves each chunk that was used again to the main queue. If a program reads more than the
cache holds again and again, as training does in each epoch, this replaces chunks by others that are
used as often, just before their next use. So here a chunk that leaves the small queue has to be
better than the oldest chunk of the main queue. It is better if its uses are closer together, or if
the other chunk was not used for long (`_is_better`). The ghosts keep these times. While the main
queue has room, all chunks enter it.

A chunk that was never used again is better only than a chunk that was never used again either, and
that is much older: it dates from a time before the cache was filled at the present speed. So the
remains of last week do not keep the files of today out.

So a walk over more than the cache holds passes through the small queue only, and epochs over more
than the cache holds find the same part of the files each time. On recorded traces the hit rate is
close to that of S3-FIFO or higher, for epochs up to three times as high (docs/PERFORMANCE.md).

A program reads a chunk in pieces, within a short time. Accesses within `SAME_USE_SECONDS` are one
use.

Invariants that the tests name:

P1. A chunk is in one queue at most, and a ghost is in no queue.
P2. `small_bytes` and `main_bytes` are the sums of the sizes in the queues.
P3. `evict` stops as soon as the remaining bytes are at most the target.
P4. There are at most as many ghosts as chunks, but at least `MIN_GHOSTS` are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.caching.chunk_format import ChunkId

__all__ = ["MAX_USES", "MIN_GHOSTS", "SAME_USE_SECONDS", "CachedChunk", "EvictionQueues"]

SMALL_SHARE = 0.1
"""Share of the bytes that the small queue may hold while the cache is full. The paper recommends
10 %, and found no large differences between 5 % and 20 %."""

MAX_USES = 3
"""Further uses of a chunk are not counted. The paper uses two bits."""

SAME_USE_SECONDS = 5
"""Accesses to a chunk within this time are one use. Between 0 and 30 s, the hit rates on the
recorded traces differ by less than 3 %."""

MIN_GHOSTS = 4096
"""Number of ghosts that are kept even if there are fewer chunks. They need 112 KiB. If files of
three times the size of the cache are read again and again, ghosts for twice the cache are needed to
see that they are used again."""

_IDLE_FACTOR = 2
"""A chunk is better than another one that has been idle this many times as long as it takes itself
until its next use. In an epoch in random order, the idle time of a chunk that will be used again
soon is up to twice the length of the epoch."""

_INTERVAL_FACTOR = 1.5
"""A chunk is better than another one whose uses are this many times as far apart."""

_STALE_FACTOR = 40
"""A chunk that was never used again is replaced by a new one, if it has been idle this many times
as long as the new one was in the small queue. At the speed of that time, four times the cache is
written in this time. So epochs over up to four times the cache keep their chunks from the first
epoch on."""

_RIVALS = 4
"""Number of old chunks among which a chunk that was never used again looks for a worse one. Between
1 and 16, the hit rates on the recorded traces are the same."""


@dataclass(slots=True)
class CachedChunk:
    """A chunk on disk, or a ghost.

    Attributes:
        size: disk space in bytes.
        used_at: time in seconds of the last use, at first of the creation.
        interval: seconds between two uses, on average, with half of the weight on the last ones; 0
            if the chunk was never used again.
        uses: number of uses since the chunk entered its queue, at most `MAX_USES`.
    """

    size: int
    used_at: int
    interval: int = 0
    uses: int = 0

    def note_use(self, now: int) -> None:
        """Count an access, if it is a use."""
        # The absolute value, because the clock may have been set back.
        interval = abs(now - self.used_at)
        if interval >= SAME_USE_SECONDS:
            self.interval = (self.interval + interval) // 2 if self.interval else interval
            self.used_at = now
            self.uses = min(self.uses + 1, MAX_USES)


class EvictionQueues:
    """The queues of a set of chunks.

    Attributes:
        small: the small queue, oldest first.
        main: the main queue, oldest first.
        ghosts: the chunks that were evicted, oldest first.
    """

    __slots__ = ("ghosts", "main", "main_bytes", "small", "small_bytes")

    def __init__(self) -> None:
        self.small: dict[ChunkId, CachedChunk] = {}
        self.main: dict[ChunkId, CachedChunk] = {}
        self.ghosts: dict[ChunkId, CachedChunk] = {}
        self.small_bytes = 0
        self.main_bytes = 0

    def __len__(self) -> int:
        return len(self.small) + len(self.main)

    def __contains__(self, chunk: ChunkId) -> bool:
        return chunk in self.small or chunk in self.main

    def __repr__(self) -> str:
        return f"<EvictionQueues small={len(self.small)} main={len(self.main)}>"

    def __iter__(self) -> Iterator[ChunkId]:
        yield from self.small
        yield from self.main

    @property
    def total_bytes(self) -> int:
        """Disk space of all chunks."""
        return self.small_bytes + self.main_bytes

    def size_of(self, chunk: ChunkId) -> int | None:
        """Return the disk space of a chunk; None if the chunk is in no queue."""
        known = self.main.get(chunk) or self.small.get(chunk)
        return None if known is None else known.size

    def put(self, chunk: ChunkId, size: int, now: int) -> None:
        """Note the disk space of a chunk, which may be new."""
        if (known := self.main.get(chunk)) is not None:
            self.main_bytes += size - known.size
        elif (known := self.small.get(chunk)) is not None:
            self.small_bytes += size - known.size
        else:
            known = self.ghosts.pop(chunk, None) or CachedChunk(size, now)
            known.note_use(now)
            self.small[chunk] = known
            self.small_bytes += size
        known.size = size

    def use(self, chunk: ChunkId, now: int) -> None:
        """Note an access to a chunk. A chunk that is not in a queue is ignored."""
        known = self.small.get(chunk) or self.main.get(chunk)
        if known is not None:
            known.note_use(now)

    def remove(self, chunk: ChunkId) -> None:
        """Forget a chunk whose file no longer exists."""
        if (known := self.small.pop(chunk, None)) is not None:
            self.small_bytes -= known.size
        elif (known := self.main.pop(chunk, None)) is not None:
            self.main_bytes -= known.size

    def evict(self, target_bytes: int, now: int) -> Iterator[ChunkId]:
        """Remove chunks from the queues and yield them, until `target_bytes` or fewer are left."""
        small_target = target_bytes * SMALL_SHARE
        while self.total_bytes > target_bytes:
            if self.small and (self.small_bytes > small_target or not self.main):
                evicted = self._leave_small(target_bytes - small_target, now)
            else:
                evicted = self._leave_main()
            if evicted is not None:
                yield evicted

    def _leave_small(self, main_target: float, now: int) -> ChunkId | None:
        """Take the oldest chunk out of the small queue; return the chunk that is evicted."""
        chunk = next(iter(self.small))
        known = self.small.pop(chunk)
        self.small_bytes -= known.size
        if self.main_bytes + known.size <= main_target:
            self._enter_main(chunk, known)
            return None
        for _ in range(min(1 if known.interval else _RIVALS, len(self.main))):
            oldest = next(iter(self.main))
            other = self.main.pop(oldest)
            if _is_better(known, other, now):
                self.main_bytes -= other.size
                self._enter_main(chunk, known)
                self._add_ghost(oldest, other)
                return oldest
            self.main[oldest] = other
        self._add_ghost(chunk, known)
        return chunk

    def _leave_main(self) -> ChunkId | None:
        """Evict the oldest chunk of the main queue, or move it to the start."""
        chunk = next(iter(self.main))
        known = self.main.pop(chunk)
        if known.uses:
            known.uses -= 1
            self.main[chunk] = known
            return None
        self.main_bytes -= known.size
        self._add_ghost(chunk, known)
        return chunk

    def _enter_main(self, chunk: ChunkId, known: CachedChunk) -> None:
        known.uses = 0
        self.main[chunk] = known
        self.main_bytes += known.size

    def _add_ghost(self, chunk: ChunkId, known: CachedChunk) -> None:
        known.uses = 0
        self.ghosts[chunk] = known
        while len(self.ghosts) > max(MIN_GHOSTS, len(self)):
            del self.ghosts[next(iter(self.ghosts))]


def _is_better(chunk: CachedChunk, other: CachedChunk, now: int) -> bool:
    """Return whether `chunk` will probably be used before `other`, by a clear margin."""
    idle = now - other.used_at
    since = max(1, now - chunk.used_at)
    if not chunk.interval:
        return not other.interval and idle > since * _STALE_FACTOR
    interval = max(chunk.interval, since)
    return interval * _IDLE_FACTOR < idle or interval * _INTERVAL_FACTOR < other.interval
