"""Pages of a listing, made from any sorted source of names.

A page token holds only the name at which the next page begins. The server therefore keeps no state
between pages. The time for a page does not depend on how many names begin with the prefixes on the
page, because the listing skips these names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.object_names import after_prefix
from gcsmux_fs.emulator.rpc_error import invalid

if TYPE_CHECKING:
    from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = [
    "ListedName",
    "Page",
    "Position",
    "Query",
    "folded_name",
    "list_page",
    "listing_query",
    "query_digest",
]


@dataclass(frozen=True, slots=True)
class ListedName:
    """An object, or a folder of a hierarchical bucket (its name ends with `/`)."""

    name: str
    folder: bool = False


# A function that yields the entries from a given name on, in order. An object comes before a folder
# of the same name.
Source = Callable[[str], Iterator[ListedName]]


@dataclass(frozen=True, slots=True)
class Query:
    """Selects the names of a listing: names with `prefix`, from `start` on and before `end`.

    An empty `end` sets no limit. With `trailing_delimiter`, an object whose name equals a prefix in
    the listing is listed both as an object and as a prefix. `kind` is `live`, `versions` or
    `soft-deleted`.
    """

    prefix: str = ""
    delimiter: str = ""
    start: str = ""
    end: str = ""
    trailing_delimiter: bool = False
    kind: str = "live"


def listing_query(request: pb.ListObjectsRequest) -> Query:
    """Return the query in a ListObjects request. All pages of a listing have the same query."""
    return Query(
        prefix=request.prefix,
        delimiter=request.delimiter,
        start=request.lexicographic_start,
        end=request.lexicographic_end,
        trailing_delimiter=request.include_trailing_delimiter,
        kind="soft-deleted" if request.soft_deleted else "versions" if request.versions else "live",
    )


@dataclass(frozen=True, slots=True)
class Position:
    """The name at which a page begins.

    `object_shown`: whether an earlier page contains the object `name`, but not the prefix `name`.
    """

    name: str = ""
    object_shown: bool = False

    def token(self, query: Query) -> str:
        """Return the position as a page token. The token is valid for this query only."""
        text = json.dumps([self.name, self.object_shown, query_digest(query)])
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def parse(cls, token: str, query: Query) -> Position:
        """Return the position in a page token; an empty token is the start of the listing.

        Raises:
            RpcError: the token is malformed or belongs to another query (INVALID_ARGUMENT).
        """
        if not token:
            return cls()
        try:
            name, object_shown, digest = json.loads(base64.urlsafe_b64decode(token))
        except (ValueError, TypeError, binascii.Error):
            raise invalid("The page token was not issued by this server.") from None
        if digest != query_digest(query) or not isinstance(name, str):
            raise invalid("The page token belongs to another listing.")
        return cls(name, bool(object_shown))


def query_digest(query: Query) -> str:
    """Return a text that differs for different queries."""
    return hashlib.blake2b(repr(query).encode(), digest_size=8).hexdigest()


@dataclass(slots=True)
class Page:
    """One page: sorted object names and sorted prefixes. `following`: start of the next page."""

    objects: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    following: Position | None = None

    def __len__(self) -> int:
        return len(self.objects) + len(self.prefixes)


def list_page(source: Source, query: Query, position: Position, max_entries: int) -> Page:
    """Return the page at `position`, with at most `max_entries` objects and prefixes together."""
    page = Page()
    entries = source(max(query.prefix, query.start, position.name))
    while (entry := next(entries, None)) is not None:
        name = entry.name
        if not name.startswith(query.prefix) or (query.end and name >= query.end):
            break
        folded = folded_name(name, query)
        if folded is None:
            if entry.folder:
                continue
            if len(page) == max_entries:
                page.following = Position(name)
                break
            page.objects.append(name)
            continue
        object_shown = position.object_shown and name == position.name
        if query.trailing_delimiter and name == folded and not entry.folder and not object_shown:
            if len(page) == max_entries:
                page.following = Position(name)
                break
            page.objects.append(name)
            object_shown = True
        if len(page) == max_entries:
            page.following = Position(name, object_shown=object_shown)
            break
        page.prefixes.append(folded)
        behind = after_prefix(folded)
        entries = iter(()) if behind is None else source(behind)
    return page


def folded_name(name: str, query: Query) -> str | None:
    """Return the prefix that replaces `name` in the listing; None if the name itself is listed."""
    if not query.delimiter:
        return None
    at = name.find(query.delimiter, len(query.prefix))
    return None if at < 0 else name[: at + len(query.delimiter)]
