"""The names of a bucket that a mount has shown, each as the first answer showed it; sans-IO.

Theory of operation

Each answer of the service is about a range of keys of one directory: a page of its listing, or the
few names that decide what one name is. The keys of a directory for which there was an answer are
*known*. A known key is an object of one generation, a folder, or absent.

1. A known key never changes. A later answer about known keys is ignored, and shown as before.
2. The object `foo/` is the placeholder of the folder `foo/`, and its key is in two directories.
   Both show the same.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.history.frozen_rows import FrozenRows, joined_tables, rows_between
from gcsmux_fs.history.key_ranges import (
    KeyRanges,
    directory_of,
)
from gcsmux_fs.model.object_table import ObjectTable, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gcsmux_fs.history.key_ranges import KeyRange
    from gcsmux_fs.model.values import ListingPage

__all__ = ["FrozenDirectory", "FrozenNames", "FrozenPage"]


@dataclass(slots=True)
class FrozenDirectory:
    """The known keys of one directory. `rows` has no placeholder objects."""

    rows: FrozenRows = field(default_factory=FrozenRows)
    folders: list[str] = field(default_factory=list)
    known: KeyRanges = field(default_factory=KeyRanges)

    def copy(self) -> FrozenDirectory:
        """Return a copy that does not change with this one."""
        return FrozenDirectory(self.rows.copy(), self.folders.copy(), self.known.copy())

    def folders_between(self, low: str, high: str) -> Sequence[str]:
        """Return the folders in a range of keys."""
        folders = self.folders
        return folders[bisect_left(folders, low) : bisect_left(folders, high)]

    def add_folders(self, folders: Sequence[str]) -> None:
        """Add sorted folders between which the directory has no other folders."""
        if folders:
            place = bisect_left(self.folders, folders[0])
            self.folders[place:place] = folders


@dataclass(frozen=True, slots=True)
class FrozenPage:
    """Known entries of a directory, sorted.

    `next_key` is the key at which the next page begins; None after the last page. If `is_gap`, this
    key is not known yet.
    """

    objects: ObjectTable
    prefixes: tuple[str, ...]
    next_key: str | None
    is_gap: bool

    @property
    def has_entries(self) -> bool:
        """Whether the page shows anything."""
        return bool(len(self.objects) or self.prefixes)


class FrozenNames:
    """All known names of a mount."""

    def __init__(self) -> None:
        self._directories: dict[str, FrozenDirectory] = {}
        self._placeholders: dict[str, Row] = {}
        #: Increases with each answer that made a key known.
        self.version = 0
        #: Number of known objects, without those that are known to be absent.
        self.objects = 0

    def __len__(self) -> int:
        return len(self._directories)

    def copy(self) -> FrozenNames:
        """Return the names of now, which do not change with this object."""
        copied = FrozenNames()
        copied._directories = {
            location: directory.copy() for location, directory in self._directories.items()
        }
        copied._placeholders = self._placeholders.copy()
        copied.version, copied.objects = self.version, self.objects
        return copied

    def directories(self) -> Iterator[tuple[str, FrozenDirectory]]:
        """Yield all directories with their locations, in the order of the locations.

        A directory may have a placeholder object, and no other known key.
        """
        nothing = FrozenDirectory()
        for location in sorted(self._directories.keys() | self._placeholders.keys()):
            yield location, self._directories.get(location, nothing)

    def placeholder(self, location: str) -> Row | None:
        """Return the placeholder object of a directory; None if none is known."""
        return self._placeholders.get(location)

    def directory_to_load(self, location: str) -> FrozenDirectory:
        """Return a directory that a reader of a file fills."""
        return self._directories.setdefault(location, FrozenDirectory())

    # -- answers of the service

    def pin(self, location: str, answered: KeyRange, page: ListingPage) -> None:
        """Make all keys of a range known, as `page` shows them, unless they are known already.

        The page has the objects and folders of the directory `location` in this range. It may have
        others, which are ignored.
        """
        directory = self._directories.setdefault(location, FrozenDirectory())
        gaps = directory.known.gaps(*answered)
        if not gaps:
            return
        table = ObjectTable.of(page.objects).in_order()
        folders = sorted(set(page.prefixes))
        self._pin_placeholders(table, folders, gaps)
        rows = _without_placeholders(table)
        for low, high in gaps:
            added = rows_between(rows, low, high)
            directory.rows.insert(added)
            self.objects += len(added)
            begin, end = bisect_left(folders, low), bisect_left(folders, high)
            directory.add_folders(folders[begin:end])
        directory.known.add(*answered)
        self.version += 1

    def _pin_placeholders(
        self, table: ObjectTable, folders: Sequence[str], gaps: Sequence[KeyRange]
    ) -> None:
        """Keep the placeholder objects of an answer, except those that are known (invariant 2)."""
        for index, name in enumerate(table.names):
            if not name.endswith("/") or not any(low <= name < high for low, high in gaps):
                continue
            if not self._is_placeholder_known(name):
                self._placeholders[name] = Row(table, index)
                self.objects += 1

    def _is_placeholder_known(self, name: str) -> bool:
        places = (name, directory_of(name[:-1]))
        return any(
            place in self._directories and name in self._directories[place].known
            for place in places
        )

    def load_rows(self, directory: FrozenDirectory, rows: ObjectTable) -> None:
        """Add objects that a file has, sorted behind those of the directory so far."""
        directory.rows.insert(rows)
        self.objects += len(rows)

    def load_placeholder(self, row: Row) -> None:
        """Add a placeholder object that a file has."""
        self._placeholders[row.objects.names[row.row_index]] = row
        self.objects += 1

    # -- known names

    def find(self, name: str) -> tuple[bool, Row | None]:
        """Return whether an object name is known, and the object; None if it is absent."""
        if name.endswith("/"):
            return self._is_placeholder_known(name), self._placeholders.get(name)
        directory = self._directories.get(directory_of(name))
        if directory is None or name not in directory.known:
            return False, None
        return True, directory.rows.find(name)

    def read(self, location: str, wanted: KeyRange, page_size: int) -> FrozenPage:
        """Return the known entries at the start of a range, at most `page_size`."""
        directory = self._directories.get(location)
        low, high = wanted
        if directory is None:
            return FrozenPage(ObjectTable.empty(), (), low, is_gap=True)
        end = min(high, directory.known.end_of(low))
        rows = _first_rows(directory.rows.from_key(low, end), page_size + 1)
        folders = directory.folders_between(low, end)[: page_size + 1]
        keys = sorted([*rows.names, *folders])
        following = None if end >= high else end
        is_gap = following is not None
        if len(keys) > page_size:
            following, is_gap = keys[page_size], False
            rows = rows_between(rows, low, following)
            folders = folders[: bisect_left(folders, following)]
        own = (location,) if location and low <= location < end else ()
        objects = self._with_placeholders(rows, (*own, *folders))
        return FrozenPage(objects, tuple(folders), following, is_gap)

    def _with_placeholders(self, rows: ObjectTable, names: Sequence[str]) -> ObjectTable:
        """Return the rows together with the placeholder objects of these names."""
        found = [self._placeholders[name] for name in names if name in self._placeholders]
        if not found:
            return rows
        joined = joined_tables([rows])
        for row in found:
            joined.append(row)
        return joined.in_order()


def _without_placeholders(table: ObjectTable) -> ObjectTable:
    if not any(name.endswith("/") for name in table.names):
        return table
    rows = ObjectTable.empty()
    for index, name in enumerate(table.names):
        if not name.endswith("/"):
            rows.append(Row(table, index))
    return rows


def _first_rows(tables: Iterable[ObjectTable], count: int) -> ObjectTable:
    """Return the first tables together that have `count` rows."""
    taken: list[ObjectTable] = []
    for table in tables:
        taken.append(table)
        count -= len(table)
        if count <= 0:
            break
    return taken[0] if len(taken) == 1 else joined_tables(taken)
