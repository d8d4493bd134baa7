"""The names that the kernel may hold as absent; sans-IO.

The kernel caches for some time that a name is absent, and there is no inode that shows this. So the
table has each name for which it was told so. It is bounded: if a name has no room, the kernel may
hold any name as absent, until the time is over or the kernel has dropped all names.
"""

from __future__ import annotations

import math

__all__ = ["MAX_ABSENT_NAMES", "AbsentNames"]

MAX_ABSENT_NAMES = 16_384
"""Maximum number of names: 3 MB with names of 60 characters."""


class AbsentNames:
    """For each object name, until when the kernel may hold it as absent."""

    def __init__(self, limit: int = MAX_ABSENT_NAMES) -> None:
        self._limit = limit
        self._until: dict[str, float] = {}
        # Until when the kernel may hold names that the table has dropped.
        self._others_until = -math.inf

    def __len__(self) -> int:
        return len(self._until)

    def note(self, target: str, valid_until: float) -> None:
        """Record that the kernel may hold the file names of `target` as absent until a time."""
        self._until[target] = max(valid_until, self._until.pop(target, -math.inf))
        if len(self._until) > self._limit:
            dropped = self._until.pop(next(iter(self._until)))
            self._others_until = max(self._others_until, dropped)

    def may_hold(self, target: str, now: float) -> bool:
        """Return whether the kernel may hold a file name of `target` as absent."""
        return now < self._until.get(target, self._others_until)

    def clear(self) -> None:
        """Record that the kernel has dropped all names."""
        self._until.clear()
        self._others_until = -math.inf
