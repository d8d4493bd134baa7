"""Faults of answers: what they say of objects, pages of listings, and messages that are none."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from gcsmux_fs.emulator.faults.injection_points import SIGNED, Fault, InjectionPoint

__all__ = [
    "Malformed",
    "OmitMetadata",
    "Padded",
    "PageAgain",
    "PageEmpty",
    "PageUnsorted",
    "Spoiling",
    "Turn",
    "WrongGeneration",
    "WrongSize",
]


class Spoiling(enum.StrEnum):
    """How a message is malformed: random bytes, cut short, or with a field of 2 GiB claimed."""

    GARBAGE = "garbage"
    TRUNCATED = "truncated"
    HUGE = "huge"


class Turn(enum.StrEnum):
    """Where a listing turns back to: the same page, or the first one."""

    PAGE = "page"
    START = "start"


@dataclass(frozen=True, slots=True)
class OmitMetadata(Fault):
    """Leave the object's metadata out of a bidi stream's first response."""

    phases = (InjectionPoint.ANSWER,)


@dataclass(frozen=True, slots=True)
class WrongSize(Fault):
    """Show objects larger `by_bytes` than they are, or smaller."""

    phases = (InjectionPoint.ANSWER,)
    by_bytes: int = field(default=1, metadata=SIGNED)


@dataclass(frozen=True, slots=True)
class WrongGeneration(Fault):
    """Show objects of a generation that is greater `by` so much, or less."""

    phases = (InjectionPoint.ANSWER,)
    by: int = field(default=1, metadata=SIGNED)


@dataclass(frozen=True, slots=True)
class Malformed(Fault):
    """Send bytes that are no such message in its place."""

    phases = (InjectionPoint.ANSWER, InjectionPoint.CHUNK)
    how: Spoiling = Spoiling.GARBAGE


@dataclass(frozen=True, slots=True)
class Padded(Fault):
    """Make the message so much longer, by a field that nobody knows."""

    phases = (InjectionPoint.ANSWER, InjectionPoint.CHUNK)
    by_bytes: int = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PageAgain(Fault):
    """Let a page's token lead back to that page, or to the first one."""

    phases = (InjectionPoint.ANSWER,)
    to: Turn = Turn.PAGE


@dataclass(frozen=True, slots=True)
class PageEmpty(Fault):
    """Answer an empty page whose token, always a new one, leads to what should have been on it."""

    phases = (InjectionPoint.ANSWER,)


@dataclass(frozen=True, slots=True)
class PageUnsorted(Fault):
    """Show a page's entries backwards."""

    phases = (InjectionPoint.ANSWER,)
