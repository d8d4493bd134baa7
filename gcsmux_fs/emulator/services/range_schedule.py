"""Decides which of the requested ranges of a stream is sent next.

This module does no I/O: the caller passes the times of its clock, and the slices to send are return
values. Each range waits until it is due. All ranges that are due take turns: in each turn, a range
gets one slice. A message may hold several slices if each of them ends its range.

Invariants:
1. The slices of a range are in order, without gaps. Only the last slice has `last`. An empty range
   has one empty slice.
2. No slice of a range is sent before the range is due.
3. Before a range that is due gets a second slice, every other range that is due has got its first
   slice.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass

from gcsmux_fs.emulator.buckets.byte_ranges import resolve_range
from gcsmux_fs.emulator.rpc_error import RpcError, invalid

__all__ = ["FailedRange", "RangeSchedule", "Slice"]

# Maximum number of slices in one message. A message of many small slices thus stays far below
# 4 MiB, the message limit of clients.
_MAX_SLICES_PER_MESSAGE = 64


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a range to send. `last`: the range ends with this slice."""

    read_id: int
    offset: int
    length: int
    last: bool


@dataclass(frozen=True, slots=True)
class FailedRange:
    """A range that is due but cannot be sent. `reason`: the error for the client."""

    read_id: int
    reason: RpcError


@dataclass(slots=True)
class _PendingRange:
    """A range that is in flight. `offset` is the offset of its next slice."""

    read_id: int
    offset: int
    end: int
    failure: RpcError | None = None


class RangeSchedule:
    """The ranges of one stream that are in flight: requested, but not yet sent completely.

    `size` is the size of the object in bytes, and may increase. New ranges are cut at this size.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._pending_ids: set[int] = set()
        self._not_due: list[tuple[float, int, _PendingRange]] = []
        self._order = itertools.count()
        self._turns: deque[_PendingRange] = deque()

    def __len__(self) -> int:
        return len(self._pending_ids)

    def add(
        self, read_id: int, offset: int, length: int, due: float, failure: RpcError | None = None
    ) -> int:
        """Add a range that becomes due at the time `due`. Return its length in bytes.

        If `failure` is given, the range is not sent but fails with this error when it is due.

        Raises:
            RpcError: a range with this read_id is already in flight (INVALID_ARGUMENT).
        """
        if read_id in self._pending_ids:
            raise invalid(f"A range with read_id {read_id} is already in flight.")
        self._pending_ids.add(read_id)
        try:
            byte_range = resolve_range(offset, length, self.size)
            pending = _PendingRange(read_id, byte_range.offset, byte_range.end, failure)
        except RpcError as out_of_range:
            pending = _PendingRange(read_id, 0, 0, out_of_range)
        heapq.heappush(self._not_due, (due, next(self._order), pending))
        return pending.end - pending.offset

    def next_due(self, now: float) -> float | None:
        """Return the time, `now` or later, of the next slice; None if no range is in flight."""
        if self._turns:
            return now
        return max(now, self._not_due[0][0]) if self._not_due else None

    def take(self, now: float, max_bytes: int) -> list[Slice | FailedRange]:
        """Return the slices of the next message, with at most `max_bytes` of content.

        Several slices share a message only if each of them ends its range. A slice that does not
        end its range is therefore alone in its message.
        """
        while self._not_due and self._not_due[0][0] <= now:
            self._turns.append(heapq.heappop(self._not_due)[2])
        room = max_bytes
        taken: list[Slice | FailedRange] = []
        while self._turns and len(taken) < _MAX_SLICES_PER_MESSAGE:
            pending = self._turns[0]
            rest = pending.end - pending.offset
            if taken and rest > room:
                break
            self._turns.popleft()
            if pending.failure is not None:
                self._pending_ids.discard(pending.read_id)
                taken.append(FailedRange(pending.read_id, pending.failure))
                continue
            length = min(rest, room)
            taken.append(Slice(pending.read_id, pending.offset, length, length == rest))
            pending.offset += length
            room -= length
            if length == rest:
                self._pending_ids.discard(pending.read_id)
            else:
                self._turns.append(pending)
                break
        return taken
