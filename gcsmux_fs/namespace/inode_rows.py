"""A table with one row for each file inode: its lookup count and its object; sans-IO.

Theory of operation

The table is stored in columns. Rows are numbered in the order of their creation. A *leaf* holds
1,024 consecutive row numbers: the row number gives the leaf, and bisection in the leaf gives the
index of the row. A dictionary maps inode numbers to row numbers.

Removing a row only marks the row. When three quarters of a leaf are marked, the leaf is compacted.
So the removed rows take at most three times the memory of the remaining rows. (A leaf with one row
takes 1 KB.) The time to remove a row does not depend on the size of the table.

1. Row numbers ascend within a leaf.
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from gcsmux_fs.model.object_table import ObjectTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.model.object_table import Row

__all__ = ["InodeLeaf", "InodeRows"]

# A leaf has 2**10 rows. Compacting such a leaf takes some tenths of a millisecond, in which no
# request is answered.
_LEAF_BITS = 10
# This lookup count marks a row that was removed from the table.
_REMOVED = -1


class InodeLeaf:
    """Rows with consecutive row numbers, in columns; a row has the same index in each column."""

    __slots__ = ("lookups", "objects", "removed", "row_numbers")

    def __init__(self) -> None:
        self.row_numbers = array("q")
        self.lookups = array("q")
        self.objects = ObjectTable.empty()
        self.removed = 0

    def append(self, row_number: int, row: Row) -> None:
        """Add a row with a lookup count of 0."""
        self.row_numbers.append(row_number)
        self.lookups.append(0)
        self.objects.append(row)

    def index_of(self, row_number: int) -> int:
        """Return the index of a row of this leaf."""
        return bisect_left(self.row_numbers, row_number)

    def remove(self, index: int) -> None:
        """Mark a row as removed; this may compact the leaf, which changes indexes."""
        self.lookups[index] = _REMOVED
        self.removed += 1
        if self.removed * 4 < len(self.row_numbers) * 3:
            return
        kept = [int(lookups != _REMOVED) for lookups in self.lookups]
        self.objects.keep(kept)
        self.row_numbers = array("q", itertools.compress(self.row_numbers, kept))
        self.lookups = array("q", itertools.compress(self.lookups, kept))
        self.removed = 0


class InodeRows:
    """The rows of a table of inodes, by inode number."""

    def __init__(self) -> None:
        self._next_row_number = itertools.count()
        self._leaves: dict[int, InodeLeaf] = {}
        self._row_numbers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._row_numbers)

    def __contains__(self, number: int) -> bool:
        return number in self._row_numbers

    def __repr__(self) -> str:
        return f"<InodeRows: {len(self)} in {self.leaves} leaves>"

    @property
    def leaves(self) -> int:
        """The number of leaves."""
        return len(self._leaves)

    def locate(self, number: int) -> tuple[InodeLeaf, int] | None:
        """Return the leaf and the index of an inode's row; None if the table has no such inode."""
        row_number = self._row_numbers.get(number)
        if row_number is None:
            return None
        leaf = self._leaves[row_number >> _LEAF_BITS]
        return leaf, leaf.index_of(row_number)

    def add(self, number: int, row: Row) -> tuple[InodeLeaf, int]:
        """Add a row for an inode that has no row; return the leaf and the index of the row."""
        row_number = next(self._next_row_number)
        leaf = self._leaves.get(row_number >> _LEAF_BITS)
        if leaf is None:
            leaf = self._leaves[row_number >> _LEAF_BITS] = InodeLeaf()
        leaf.append(row_number, row)
        self._row_numbers[number] = row_number
        return leaf, len(leaf.row_numbers) - 1

    def remove(self, number: int) -> None:
        """Remove the row of an inode."""
        row_number = self._row_numbers.pop(number)
        leaf = self._leaves[row_number >> _LEAF_BITS]
        leaf.remove(leaf.index_of(row_number))
        if not leaf.row_numbers:
            del self._leaves[row_number >> _LEAF_BITS]

    def named(self, name: str) -> Iterator[tuple[InodeLeaf, int]]:
        """Yield leaf and index of each row of the object `name`; this compares every row."""
        for leaf in self._leaves.values():
            names = leaf.objects.names
            index = -1
            for _ in range(names.count(name)):
                index = names.index(name, index + 1)
                if leaf.lookups[index] != _REMOVED:
                    yield leaf, index

    def names(self) -> Iterator[tuple[int, str]]:
        """Yield number and object name of each inode."""
        for number, row_number in self._row_numbers.items():
            leaf = self._leaves[row_number >> _LEAF_BITS]
            yield number, leaf.objects.names[leaf.index_of(row_number)]

    def numbers_below(self, prefix: str) -> list[int]:
        """Return the number of each inode whose object name begins with `prefix`."""
        matching = {
            row_number
            for leaf in self._leaves.values()
            for row_number, name in zip(leaf.row_numbers, leaf.objects.names, strict=True)
            if name.startswith(prefix)
        }
        return [number for number, row in self._row_numbers.items() if row in matching]
