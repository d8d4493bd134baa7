"""A directory's entries out of the pages of a listing, each as soon as its name is certain.

Theory of operation

Pages are cut from one sorted sequence of objects and prefixes. The object `foo` is called
otherwise if there is a folder `foo/`, which may come pages later: `foo-bar` and `foo.txt` sort in
between. An object is therefore held back until the sequence has passed the place of its folder.
Whatever is held back at the end of a page is the beginning of the page's last name, so that it is
a handful of objects, and everything else can be shown at once.

Nearly all entries of a large directory are objects spelled as themselves. Such an entry is a row
of its page's table, whose names are sorted: it is found by bisection, first of the pages and then
of the rows, and its name is cut from the object's when it is asked for. Folders, objects that are
spelled otherwise and those that were held back are *special*, and found by their names.

1. An entry never changes its name or its position once it is shown.
2. No entry appears twice: what a server repeats where two pages meet is dropped.
3. Reading all pages ends, with every entry: a page token that comes again, an entry that is not
   beneath the location, or one that sorts before the page it is in, is an error.
4. A page's keys do not sort before its low key, which is the last key of the page before.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.model.object_table import ObjectColumns, Row
from gcsmux_fs.namespace.names import Form, content_name, is_plain, place, split_location

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsmux_fs.model.values import ListingPage, ObjectInfo

__all__ = ["Child", "Directory", "Listing"]


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; `placeholder` is the object called `location`, where one is known of.

    Nothing shows an `assumed` one, because no listing is allowed.
    """

    location: str
    placeholder: ObjectInfo | None = None
    assumed: bool = False


Child: TypeAlias = Row | Directory


class _Block:
    """What one page has added: entry by entry the object's row, or the complement of a place.

    The place is one in `names` and `children`, those of special entries. `hidden` are the rows
    that are not shown as themselves in this block.
    """

    __slots__ = ("children", "entries", "hidden", "names", "objects", "start")

    def __init__(self, start: int, objects: ObjectColumns) -> None:
        self.start = start
        self.objects = objects
        self.entries = array("i")
        self.names: list[bytes] = []
        self.children: list[Child] = []
        self.hidden: set[int] = set()

    def row_of(self, target: str) -> int | None:
        """Return the row of an object that is shown as itself."""
        names = self.objects.names
        row = bisect_left(names, target)
        found = row < len(names) and names[row] == target and row not in self.hidden
        return row if found else None


