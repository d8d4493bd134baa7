"""Holds fetched bytes until a thread has written them to the disk; sans-IO.

Invariants:
1. The bytes in the queue, with those that a thread is writing, never exceed the limit.
2. A range that does not fit is not queued. The ranges before it stay, so that the beginning of what
   a program reads is kept, and not random parts of it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import FinalContent, ObjectKey

__all__ = ["MissedRange", "QueuedRange", "WriteQueue", "queue_limit"]

_MEMORY_DIVISOR = 8
_MIN_QUEUE_BYTES = 4 * 1024 * 1024
_MAX_QUEUE_BYTES = 64 * 1024 * 1024
"""At most an eighth of `--memory`, and 64 MiB: a disk that stops for 50 ms loses nothing at a
network speed of 1.2 GB/s. At least two of the largest ranges."""

_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_RANGES = 64
"""A thread writes a batch of ranges, because each batch costs two wake-ups. The memory of a batch
is free when all of it is written, so it is at most a small part of the queue."""

_ENTRY_BYTES = 1024
"""What one entry takes besides its content: the objects of Python, and the rest of the message of
which the content is a part."""


def queue_limit(memory_bytes: int) -> int:
    """Return the part of the user's memory budget for bytes that wait to be written."""
    return max(_MIN_QUEUE_BYTES, min(memory_bytes // _MEMORY_DIVISOR, _MAX_QUEUE_BYTES))


class QueuedRange(NamedTuple):
    """Fetched bytes of an object generation, and the identity of the generation on disk."""

    identity: bytes
    key: ObjectKey
    final: FinalContent
    offset: int
    content: memoryview

    @property
    def charge(self) -> int:
        """What the range takes of the queue, in bytes."""
        return len(self.content) + _ENTRY_BYTES


class MissedRange(NamedTuple):
    """A range for which the queue had no room, without its bytes."""

    identity: bytes
    key: ObjectKey
    final: FinalContent
    offset: int
    length: int

    def with_content(self, content: memoryview) -> QueuedRange:
        """Return the range with its bytes."""
        return QueuedRange(self.identity, self.key, self.final, self.offset, content)


class WriteQueue:
    """The ranges that wait to be written, the oldest first. `limit` bounds their bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Bytes of the ranges that wait, and of those that are being written.
        self.used = 0
        #: Bytes of the ranges that wait.
        self.waiting_bytes = 0
        self._waiting: deque[QueuedRange] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_half_full(self) -> bool:
        """Whether more than half of the limit is used."""
        return 2 * self.used > self.limit

    def has_room(self, length: int) -> bool:
        """Return whether a range of `length` bytes fits."""
        return self.used + length + _ENTRY_BYTES <= self.limit

    def put(self, queued: QueuedRange) -> None:
        """Add a range, for which there must be room."""
        self.used += queued.charge
        self.waiting_bytes += queued.charge
        self._waiting.append(queued)

    def take_batch(self) -> list[QueuedRange]:
        """Remove and return the next ranges to write. Their bytes count until `finish`."""
        batch: list[QueuedRange] = []
        size = 0
        while self._waiting and len(batch) < _BATCH_RANGES and size < _BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += batch[-1].charge
        self.waiting_bytes -= size
        return batch

    def finish(self, batch: list[QueuedRange]) -> None:
        """Give back the room of a batch that was written, or given up."""
        self.used -= sum([queued.charge for queued in batch])

    def drop(self, matches: Callable[[QueuedRange], bool]) -> int:
        """Drop the waiting ranges that match; return the number of their bytes."""
        dropped = [queued for queued in self._waiting if matches(queued)]
        if dropped:
            self._waiting = deque([queued for queued in self._waiting if not matches(queued)])
            self.finish(dropped)
            self.waiting_bytes -= sum([queued.charge for queued in dropped])
        return sum([len(queued.content) for queued in dropped])
