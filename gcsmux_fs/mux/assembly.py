"""One range while it arrives: chunks in, one contiguous run of bytes out.

Invariants:
1. `received` bytes from the start of the range are delivered, gapless and each once; what comes
   next is at `next_offset`.
2. A chunk is taken only if it matched its checksum and does not begin beyond `next_offset`; what
   it repeats or what it holds beyond the range is cut off.
3. One that did not match takes back what was received from where it begins.
4. A range that came as one chunk is kept as a view of the message, without a copy, unless the
   message holds noticeably more than the range: the memory budget counts the range alone.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.storage.ports import Chunk

__all__ = ["Absorbed", "RangeAssembly"]

# What a view may hold beyond its own bytes: the message's framing, and a sixteenth of the range.
_FRAMING_BYTES = 512
_EXCESS_DIVISOR = 16


class Absorbed(enum.Enum):
    """What a chunk did for its range."""

    PROGRESS = enum.auto()
    NOTHING = enum.auto()
    COMPLETE = enum.auto()
    CORRUPT = enum.auto()
    GAP = enum.auto()
    SHORT = enum.auto()


class RangeAssembly:
    """Collects the bytes of `[offset, offset + length)`."""

    __slots__ = ("_whole", "_written", "length", "offset", "received")

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length
        self.received = 0
        self._whole: memoryview | None = None
        self._written: memoryview | None = None

    @property
    def next_offset(self) -> int:
        """First byte that has not been delivered."""
        return self.offset + self.received

    @property
    def missing(self) -> int:
        """Number of bytes still to come."""
        return self.length - self.received

    def absorb(self, chunk: Chunk) -> Absorbed:
        """Take what is new and sound of a chunk."""
        if not chunk.intact:
            self.received = min(self.received, max(0, chunk.offset - self.offset))
            return Absorbed.CORRUPT
        repeated = self.next_offset - chunk.offset
        if repeated < 0:
            return Absorbed.GAP
        content = chunk.content[repeated : repeated + self.missing]
        if len(content):
            self._store(content, chunk.message_bytes)
        if not self.missing:
            return Absorbed.COMPLETE
        if chunk.range_end:
            return Absorbed.SHORT
        return Absorbed.PROGRESS if len(content) else Absorbed.NOTHING

    def _store(self, content: memoryview, message_bytes: int) -> None:
        if len(content) == self.length:
            excess = message_bytes - self.length
            held_cheaply = excess <= max(_FRAMING_BYTES, self.length // _EXCESS_DIVISOR)
            self._whole = content if held_cheaply else memoryview(bytes(content))
        else:
            if self._written is None:
                self._written = memoryview(bytearray(self.length))
            self._written[self.received : self.received + len(content)] = content
        self.received += len(content)

    def result(self) -> memoryview:
        """Hand over the bytes, read-only, once complete; they are no longer held here."""
        whole = self._whole if self._whole is not None else self._written
        assert whole is not None
        assert not self.missing
        self._whole = self._written = None
        return whole.toreadonly()
