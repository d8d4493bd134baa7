"""A listing that notifications change in place; sans-IO.

An entry that is removed becomes a gap, and keeps its position. A new entry gets the position after
the last one. So positions that open handles have read stay valid.

The tables of objects are shared with other parts of the program, and never changed. So an entry
that is changed becomes special (see `listing`), and its object is in a table of the listing's own.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from gcsmux_fs.model.object_table import ObjectTable, Row
from gcsmux_fs.namespace.listing import Listing

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.child import Child, Directory

__all__ = ["PatchedListing", "Reach"]

# Number of removed entries that a listing of any size may have.
_MAX_WASTED = 1000


class Reach(enum.Enum):
    """Whether the pages so far show what a name is."""

    SHOWN = enum.auto()
    """They do: either an entry shows it, or it does not exist."""

    HELD = enum.auto()
    """They have passed the object, but not its folder, so the object is held back."""

    AHEAD = enum.auto()
    """The name is on a later page, if it exists."""


class PatchedListing(Listing):
    """A `Listing` whose entries can be changed, added and removed."""

    __slots__ = ("_patches", "edits")

    def __init__(self, location: str) -> None:
        super().__init__(location)
        # Made when it is needed, because an empty table takes as much memory as seven entries.
        self._patches: ObjectTable | None = None
        #: Number of changes that may have changed how much memory the listing takes.
        self.edits = 0

    @property
    def is_wasteful(self) -> bool:
        """Whether removed entries take more memory than a new listing would."""
        patches = 0 if self._patches is None else len(self._patches)
        wasted = max(self._gaps, patches - self.entries)
        return wasted > self.entries + _MAX_WASTED

    def has_entry_from(self, position: int) -> bool:
        """Return whether there is an entry at `position` or after it."""
        if not self._gaps:
            return position < self._length
        return next(self.places_from(position), None) is not None

    def reach(self, key: str) -> Reach:
        """Return whether the pages so far show what the object or the prefix `key` is."""
        if self.complete:
            return Reach.SHOWN
        if not self._pages or key > self._last_key:
            return Reach.AHEAD
        is_shown = key.endswith("/") or key + "/" < self._last_key
        return Reach.SHOWN if is_shown else Reach.HELD

    def held(self, name: str) -> Row | None:
        """Return the object `name` if it is held back."""
        return next((row for row in self._held if row.objects.names[row.row_index] == name), None)

    def hold(self, name: str, info: ObjectInfo | None) -> None:
        """Hold back `info` as the object `name`; None to hold back no object of this name."""
        self._held = [held for held in self._held if held.objects.names[held.row_index] != name]
        if info is not None:
            self._held.append(Row.of(info))

    def put_object(self, name: bytes, info: ObjectInfo) -> None:
        """Let the entry `name` lead to an object.

        If there is no such entry, it is added after the last one, or a gap of this name becomes an
        entry again. The listing must have a page.
        """
        known = self.find(name)
        if isinstance(known, Row) and known.objects is self._patches:
            known.objects.set_info(known.row_index, info)
        else:
            self._set(name, self._new_row(info))

    def add_object(self, name: bytes, info: ObjectInfo) -> None:
        """Add the entry `name`, which the listing does not have, for an object."""
        # Only a gap can have this name.
        self._set_at(self._special.get(name), name, self._new_row(info))

    def put_directory(self, name: bytes, directory: Directory) -> None:
        """Let the entry `name` lead to a directory (see `put_object`)."""
        self._set(name, directory)

    def rename(self, name: bytes, new_name: bytes) -> None:
        """Give an entry that exists another name."""
        child = self.find(name)
        self._set(name, None)
        self._set(new_name, child)

    def remove(self, name: bytes) -> None:
        """Make a gap of the entry `name`, if there is one."""
        if self.find(name) is not None:
            self._set(name, None)

    def _new_row(self, info: ObjectInfo) -> Row:
        # The rows of removed entries are not used again, because a caller may still have one.
        if self._patches is None:
            self._patches = ObjectTable.empty()
        self._patches.append_info(info)
        return Row(self._patches, len(self._patches) - 1)

    def _set(self, name: bytes, child: Child | None) -> None:
        self._set_at(self._position_of(name), name, child)

    def _set_at(self, position: int | None, name: bytes, child: Child | None) -> None:
        self.edits += 1
        if position is None:
            position, listed = self._length, self._pages[-1]
            listed.entries.append(0)
            self._length += 1
        else:
            listed = self._page_at(position)
            self._gaps -= self._child_at(position) is None
        self._gaps += child is None
        index = position - listed.start
        if name in self._special:
            listed.children[~listed.entries[index]] = child
            return
        self._special[name] = position
        listed.entries[index] = ~len(listed.names)
        listed.names.append(name)
        listed.children.append(child)
