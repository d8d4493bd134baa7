"""Assembles the chunks of one range into one contiguous run of bytes; sans-IO.

Invariants:
1. The first `received` bytes of the range are stored, each once and without a gap. The first
   missing byte is at `next_offset`.
2. A chunk is stored only if it matches its checksum and does not begin after `next_offset`. Bytes
   that are stored already, and bytes beyond the range, are cut off.
3. If a chunk does not match its checksum, the stored bytes from the chunk's offset on are
   discarded.
4. A range that arrives in one chunk is kept as a view of the received message, without a copy. If
   the message is noticeably larger than the range, the range is copied instead, because the view
   would keep the whole message in memory and the memory budget counts only the range.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.storage.ports import Chunk

__all__ = ["Absorbed", "RangeAssembly"]

# A range that is kept as a view keeps the whole message in memory. Therefore the range is copied if
# the message is larger than the range by more than 512 bytes (the framing) and by more than one
# sixteenth of the range.
_FRAMING_BYTES = 512
_EXCESS_DIVISOR = 16


class Absorbed(enum.Enum):
    """The effect of a chunk on its range."""

    #: New bytes are stored.
    PROGRESS = enum.auto()
    #: The chunk held no new byte.
    NOTHING = enum.auto()
    #: The range is complete.
    COMPLETE = enum.auto()
    #: The chunk did not match its checksum.
    CORRUPT = enum.auto()
    #: The chunk begins after the first missing byte.
    GAP = enum.auto()
    #: The server ended the range before its last byte.
    SHORT = enum.auto()


class RangeAssembly:
    """Collects the bytes of the range `[offset, offset + length)`."""

    __slots__ = ("_buffer", "_complete", "length", "offset", "received")

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length
        #: Number of stored bytes; the stored bytes begin at the start of the range.
        self.received = 0
        # All bytes of the range, if they arrived in one chunk.
        self._complete: memoryview | None = None
        # A buffer for the bytes of the range, if they arrive in several chunks.
        self._buffer: memoryview | None = None

    @property
    def next_offset(self) -> int:
        """Offset of the first missing byte."""
        return self.offset + self.received

    @property
    def missing(self) -> int:
        """Number of missing bytes."""
        return self.length - self.received

    def absorb(self, chunk: Chunk) -> Absorbed:
        """Store the new bytes of a chunk; return the effect of the chunk."""
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
            cheap = excess <= max(_FRAMING_BYTES, self.length // _EXCESS_DIVISOR)
            self._complete = content if cheap else memoryview(bytes(content))
        else:
            if self._buffer is None:
                self._buffer = memoryview(bytearray(self.length))
            self._buffer[self.received : self.received + len(content)] = content
        self.received += len(content)

    def result(self) -> memoryview:
        """Return a read-only view of the complete range, and forget the bytes."""
        content = self._complete if self._complete is not None else self._buffer
        assert content is not None
        assert not self.missing
        self._complete = self._buffer = None
        return content.toreadonly()
