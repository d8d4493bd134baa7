"""The ranges of one object that have not ended: not yet sent, on the wire, or abandoned there.

Invariants:
1. A range that has not ended is in exactly one place: unsent (its `read_id` is 0) or on the wire
   (under its `read_id`). Ranges keep their order: what comes back from the wire goes to the front.
2. A read id is never used twice.
3. A read id is *abandoned* from the moment its range is taken off the wire while the stream goes
   on, until the server has sent the last of it or the stream has ended.
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

    Done = Callable[[memoryview | StorageError], None]

__all__ = ["PendingRange", "RangeTable"]

# The service's bound on ranges in one message.
_MAX_RANGES_PER_MESSAGE = 100


# Of a range that was not on the wire when the table was looked through.
_NEVER = -1


class PendingRange(RangeAssembly):
    """A range somebody waits for; `read_id` is 0 while it is not on the wire.

    `done` is carried for the driver, which calls it with what the range ended in. `strikes` counts
    bad answers in a row; `whole` says that the range is all of its object, `last` that the object
    is told to end with it. `furthest` is the most that was ever received: bytes may be taken back.
    `seen` is what had been received when the table was last looked through.
    """

    __slots__ = ("done", "furthest", "last", "live", "read_id", "seen", "strikes", "whole")

    def __init__(
        self, offset: int, length: int, done: Done, *, whole: bool = False, last: bool = False
    ) -> None:
        super().__init__(offset, length)
        self.done = done
        self.whole = whole
        self.last = last
        self.read_id = 0
        self.strikes = 0
        self.furthest = 0
        self.seen = _NEVER
        self.live = True


class RangeTable:
    """See the module's text; its length is the number of ranges that have not ended."""

    __slots__ = ("_abandoned", "_newest_heard", "_next_read_id", "_on_wire", "_unsent")

    def __init__(self) -> None:
        # Ordered, with removal in constant time: thousands of readers may leave at once.
        self._unsent: OrderedDict[PendingRange, None] = OrderedDict()
        self._on_wire: dict[int, PendingRange] = {}
        # To the first offset after the range: a server may forget to mark the end.
        self._abandoned: dict[int, int] = {}
        self._next_read_id = 1
        self._newest_heard = 0

    def __len__(self) -> int:
        return len(self._on_wire) + len(self._unsent)

    @property
    def on_wire(self) -> int:
        """Ranges that the server has been asked for."""
        return len(self._on_wire)

    @property
    def unsent(self) -> int:
        """Ranges that wait to be sent."""
        return len(self._unsent)

    @property
    def abandoned(self) -> int:
        """Ranges that the server may still be sending and nobody wants."""
        return len(self._abandoned)

    @property
    def asks_for_all(self) -> bool:
        """Whether all that is wanted is one range on the wire, which is all of its object."""
        return len(self) == 1 and all(wanted.whole for wanted in self._on_wire.values())

    def all(self) -> list[PendingRange]:
        """Return the ranges that have not ended, the longest asked for first."""
        return [*self._on_wire.values(), *self._unsent]

    def add(self, wanted: PendingRange) -> None:
        """Put a new range behind the unsent ones."""
        self._unsent[wanted] = None

    def next_batch(self) -> tuple[RangeRequest, ...]:
        """Move unsent ranges, as many as one message holds, onto the wire."""
        batch: list[RangeRequest] = []
        while self._unsent and len(batch) < _MAX_RANGES_PER_MESSAGE:
            wanted, _ = self._unsent.popitem(last=False)
            wanted.read_id = self._next_read_id
            self._next_read_id += 1
            self._on_wire[wanted.read_id] = wanted
            batch.append(RangeRequest(wanted.read_id, wanted.next_offset, wanted.missing))
        return tuple(batch)

    def find(self, read_id: int) -> PendingRange | None:
        """Return the range that is on the wire under `read_id`."""
        return self._on_wire.get(read_id)

    def heard(self, wanted: PendingRange) -> None:
        """Note that bytes of a range have come."""
        self._newest_heard = max(self._newest_heard, wanted.read_id)

    def look_through(self) -> list[PendingRange]:
        """Return the ranges that got nothing since the last look, while later ones got bytes."""
        silent: list[PendingRange] = []
        for wanted in self._on_wire.values():
            if wanted.seen == wanted.received and wanted.read_id < self._newest_heard:
                silent.append(wanted)
            wanted.seen = wanted.received
        return silent

    def was_abandoned(self, read_id: int) -> bool:
        """Tell whether the server may still be sending `read_id` for nobody."""
        return read_id in self._abandoned

    def end(self, wanted: PendingRange) -> None:
        """Take a range out for good."""
        wanted.live = False
        if wanted.read_id:
            del self._on_wire[wanted.read_id]
        else:
            del self._unsent[wanted]

    def abandon(self, wanted: PendingRange) -> None:
        """Note that more of a range on the wire may come for nobody."""
        self._abandoned[wanted.read_id] = wanted.offset + wanted.length

    def drop(self, chunk: Chunk) -> None:
        """Take note of a chunk that nobody wants."""
        end = self._abandoned.get(chunk.read_id)
        if end is not None and (chunk.range_end or chunk.offset + len(chunk.content) >= end):
            del self._abandoned[chunk.read_id]

    def requeue(self, wanted: PendingRange) -> None:
        """Take a range off the wire, to be sent again before all others."""
        del self._on_wire[wanted.read_id]
        wanted.read_id = 0
        wanted.seen = _NEVER
        self._unsent[wanted] = None
        self._unsent.move_to_end(wanted, last=False)

    def requeue_all(self) -> int:
        """Take everything off the wire, keeping its order; return how many ranges that were."""
        lost = list(self._on_wire.values())
        for wanted in reversed(lost):
            self.requeue(wanted)
        return len(lost)

    def forget_abandoned(self) -> None:
        """Forget what nobody wanted: its stream has ended."""
        self._abandoned.clear()
