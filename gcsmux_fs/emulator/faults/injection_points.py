"""The base class of all faults, and the injection points where faults happen."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, fields
from typing import ClassVar

from gcsmux_fs.model.errors import StatusCode

__all__ = ["SIGNED", "Fault", "InjectionPoint", "kind_name"]

# Metadata of a dataclass field whose value may be a negative number.
SIGNED = {"signed": True}


class InjectionPoint(enum.StrEnum):
    """An event at which a fault can happen. At each event, each matching rule can fire once."""

    OPEN = "open"  # a call and its first message have arrived; no response has been sent
    CONTENT = "content"  # the call has sent `after_bytes` bytes of content
    IDLE = "idle"  # a BidiReadObject or StreamingPull stream sent nothing for `after_seconds`
    RANGE = "range"  # a BidiReadObject stream receives the request for a range
    CHUNK = "chunk"  # a chunk of content is about to be sent
    ANSWER = "answer"  # the first or only response of a call is about to be sent
    DELIVERY = "delivery"  # a message is about to be delivered to a subscriber for the first time
    ACK = "ack"  # a subscriber acknowledges a message
    CONNECT = "connect"  # the TCP proxy has accepted a connection
    TRAFFIC = "traffic"  # the TCP proxy has sent `after_bytes` bytes to the client of a connection
    NOW = "now"  # the rule becomes active; the fault happens to all connections of the TCP proxy

    @property
    def of_connections(self) -> bool:
        """Whether the faults happen to connections of the TCP proxy instead of calls."""
        return self in (InjectionPoint.CONNECT, InjectionPoint.TRAFFIC, InjectionPoint.NOW)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    - `points`: the injection points where the kind of fault can happen; the first is the default.
    - `terminal`: the fault ends its call or connection, so that no later rule applies to this call
      or connection.

    Raises:
        ValueError: a parameter is out of range.
    """

    points: ClassVar[tuple[InjectionPoint, ...]] = ()
    terminal: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for parameter in fields(self):
            value = getattr(self, parameter.name)
            if isinstance(value, int | float) and not math.isfinite(value):
                raise ValueError(f"{parameter.name} is not a finite number")
            if (
                isinstance(value, int | float)
                and value < 0
                and not parameter.metadata.get("signed")
            ):
                raise ValueError(f"{parameter.name} is negative")
            if isinstance(value, StatusCode) and value is StatusCode.OK:
                raise ValueError("code OK is no error: use the kind end_ok to end a call with OK")


def kind_name(kind: type[Fault]) -> str:
    """Return the name of a kind of fault in JSON: its class name in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
