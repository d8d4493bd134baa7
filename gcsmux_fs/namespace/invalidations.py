"""When names were invalidated, so that answers to earlier requests are not used; sans-IO.

An object may change while a request about it is in flight. The answer shows the old state, and
arrives after the cached answers about the object were dropped. So the table keeps the time of each
invalidation, and an answer is used only if its request was sent at that time or later.

The table is bounded and drops its oldest times first. An old time is hardly ever needed, because it
matters only for requests that were sent earlier and are still in flight, and for listings that an
open handle still reads.
"""

from __future__ import annotations

import math

__all__ = ["Invalidations"]

# Maximum number of names. Fewer names are invalidated while one request is in flight. If all names
# have the maximum length, they take 4 MiB.
_MAX_NAMES = 4096


class Invalidations:
    """The time of the last invalidation, by object name and by prefix."""

    def __init__(self) -> None:
        self._names: dict[str, float] = {}
        self._prefixes: dict[str, float] = {}
        #: True if nothing was ever invalidated, so that no answer can be outdated.
        self.is_empty = True

    def note(self, name: str, now: float) -> None:
        """Record that the object `name` may have changed at the time `now`."""
        self.is_empty = False
        _put(self._names, name, now)

    def forget(self, name: str) -> None:
        """Drop the record of one name, because all answers about it were corrected."""
        self._names.pop(name, None)

    def note_below(self, prefix: str, now: float) -> None:
        """Record that all names that begin with `prefix` may have changed at the time `now`.

        `prefix` is empty or ends with a slash. The name of the directory itself may have changed
        too.
        """
        self.is_empty = False
        _put(self._prefixes, prefix, now)

    def since(self, asked_at: float, start: str) -> list[tuple[str, float]]:
        """Return the names and prefixes that begin with `start` and were invalidated later."""
        return [
            (name, at)
            for table in (self._names, self._prefixes)
            for name, at in table.items()
            if at > asked_at and name.startswith(start)
        ]

    def outdates(self, name: str, asked_at: float) -> bool:
        """Return whether `name` was invalidated after `asked_at`, when a request was sent."""
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
