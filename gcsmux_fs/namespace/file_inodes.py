"""The table of file inodes; sans-IO. An inode takes about 250 bytes of memory, with its name.

Theory of operation

A file inode stands for one *identity*: an object's name, its generation, its size, and whether its
metadata makes it a symbolic link. The bytes of an identity never change, so the kernel may keep the
pages of an inode for any time. A finalized object has one identity. If its metadata later makes it
a link, the link is a second identity, because the kernel reports an error to programs if an inode
changes its type. An object that is still being appended to has one identity, and so one inode, for
each size that was observed. So the size, the readable bytes and the mapped pages of an inode always
agree.

The number of an inode is the hash of its identity (see `inode_numbers`). If another inode has that
number, the file gets another number, and `_displaced` maps the identity to this number.

Each inode has an `InodeState`. Only states other than REMOTE are stored, so the state of a remote
inode costs no memory. The table does not store when a state was set. `Invalidations` stores when a
name was invalidated, and only the answer to a request that was sent later makes the inode REMOTE
again.

A later version will also have inodes of files that are being written. Such a file has no
generation, so it has no identity. It will get a free number and a new state. When its upload ends,
its identity will be added to `_displaced` and its state will become REMOTE, so the inode will keep
its number.

1. A file is in the table from its first lookup until it has neither lookups nor pins.
2. No two files in the table have the same identity.
3. Each inode number in the table stands for one identity, and no directory has this number.
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

    from gcsmux_fs.model.object_table import ObjectTable
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.inode_numbers import Hash
    from gcsmux_fs.namespace.inode_rows import InodeLeaf

__all__ = ["FileInodes", "InodeState", "progress"]

# Name, generation, size in bytes, and whether the object is a symbolic link.
_Identity: TypeAlias = tuple[str, int, int, bool]


class InodeState(enum.Enum):
    """State of an inode: whether its generation exists, and whether the name still leads to it."""

    REMOTE = enum.auto()
    """The service has the bytes: the last answer showed that the generation exists."""

    INVALIDATED = enum.auto()
    """Like REMOTE, but the file's name may lead to another inode now. OPEN is allowed."""

    GONE = enum.auto()
    """An OPEN or a READ found that the generation was overwritten or deleted. OPEN fails."""


def progress(info: ObjectInfo) -> tuple[int, int, int, bool]:
    """Return a sort key of an answer about an object: a newer answer has a greater key.

    The generation alone is not enough, because within one generation the metadata can change and an
    appendable object can grow.
    """
    return info.generation, info.metageneration, info.size, info.finalized


def _identity(objects: ObjectTable, index: int) -> _Identity:
    size, metadata = objects.sizes[index], objects.traits[index].metadata
    is_link = bool(metadata) and read_foreign_metadata(metadata, size).link is not None
    return objects.names[index], objects.generations[index], size, is_link


class FileInodes:
    """The file inodes of a mount, found by number or by identity.

    Args:
        hashed: computes a number from a key and an attempt.
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
        # Numbers of the files whose hash was already the number of another inode, by identity.
        self._displaced: dict[_Identity, int] = {}
        self._pins: Counter[int] = Counter()
        # For each generation that is still being appended to, the number of its largest file inode.
        self._largest: dict[tuple[str, int], int] = {}
        # The numbers of the inodes of each object, by name; None until `index_names` is called.
        self._numbers: dict[str, tuple[int, ...]] | None = None
        # The state of each file that is not REMOTE, by number.
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

    def row(self, number: int) -> Row | None:
        """Return the row of a file in the table; it is valid until the table changes."""
        place = self._rows.locate(number)
        return None if place is None else Row(place[0].objects, place[1])

    def state(self, number: int) -> InodeState:
        """Return the state of a file in the table."""
        return self._states.get(number, InodeState.REMOTE)

    def mark_gone(self, number: int) -> None:
        """Record that the generation of a file in the table no longer exists."""
        self._states[number] = InodeState.GONE

    def invalidate(self, number: int) -> None:
        """Record that the name of a file in the table may lead to another inode now."""
        self._states.setdefault(number, InodeState.INVALIDATED)

    def confirm(self, number: int) -> None:
        """Set the state of a file to REMOTE, because a valid answer showed the file."""
        self._states.pop(number, None)

    def find(self, row: Row) -> int | None:
        """Return the inode number of the object in `row` at its size; None if not in the table."""
        identity = _identity(*row)
        number = self._number_of(identity)
        return None if self._locate_identity(number, identity) is None else number

    def named(self, name: str) -> list[int]:
        """Return the numbers of all files of the object `name`.

        Without an index, the search compares the names of all files, which takes about 2 ms for
        100,000 files.
        """
        if self._numbers is not None:
            return list(self._numbers.get(name, ()))
        return [
            self._number_of(_identity(leaf.objects, index))
            for leaf, index in self._rows.named(name)
        ]

    def is_known(self, name: str) -> bool:
        """Return whether the table has a file of the object `name`; needs the index of names."""
        return self._numbers is not None and name in self._numbers

    def index_names(self) -> None:
        """Keep an index of names from now on, which takes 100 bytes for each file."""
        if self._numbers is None:
            self._numbers = {}
            for number, name in self._rows.names():
                self._add_to_index(name, number)

    def below(self, prefix: str) -> list[int]:
        """Return the numbers of all files whose object names begin with `prefix`."""
        return self._rows.numbers_below(prefix)

    def remember(self, row: Row) -> tuple[int, Row]:
        """Count one lookup of the object in `row` at its size.

        Returns the inode number, and the newest known row of the object. An object that is still
        being appended to never shrinks. So if a larger size is known, the inode of the larger size
        is counted and returned instead.
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
            self._add_to_index(objects.names[index], number)
        leaf, leaf_index = place
        leaf.lookups[leaf_index] += 1
        row = self._newest(leaf, leaf_index, row)
        if not objects.traits[index].finalized or (self._largest and identity[:2] in self._largest):
            self._largest[identity[:2]] = number
        return number, row

    def count(self, number: int) -> Row | None:
        """Count one lookup of exactly this inode; return its row, or None if not in the table.

        In contrast, `remember` may count the inode of a larger size of the same object.
        """
        place = self._rows.locate(number)
        if place is None:
            return None
        leaf, index = place
        leaf.lookups[index] += 1
        return Row(leaf.objects, index)

    def forget(self, number: int, lookups: int) -> None:
        """Subtract `lookups` from the lookup count of a file.

        Raises:
            ValueError: the lookup count is smaller than `lookups`.
        """
        place = self._rows.locate(number)
        if place is None or place[0].lookups[place[1]] < lookups:
            raise ValueError(f"cannot forget {lookups} lookups of file {number}: too few counted")
        leaf, index = place
        leaf.lookups[index] -= lookups
        self._drop_if_unused(number, leaf, index)

    def pin(self, number: int) -> ObjectInfo | None:
        """Keep a file in the table and return its object; None if the file cannot be opened.

        A file cannot be opened if its state is GONE or if its number is not in the table.
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
        """Return the number of an identity; if not in the table, the number it would get."""
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

    def _add_to_index(self, name: str, number: int) -> None:
        if self._numbers is not None:
            self._numbers[name] = (*self._numbers.get(name, ()), number)

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
        if self._numbers is not None:
            numbers = tuple(each for each in self._numbers.pop(name) if each != number)
            if numbers:
                self._numbers[name] = numbers
        self._on_drop(number, name)
