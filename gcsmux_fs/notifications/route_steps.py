"""One step of a plan: a part of the way of notifications, and what is done about it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.notifications.route_survey import BucketCalls, PubsubCalls

if TYPE_CHECKING:
    from gcsmux_fs.model.errors import StorageError

__all__ = ["RouteAction", "RouteStep", "StepKind", "unknown_step"]

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


def unknown_step(
    what: str,
    error: StorageError,
    *,
    command: str = "",
    action: RouteAction | None = None,
    is_vital: bool = True,
) -> RouteStep:
    """Return the step for a part that could not be read because of `error`."""
    reason = error.message if error.code is None else f"{error.message} [{error.code.name}]"
    return RouteStep(
        StepKind.UNKNOWN, what, reason, command=command, action=action, is_vital=is_vital
    )
