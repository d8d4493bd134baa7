"""Pages of a listing, cut from any ordered source of names.

A page is resumed from the name it stopped at, which is all that its token holds: no listing keeps
state between its pages, and a page costs as much as it shows, because a folded prefix is left by
entering the source again behind it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gcsmux_fs.emulator.buckets.object_names import after_prefix
from gcsmux_fs.emulator.rpc_error import invalid

__all__ = ["MAX_PAGE_ENTRIES", "ListedName", "Page", "Position", "Query", "list_page"]

# The service's cap on objects and prefixes together.
MAX_PAGE_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class ListedName:
    """An object, or a folder of a hierarchical bucket (its name ends with `/`)."""

    name: str
    folder: bool = False


# Gives the entries not before a name, in order; of two with one name, the object comes first.
Source = Callable[[str], Iterator[ListedName]]


@dataclass(frozen=True, slots=True)
class Query:
    """What is listed: names from `start` on and before `end`; an empty `end` is no bound."""

    prefix: str = ""
    delimiter: str = ""
    start: str = ""
    end: str = ""
    trailing_delimiter: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """Where a listing goes on: at `name`, whose object may have been shown already."""

    name: str = ""
    object_shown: bool = False

    def token(self, query: Query) -> str:
        """Return the position as a page token, good for the same query only."""
        text = json.dumps([self.name, self.object_shown, _digest(query)])
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def parse(cls, token: str, query: Query) -> Position:
        """Return the position in a token made by `token`."""
        if not token:
            return cls()
        try:
            name, shown, digest = json.loads(base64.urlsafe_b64decode(token))
        except (ValueError, TypeError, binascii.Error):
            raise invalid("Not a page token of this server") from None
        if digest != _digest(query) or not isinstance(name, str):
            raise invalid("The page token belongs to another listing")
        return cls(name, bool(shown))


def _digest(query: Query) -> str:
    return hashlib.blake2b(repr(query).encode(), digest_size=8).hexdigest()


@dataclass(slots=True)
class Page:
    """Names of objects and prefixes, each in order, and where the next page begins."""

    objects: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    following: Position | None = None

    def __len__(self) -> int:
        return len(self.objects) + len(self.prefixes)


def list_page(source: Source, query: Query, position: Position, max_entries: int) -> Page:
    """Return the page of at most `max_entries` objects and prefixes that begins at `position`."""
    page = Page()
    entries = source(max(query.prefix, query.start, position.name))
    while (entry := next(entries, None)) is not None:
        name = entry.name
        if not name.startswith(query.prefix) or (query.end and name >= query.end):
            break
        folded = _fold(name, query)
        if folded is None:
            if entry.folder:
                continue
            if len(page) == max_entries:
                page.following = Position(name)
                break
            page.objects.append(name)
            continue
        shown = position.object_shown and name == position.name
        if query.trailing_delimiter and name == folded and not entry.folder and not shown:
            if len(page) == max_entries:
                page.following = Position(name)
                break
            page.objects.append(name)
            shown = True
        if len(page) == max_entries:
            page.following = Position(name, object_shown=shown)
            break
        page.prefixes.append(folded)
        behind = after_prefix(folded)
        entries = iter(()) if behind is None else source(behind)
    return page


def _fold(name: str, query: Query) -> str | None:
    """Return the prefix that `name` is shown as, or None if it is shown itself."""
    if not query.delimiter:
        return None
    at = name.find(query.delimiter, len(query.prefix))
    return None if at < 0 else name[: at + len(query.delimiter)]
