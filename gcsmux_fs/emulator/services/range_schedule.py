"""Which bytes a range means, and which of many ranges is sent next.

The scheduler is sans-IO: time comes in as an argument, slices to send go out. Ranges wait until
they are due, then take turns, one slice of up to 2 MiB each; short ones that end share a message.

Invariants:
1. The slices of a range are gapless, in order, and the last one says so; an empty range has one.
2. No range is sent before it is due.
3. Of the ranges that are due, none gets a second slice before every other has had one.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.rpc_error import RpcError, invalid
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.values import ByteRange

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_CHUNK_BYTES", "FailedRange", "RangeSchedule", "Slice", "cut", "resolve_range"]

# ServiceConstants.MAX_READ_CHUNK_BYTES of the service.
MAX_CHUNK_BYTES = 2 * 1024 * 1024
# Keeps the overhead of a message of many small slices far below the 4 MiB that clients accept.
_MAX_SLICES_PER_MESSAGE = 64


def resolve_range(offset: int, length: int, size: int) -> ByteRange:
    """Return the bytes of an object that a request means.

    A length of 0 goes to the end; a negative offset counts from there and stops at the beginning;
    what passes the end is cut off.
    """
    if length < 0:
        raise RpcError(StatusCode.OUT_OF_RANGE, f"The length {length} is negative")
    if offset > size:
        raise RpcError(
            StatusCode.OUT_OF_RANGE, f"The offset {offset} is past the object's {size} bytes"
        )
    if offset < 0:
        offset = max(0, size + offset)
    rest = size - offset
    return ByteRange(offset, min(length, rest) if length else rest)


def cut(whole: ByteRange, max_bytes: int) -> Iterator[ByteRange]:
    """Yield the pieces of a range, in order; of an empty one, itself."""
    yield ByteRange(whole.offset, min(whole.length, max_bytes))
    for offset in range(whole.offset + max_bytes, whole.end, max_bytes):
        yield ByteRange(offset, min(max_bytes, whole.end - offset))


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of a range to send; `last` says that the range ends with it."""

    read_id: int
    offset: int
    length: int
    last: bool


@dataclass(frozen=True, slots=True)
class FailedRange:
    """A range that cannot be served, whose turn has come."""

    read_id: int
    reason: RpcError


@dataclass(slots=True)
class _Pending:
    read_id: int
    offset: int
    end: int
    failure: RpcError | None = None


class RangeSchedule:
    """The outstanding ranges of one stream.

    `size` is the object's size in bytes as new ranges see it; it may grow between two of them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._outstanding: set[int] = set()
        self._waiting: list[tuple[float, int, _Pending]] = []
        self._order = itertools.count()
        self._turns: deque[_Pending] = deque()

    def __len__(self) -> int:
        return len(self._outstanding)

    def add(
        self, read_id: int, offset: int, length: int, due: float, failure: RpcError | None = None
    ) -> int:
        """Take a range in, to be sent, or to fail, from `due` on; return its size in bytes."""
        if read_id in self._outstanding:
            raise invalid(f"The read_id {read_id} is outstanding already")
        self._outstanding.add(read_id)
        try:
            wanted = resolve_range(offset, length, self.size)
            pending = _Pending(read_id, wanted.offset, wanted.end, failure)
        except RpcError as failure:
            pending = _Pending(read_id, 0, 0, failure)
        heapq.heappush(self._waiting, (due, next(self._order), pending))
        return pending.end - pending.offset

    def next_due(self, now: float) -> float | None:
        """Return when something can be sent: `now` or later; None if nothing is outstanding."""
        if self._turns:
            return now
        return max(now, self._waiting[0][0]) if self._waiting else None

    def take(self, now: float, max_bytes: int) -> list[Slice | FailedRange]:
        """Return the slices of the next message, `max_bytes` of content at most.

        A slice shares its message only with ranges that end in it, so that long ranges keep
        slices of the full size.
        """
        while self._waiting and self._waiting[0][0] <= now:
            self._turns.append(heapq.heappop(self._waiting)[2])
        room = max_bytes
        taken: list[Slice | FailedRange] = []
        while self._turns and len(taken) < _MAX_SLICES_PER_MESSAGE:
            pending = self._turns[0]
            rest = pending.end - pending.offset
            if taken and rest > room:
                break
            self._turns.popleft()
            if pending.failure is not None:
                self._outstanding.discard(pending.read_id)
                taken.append(FailedRange(pending.read_id, pending.failure))
                continue
            length = min(rest, room)
            taken.append(Slice(pending.read_id, pending.offset, length, length == rest))
            pending.offset += length
            room -= length
            if length == rest:
                self._outstanding.discard(pending.read_id)
            else:
                self._turns.append(pending)
                break
        return taken
