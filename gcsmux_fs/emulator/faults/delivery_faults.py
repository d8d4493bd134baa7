"""Faults of Pub/Sub: how messages are delivered to a subscriber, and acknowledgements."""

from __future__ import annotations

from dataclasses import dataclass

from gcsmux_fs.emulator.faults.injection_points import Fault, InjectionPoint

__all__ = ["AckLost", "LeaseExpired", "MessageDuplicated", "MessageHeldBack"]


@dataclass(frozen=True, slots=True)
class MessageDuplicated(Fault):
    """Deliver the message again after `seconds`, even if it is acknowledged before."""

    points = (InjectionPoint.DELIVERY,)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class MessageHeldBack(Fault):
    """Deliver the message after the next `messages` messages, but at most `seconds` later."""

    points = (InjectionPoint.DELIVERY,)
    messages: int = 1
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class LeaseExpired(Fault):
    """Deliver the message, and end its acknowledgement deadline at once.

    The acknowledgement has no effect, and the message is delivered again.
    """

    points = (InjectionPoint.DELIVERY,)


@dataclass(frozen=True, slots=True)
class AckLost(Fault):
    """Ignore the acknowledgement of a message, and deliver the message again after `seconds`."""

    points = (InjectionPoint.ACK,)
    seconds: float = 0.0
