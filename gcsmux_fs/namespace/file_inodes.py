"""The table of file inodes; sans-IO. An inode takes about 250 bytes, with its name.

Theory of operation

A file inode stands for one *identity*: an object's name, its generation, its size, and whether its
metadata makes it a symbolic link. The bytes of an identity never change, so the kernel may keep its
pages without limit. A finalized object has one identity, unless its metadata later makes it a link:
the kernel reports an error to programs if an inode changes its type. An object that is still being
appended to has one identity, and so one inode, for each size that was observed: the size, the
readable bytes and the mapped pages of an inode always agree.

The number of an inode is the hash of its identity (see `inode_numbers`). If another inode has that
number, `_displaced` maps the identity to the number that it got instead.

Each inode has an `InodeState`. Only states other than REMOTE are stored, so a remote inode costs no
memory for it. A state has no time: `Invalidations` keeps the time at which a name was invalidated,
and only the answer to a later question makes the inode REMOTE again.

Writing adds its states here: a file that is being written has no generation, and so no identity. It
takes a free number and a state of its own. When its upload ends, its identity enters `_displaced`
and its state becomes REMOTE: the inode keeps its number.

1. A row is in the table from its first lookup until it has neither lookups nor pins.
2. No two rows in the table have the same identity.
3. An inode number of the table stands for one identity, and none is a directory's number.
"""

from __future__ import annotations

import enum
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.foreign_metadata import read_foreign_metadata
from gcsmux_fs.namespace.inode_numbers import file_key, first_free, preferred
from gcsmux_fs.namespace.inode_rows import InodeRows

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.object_table import ObjectColumns
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.inode_numbers import Hash
    from gcsmux_fs.namespace.inode_rows import InodeLeaf

__all__ = ["FileInodes", "InodeState", "progress"]

# Name, generation, size, and whether the object is a symbolic link.
_Identity: TypeAlias = tuple[str, int, int, bool]


class InodeState(enum.Enum):
    """Where the bytes of a file are, and whether its name still leads to it."""

    REMOTE = enum.auto()
    """In the generation that the inode stands for; the last answer showed that it exists."""

    INVALIDATED = enum.auto()
    """In the same generation, but a name may lead to another inode now. OPEN is allowed."""

    GONE = enum.auto()
    """Nowhere: an OPEN or a READ found the generation overwritten or deleted. OPEN is refused."""


def progress(info: ObjectInfo) -> tuple[int, int, int, bool]:
    """Return a key that only grows as an object changes: the greater key is the newer answer.

    Within a generation the metadata changes, and the size of an object that is being appended to.
    """
    return info.generation, info.metageneration, info.size, info.finalized


def _identity(objects: ObjectColumns, index: int) -> _Identity:
    size, metadata = objects.sizes[index], objects.traits[index].metadata
    is_link = bool(metadata) and read_foreign_metadata(metadata, size).link is not None
    return objects.names[index], objects.generations[index], size, is_link


