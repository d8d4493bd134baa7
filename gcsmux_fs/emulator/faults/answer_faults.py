"""Faults of responses: wrong object metadata, wrong listing pages, and malformed messages."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from gcsmux_fs.emulator.faults.injection_points import SIGNED, Fault, InjectionPoint

__all__ = [
    "Malformed",
    "MalformedKind",
    "OmitMetadata",
    "Padded",
    "PageAgain",
    "PageEmpty",
    "PageTokenTarget",
    "PageUnsorted",
    "WrongGeneration",
    "WrongSize",
]


class MalformedKind(enum.StrEnum):
    """How a message is malformed."""

    GARBAGE = "garbage"  # bytes that are no protobuf message
    TRUNCATED = "truncated"  # the last byte is missing
    HUGE = "huge"  # the first field claims a length of 2 GiB


class PageTokenTarget(enum.StrEnum):
    """The page to which a wrong page token leads."""

    PAGE = "page"  # the same page again
    START = "start"  # the first page


@dataclass(frozen=True, slots=True)
class OmitMetadata(Fault):
    """Remove the object's metadata from the first response of a BidiReadObject stream."""

    points = (InjectionPoint.ANSWER,)


@dataclass(frozen=True, slots=True)
class WrongSize(Fault):
    """Add `by_bytes`, which may be negative, to the size of each object in the response."""

    points = (InjectionPoint.ANSWER,)
    by_bytes: int = field(default=1, metadata=SIGNED)


@dataclass(frozen=True, slots=True)
class WrongGeneration(Fault):
    """Add `by`, which may be negative, to the generation of each object in the response."""

    points = (InjectionPoint.ANSWER,)
    by: int = field(default=1, metadata=SIGNED)


@dataclass(frozen=True, slots=True)
class Malformed(Fault):
    """Send a malformed message instead of the response."""

    points = (InjectionPoint.ANSWER, InjectionPoint.CHUNK)
    how: MalformedKind = MalformedKind.GARBAGE


@dataclass(frozen=True, slots=True)
class Padded(Fault):
    """Add an unknown field of `by_bytes` bytes to the response.

    The default is more than 4 MiB, the usual message limit of clients.
    """

    points = (InjectionPoint.ANSWER, InjectionPoint.CHUNK)
    by_bytes: int = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PageAgain(Fault):
    """Return a page token that leads to the same page again, or to the first page."""

    points = (InjectionPoint.ANSWER,)
    to: PageTokenTarget = PageTokenTarget.PAGE


@dataclass(frozen=True, slots=True)
class PageEmpty(Fault):
    """Return an empty page with a new page token. The token leads to the omitted entries."""

    points = (InjectionPoint.ANSWER,)


@dataclass(frozen=True, slots=True)
class PageUnsorted(Fault):
    """Return the entries of a page in reverse order."""

    points = (InjectionPoint.ANSWER,)
