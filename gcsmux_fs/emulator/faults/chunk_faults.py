"""Faults of single chunks of content, in BidiReadObject and, where possible, in ReadObject."""

from __future__ import annotations

from dataclasses import dataclass, field

from gcsmux_fs.emulator.faults.injection_points import SIGNED, Fault, InjectionPoint

__all__ = [
    "ChunkCorrupted",
    "ChunkDropped",
    "ChunkDuplicated",
    "ChunkEmpty",
    "ChunkEndsEarly",
    "ChunkGap",
    "ChunkOverlaps",
    "ChunkStray",
    "ChunkSwapped",
    "ChunkTooLong",
    "ChunkWithoutCrc",
    "ChunkWithoutEnd",
    "ChunkWrongCrc",
    "EmptyMessage",
]


@dataclass(frozen=True, slots=True)
class _ChunkFault(Fault):
    points = (InjectionPoint.CHUNK,)


@dataclass(frozen=True, slots=True)
class ChunkDuplicated(_ChunkFault):
    """Send the chunk twice."""


@dataclass(frozen=True, slots=True)
class ChunkDropped(_ChunkFault):
    """Send neither the chunk nor its range_end."""


@dataclass(frozen=True, slots=True)
class ChunkSwapped(_ChunkFault):
    """Send the second half of the chunk before the first half."""


@dataclass(frozen=True, slots=True)
class ChunkOverlaps(_ChunkFault):
    """Send the chunk as two chunks that overlap by `by_bytes` bytes."""

    by_bytes: int = 1


@dataclass(frozen=True, slots=True)
class ChunkGap(_ChunkFault):
    """Leave out the first `by_bytes` bytes of the chunk."""

    by_bytes: int = 1


@dataclass(frozen=True, slots=True)
class ChunkTooLong(_ChunkFault):
    """Append `by_bytes` extra bytes to the last chunk of a range."""

    by_bytes: int = 1


@dataclass(frozen=True, slots=True)
class ChunkStray(_ChunkFault):
    """Send a copy of the chunk with an unknown read_id, then the chunk itself."""

    read_id: int = field(default=2**62, metadata=SIGNED)


@dataclass(frozen=True, slots=True)
class ChunkEmpty(_ChunkFault):
    """Send a chunk without content, then the chunk itself."""


@dataclass(frozen=True, slots=True)
class ChunkWithoutEnd(_ChunkFault):
    """Leave out the range_end of the last chunk of a range."""


@dataclass(frozen=True, slots=True)
class ChunkEndsEarly(_ChunkFault):
    """Send the first half of the chunk with range_end, and nothing more of the range.

    With `rest`, the rest of the range is still sent after the range_end.
    """

    rest: bool = False


@dataclass(frozen=True, slots=True)
class ChunkWrongCrc(_ChunkFault):
    """Send correct content with a wrong CRC32C."""


@dataclass(frozen=True, slots=True)
class ChunkWithoutCrc(_ChunkFault):
    """Send the chunk without a CRC32C."""


@dataclass(frozen=True, slots=True)
class ChunkCorrupted(_ChunkFault):
    """Flip one bit of the content. The CRC32C is the checksum of the correct content."""


@dataclass(frozen=True, slots=True)
class EmptyMessage(_ChunkFault):
    """Send a response without any field, then the chunk itself."""
