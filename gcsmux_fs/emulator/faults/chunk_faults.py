"""Faults of single chunks of content, in BidiReadObject and, where they make sense, ReadObject."""

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
class _OfChunk(Fault):
    phases = (InjectionPoint.CHUNK,)


@dataclass(frozen=True, slots=True)
class ChunkDuplicated(_OfChunk):
    """Send the chunk twice."""


@dataclass(frozen=True, slots=True)
class ChunkDropped(_OfChunk):
    """Do not send the chunk, nor its range_end."""


@dataclass(frozen=True, slots=True)
class ChunkSwapped(_OfChunk):
    """Send the second half of the chunk before the first."""


@dataclass(frozen=True, slots=True)
class ChunkOverlaps(_OfChunk):
    """Send the chunk as two, of which the second begins `by_bytes` before the end of the first."""

    by_bytes: int = 1


@dataclass(frozen=True, slots=True)
class ChunkGap(_OfChunk):
    """Leave out the first `by_bytes` of the chunk."""

    by_bytes: int = 1


@dataclass(frozen=True, slots=True)
class ChunkTooLong(_OfChunk):
    """Add `by_bytes` that were not asked for to the end of the chunk, and end its range."""

    by_bytes: int = 1


@dataclass(frozen=True, slots=True)
class ChunkStray(_OfChunk):
    """Send a copy of the chunk with a read_id that nobody asked for, before the chunk."""

    read_id: int = field(default=2**62, metadata=SIGNED)


@dataclass(frozen=True, slots=True)
class ChunkEmpty(_OfChunk):
    """Send a chunk without content before the chunk."""


@dataclass(frozen=True, slots=True)
class ChunkWithoutEnd(_OfChunk):
    """Leave out range_end, if the chunk has it."""


@dataclass(frozen=True, slots=True)
class ChunkEndsEarly(_OfChunk):
    """Send half of the chunk, with range_end, and nothing more of the range; or the `rest` too."""

    rest: bool = False


@dataclass(frozen=True, slots=True)
class ChunkWrongCrc(_OfChunk):
    """Give the chunk a wrong CRC32C."""


@dataclass(frozen=True, slots=True)
class ChunkWithoutCrc(_OfChunk):
    """Give the chunk no CRC32C."""


@dataclass(frozen=True, slots=True)
class ChunkCorrupted(_OfChunk):
    """Flip one bit of the content; the CRC32C is that of the true content."""


@dataclass(frozen=True, slots=True)
class EmptyMessage(_OfChunk):
    """Send a response without any field before the chunk."""
