"""The ranges of one object that have not ended, and the read ids that were abandoned.

A range is *unsent* until a message requests it, and *in flight* until its answer is complete.

Invariants:
1. A range that has not ended is in exactly one place: unsent (its `read_id` is 0), or in flight
   under its `read_id`. Ranges in flight that become unsent again come before all other unsent
   ranges, in their old order.
2. Each read id is used for one request only.
3. A read id is *abandoned* when its range is cancelled or requeued while the stream continues. The
   read id stays abandoned until the server has sent the end of the range or the stream has ended.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from gcsmux_fs.mux.assembly import RangeAssembly
from gcsmux_fs.storage.ports import RangeRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.storage.ports import Chunk

    OutcomeCallback = Callable[[memoryview | StorageError], None]

__all__ = ["PendingRange", "RangeTable"]

# Maximum number of ranges in one message. The service sets this limit in the comment on
# BidiReadObjectRequest.read_ranges in storage.proto.
_MAX_RANGES_PER_MESSAGE = 100

# The value of `received_at_scan` for a range that was not in flight during the last scan.
_NOT_SCANNED = -1


class PendingRange(RangeAssembly):
    """A range that a reader waits for.

    Attributes:
        done: the callback; the driver calls it with the bytes or the error.
        covers_object: whether the range is the whole object.
        reaches_end: whether the range ends where its object ends, and the object does not grow.
        read_id: the read id under which the range is in flight; 0 while the range is unsent.
        bad_answers: number of bad answers in a row.
        furthest: the highest value that `received` has had; a corrupt chunk lowers `received`.
        received_at_scan: the value of `received` during the last scan for silent ranges.
        live: True until the range ends.
    """

    __slots__ = (
        "bad_answers",
        "covers_object",
        "done",
        "furthest",
        "live",
        "reaches_end",
        "read_id",
        "received_at_scan",
    )

    def __init__(
        self,
        offset: int,
        length: int,
        done: OutcomeCallback,
        *,
        covers_object: bool = False,
        reaches_end: bool = False,
    ) -> None:
        super().__init__(offset, length)
        self.done = done
        self.covers_object = covers_object
        self.reaches_end = reaches_end
        self.read_id = 0
        self.bad_answers = 0
        self.furthest = 0
        self.received_at_scan = _NOT_SCANNED
        self.live = True


class RangeTable:
    """The ranges of one object; `len` counts the ranges that have not ended."""

    __slots__ = ("_abandoned", "_next_read_id", "_on_wire", "_unsent", "_youngest_answered")

    def __init__(self) -> None:
        # An OrderedDict removes an entry in constant time. This matters because thousands of
        # readers may cancel their ranges at the same moment.
        self._unsent: OrderedDict[PendingRange, None] = OrderedDict()
        self._on_wire: dict[int, PendingRange] = {}
        # The first offset after each abandoned range, by read id. A chunk that reaches this offset
        # counts as the last chunk for the read id, because a server may omit the mark for the end
        # of a range.
        self._abandoned: dict[int, int] = {}
        self._next_read_id = 1
        # The highest read id that has received bytes.
        self._youngest_answered = 0

    def __len__(self) -> int:
        return len(self._on_wire) + len(self._unsent)

    @property
    def on_wire(self) -> int:
        """Number of ranges in flight."""
        return len(self._on_wire)

    @property
    def unsent(self) -> int:
        """Number of unsent ranges."""
        return len(self._unsent)

    @property
    def abandoned(self) -> int:
        """Number of abandoned read ids."""
        return len(self._abandoned)

    @property
    def only_covers_object(self) -> bool:
        """Whether the only range in the table is in flight and covers its object."""
        return len(self) == 1 and all(pending.covers_object for pending in self._on_wire.values())

    def all(self) -> list[PendingRange]:
        """Return the ranges that have not ended, the oldest first."""
        return [*self._on_wire.values(), *self._unsent]

    def add(self, pending: PendingRange) -> None:
        """Add a new range as the last of the unsent ranges."""
        self._unsent[pending] = None

    def next_batch(self) -> tuple[RangeRequest, ...]:
        """Put the oldest unsent ranges in flight, at most 100, and return their requests."""
        batch: list[RangeRequest] = []
        while self._unsent and len(batch) < _MAX_RANGES_PER_MESSAGE:
            pending, _ = self._unsent.popitem(last=False)
            pending.read_id = self._next_read_id
            self._next_read_id += 1
            self._on_wire[pending.read_id] = pending
            batch.append(RangeRequest(pending.read_id, pending.next_offset, pending.missing))
        return tuple(batch)

    def find(self, read_id: int) -> PendingRange | None:
        """Return the range that is in flight under `read_id`; None if there is none."""
        return self._on_wire.get(read_id)

    def note_bytes(self, pending: PendingRange) -> None:
        """Record that a range has received bytes, for the next `scan_for_silent`."""
        self._youngest_answered = max(self._youngest_answered, pending.read_id)

    def scan_for_silent(self) -> list[PendingRange]:
        """Return the silent ranges, and remember how many bytes each range has for the next scan.

        A range is silent if it received nothing since the last scan, although a range that was
        requested later received bytes.
        """
        silent: list[PendingRange] = []
        for pending in self._on_wire.values():
            overtaken = pending.read_id < self._youngest_answered
            if pending.received_at_scan == pending.received and overtaken:
                silent.append(pending)
            pending.received_at_scan = pending.received
        return silent

    def is_abandoned(self, read_id: int) -> bool:
        """Return whether `read_id` is abandoned, so that the server may still send bytes for it."""
        return read_id in self._abandoned

    def end(self, pending: PendingRange) -> None:
        """Remove a range that has ended."""
        pending.live = False
        if pending.read_id:
            del self._on_wire[pending.read_id]
        else:
            del self._unsent[pending]

    def abandon(self, pending: PendingRange) -> None:
        """Mark the read id of a range as abandoned."""
        self._abandoned[pending.read_id] = pending.offset + pending.length

    def drop(self, chunk: Chunk) -> None:
        """Handle a chunk that belongs to no range in flight.

        If the chunk is the last chunk of an abandoned read id, forget the read id.
        """
        end = self._abandoned.get(chunk.read_id)
        if end is not None and (chunk.range_end or chunk.offset + len(chunk.content) >= end):
            del self._abandoned[chunk.read_id]

    def requeue(self, pending: PendingRange) -> None:
        """Move a range in flight to the front of the unsent ranges."""
        del self._on_wire[pending.read_id]
        pending.read_id = 0
        pending.received_at_scan = _NOT_SCANNED
        self._unsent[pending] = None
        self._unsent.move_to_end(pending, last=False)

    def requeue_all(self) -> int:
        """Make all ranges in flight unsent again, in their order; return their number."""
        lost = list(self._on_wire.values())
        for pending in reversed(lost):
            self.requeue(pending)
        return len(lost)

    def forget_abandoned(self) -> None:
        """Forget the abandoned read ids, because their stream has ended."""
        self._abandoned.clear()
