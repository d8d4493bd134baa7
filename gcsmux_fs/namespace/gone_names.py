"""Objects whose generation was found gone, and which answers about them are outdated.

A lookup or a page of a listing that was under way at that moment may still show the old generation.
So the table keeps the moment for each object. An answer to an earlier question does not count.
"""

from __future__ import annotations

import math

import cachetools

from gcsmux_fs.namespace.names import Form, locate

__all__ = ["GoneNames", "places_of"]

# As many as are found within the time that an answer may be on its way; 1 KiB each at most.
_MAX_NAMES = 4096


class GoneNames:
    """When a generation of an object was last found gone, by the object's name."""

    def __init__(self) -> None:
        self._since: cachetools.LRUCache[str, float] = cachetools.LRUCache(_MAX_NAMES)

    def note(self, name: str, now: float) -> None:
        """Note that a generation of the object was found gone."""
        self._since[name] = now

    def outdates(self, name: str, asked: float) -> bool:
        """Tell whether what was `asked` about the object is too old to count."""
        return asked < self._since.get(name, -math.inf)


def places_of(name: str) -> list[tuple[str, bytes]]:
    """Return the locations and names under which an object can appear."""
    forms = [Form.CONTENT] if name.endswith("/") else [Form.PLAIN, Form.FILE]
    return [locate(name, form) for form in forms]
