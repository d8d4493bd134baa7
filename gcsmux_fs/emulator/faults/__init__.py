"""All kinds of faults. Each kind is a frozen dataclass whose fields are its parameters.

docs/FAULTS.md has an example of each kind.
"""

from __future__ import annotations

from gcsmux_fs.emulator.faults.answer_faults import (
    Malformed,
    MalformedKind,
    OmitMetadata,
    Padded,
    PageAgain,
    PageEmpty,
    PageTokenTarget,
    PageUnsorted,
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
from gcsmux_fs.emulator.faults.delivery_faults import (
    AckLost,
    LeaseExpired,
    MessageDuplicated,
    MessageHeldBack,
)
from gcsmux_fs.emulator.faults.injection_points import Fault, InjectionPoint, kind_name

__all__ = [
    "KINDS",
    "AckLost",
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
    "LeaseExpired",
    "Malformed",
    "MalformedKind",
    "MessageDuplicated",
    "MessageHeldBack",
    "OmitMetadata",
    "Overwrite",
    "Padded",
    "PageAgain",
    "PageEmpty",
    "PageTokenTarget",
    "PageUnsorted",
    "PortGone",
    "RangeError",
    "Redirect",
    "Reset",
    "RstStream",
    "Stall",
    "Status",
    "WrongGeneration",
    "WrongSize",
    "kind_name",
]

# All fault classes, by their names in JSON.
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
        *(MessageDuplicated, MessageHeldBack, LeaseExpired, AckLost),
        *(Reset, Close, HalfOpen, Stall, PortGone, Goaway, RstStream),
    )
}
