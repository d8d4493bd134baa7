"""The inodes of files, in columns: 250 bytes each with the name, where values took 600.

Theory of operation

A file is one *state* of an object: its name, its generation, its size, and whether its metadata
makes it a symbolic link. The bytes of a state never change, so the kernel may keep its pages for as
long as it likes. A finished object has one state, unless its metadata makes it a link later: the
kernel takes a file from its programs whose inode changes its type. An object that is still being
appended to has one state for each size that was observed, and each is an inode of its own: size,
readable bytes and mapped pages of one inode always agree.

An inode is one row: how often it was looked up, and what is known of its object. Rows are numbered
in the order of their making and stand in *leaves* of 1,024 consecutive row numbers: the row number
tells the leaf, and bisection finds the row. A dictionary leads from the inode's number, which is a
hash (see `inode_numbers`), to the row number.

A row that is used no longer is marked, and its leaf is swept when a quarter is left unmarked. So
what is left of many files takes room for four times as many at most (and 1 KB, where a leaf has one
row), and to forget costs the same whatever the size of the table.

1. A row is in the table from its first lookup until it has neither lookups nor pins.
2. No two rows that are in the table have the same state.
3. Row numbers ascend within a leaf.
4. An inode number of the table stands for one state, and none of its numbers is a directory's.
"""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from gcsmux_fs.model.object_table import ObjectColumns, Row
from gcsmux_fs.namespace.foreign_metadata import read_foreign_metadata
from gcsmux_fs.namespace.inode_numbers import file_key, first_free, preferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.inode_numbers import Hash

__all__ = ["FileInodes", "progress"]

# 1,024 rows: to sweep a leaf takes some tenths of a millisecond, in which nobody is answered.
_LEAF_BITS = 10
# The lookups of a row that has left the table.
_GONE = -1

# Name, generation, size, whether it is a link.
_State: TypeAlias = tuple[str, int, int, bool]


def progress(info: ObjectInfo) -> tuple[int, int, int, bool]:
    """Return what only ever grows: of two that are told of one object, the greater is newer.

    Metadata and, for an object that is still being appended to, the size change within a
    generation.
    """
    return info.generation, info.metageneration, info.size, info.finalized


def _state_of(objects: ObjectColumns, at: int) -> _State:
    size, metadata = objects.sizes[at], objects.traits[at].metadata
    is_link = bool(metadata) and read_foreign_metadata(metadata, size).link is not None
    return objects.names[at], objects.generations[at], size, is_link


class _Leaf:
    """The rows of consecutive row numbers."""

    __slots__ = ("gone", "lookups", "objects", "rows")

    def __init__(self) -> None:
        self.rows = array("q")
        self.lookups = array("q")
        self.objects = ObjectColumns.empty()
        self.gone = 0

    def append(self, row_number: int, row: Row) -> None:
        """Add a row that was not looked up yet."""
        self.rows.append(row_number)
        self.lookups.append(0)
        self.objects.append(row)

    def index_of(self, row_number: int) -> int:
        """Return the place of a row that is in the leaf."""
        return bisect_left(self.rows, row_number)

    def drop(self, index: int) -> None:
        """Mark a row, which moves the others if it is one too many."""
        self.lookups[index] = _GONE
        self.gone += 1
        if self.gone * 4 < len(self.rows) * 3:
            return
        kept = [int(lookups != _GONE) for lookups in self.lookups]
        self.objects.keep(kept)
        self.rows = array("q", itertools.compress(self.rows, kept))
        self.lookups = array("q", itertools.compress(self.lookups, kept))
        self.gone = 0


