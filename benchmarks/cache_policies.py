"""Policies of eviction to compare with ours: FIFO, LRU, 2Q, S3-FIFO, and the optimum.

A policy sees the chunks of a cache. `put` and `use` note that bytes of a chunk were written or
used, `evict` chooses chunks until the rest is small enough.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Chunk", "Fifo", "Lru", "PlainS3Fifo", "Policy", "TwoQueues", "optimal_hits"]


class Chunk(NamedTuple):
    """Number of the object, number of the chunk."""

    number: int
    chunk: int


class Policy(Protocol):
    """Chooses which chunks to evict."""

    def put(self, chunk: Chunk, size: int, at: float) -> bool:
        """Note the disk space of a chunk after a write; False if the write is dropped."""

    def use(self, chunk: Chunk, at: float) -> None:
        """Note that bytes of a chunk in the cache were used."""

    def evict(self, at: float) -> Iterator[Chunk]:
        """Choose chunks to evict."""


class _Bounded(ABC):
    """Counts the bytes of the chunks of a cache."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.sizes: dict[Chunk, int] = {}
        self.total = 0

    def put(self, chunk: Chunk, size: int, at: float) -> bool:
        if chunk not in self.sizes:
            self.add(chunk)
        self.total += size - self.sizes.get(chunk, 0)
        self.sizes[chunk] = size
        return True

    def evict(self, at: float) -> Iterator[Chunk]:
        while self.total > self.capacity:
            chunk = self.choose()
            self.total -= self.sizes.pop(chunk)
            yield chunk

    @abstractmethod
    def add(self, chunk: Chunk) -> None:
        """Note a new chunk."""

    @abstractmethod
    def choose(self) -> Chunk:
        """Return the chunk to evict, and forget it."""


class Fifo(_Bounded):
    """Evicts the chunk that was created first."""

    def use(self, chunk: Chunk, at: float) -> None:
        pass

    def add(self, chunk: Chunk) -> None:
        pass

    def choose(self) -> Chunk:
        return next(iter(self.sizes))


class Lru(_Bounded):
    """Evicts the chunk that was used least recently."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._order: OrderedDict[Chunk, None] = OrderedDict()

    def put(self, chunk: Chunk, size: int, at: float) -> bool:
        super().put(chunk, size, at)
        self._order.move_to_end(chunk)
        return True

    def use(self, chunk: Chunk, at: float) -> None:
        self._order.move_to_end(chunk)

    def add(self, chunk: Chunk) -> None:
        self._order[chunk] = None

    def choose(self) -> Chunk:
        return self._order.popitem(last=False)[0]


class TwoQueues(_Bounded):
    """2Q, full version (Johnson and Shasha, VLDB 94): a quarter for new chunks, half as ghosts."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._new: OrderedDict[Chunk, None] = OrderedDict()
        self._main: OrderedDict[Chunk, None] = OrderedDict()
        self._ghosts: OrderedDict[Chunk, int] = OrderedDict()

    def use(self, chunk: Chunk, at: float) -> None:
        if chunk in self._main:
            self._main.move_to_end(chunk)

    def add(self, chunk: Chunk) -> None:
        if self._ghosts.pop(chunk, None) is not None:
            self._main[chunk] = None
        else:
            self._new[chunk] = None

    def choose(self) -> Chunk:
        new_bytes = sum(self.sizes[chunk] for chunk in self._new)
        if self._new and (new_bytes > self.capacity / 4 or not self._main):
            chunk = self._new.popitem(last=False)[0]
            self._ghosts[chunk] = self.sizes[chunk]
            while sum(self._ghosts.values()) > self.capacity / 2:
                self._ghosts.popitem(last=False)
            return chunk
        return self._main.popitem(last=False)[0]


class PlainS3Fifo(_Bounded):
    """S3-FIFO as in the paper: each access is a use, two uses lead to the main queue."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._small: OrderedDict[Chunk, int] = OrderedDict()
        self._main: OrderedDict[Chunk, int] = OrderedDict()
        self._ghosts: OrderedDict[Chunk, None] = OrderedDict()

    def use(self, chunk: Chunk, at: float) -> None:
        queue = self._small if chunk in self._small else self._main
        queue[chunk] = min(3, queue[chunk] + 1)

    def add(self, chunk: Chunk) -> None:
        if chunk in self._ghosts:
            del self._ghosts[chunk]
            self._main[chunk] = 0
        else:
            self._small[chunk] = 0

    def choose(self) -> Chunk:
        while True:
            small_bytes = sum(self.sizes[chunk] for chunk in self._small)
            if self._small and (small_bytes > self.capacity / 10 or not self._main):
                chunk, uses = self._small.popitem(last=False)
                if uses > 1:
                    self._main[chunk] = 0
                    continue
                self._ghosts[chunk] = None
                while len(self._ghosts) > max(1, len(self._main)):
                    self._ghosts.popitem(last=False)
                return chunk
            chunk, uses = self._main.popitem(last=False)
            if not uses:
                return chunk
            self._main[chunk] = uses - 1


def optimal_hits(accesses: Sequence[int], capacity: int) -> int:
    """Return the number of hits of Belady's optimum, with pieces of one size.

    A piece that is used later than all pieces in the cache is not kept at all.
    """
    never = len(accesses)
    following = [never] * never
    seen: dict[int, int] = {}
    for place in range(never - 1, -1, -1):
        following[place] = seen.get(accesses[place], never)
        seen[accesses[place]] = place
    kept: dict[int, int] = {}
    latest: list[tuple[int, int]] = []
    hits = 0
    for place, piece in enumerate(accesses):
        hits += piece in kept
        kept[piece] = following[place]
        heapq.heappush(latest, (-following[place], piece))
        while len(kept) > capacity:
            when, candidate = heapq.heappop(latest)
            if kept.get(candidate) == -when:
                del kept[candidate]
    return hits
