"""One step of a plan: a part of the way of notifications, and what is done about it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from gcsmux_fs.notifications.route_survey import BucketCalls, PubsubCalls

__all__ = ["RouteAction", "RouteStep", "StepKind"]

RouteAction = Callable[[PubsubCalls, BucketCalls], object]
"""Makes the calls of one step."""


class StepKind(enum.StrEnum):
    """What a plan does about one part."""

    KEEP = "keep"
    CREATE = "create"
    DELETE = "delete"
    WRONG = "wrong"
    """The part exists, but does not work; only a person can decide what to do."""
    UNKNOWN = "unknown"
    """This account may not see whether the part exists."""


@dataclass(frozen=True, slots=True)
class RouteStep:
    """One line of a plan.

    Attributes:
        what: the part, such as "topic projects/p/topics/t".
        detail: what is wrong with the part, or why it is kept; may be empty.
        remedy: what a person can do about a wrong part.
        command: the command of gcloud that does the same; empty if nothing is done.
        action: makes the change.
        is_vital: whether nothing may be changed while this part is unknown.
    """

    kind: StepKind
    what: str
    detail: str = ""
    remedy: str = ""
    command: str = ""
    action: RouteAction | None = None
    is_vital: bool = True
