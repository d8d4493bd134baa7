"""The entries that one page of a listing adds to its directory; sans-IO."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.model.object_table import ObjectTable
    from gcsmux_fs.namespace.child import Child

__all__ = ["ListedPage"]


class ListedPage:
    """The entries of one page, in the order of their positions.

    An element of `entries` is the index of an object's row or, for a special entry (see `listing`),
    `~index` into `names` and `children`. `hidden` contains the rows that are no entries and the
    rows that are special entries.
    """

    __slots__ = ("children", "entries", "hidden", "names", "objects", "start")

    def __init__(self, start: int, objects: ObjectTable) -> None:
        self.start = start
        self.objects = objects
        self.entries = array("i")
        self.names: list[bytes] = []
        #: None for an entry that was removed.
        self.children: list[Child | None] = []
        self.hidden: set[int] = set()

    def row_of(self, target: str) -> int | None:
        """Return the row of the object `target`; None if the page has no such row, or hides it."""
        names = self.objects.names
        row = bisect_left(names, target)
        is_entry = row < len(names) and names[row] == target and row not in self.hidden
        return row if is_entry else None