class Listing:
    """The entries of the directory `location` that the pages so far have made certain."""

    __slots__ = (
        "_blocks",
        "_directory",
        "_held",
        "_last_placeholder",
        "_length",
        "_lows",
        "_reached",
        "_special",
        "_starts",
        "_tokens",
        "complete",
        "location",
        "page_token",
        "placeholder",
        "refused",
    )

    def __init__(self, location: str) -> None:
        self.location = location
        self.placeholder: ObjectInfo | None = None
        self.page_token = ""
        self.complete = False
        #: What the server contradicted itself by: what there is of the listing stays all of it.
        self.refused: StorageError | None = None
        self._directory = split_location(location)[0]
        # Of each page what it has added, from which position on, and its low key.
        self._blocks: list[_Block] = []
        self._starts: list[int] = []
        self._lows: list[str] = []
        self._length = 0
        # Positions of special entries.
        self._special: dict[bytes, int] = {}
        self._reached = ""
        self._held: list[Row] = []
        self._last_placeholder: ObjectInfo | None = None
        self._tokens: set[str] = set()

    def __repr__(self) -> str:
        state = "complete" if self.complete else f"up to {self._reached!r}"
        return f"<Listing of {self.location!r}: {self._length} entries, {state}>"

    def __len__(self) -> int:
        return self._length

    @property
    def specials(self) -> int:
        """How many of the entries are special."""
        return len(self._special)

    def entries_from(self, position: int) -> Iterator[tuple[bytes, Child]]:
        """Yield name and child of each entry from a position on."""
        cut = len(self._directory)
        while position < self._length:
            block = self._block_at(position)
            objects = block.objects
            for entry in block.entries[position - block.start :]:
                if entry >= 0:
                    yield objects.names[entry][cut:].encode(), Row(objects, entry)
                else:
                    yield block.names[~entry], block.children[~entry]
            position = block.start + len(block.entries)

    def find(self, name: bytes) -> Child | None:
        """Return the entry with this name, if there is one so far."""
        position = self._special.get(name)
        if position is not None:
            return self._child_at(position)
        found = self._find_row(name)
        return None if found is None else Row(found[0].objects, found[1])

    def position_of(self, name: bytes) -> int | None:
        """Return the position of an entry, or None if there is none so far."""
        position = self._special.get(name)
        if position is not None:
            return position
        found = self._find_row(name)
        if found is None:
            return None
        block, row = found
        # Of the rows before it only hidden ones are not among the entries before it.
        return block.start + block.entries.index(row, max(0, row - len(block.hidden)))

    def file_at(self, position: int) -> ObjectInfo | None:
        """Return the object at a position, or None if there is a folder, or nothing."""
        if position >= self._length:
            return None
        child = self._child_at(position)
        return None if isinstance(child, Directory) else child.info

    def add_page(self, page: ListingPage) -> int:
        """Take in the page that `page_token` led to.

        Returns how many of the entries that this adds, the first ones, are from earlier pages.

        Raises:
            StorageError: the server contradicts itself (invariant 3).
        """
        token = page.next_page_token
        if token in self._tokens:
            raise self._error("the server repeats a page token")
        objects = ObjectColumns.of(page.objects).in_order()
        prefixes = sorted(page.prefixes)
        self._check(objects.names)
        self._check(prefixes)
        for prefix in prefixes:
            if not prefix.endswith("/"):
                raise self._stray(prefix)
        block = _Block(self._length, objects)
        self._blocks.append(block)
        self._starts.append(block.start)
        self._lows.append(self._reached)
        self._reached = max([self._reached, *objects.names[-1:], *prefixes[-1:]])
        self.complete = not token
        self.page_token = token
        self._tokens.add(token)
        try:
            return self._take(block, prefixes)
        except StorageError as error:
            self.refused = error
            self.complete = False
            raise

    def _block_at(self, position: int) -> _Block:
        return self._blocks[bisect_right(self._starts, position) - 1]

    def _entry_at(self, position: int) -> tuple[_Block, int]:
        block = self._block_at(position)
        return block, block.entries[position - block.start]

    def _child_at(self, position: int) -> Child:
        block, entry = self._entry_at(position)
        return Row(block.objects, entry) if entry >= 0 else block.children[~entry]

    def _find_row(self, name: bytes) -> tuple[_Block, int] | None:
        try:
            target = self._directory + name.decode()
        except UnicodeDecodeError:
            return None
        index = bisect_right(self._lows, target) - 1
        if index < 0:
            return None
        block = self._blocks[index]
        row = block.row_of(target)
        return None if row is None else (block, row)

    def _check(self, keys: Sequence[str]) -> None:
        """Check sorted keys: what is between two that begin with the location does as well."""
        for key in (*keys[:1], *keys[-1:]):
            if not key.startswith(self.location):
                raise self._stray(key)
            if key < self._reached:
                raise self._error(f"the server lists {key!r} after {self._reached!r}")

    def _take(self, block: _Block, prefixes: list[str]) -> int:
        held, self._held = self._held, []
        folders = frozenset(prefixes)
        for row in held:
            self._settle(block, row, folders)
        released = len(block.entries)
        names = block.objects.names
        row_index = 0
        for prefix in prefixes:
            # A placeholder comes before the folder that it is of.
            end = bisect_right(names, prefix, lo=row_index)
            self._add_objects(block, row_index, end, folders)
            self._add_folder(block, prefix)
            row_index = end
        self._add_objects(block, row_index, len(names), folders)
        self._length += len(block.entries)
        return released

    def _add_objects(self, block: _Block, start: int, end: int, folders: frozenset[str]) -> None:
        names, entries, reached = block.objects.names, block.entries, self._reached
        cut = len(self._directory)
        # In a `%part~` directory nothing is spelled as itself.
        whole = cut == len(self.location)
        last = names[start - 1] if start else self._lows[-1]
        for row in range(start, end):
            name, before = names[row], last
            last = name
            if whole and name > before and is_plain(name, cut):
                folder = name + "/"
                if folder < reached and folder not in folders:
                    entries.append(row)
                    continue
            block.hidden.add(row)
            if name.endswith("/"):
                self._add_placeholder(block, row)
            elif name != before:
                self._settle(block, Row(block.objects, row), folders)

    def _settle(self, block: _Block, row: Row, folders: frozenset[str]) -> None:
        """Show an object under the name that is certain by now, or hold it back."""
        name = row.objects.names[row.at]
        folder = name + "/"
        if folder in folders:
            form = Form.FILE
        elif folder < self._reached or self.complete:
            form = Form.PLAIN
        else:
            self._held.append(row)
            return
        self._emit(block, name, form, row)

    def _add_folder(self, block: _Block, key: str) -> None:
        if key == self.location:
            # It would be a directory that is within itself.
            raise self._stray(key)
        last = self._last_placeholder
        placeholder = last if last is not None and last.name == key else None
        self._emit(block, key[:-1], Form.PLAIN, Directory(key, placeholder))

    def _add_placeholder(self, block: _Block, index: int) -> None:
        info = block.objects[index]
        if info.name == self.location:
            self.placeholder = info
            if info.size:
                self._show(block, content_name(), Row(block.objects, index))
            return
        self._last_placeholder = info
        # Where a page ends between the two, the prefix may have come first.
        placed = place(self.location, info.name[len(self._directory) : -1], Form.PLAIN)
        position = self._special.get(placed.name) if placed is not None else None
        if position is not None:
            known, entry = self._entry_at(position)
            if known.children[~entry] == Directory(info.name):
                known.children[~entry] = Directory(info.name, info)

    def _emit(self, block: _Block, target: str, form: Form, child: Child) -> None:
        component = target[len(self._directory) :]
        if "/" in component:
            # The kernel refuses a whole directory for one name with a slash.
            raise self._stray(target)
        placed = place(self.location, component, form)
        if placed is not None:
            self._show(block, placed.name, Directory(placed.part) if placed.part else child)

    def _show(self, block: _Block, name: bytes, child: Child) -> None:
        if name in self._special:
            return
        self._special[name] = block.start + len(block.entries)
        block.entries.append(~len(block.names))
        block.names.append(name)
        block.children.append(child)

    def _stray(self, key: str) -> StorageError:
        return self._error(f"the server lists {key!r}, which cannot be beneath it")

    def _error(self, message: str) -> StorageError:
        return StorageError(message, subject=f"listing of {self.location!r}")
