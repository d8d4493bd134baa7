"""The changes of the last seconds, for answers that were in flight meanwhile; sans-IO.

An answer of the service shows the bucket at some time between the request and the answer. So a
change that was applied after the request may be missing in the answer. When the answer arrives, it
is patched by these changes (see `name_patches`).

The log is bounded and drops its oldest changes first. `dropped_at` is the time at which the newest
of the dropped changes was applied.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.namespace.object_change import ObjectChange

__all__ = ["MAX_LOGGED_CHANGES", "ChangeLog"]

MAX_LOGGED_CHANGES = 8192
"""Maximum number of changes: 4 MB. At 1,000 changes a second they reach back 8 s, which nearly all
answers need less time than."""


class ChangeLog:
    """The newest change of each object that has changed recently, and when it was applied."""

    def __init__(self, limit: int = MAX_LOGGED_CHANGES) -> None:
        self._limit = limit
        # In the order in which the changes were applied.
        self._changes: OrderedDict[str, tuple[float, ObjectChange]] = OrderedDict()
        #: When the newest change that was dropped was applied; minus infinity if none was.
        self.dropped_at = -math.inf

    def note(self, change: ObjectChange, now: float) -> None:
        """Record that `change` is applied at the time `now`."""
        changes, name = self._changes, change.name
        changes[name] = now, change
        changes.move_to_end(name)
        if len(changes) > self._limit:
            _, (self.dropped_at, _) = changes.popitem(last=False)

    def forget(self, name: str) -> None:
        """Drop the change of an object, because only the service knows what the object is now."""
        self._changes.pop(name, None)

    def forget_below(self, prefix: str) -> None:
        """Drop the changes of all objects whose names begin with `prefix`."""
        for name in [name for name in self._changes if name.startswith(prefix)]:
            del self._changes[name]

    def change_of(self, name: str, asked_at: float) -> ObjectChange | None:
        """Return the change of an object that the answer to a request may not show."""
        known = self._changes.get(name)
        return known[1] if known is not None and known[0] >= asked_at else None

    def since(self, asked_at: float) -> list[ObjectChange]:
        """Return the changes that the answer to a request may not show, the oldest first.

        The request was sent at `asked_at`.
        """
        found: list[ObjectChange] = []
        for applied_at, change in reversed(self._changes.values()):
            if applied_at < asked_at:
                break
            found.append(change)
        return found[::-1]