class FileInodes:
    """Files by number, and by identity.

    Args:
        hashed: computes numbers.
        is_taken: returns whether a number belongs to a file or to a directory.
        on_drop: called with number and object name of each file that leaves the table.
    """

    def __init__(
        self,
        hashed: Hash,
        is_taken: Callable[[int], bool],
        on_drop: Callable[[int, str], object],
    ) -> None:
        self._hashed = hashed
        self._is_taken = is_taken
        self._on_drop = on_drop
        self._rows = InodeRows()
        # The numbers of identities whose hash was taken.
        self._displaced: dict[_Identity, int] = {}
        self._pins: Counter[int] = Counter()
        # Of each generation that is still being appended to, the number of the largest size.
        self._largest: dict[tuple[str, int], int] = {}
        # The states other than REMOTE.
        self._states: dict[int, InodeState] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, number: int) -> bool:
        return number in self._rows

    def __repr__(self) -> str:
        leaves = self._rows.leaves
        return f"<FileInodes: {len(self)} in {leaves} leaves, {len(self._pins)} pinned>"

    def get(self, number: int) -> ObjectInfo | None:
        """Return the object of a file, or None if the file is not in the table."""
        place = self._rows.locate(number)
        return None if place is None else place[0].objects[place[1]]

    def state(self, number: int) -> InodeState:
        """Return the state of a file in the table."""
        return self._states.get(number, InodeState.REMOTE)

    def mark_gone(self, number: int) -> None:
        """Note that the generation of a file in the table no longer exists."""
        self._states[number] = InodeState.GONE

    def invalidate(self, number: int) -> None:
        """Note that the name of a file in the table may lead to another inode now."""
        self._states.setdefault(number, InodeState.INVALIDATED)

    def confirm(self, number: int) -> None:
        """Note that a valid answer shows that a name leads to a file in the table."""
        self._states.pop(number, None)

    def find(self, row: Row) -> int | None:
        """Return the number of the object in `row` at its size, or None if it has none."""
        identity = _identity(*row)
        number = self._number_of(identity)
        return None if self._locate_identity(number, identity) is None else number

    def named(self, name: str) -> list[int]:
        """Return the numbers of all files of the object `name`.

        The names of all files are compared: 100,000 take about 2 ms.
        """
        return [
            self._number_of(_identity(leaf.objects, index))
            for leaf, index in self._rows.named(name)
        ]

    def below(self, prefix: str) -> list[int]:
        """Return the numbers of all files whose object names begin with `prefix`."""
        return self._rows.numbers_below(prefix)

    def remember(self, row: Row) -> tuple[int, Row]:
        """Count one lookup of the object in `row` at its size.

        Returns its number, and the newest row known of it. An object that is still being appended
        to never shrinks: if a larger size is known, that inode is counted and returned instead.
        """
        objects, index = row
        identity = _identity(objects, index)
        if not objects.traits[index].finalized and (larger := self._larger(identity)) is not None:
            return self.remember(larger)
        number = self._number_of(identity)
        place = self._locate_identity(number, identity)
        if place is None:
            number = self._free_number(number, identity)
            place = self._rows.add(number, row)
        leaf, leaf_index = place
        leaf.lookups[leaf_index] += 1
        row = self._newest(leaf, leaf_index, row)
        if not objects.traits[index].finalized or (self._largest and identity[:2] in self._largest):
            self._largest[identity[:2]] = number
        return number, row

    def count(self, number: int) -> Row | None:
        """Count one lookup of exactly this inode; return its row, or None if it has none.

        `remember` may lead to a larger size of the same object.
        """
        place = self._rows.locate(number)
        if place is None:
            return None
        leaf, index = place
        leaf.lookups[index] += 1
        return Row(leaf.objects, index)

    def forget(self, number: int, lookups: int) -> None:
        """Take back `lookups` counts.

        Raises:
            ValueError: fewer lookups were counted.
        """
        place = self._rows.locate(number)
        if place is None or place[0].lookups[place[1]] < lookups:
            raise ValueError(f"cannot forget {lookups} lookups of file {number}: too few counted")
        leaf, index = place
        leaf.lookups[index] -= lookups
        self._drop_if_unused(number, leaf, index)

    def pin(self, number: int) -> ObjectInfo | None:
        """Keep a file in the table and return its object; None if there is nothing to open.

        A file in the state GONE is not pinned, nor is a number that is not in the table.
        """
        place = self._rows.locate(number)
        if place is None or self.state(number) is InodeState.GONE:
            return None
        self._pins[number] += 1
        return place[0].objects[place[1]]

    def unpin(self, number: int) -> None:
        """Undo one `pin`.

        Raises:
            ValueError: the file is not pinned.
        """
        place = self._rows.locate(number)
        if place is None or number not in self._pins:
            raise ValueError(f"cannot unpin file {number}: it is not pinned")
        self._pins[number] -= 1
        if not self._pins[number]:
            del self._pins[number]
        self._drop_if_unused(number, *place)

    def _locate_identity(self, number: int, identity: _Identity) -> tuple[InodeLeaf, int] | None:
        place = self._rows.locate(number)
        if place is None:
            return None
        return place if _identity(place[0].objects, place[1]) == identity else None

    def _number_of(self, identity: _Identity) -> int:
        """Return the number of an identity in the table, or the number that it prefers."""
        if self._displaced and (number := self._displaced.get(identity)) is not None:
            return number
        return preferred(file_key(*identity), self._hashed)

    def _free_number(self, preferred_number: int, identity: _Identity) -> int:
        if not self._is_taken(preferred_number):
            return preferred_number
        number = first_free(file_key(*identity), self._hashed, self._is_taken)
        self._displaced[identity] = number
        return number

    def _larger(self, identity: _Identity) -> Row | None:
        """Return the row of the same generation at a larger size, if one is known."""
        number = self._largest.get(identity[:2])
        known = None if number is None else self.get(number)
        return Row.of(known) if known is not None and known.size > identity[2] else None

    def _newest(self, leaf: InodeLeaf, index: int, row: Row) -> Row:
        known = leaf.objects
        if known.traits[index] is row.objects.traits[row.row_index]:
            return row
        if progress(row.info) > progress(known[index]):
            known.replace(index, row)
            return row
        return Row.of(known[index])

    def _drop_if_unused(self, number: int, leaf: InodeLeaf, index: int) -> None:
        if leaf.lookups[index] or number in self._pins:
            return
        objects = leaf.objects
        name, generation = objects.names[index], objects.generations[index]
        if self._largest and self._largest.get((name, generation)) == number:
            del self._largest[name, generation]
        if self._displaced:
            self._displaced.pop(_identity(objects, index), None)
        self._states.pop(number, None)
        self._rows.remove(number)
        self._on_drop(number, name)
