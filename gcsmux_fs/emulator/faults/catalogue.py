"""All kinds of faults that can be ordered, each a value whose fields are its parameters.

What a kind does is told in its docstring; docs/FAULTS.md has an example of each. `phases` says
where a kind can happen, beginning with where it does if its rule does not say. A kind that `ends`
leaves nothing of the call, or of the connection, to the rules after it.
"""

from __future__ import annotations

from gcsmux_fs.emulator.faults.answer_faults import (
    Malformed,
    OmitMetadata,
    Padded,
    PageAgain,
    PageEmpty,
    PageUnsorted,
    Spoiling,
    Turn,
    WrongGeneration,
    WrongSize,
)
from gcsmux_fs.emulator.faults.call_faults import (
    Bandwidth,
    Delay,
    Delete,
    Details,
    EndOk,
    ExpireToken,
    Hang,
    Overwrite,
    RangeError,
    Redirect,
    Status,
)
from gcsmux_fs.emulator.faults.chunk_faults import (
    ChunkCorrupted,
    ChunkDropped,
    ChunkDuplicated,
    ChunkEmpty,
    ChunkEndsEarly,
    ChunkGap,
    ChunkOverlaps,
    ChunkStray,
    ChunkSwapped,
    ChunkTooLong,
    ChunkWithoutCrc,
    ChunkWithoutEnd,
    ChunkWrongCrc,
    EmptyMessage,
)
from gcsmux_fs.emulator.faults.connection_faults import (
    Close,
    Goaway,
    HalfOpen,
    PortGone,
    Reset,
    RstStream,
    Stall,
)
from gcsmux_fs.emulator.faults.injection_points import Fault, InjectionPoint, kind_name

__all__ = [
    "KINDS",
    "Bandwidth",
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
    "Close",
    "Delay",
    "Delete",
    "Details",
    "EmptyMessage",
    "EndOk",
    "ExpireToken",
    "Fault",
    "Goaway",
    "HalfOpen",
    "Hang",
    "InjectionPoint",
    "Malformed",
    "OmitMetadata",
    "Overwrite",
    "Padded",
    "PageAgain",
    "PageEmpty",
    "PageUnsorted",
    "PortGone",
    "RangeError",
    "Redirect",
    "Reset",
    "RstStream",
    "Spoiling",
    "Stall",
    "Status",
    "Turn",
    "WrongGeneration",
    "WrongSize",
    "kind_name",
]

KINDS: dict[str, type[Fault]] = {
    kind_name(kind): kind
    for kind in (
        *(Delay, Bandwidth, Hang),
        *(Status, EndOk, Redirect, RangeError, ExpireToken),
        *(OmitMetadata, WrongSize, WrongGeneration, Malformed, Padded),
        *(PageAgain, PageEmpty, PageUnsorted),
        *(Overwrite, Delete),
        *(ChunkDuplicated, ChunkDropped, ChunkSwapped, ChunkOverlaps, ChunkGap, ChunkTooLong),
        *(ChunkStray, ChunkEmpty, ChunkWithoutEnd, ChunkEndsEarly),
        *(ChunkWrongCrc, ChunkWithoutCrc, ChunkCorrupted, EmptyMessage),
        *(Reset, Close, HalfOpen, Stall, PortGone, Goaway, RstStream),
    )
}
