"""The inodes of files, in columns: 200 bytes each with the name, where values took 600.

Theory of operation

An inode is one row: its number, how often it was looked up, and what is known of its object. Rows
stand in *leaves* in the order of their numbers. A leaf has those of 1,024 consecutive numbers: the
number tells the leaf, and bisection finds the row. By name a dictionary leads to the number of the
generation that was remembered last; older generations that are still in use have one of their own.

A row that is used no longer is marked, and its leaf is swept when a quarter is left unmarked. So
what is left of many files takes room for four times as many at most (and 1 KB, where a leaf has one
row), and to forget costs the same whatever the size of the table.

1. A row is in the table from its first lookup until it has neither lookups nor pins.
2. No two rows that are in the table have the same name and generation.
3. Numbers ascend within a leaf.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from gcsmux_fs.columns import ObjectColumns, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.model import ObjectInfo

__all__ = ["FileInodes", "progress"]

# 1,024 rows: to sweep a leaf takes some tenths of a millisecond, in which nobody is answered.
_LEAF_BITS = 10
# The lookups of a row that has left the table.
_GONE = -1


def progress(info: ObjectInfo) -> tuple[int, int, int, bool]:
    """Return what only ever grows: of two that are told of one object, the greater is newer.

    Metadata and, for an object that is still being appended to, the size change within a
    generation.
    """
    return info.generation, info.metageneration, info.size, info.finalized


def _replaces(told: ObjectInfo, known: ObjectInfo) -> bool:
    """Tell whether what is told of a generation is to be believed rather than what is known."""
    if told.finalized and known.finalized and told.metageneration == known.metageneration:
        # A size that cannot change was told wrong, once: the newer word can be had again.
        return told.size != known.size
    return progress(told) > progress(known)


class _Leaf:
    """The rows of consecutive numbers."""

    __slots__ = ("gone", "lookups", "numbers", "objects")

    def __init__(self) -> None:
        self.numbers = array("q")
        self.lookups = array("q")
        self.objects = ObjectColumns.empty()
        self.gone = 0

    def append(self, number: int, row: Row) -> None:
        """Add a row that was looked up once."""
        self.numbers.append(number)
        self.lookups.append(1)
        self.objects.append(row)

    def drop(self, index: int) -> None:
        """Mark a row, which moves the others if it is one too many."""
        self.lookups[index] = _GONE
        self.gone += 1
        if self.gone * 4 < len(self.numbers) * 3:
            return
        kept = [int(lookups != _GONE) for lookups in self.lookups]
        self.objects.keep(kept)
        self.numbers = array("q", (n for n, keep in zip(self.numbers, kept, strict=True) if keep))
        self.lookups = array("q", (n for n in self.lookups if n != _GONE))
        self.gone = 0


class FileInodes:
    """Files by number, and by name and generation; numbers come from `numbers`, ascending."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._next = numbers
        self._leaves: dict[int, _Leaf] = {}
        self._latest: dict[str, int] = {}
        self._older: dict[tuple[str, int], int] = {}
        self._pins: Counter[int] = Counter()
        # Of objects that are still being appended to.
        self._fresh_until: dict[int, float] = {}
        # When a read found out that a generation is gone.
        self._gone_since: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._latest) + len(self._older)

    def __repr__(self) -> str:
        return f"<FileInodes: {len(self)} in {len(self._leaves)} leaves, {len(self._pins)} pinned>"

    def get(self, number: int) -> ObjectInfo | None:
        """Return what is known of a file, if it is in the table."""
        found = self._locate(number)
        return None if found is None else found[0].objects[found[1]]

    def fresh_until(self, number: int) -> float:
        """Return how long what is known of a file counts, if it is being appended to."""
        return self._fresh_until.get(number, -math.inf)

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

    def find(self, name: str, generation: int) -> int | None:
        """Return the number of an object generation, if it is in the table."""
        found = self._find(name, generation)
        return None if found is None else found[0].numbers[found[1]]

    def remember(self, row: Row, fresh_until: float) -> tuple[int, Row]:
        """Count one lookup of an object generation that is known until `fresh_until`.

        Returns its number, and the row again or, if there is one, what is known that is newer.
        """
        objects, index = row
        found = self._find(objects.names[index], objects.generations[index])
        if found is None:
            number = self._add(row)
        else:
            leaf, at = found
            number = leaf.numbers[at]
            leaf.lookups[at] += 1
            row = self._newest(leaf, at, row)
        if not objects.traits[index].finalized:
            self._believe(number, fresh_until)
        return number, row

    def learn(self, number: int, info: ObjectInfo, fresh_until: float) -> None:
        """Take in what the service says of a file, unless something newer is known."""
        found = self._locate(number)
        if found is not None:
            self._newest(*found, Row.of(info))
            self._believe(number, fresh_until)

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
        self._drop_if_unused(leaf, index)

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
        self._drop_if_unused(*found)

    def _locate(self, number: int) -> tuple[_Leaf, int] | None:
        leaf = self._leaves.get(number >> _LEAF_BITS)
        if leaf is None:
            return None
        index = bisect_left(leaf.numbers, number)
        if index == len(leaf.numbers) or leaf.numbers[index] != number:
            return None
        return None if leaf.lookups[index] == _GONE else (leaf, index)

    def _find(self, name: str, generation: int) -> tuple[_Leaf, int] | None:
        number = self._latest.get(name)
        if number is None and not self._older:
            return None
        if number is not None:
            found = self._locate(number)
            assert found is not None
            if found[0].objects.generations[found[1]] == generation:
                return found
        number = self._older.get((name, generation))
        return None if number is None else self._locate(number)

    def _add(self, row: Row) -> int:
        number = next(self._next)
        leaf = self._leaves.get(number >> _LEAF_BITS)
        if leaf is None:
            leaf = self._leaves[number >> _LEAF_BITS] = _Leaf()
        leaf.append(number, row)
        name = row.objects.names[row.at]
        previous = self._latest.get(name)
        if previous is not None:
            found = self._locate(previous)
            assert found is not None
            self._older[name, found[0].objects.generations[found[1]]] = previous
        self._latest[name] = number
        return number

    def _newest(self, leaf: _Leaf, index: int, row: Row) -> Row:
        known, told = leaf.objects, row.objects
        same_traits = known.traits[index] is told.traits[row.at]
        if same_traits and known.sizes[index] == told.sizes[row.at]:
            return row
        if _replaces(row.info, known[index]):
            known.replace(index, row)
            return row
        return Row.of(known[index])

    def _believe(self, number: int, fresh_until: float) -> None:
        self._fresh_until[number] = max(fresh_until, self._fresh_until.get(number, fresh_until))

    def _drop_if_unused(self, leaf: _Leaf, index: int) -> None:
        number = leaf.numbers[index]
        if leaf.lookups[index] or number in self._pins:
            return
        name = leaf.objects.names[index]
        if self._latest.get(name) == number:
            del self._latest[name]
        else:
            del self._older[name, leaf.objects.generations[index]]
        self._fresh_until.pop(number, None)
        self._gone_since.pop(number, None)
        leaf.drop(index)
        if not leaf.numbers:
            del self._leaves[number >> _LEAF_BITS]
