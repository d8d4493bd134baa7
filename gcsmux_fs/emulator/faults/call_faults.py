"""Faults of calls: delays, calls that end early, and changes of the object during the call."""

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

_DURING_A_CALL = (
    InjectionPoint.OPEN,
    InjectionPoint.CONTENT,
    InjectionPoint.IDLE,
    InjectionPoint.RANGE,
)
_DURING_ANY_CALL = (*_DURING_A_CALL, InjectionPoint.DELIVERY)


class Details(enum.StrEnum):
    """The content of the trailer `grpc-status-details-bin`."""

    NONE = "none"  # no trailer
    RETRY_INFO = "retry_info"  # a google.rpc.RetryInfo
    ERROR_INFO = "error_info"  # a google.rpc.ErrorInfo
    MALFORMED = "malformed"  # bytes that are no google.rpc.Status


@dataclass(frozen=True, slots=True)
class Delay(Fault):
    """Wait `seconds`, plus a random time of up to `jitter_seconds`.

    At the injection point `range`, only the requested range is late. At `delivery`, only the
    message is late. At `connect`, all bytes to the client of the connection are late.
    """

    points = (
        InjectionPoint.OPEN,
        InjectionPoint.CONTENT,
        InjectionPoint.RANGE,
        InjectionPoint.CHUNK,
        InjectionPoint.DELIVERY,
        InjectionPoint.CONNECT,
    )
    seconds: float = 0.0
    jitter_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Bandwidth(Fault):
    """Limit the content of a stream, or all bytes of a connection, to `bytes_per_second`."""

    points = (InjectionPoint.OPEN, InjectionPoint.CONNECT)
    bytes_per_second: int

    def __post_init__(self) -> None:
        if self.bytes_per_second <= 0:
            raise ValueError("bytes_per_second is not positive")


@dataclass(frozen=True, slots=True)
class Hang(Fault):
    """Never answer the call. At the injection point `range`, never answer the requested range.

    At `delivery`, the subscriber gets no message until the rules are replaced.
    """

    points = (
        InjectionPoint.OPEN,
        InjectionPoint.CONTENT,
        InjectionPoint.RANGE,
        InjectionPoint.DELIVERY,
    )
    terminal = True


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """End the call with an error status. `retry_seconds` is the delay in a RetryInfo."""

    points = _DURING_ANY_CALL
    terminal = True
    code: StatusCode = StatusCode.UNAVAILABLE
    message: str = "Ordered"
    details: Details = Details.NONE
    retry_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class EndOk(Fault):
    """End the call early with status OK. A unary call returns an empty message."""

    points = _DURING_ANY_CALL
    terminal = True


@dataclass(frozen=True, slots=True)
class Redirect(Fault):
    """End the stream with a BidiReadObjectRedirectedError that holds `token`.

    With `handle`, the error also holds a read handle. The fault does not happen to streams that are
    opened with the token, because these streams have followed the redirect. With `loop`, the fault
    happens to these streams, too.
    """

    points = (InjectionPoint.OPEN, InjectionPoint.CONTENT)
    terminal = True
    token: str = "elsewhere"
    handle: bool = False
    loop: bool = False
    code: StatusCode = StatusCode.ABORTED


@dataclass(frozen=True, slots=True)
class RangeError(Fault):
    """Fail one range. The stream ends with a BidiReadObjectError that names the range."""

    points = (InjectionPoint.RANGE,)
    code: StatusCode = StatusCode.DATA_LOSS
    message: str = "Ordered"


@dataclass(frozen=True, slots=True)
class ExpireToken(Fault):
    """Treat the token in the call's `authorization` header as expired.

    This call and all later calls with the same token end with UNAUTHENTICATED. The field `times` of
    the rule limits the number of expired tokens, not the number of calls.
    """

    points = (InjectionPoint.OPEN,)
    terminal = True


@dataclass(frozen=True, slots=True)
class Overwrite(Fault):
    """Replace the object by a new generation with other bytes.

    Each byte is increased by 1 (255 becomes 0), and `grow_bytes` zeros are appended. A negative
    `grow_bytes` makes the object shorter. Open streams continue with the old bytes. With
    `in_place`, the object's file is changed in place. The old bytes then no longer exist, and open
    streams end with NOT_FOUND.
    """

    points = (*_DURING_A_CALL, InjectionPoint.CHUNK)
    grow_bytes: int = field(default=0, metadata=SIGNED)
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Delete(Fault):
    """Delete the object. Open streams continue to send the deleted content."""

    points = (*_DURING_A_CALL, InjectionPoint.CHUNK)
