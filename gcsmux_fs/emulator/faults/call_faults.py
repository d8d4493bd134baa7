"""Faults of calls: how long they take, how they end, and what becomes of the object meanwhile."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from gcsmux_fs.emulator.faults.injection_points import SIGNED, Fault, InjectionPoint
from gcsmux_fs.model.errors import StatusCode

__all__ = [
    "Bandwidth",
    "Delay",
    "Delete",
    "Details",
    "EndOk",
    "ExpireToken",
    "Hang",
    "Overwrite",
    "RangeError",
    "Redirect",
    "Status",
]


class Details(enum.StrEnum):
    """What `grpc-status-details-bin` holds."""

    NONE = "none"
    RETRY_INFO = "retry_info"
    ERROR_INFO = "error_info"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Delay(Fault):
    """Wait `seconds` and a random part of `jitter_seconds`.

    At `range` that range alone is late; at `connect` all that the connection carries to its client.
    """

    phases = (
        InjectionPoint.OPEN,
        InjectionPoint.CONTENT,
        InjectionPoint.RANGE,
        InjectionPoint.CHUNK,
        InjectionPoint.CONNECT,
    )
    seconds: float = 0.0
    jitter_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Bandwidth(Fault):
    """Send no more than `bytes_per_second` of content on the stream, or of all on a connection."""

    phases = (InjectionPoint.OPEN, InjectionPoint.CONNECT)
    bytes_per_second: int

    def __post_init__(self) -> None:
        if self.bytes_per_second <= 0:
            raise ValueError("bytes_per_second is not positive")


@dataclass(frozen=True, slots=True)
class Hang(Fault):
    """Never answer; at `range` that range alone, while the others go on."""

    phases = (InjectionPoint.OPEN, InjectionPoint.CONTENT, InjectionPoint.RANGE)
    ends = True


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """End the call with a status, with details in its trailer or without."""

    phases = (
        InjectionPoint.OPEN,
        InjectionPoint.CONTENT,
        InjectionPoint.IDLE,
        InjectionPoint.RANGE,
    )
    ends = True
    code: StatusCode = StatusCode.UNAVAILABLE
    message: str = "Ordered"
    details: Details = Details.NONE
    retry_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class EndOk(Fault):
    """End the call with OK though it is not done; a unary one with an empty message."""

    phases = (
        InjectionPoint.OPEN,
        InjectionPoint.CONTENT,
        InjectionPoint.IDLE,
        InjectionPoint.RANGE,
    )
    ends = True


@dataclass(frozen=True, slots=True)
class Redirect(Fault):
    """End the stream with ABORTED and a BidiReadObjectRedirectedError, with a handle or without.

    A stream opened with the token has followed and is let through, unless it is to `loop`.
    """

    phases = (InjectionPoint.OPEN, InjectionPoint.CONTENT)
    ends = True
    token: str = "elsewhere"
    handle: bool = False
    loop: bool = False
    code: StatusCode = StatusCode.ABORTED


@dataclass(frozen=True, slots=True)
class RangeError(Fault):
    """Fail the range, which ends the stream with a BidiReadObjectError that names it."""

    phases = (InjectionPoint.RANGE,)
    code: StatusCode = StatusCode.DATA_LOSS
    message: str = "Ordered"


@dataclass(frozen=True, slots=True)
class ExpireToken(Fault):
    """End calls with UNAUTHENTICATED until they bring another `authorization`.

    `times` counts tokens that expire, not the calls refused for it.
    """

    phases = (InjectionPoint.OPEN,)
    ends = True


@dataclass(frozen=True, slots=True)
class Overwrite(Fault):
    """Replace the object by a new generation: each byte one more, `grow_bytes` zeros behind it.

    Streams that are open go on with the old bytes. `in_place` they cannot: they end with NOT_FOUND.
    """

    phases = (
        InjectionPoint.OPEN,
        InjectionPoint.CONTENT,
        InjectionPoint.IDLE,
        InjectionPoint.RANGE,
        InjectionPoint.CHUNK,
    )
    grow_bytes: int = field(default=0, metadata=SIGNED)
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Delete(Fault):
    """Delete the object; streams that are open go on."""

    phases = (
        InjectionPoint.OPEN,
        InjectionPoint.CONTENT,
        InjectionPoint.IDLE,
        InjectionPoint.RANGE,
        InjectionPoint.CHUNK,
    )
