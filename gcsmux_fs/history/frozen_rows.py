"""A sorted table of objects in blocks; a block never changes, so a copy of the table is cheap."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from gcsmux_fs.model.object_table import ObjectTable, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["FrozenRows", "joined_tables", "rows_between"]

# Maximum number of rows of a block. To add a name copies one block, which takes 20 us.
_BLOCK_ROWS = 1024
# From this number of rows on, added rows become a block of their own.
_OWN_BLOCK_ROWS = 256


def rows_between(table: ObjectTable, low: str, high: str) -> ObjectTable:
    """Return a table of the rows whose names are in a range; `table` is sorted."""
    begin, end = bisect_left(table.names, low), bisect_left(table.names, high)
    return _part(table, begin, end)


class FrozenRows:
    """Objects, sorted by name."""

    def __init__(self, blocks: Sequence[ObjectTable] = ()) -> None:
        self._blocks = list(blocks)
        self._firsts = [block.names[0] for block in self._blocks]
        self._length = sum(map(len, self._blocks))

    def __len__(self) -> int:
        return self._length

    def copy(self) -> FrozenRows:
        """Return a table that does not change with this one; both share their blocks."""
        return FrozenRows(self._blocks)

    def tables(self) -> Iterator[ObjectTable]:
        """Yield the rows in their order, as tables that must not be changed."""
        return iter(self._blocks)

    def find(self, name: str) -> Row | None:
        """Return the row of an object; None if there is none."""
        index = self._block_of(name)
        if index < 0:
            return None
        names = self._blocks[index].names
        row = bisect_left(names, name)
        is_found = row < len(names) and names[row] == name
        return Row(self._blocks[index], row) if is_found else None

    def from_key(self, low: str, high: str) -> Iterator[ObjectTable]:
        """Yield the rows whose names are in a range, as tables that must not be changed."""
        for index in range(max(0, self._block_of(low)), len(self._blocks)):
            if self._firsts[index] >= high:
                return
            part = rows_between(self._blocks[index], low, high)
            if len(part):
                yield part

    def insert(self, rows: ObjectTable) -> None:
        """Add sorted rows, between whose names the table has no other rows."""
        if not len(rows):
            return
        self._length += len(rows)
        index = self._block_of(rows.names[0])
        parts: list[ObjectTable] = []
        if index >= 0:
            block = self._blocks[index]
            cut = bisect_left(block.names, rows.names[0])
            parts = [_part(block, 0, cut), _part(block, cut, len(block))]
        else:
            index = 0
            # The rows belong before the first block.
            if self._blocks and len(rows) < _OWN_BLOCK_ROWS:
                parts = [ObjectTable.empty(), self._blocks[0]]
        replaced = 1 if parts else 0
        if len(rows) < _OWN_BLOCK_ROWS and parts:
            joined = joined_tables([parts[0], rows, parts[1]])
            middle = len(joined) // 2
            pieces = (
                [joined]
                if len(joined) <= _BLOCK_ROWS
                else [_part(joined, 0, middle), _part(joined, middle, len(joined))]
            )
        else:
            pieces = [*parts[:1], rows, *parts[1:]]
        pieces = [piece for piece in pieces if len(piece)]
        self._blocks[index : index + replaced] = pieces
        self._firsts[index : index + replaced] = [piece.names[0] for piece in pieces]

    def _block_of(self, name: str) -> int:
        """Return the index of the block that has a name, or into which it belongs; -1 for none."""
        index = bisect_left(self._firsts, name)
        is_first = index < len(self._firsts) and self._firsts[index] == name
        return index if is_first else index - 1


def _part(table: ObjectTable, begin: int, end: int) -> ObjectTable:
    if (begin, end) == (0, len(table)):
        return table
    return ObjectTable(
        table.names[begin:end],
        table.generations[begin:end],
        table.sizes[begin:end],
        table.mtimes_ns[begin:end],
        table.checksums[begin:end],
        table.traits[begin:end],
    )


def joined_tables(tables: Iterable[ObjectTable]) -> ObjectTable:
    """Return a new table of the rows of all tables, in their order."""
    joined = ObjectTable.empty()
    for table in tables:
        joined.names += table.names
        joined.generations += table.generations
        joined.sizes += table.sizes
        joined.mtimes_ns += table.mtimes_ns
        joined.checksums += table.checksums
        joined.traits += table.traits
    return joined
