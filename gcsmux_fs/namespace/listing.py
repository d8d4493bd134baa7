"""A directory's entries out of the pages of a listing, each as soon as its name is certain.

Theory of operation

Pages are cut from one sorted sequence of objects and prefixes. The object `foo` is called
otherwise if there is a folder `foo/`, which may come pages later: `foo-bar` and `foo.txt` sort in
between. An object is therefore held back until the sequence has passed the place of its folder.
Whatever is held back at the end of a page is the beginning of the page's last name, so that it is
a handful of objects, and everything else can be shown at once.

1. An entry never changes its name or its position once it is in `names`.
2. No entry appears twice: what a server repeats where two pages meet is dropped.
3. Reading all pages ends, with every entry: a page token that comes again, an entry that is not
   beneath the location, or one that sorts before the page it is in, is an error.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gcsmux_fs.errors import StorageError
from gcsmux_fs.model import ObjectInfo
from gcsmux_fs.namespace.names import Form, content_name, place, split_location

if TYPE_CHECKING:
    from gcsmux_fs.model import ListingPage
    from gcsmux_fs.namespace.names import Place

__all__ = ["Child", "Directory", "Listing"]

_SEARCHED_ENTRIES = 8


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; `placeholder` is the object called `location`, where one is known of."""

    location: str
    placeholder: ObjectInfo | None = None


Child: TypeAlias = ObjectInfo | Directory


class Listing:
    """The entries of the directory `location` that the pages so far have made certain."""

    __slots__ = (
        "_directory",
        "_held",
        "_last_placeholder",
        "_reached",
        "_tokens",
        "children",
        "complete",
        "location",
        "names",
        "page_token",
        "placeholder",
    )

    def __init__(self, location: str) -> None:
        self.location = location
        self.names: list[bytes] = []
        self.children: dict[bytes, Child] = {}
        self.placeholder: ObjectInfo | None = None
        self.page_token = ""
        self.complete = False
        self._directory = split_location(location)[0]
        self._reached = ""
        self._held: list[ObjectInfo] = []
        self._last_placeholder: ObjectInfo | None = None
        self._tokens: set[str] = set()

    def __repr__(self) -> str:
        state = "complete" if self.complete else f"up to {self._reached!r}"
        return f"<Listing of {self.location!r}: {len(self.names)} entries, {state}>"

    def add_page(self, page: ListingPage) -> int:
        """Take in the page that `page_token` led to.

        Returns how many of the entries that this adds, the first ones, are from earlier pages.

        Raises:
            StorageError: the server contradicts itself (invariant 3).
        """
        token = page.next_page_token
        if token in self._tokens:
            raise self._error("the server repeats a page token")
        keys: list[tuple[str, ObjectInfo | None]] = [(info.name, info) for info in page.objects]
        keys.extend((prefix, None) for prefix in page.prefixes)
        keys.sort(key=lambda entry: entry[0])
        for key, info in keys:
            self._check(key, is_prefix=info is None)
        if keys:
            self._reached = keys[-1][0]
        self.complete = not token
        self.page_token = token
        self._tokens.add(token)
        return self._take(keys, frozenset(page.prefixes))

    def position_of(self, name: bytes, expected: int) -> int | None:
        """Return the position of an entry, or None if it is not found quickly.

        It is looked for from `expected` on, then where it sorts: spelled names and folders sort a
        little apart from their place in the listing, and are not worth a search of all entries.
        """
        names = self.names
        for start in (expected, bisect.bisect_left(names, name) - _SEARCHED_ENTRIES // 2):
            first = max(start, 0)
            for position in range(first, min(first + _SEARCHED_ENTRIES, len(names))):
                if names[position] == name:
                    return position
        return None

    def file_at(self, position: int) -> ObjectInfo | None:
        """Return the object at a position, or None if there is a folder, or nothing."""
        if position >= len(self.names):
            return None
        child = self.children[self.names[position]]
        return None if isinstance(child, Directory) else child

    def _check(self, key: str, *, is_prefix: bool) -> None:
        if not key.startswith(self.location) or (is_prefix and not key.endswith("/")):
            raise self._error(f"the server lists {key!r}, which cannot be beneath it")
        if key < self._reached:
            raise self._error(f"the server lists {key!r} after {self._reached!r}")

    def _take(self, entries: list[tuple[str, ObjectInfo | None]], prefixes: frozenset[str]) -> int:
        before = len(self.names)
        held, self._held = self._held, []
        for info in held:
            self._settle(info, prefixes)
        released = len(self.names) - before
        for key, found in entries:
            if found is None:
                self._add_folder(key)
            elif key.endswith("/"):
                self._add_placeholder(found)
            else:
                self._settle(found, prefixes)
        return released

    def _settle(self, info: ObjectInfo, prefixes: frozenset[str]) -> None:
        folder = info.name + "/"
        if folder in prefixes:
            form = Form.FILE
        elif folder < self._reached or self.complete:
            form = Form.PLAIN
        else:
            self._held.append(info)
            return
        placed = self._place(info.name, form)
        if placed is not None:
            self._emit(placed.name, Directory(placed.part) if placed.part else info)

    def _add_folder(self, key: str) -> None:
        placed = self._place(key[:-1], Form.PLAIN)
        if placed is None:
            return
        last = self._last_placeholder
        placeholder = last if last is not None and last.name == key else None
        self._emit(
            placed.name, Directory(placed.part) if placed.part else Directory(key, placeholder)
        )

    def _add_placeholder(self, info: ObjectInfo) -> None:
        if info.name == self.location:
            self.placeholder = info
            if info.size:
                self._emit(content_name(), info)
            return
        self._last_placeholder = info
        # Where a page ends between the two, the prefix may have come first.
        placed = self._place(info.name[:-1], Form.PLAIN)
        if placed is not None and self.children.get(placed.name) == Directory(info.name):
            self.children[placed.name] = Directory(info.name, info)

    def _emit(self, name: bytes, child: Child) -> None:
        if name not in self.children:
            self.children[name] = child
            self.names.append(name)

    def _place(self, target: str, form: Form) -> Place | None:
        return place(self.location, target[len(self._directory) :], form)

    def _error(self, message: str) -> StorageError:
        return StorageError(message, subject=f"listing of {self.location!r}")