class FileInodes:
    """Files by number, and by state.

    Args:
        hashed: Computes numbers.
        is_taken: Tells whether a number is that of a file or of something else.
        on_drop: Called with number and name of each file that leaves the table.
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
        self._row_numbers = itertools.count()
        self._leaves: dict[int, _Leaf] = {}
        self._rows: dict[int, int] = {}
        # The numbers of states whose hash was taken when they came.
        self._displaced: dict[_State, int] = {}
        self._pins: Counter[int] = Counter()
        # Of each generation that is still being appended to, the number with the largest size.
        self._largest: dict[tuple[str, int], int] = {}
        # When a read found out that a generation is gone.
        self._gone_since: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, number: int) -> bool:
        return number in self._rows

    def __repr__(self) -> str:
        return f"<FileInodes: {len(self)} in {len(self._leaves)} leaves, {len(self._pins)} pinned>"

    def get(self, number: int) -> ObjectInfo | None:
        """Return what is known of a file, if it is in the table."""
        found = self._locate(number)
        return None if found is None else found[0].objects[found[1]]

    def is_gone(self, number: int) -> bool:
        """Tell whether a generation was found gone, and nobody has heard of it since."""
        return number in self._gone_since

    def found_gone(self, number: int, now: float) -> None:
        """Note that the generation of a file in the table is gone."""
        self._gone_since[number] = now

    def found(self, number: int, asked: float) -> None:
        """Note that a file's name led to its generation when the service was `asked`."""
        if asked > self._gone_since.get(number, math.inf):
            del self._gone_since[number]

    def find(self, row: Row) -> int | None:
        """Return the number of the object state in `row`, if it is in the table."""
        state = _state_of(*row)
        number = self._number_of(state)
        return None if self._locate_state(number, state) is None else number

    def remember(self, row: Row) -> tuple[int, Row]:
        """Count one lookup of the object state in `row`.

        Returns its number, and the row again or, if there is one, what is known that is newer: an
        object that is still being appended to never shrinks.
        """
        objects, at = row
        state = _state_of(objects, at)
        if not objects.traits[at].finalized and (larger := self._larger(state)) is not None:
            return self.remember(larger)
        number = self._number_of(state)
        found = self._locate_state(number, state)
        if found is None:
            number = self._free_number(number, state)
            found = self._add(number, row)
        leaf, index = found
        leaf.lookups[index] += 1
        row = self._newest(leaf, index, row)
        if not objects.traits[at].finalized or (self._largest and state[:2] in self._largest):
            self._largest[state[:2]] = number
        return number, row

    def count(self, number: int) -> Row | None:
        """Count one lookup of this very inode and return its row; None if it is not in the table.

        `remember` may lead to a larger snapshot of the same object.
        """
        found = self._locate(number)
        if found is None:
            return None
        leaf, index = found
        leaf.lookups[index] += 1
        return Row(leaf.objects, index)

    def forget(self, number: int, lookups: int) -> None:
        """Take back `lookups` counts.

        Raises:
            ValueError: that many were not counted.
        """
        found = self._locate(number)
        if found is None or found[0].lookups[found[1]] < lookups:
            raise ValueError(f"cannot forget {lookups} lookups of file {number}")
        leaf, index = found
        leaf.lookups[index] -= lookups
        self._drop_if_unused(number, leaf, index)

    def pin(self, number: int) -> ObjectInfo | None:
        """Keep a file in the table and return its object; None if there is no such file."""
        found = self._locate(number)
        if found is None:
            return None
        self._pins[number] += 1
        return found[0].objects[found[1]]

    def unpin(self, number: int) -> None:
        """Undo one `pin`.

        Raises:
            ValueError: there is none.
        """
        found = self._locate(number)
        if found is None or number not in self._pins:
            raise ValueError(f"cannot unpin file {number}")
        self._pins[number] -= 1
        if not self._pins[number]:
            del self._pins[number]
        self._drop_if_unused(number, *found)

    def _locate(self, number: int) -> tuple[_Leaf, int] | None:
        row_number = self._rows.get(number)
        if row_number is None:
            return None
        leaf = self._leaves[row_number >> _LEAF_BITS]
        return leaf, leaf.index_of(row_number)

    def _locate_state(self, number: int, state: _State) -> tuple[_Leaf, int] | None:
        found = self._locate(number)
        if found is None:
            return None
        return found if _state_of(found[0].objects, found[1]) == state else None

    def _number_of(self, state: _State) -> int:
        """Return the number that a state has, if it is in the table."""
        if self._displaced and (number := self._displaced.get(state)) is not None:
            return number
        return preferred(file_key(*state), self._hashed)

    def _free_number(self, wanted: int, state: _State) -> int:
        if not self._is_taken(wanted):
            return wanted
        number = first_free(file_key(*state), self._hashed, self._is_taken)
        self._displaced[state] = number
        return number

    def _larger(self, state: _State) -> Row | None:
        """Return what is known of the same generation at a larger size."""
        number = self._largest.get(state[:2])
        known = None if number is None else self.get(number)
        return Row.of(known) if known is not None and known.size > state[2] else None

    def _add(self, number: int, row: Row) -> tuple[_Leaf, int]:
        row_number = next(self._row_numbers)
        leaf = self._leaves.get(row_number >> _LEAF_BITS)
        if leaf is None:
            leaf = self._leaves[row_number >> _LEAF_BITS] = _Leaf()
        leaf.append(row_number, row)
        self._rows[number] = row_number
        return leaf, len(leaf.rows) - 1

    def _newest(self, leaf: _Leaf, index: int, row: Row) -> Row:
        known = leaf.objects
        if known.traits[index] is row.objects.traits[row.at]:
            return row
        if progress(row.info) > progress(known[index]):
            known.replace(index, row)
            return row
        return Row.of(known[index])

    def _drop_if_unused(self, number: int, leaf: _Leaf, index: int) -> None:
        if leaf.lookups[index] or number in self._pins:
            return
        objects = leaf.objects
        name, generation = objects.names[index], objects.generations[index]
        if self._largest and self._largest.get((name, generation)) == number:
            del self._largest[name, generation]
        if self._displaced:
            self._displaced.pop(_state_of(objects, index), None)
        self._gone_since.pop(number, None)
        row_number = self._rows.pop(number)
        leaf.drop(index)
        self._on_drop(number, name)
        if not leaf.rows:
            del self._leaves[row_number >> _LEAF_BITS]
