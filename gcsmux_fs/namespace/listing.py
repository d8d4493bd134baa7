"""The entries of a directory; each is shown as soon as its file name is final; sans-IO.

Theory of operation

The pages together are one sorted sequence of objects and prefixes. The object `foo` is spelled
`%file~foo` if there is a folder `foo/`. The folder may follow some pages later, because `foo-bar`
and `foo.txt` sort between `foo` and `foo/`. So an object is held back until the sequence has passed
the place of its folder. The name of an object that is still held back at the end of a page is a
prefix of the page's last name. So these objects are few, and all other entries of the page are
shown at once.

Nearly all entries of a large directory are objects that appear under their own names. Such an entry
is a row of its page's table, whose names are sorted. The row is found by bisection, first of the
pages and then of the rows. The file name is cut from the object's name when the file name is
needed. All other entries are *special*: folders, objects with another spelling, and objects that
were held back. A dictionary maps the names of special entries to positions.

Notifications change a listing in place (see `patched_listing`). An entry that is removed keeps its
position and becomes a *gap*, and a new entry gets the position after the last one. So a reader who
has read a part of the listing gets each of the other entries once.

1. A shown entry never changes its name or its position. What it leads to may change.
2. No entry appears twice: an entry that a server repeats where two pages meet is dropped.
3. A reader of all pages comes to an end and gets every entry. It is an error of the server if it
   sends a page token twice, if an entry is not below the location, or if an entry sorts before the
   last key of the earlier pages.
4. The low key of a page is the last key of the page before. No key of a page sorts before its low
   key.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.model.object_table import ObjectTable, Row
from gcsmux_fs.namespace.child import Child, Directory
from gcsmux_fs.namespace.listed_page import ListedPage
from gcsmux_fs.namespace.names import Form, content_name, is_plain, place, split_location

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsmux_fs.model.values import ListingPage, ObjectInfo

__all__ = ["Listing"]


class Listing:
    """The entries of the directory `location` whose names are final after the pages so far."""

    __slots__ = (
        "_directory",
        "_gaps",
        "_held",
        "_last_key",
        "_last_placeholder",
        "_length",
        "_lows",
        "_pages",
        "_special",
        "_starts",
        "_tokens",
        "complete",
        "contradiction",
        "location",
        "placeholder",
    )

    def __init__(self, location: str) -> None:
        self.location = location
        self.placeholder: ObjectInfo | None = None
        self.complete = False
        #: The error of a page that broke invariant 3, or None. After this error no page is added.
        self.contradiction: StorageError | None = None
        self._directory = split_location(location)[0]
        # Three lists with one element per page: the entries of the page, the position of the first
        # entry, and the low key of the page.
        self._pages: list[ListedPage] = []
        self._starts: list[int] = []
        self._lows: list[str] = []
        self._length = 0
        self._gaps = 0
        # Positions of the special entries and of the gaps, by file name.
        self._special: dict[bytes, int] = {}
        self._last_key = ""
        self._held: list[Row] = []
        self._last_placeholder: ObjectInfo | None = None
        self._tokens: set[str] = set()

    def __repr__(self) -> str:
        state = "complete" if self.complete else f"up to {self._last_key!r}"
        return f"<Listing of {self.location!r}: {self.entries} entries, {state}>"

    def __len__(self) -> int:
        """Return the position after the last entry."""
        return self._length

    @property
    def entries(self) -> int:
        """The number of entries, without the gaps."""
        return self._length - self._gaps

    @property
    def pages(self) -> int:
        """The number of pages so far."""
        return len(self._pages)

    @property
    def specials(self) -> int:
        """The number of special entries and gaps."""
        return len(self._special)

    def entries_from(self, position: int) -> Iterator[tuple[bytes, Child]]:
        """Yield file name and child of each entry, beginning at a position."""
        return ((name, child) for _, name, child in self.places_from(position))

    def places_from(self, position: int) -> Iterator[tuple[int, bytes, Child]]:
        """Yield position, file name and child of each entry, beginning at a position."""
        cut = len(self._directory)
        while position < self._length:
            listed = self._page_at(position)
            objects = listed.objects
            for entry in listed.entries[position - listed.start :]:
                if entry >= 0:
                    yield position, objects.names[entry][cut:].encode(), Row(objects, entry)
                elif (child := listed.children[~entry]) is not None:
                    yield position, listed.names[~entry], child
                position += 1
            position = listed.start + len(listed.entries)

    def find(self, name: bytes) -> Child | None:
        """Return the child with this file name; None if no page so far has this name."""
        position = self._special.get(name)
        if position is not None:
            return self._child_at(position)
        place = self._find_row(name)
        return None if place is None else Row(place[0].objects, place[1])

    def has_passed(self, target: str) -> bool:
        """Return whether the object `target` and the folder `target` + `/` are on no later page.

        If so, and `find` finds no entry for them, they do not exist.
        """
        if self.contradiction is not None:
            return False
        return self.complete or target + "/" < self._last_key

    def position_of(self, name: bytes) -> int | None:
        """Return the position of the entry `name`; None if no page so far has this entry."""
        position = self._position_of(name)
        return None if position is None or self._child_at(position) is None else position

    def _position_of(self, name: bytes) -> int | None:
        """Return the position of an entry or a gap."""
        position = self._special.get(name)
        if position is not None:
            return position
        place = self._find_row(name)
        if place is None:
            return None
        listed, row = place
        # Each earlier row is an earlier entry of the page, except hidden rows. So the search can
        # skip the first `row - len(listed.hidden)` entries.
        return listed.start + listed.entries.index(row, max(0, row - len(listed.hidden)))

    def file_at(self, position: int) -> ObjectInfo | None:
        """Return the object at a position; None for a folder, a gap, or beyond the last entry."""
        if position >= self._length:
            return None
        child = self._child_at(position)
        return child.info if isinstance(child, Row) else None

    def add_page(self, page: ListingPage) -> int:
        """Append the next page. A page without a token is the last page.

        Returns how many of the added entries are objects that were held back from earlier pages.
        These objects are the first of the added entries.

        Raises:
            StorageError: the server contradicts itself (invariant 3).
        """
        token = page.next_page_token
        if token in self._tokens:
            raise self._error("the server repeats a page token")
        objects = ObjectTable.of(page.objects).in_order()
        prefixes = sorted(page.prefixes)
        self._check(objects.names)
        self._check(prefixes)
        for prefix in prefixes:
            if not prefix.endswith("/"):
                raise self._stray(prefix)
        listed = ListedPage(self._length, objects)
        self._pages.append(listed)
        self._starts.append(listed.start)
        self._lows.append(self._last_key)
        self._last_key = max([self._last_key, *objects.names[-1:], *prefixes[-1:]])
        self.complete = not token
        self._tokens.add(token)
        try:
            return self._take(listed, prefixes)
        except StorageError as error:
            self.contradiction = error
            self.complete = False
            raise

    def _page_at(self, position: int) -> ListedPage:
        return self._pages[bisect_right(self._starts, position) - 1]

    def _entry_at(self, position: int) -> tuple[ListedPage, int]:
        listed = self._page_at(position)
        return listed, listed.entries[position - listed.start]

    def _child_at(self, position: int) -> Child | None:
        listed, entry = self._entry_at(position)
        return Row(listed.objects, entry) if entry >= 0 else listed.children[~entry]

    def _find_row(self, name: bytes) -> tuple[ListedPage, int] | None:
        try:
            target = self._directory + name.decode()
        except UnicodeDecodeError:
            return None
        index = bisect_right(self._lows, target) - 1
        if index < 0:
            return None
        listed = self._pages[index]
        row = listed.row_of(target)
        return None if row is None else (listed, row)

    def _check(self, keys: Sequence[str]) -> None:
        """Check that sorted keys begin with the location and do not sort before the earlier pages.

        If the first and the last key begin with the location, all keys between them do.
        """
        for key in (*keys[:1], *keys[-1:]):
            if not key.startswith(self.location):
                raise self._stray(key)
            if key < self._last_key:
                raise self._error(f"the server lists {key!r} after {self._last_key!r}")

    def _take(self, listed: ListedPage, prefixes: list[str]) -> int:
        held, self._held = self._held, []
        folders = frozenset(prefixes)
        for row in held:
            self._settle(listed, row, folders)
        released = len(listed.entries)
        names = listed.objects.names
        row_index = 0
        for prefix in prefixes:
            # A placeholder object has the same key as its folder, and is added before the folder.
            end = bisect_right(names, prefix, lo=row_index)
            self._add_objects(listed, row_index, end, folders)
            self._add_folder(listed, prefix)
            row_index = end
        self._add_objects(listed, row_index, len(names), folders)
        self._length += len(listed.entries)
        return released

    def _add_objects(
        self, listed: ListedPage, start: int, end: int, folders: frozenset[str]
    ) -> None:
        names, entries, last_key = listed.objects.names, listed.entries, self._last_key
        cut = len(self._directory)
        # In a `%part~` directory no object appears under its own name.
        ends_at_slash = cut == len(self.location)
        last = names[start - 1] if start else self._lows[-1]
        for row in range(start, end):
            name, before = names[row], last
            last = name
            if ends_at_slash and name > before and is_plain(name, cut):
                folder = name + "/"
                if folder < last_key and folder not in folders:
                    entries.append(row)
                    continue
            listed.hidden.add(row)
            if name.endswith("/"):
                self._add_placeholder(listed, row)
            elif name != before:
                self._settle(listed, Row(listed.objects, row), folders)

    def _settle(self, listed: ListedPage, row: Row, folders: frozenset[str]) -> None:
        """Show an object if its name is final, otherwise hold it back."""
        name = row.objects.names[row.row_index]
        folder = name + "/"
        if folder in folders:
            form = Form.FILE
        elif folder < self._last_key or self.complete:
            form = Form.PLAIN
        else:
            self._held.append(row)
            return
        self._emit(listed, name, form, row)

    def _add_folder(self, listed: ListedPage, key: str) -> None:
        if key == self.location:
            # With this entry, the directory would contain itself.
            raise self._stray(key)
        last = self._last_placeholder
        placeholder = last if last is not None and last.name == key else None
        self._emit(listed, key[:-1], Form.PLAIN, Directory(key, placeholder))

    def _add_placeholder(self, listed: ListedPage, index: int) -> None:
        info = listed.objects[index]
        if info.name == self.location:
            self.placeholder = info
            if info.size:
                self._show(listed, content_name(), Row(listed.objects, index))
            return
        self._last_placeholder = info
        # The entry of the folder may be here already, if a page ended between a prefix and its
        # placeholder object. Then give the placeholder object to this entry.
        placed = place(self.location, info.name[len(self._directory) : -1], Form.PLAIN)
        position = self._special.get(placed.name) if placed is not None else None
        if position is not None:
            known, entry = self._entry_at(position)
            if known.children[~entry] == Directory(info.name):
                known.children[~entry] = Directory(info.name, info)

    def _emit(self, listed: ListedPage, target: str, form: Form, child: Child) -> None:
        component = target[len(self._directory) :]
        if "/" in component:
            # A file name with a slash would be fatal: the kernel then rejects the whole directory.
            raise self._stray(target)
        placed = place(self.location, component, form)
        if placed is not None:
            self._show(listed, placed.name, Directory(placed.part) if placed.part else child)

    def _show(self, listed: ListedPage, name: bytes, child: Child) -> None:
        if name in self._special:
            return
        self._special[name] = listed.start + len(listed.entries)
        listed.entries.append(~len(listed.names))
        listed.names.append(name)
        listed.children.append(child)

    def _stray(self, key: str) -> StorageError:
        return self._error(f"the server lists {key!r}, which cannot be below this directory")

    def _error(self, message: str) -> StorageError:
        return StorageError(message, subject=f"listing of {self.location!r}")
