"""What a fault is, and where in the life of a call or a connection one can happen."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, fields
from typing import ClassVar

from gcsmux_fs.model.errors import StatusCode

__all__ = ["SIGNED", "Fault", "InjectionPoint", "kind_name"]

# Metadata of a field whose number may be negative.
SIGNED = {"signed": True}


class InjectionPoint(enum.StrEnum):
    """Where a rule applies; each time this comes about is an opportunity for the rule."""

    OPEN = "open"  # a call has arrived, its first message with it; nothing is answered yet
    CONTENT = "content"  # the call has sent `after_bytes` of content
    IDLE = "idle"  # a bidi stream has had nothing to send for `after_seconds`
    RANGE = "range"  # a bidi stream is asked for a range
    CHUNK = "chunk"  # a chunk of content is about to be sent
    ANSWER = "answer"  # the call's first, or only, response is about to be sent
    CONNECT = "connect"  # the relay has accepted a connection
    TRAFFIC = "traffic"  # the relay has passed `after_bytes` to the client of a connection
    NOW = "now"  # the rule was ordered; it applies to all connections of the relay

    @property
    def of_relay(self) -> bool:
        """Whether it is of connections, not of calls."""
        return self in (InjectionPoint.CONNECT, InjectionPoint.TRAFFIC, InjectionPoint.NOW)


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Raises:
        ValueError: a number that makes no sense.
    """

    phases: ClassVar[tuple[InjectionPoint, ...]] = ()
    ends: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int | float) and not math.isfinite(value):
                raise ValueError(f"{one.name} is not a finite number")
            if isinstance(value, int | float) and value < 0 and not one.metadata.get("signed"):
                raise ValueError(f"{one.name} is negative")
            if isinstance(value, StatusCode) and value is StatusCode.OK:
                raise ValueError("a code of OK is no error; the kind end_ok ends calls well")


def kind_name(kind: type[Fault]) -> str:
    """Return the name that a kind has in JSON: that of its class, in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
