"""Decides which chunks the cache on disk keeps: S3-FIFO; sans-IO.

Theory of operation, after Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 23):
a new chunk enters the *small* queue, which holds a tenth of the bytes. When it leaves the small
queue, a chunk that was used again moves to the *main* queue, and any other chunk is evicted. The
*ghosts* are the chunks that were evicted from the small queue most recently: a ghost that returns
enters the main queue at once. A chunk that leaves the main queue starts there again, once for each
use, up to `MAX_USES`. So a walk over more than the cache holds passes through the small queue only.

A program reads a chunk in pieces, within a short time. These accesses are one use: a chunk counts a
use only if `SAME_USE_SECONDS` have passed since the last one or since the chunk was created.

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

SAME_USE_SECONDS = 10
"""Accesses to a chunk within this time are one use."""

MIN_GHOSTS = 64
"""Number of ghosts that are kept even if there are fewer chunks."""


@dataclass(slots=True)
class CachedChunk:
    """A chunk on disk.

    Attributes:
        size: disk space in bytes.
        used_at: time in seconds of the last counted use, at first of the creation.
        uses: number of uses since the chunk entered its queue, at most `MAX_USES`.
    """

    size: int
    used_at: int
    uses: int = 0


class EvictionQueues:
    """The queues of a set of chunks.

    Attributes:
        small: the small queue, oldest first.
        main: the main queue, oldest first.
        ghosts: the chunks that were evicted from the small queue, oldest first.
    """

    __slots__ = ("ghosts", "main", "main_bytes", "small", "small_bytes")

    def __init__(self) -> None:
        self.small: dict[ChunkId, CachedChunk] = {}
        self.main: dict[ChunkId, CachedChunk] = {}
        self.ghosts: dict[ChunkId, None] = {}
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

    def put(self, chunk: ChunkId, size: int, now: int) -> None:
        """Note the disk space of a chunk, which may be new."""
        if (known := self.small.get(chunk)) is not None:
            self.small_bytes += size - known.size
            known.size = size
        elif (known := self.main.get(chunk)) is not None:
            self.main_bytes += size - known.size
            known.size = size
        elif chunk in self.ghosts:
            del self.ghosts[chunk]
            self.main[chunk] = CachedChunk(size, now)
            self.main_bytes += size
        else:
            self.small[chunk] = CachedChunk(size, now)
            self.small_bytes += size

    def use(self, chunk: ChunkId, now: int) -> None:
        """Note an access to a chunk. A chunk that is not in a queue is ignored."""
        known = self.small.get(chunk) or self.main.get(chunk)
        # The clock may have been set back.
        if known is not None and abs(now - known.used_at) >= SAME_USE_SECONDS:
            known.used_at = now
            known.uses = min(known.uses + 1, MAX_USES)

    def remove(self, chunk: ChunkId) -> None:
        """Forget a chunk whose file no longer exists."""
        if (known := self.small.pop(chunk, None)) is not None:
            self.small_bytes -= known.size
        elif (known := self.main.pop(chunk, None)) is not None:
            self.main_bytes -= known.size

    def evict(self, target_bytes: int) -> Iterator[ChunkId]:
        """Remove chunks from the queues and yield them, until `target_bytes` or fewer are left."""
        small_target = target_bytes * SMALL_SHARE
        while self.total_bytes > target_bytes:
            if self.small and (self.small_bytes > small_target or not self.main):
                chunk = next(iter(self.small))
                known = self.small.pop(chunk)
                self.small_bytes -= known.size
                if known.uses:
                    known.uses = 0
                    self.main[chunk] = known
                    self.main_bytes += known.size
                    continue
                self._add_ghost(chunk)
            else:
                chunk = next(iter(self.main))
                known = self.main.pop(chunk)
                if known.uses:
                    known.uses -= 1
                    self.main[chunk] = known
                    continue
                self.main_bytes -= known.size
            yield chunk

    def _add_ghost(self, chunk: ChunkId) -> None:
        self.ghosts[chunk] = None
        while len(self.ghosts) > max(MIN_GHOSTS, len(self)):
            del self.ghosts[next(iter(self.ghosts))]
