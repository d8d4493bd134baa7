"""Detects that changes of the bucket are not announced, although the feed is healthy; sans-IO.

A feed can be open and silent because nobody publishes to its topic: the notification configuration
was deleted, or is only for other names, or another mount takes messages of the same subscription.
Then the mount would show old names for ever. An open or a read shows it: if it finds that a
generation is gone, the change must be announced within `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PATIENCE_SECONDS", "UnannouncedChanges"]

PATIENCE_SECONDS = 300.0
"""How late a notification may be. Cloud Storage sends most of them within seconds, and promises no
time."""

# Maximum number of names. One is enough for the detection.
_MAX_NAMES = 1000


class UnannouncedChanges:
    """Changes that were found, and are not announced yet."""

    def __init__(self) -> None:
        # When the change of each name was found; the oldest first.
        self._found_at: dict[str, float] = {}

    @property
    def deadline(self) -> float:
        """When `overdue` must be called next; infinity if it need not be called."""
        if not self._found_at:
            return math.inf
        return next(iter(self._found_at.values())) + PATIENCE_SECONDS

    def note_found(self, name: str, now: float) -> None:
        """Record that a generation of the object `name` was found to be gone."""
        if len(self._found_at) < _MAX_NAMES:
            self._found_at.setdefault(name, now)

    def note_announced(self, names: Iterable[str]) -> None:
        """Record that changes of these objects were announced."""
        if self._found_at:
            for name in names:
                self._found_at.pop(name, None)

    def forget(self) -> None:
        """Forget all changes, because the feed is not healthy."""
        self._found_at.clear()

    def overdue(self, now: float) -> str:
        """Return the name of a change that should have been announced by now; "" if there is none.

        After that, all changes are forgotten.
        """
        if now < self.deadline:
            return ""
        name = next(iter(self._found_at))
        self._found_at.clear()
        return name
