"""When names were invalidated, so that answers to earlier questions are not used; sans-IO.

An object may change while a request about it is in flight. The answer shows the old state, and
arrives after the cached answers about the object were dropped. So the table keeps the time of each
invalidation, and an answer is used only if its question was sent at that time or later.

The table is bounded and drops its oldest entries first. Only an answer in flight, or a listing that
an open handle still reads, can be older than an invalidation.
"""

from __future__ import annotations

import math

__all__ = ["Invalidations"]

# More than are noted while one answer is in flight; 4 MiB with names of the longest length.
_MAX_NAMES = 4096


class Invalidations:
    """The time of the last invalidation, by object name and by prefix."""

    def __init__(self) -> None:
        self._names: dict[str, float] = {}
        self._prefixes: dict[str, float] = {}
        #: Whether nothing was ever invalidated: then no answer is outdated.
        self.is_empty = True

    def note(self, name: str, now: float) -> None:
        """Note that the object `name` may have changed."""
        self.is_empty = False
        _put(self._names, name, now)

    def note_below(self, prefix: str, now: float) -> None:
        """Note that all names that begin with `prefix` may have changed.

        `prefix` is empty or ends with a slash. The directory's own name changes with them.
        """
        self.is_empty = False
        _put(self._prefixes, prefix, now)

    def outdates(self, name: str, asked_at: float) -> bool:
        """Return whether `name` was invalidated after the time `asked_at` of a question."""
        return not self.is_empty and asked_at < self.latest(name)

    def latest(self, name: str) -> float:
        """Return when `name` was last invalidated; minus infinity if it never was."""
        latest = self._names.get(name, -math.inf)
        if not self._prefixes:
            return latest
        prefixes = ["", name + "/"]
        prefixes += (name[: index + 1] for index, char in enumerate(name) if char == "/")
        return max(latest, *(self._prefixes.get(prefix, -math.inf) for prefix in prefixes))


def _put(table: dict[str, float], name: str, now: float) -> None:
    table.pop(name, None)
    table[name] = now
    if len(table) > _MAX_NAMES:
        del table[next(iter(table))]
