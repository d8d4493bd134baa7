"""Pages of a listing of generations. A page may end between two generations of a name."""

from __future__ import annotations

import base64
import binascii
import heapq
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.listing_pages import folded_name, query_digest
from gcsmux_fs.emulator.buckets.object_names import after_prefix
from gcsmux_fs.emulator.rpc_error import invalid

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.listing_pages import Query
    from gcsmux_fs.emulator.buckets.objects import StoredObject

__all__ = ["ListedVersions", "list_bucket_versions", "list_version_page", "versions_of"]

# A function that yields the names from a given name on, in order.
Names = Callable[[str], Iterator[str]]
# A function that returns the generations of a name in ascending order.
Versions = Callable[[str], list["StoredObject"]]

# A prefix comes after all generations of its placeholder object.
_PREFIX_ORDER = 1 << 63


@dataclass(slots=True)
class ListedVersions:
    """One page: generations sorted by name, sorted prefixes, and the token of the next page."""

    versions: list[StoredObject] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    token: str = ""

    def __len__(self) -> int:
        return len(self.versions) + len(self.prefixes)


def versions_of(bucket: Bucket, name: str, *, soft_deleted: bool) -> list[StoredObject]:
    """Return the live and noncurrent generations of a name, or its soft-deleted ones."""
    versions = bucket.old_versions.of_name(name, soft_deleted=soft_deleted)
    live = None if soft_deleted else bucket.find(name)
    return versions if live is None else [*versions, live]


def _names_from(bucket: Bucket, start: str, *, soft_deleted: bool) -> Iterator[str]:
    """Yield the names, from `start` on, that have such generations, in order."""
    old = bucket.old_versions.names_from(start, soft_deleted=soft_deleted)
    live = iter(()) if soft_deleted else (entry.name for entry in bucket.names_from(start))
    last = ""
    for name in heapq.merge(old, live):
        if name != last:
            yield name
        last = name


def list_bucket_versions(
    bucket: Bucket, query: Query, page_token: str, max_entries: int, *, soft_deleted: bool
) -> ListedVersions:
    """Return a page of the live and noncurrent generations, or of the soft-deleted ones.

    Raises:
        RpcError: the token is malformed or belongs to another query (INVALID_ARGUMENT).
    """
    return list_version_page(
        partial(_names_from, bucket, soft_deleted=soft_deleted),
        partial(versions_of, bucket, soft_deleted=soft_deleted),
        query,
        page_token,
        max_entries,
    )


def list_version_page(
    names: Names, versions: Versions, query: Query, page_token: str, max_entries: int
) -> ListedVersions:
    """Return a page with at most `max_entries` generations and prefixes together.

    Raises:
        RpcError: the token is malformed or belongs to another query (INVALID_ARGUMENT).
    """
    page = ListedVersions()
    first = _parse(page_token, query) if page_token else ("", 0)
    for key, order, stored in _entries(names, versions, query, first[0]):
        if (key, order) < first:
            continue
        if len(page) == max_entries:
            page.token = _token(key, order, query)
            break
        if stored is None:
            page.prefixes.append(key)
        else:
            page.versions.append(stored)
    return page


def _entries(
    names: Names, versions: Versions, query: Query, start: str
) -> Iterator[tuple[str, int, StoredObject | None]]:
    """Yield key, order and generation of all entries; the generation of a prefix is None."""
    rest = names(max(query.prefix, query.start, start))
    while (name := next(rest, None)) is not None:
        if not name.startswith(query.prefix) or (query.end and name >= query.end):
            return
        found = versions(name)
        if not found:
            continue
        folder = folded_name(name, query)
        if folder is None or (query.trailing_delimiter and folder == name):
            for stored in found:
                yield name, stored.generation, stored
        if folder is not None:
            yield folder, _PREFIX_ORDER, None
            behind = after_prefix(folder)
            if behind is None:
                return
            rest = names(behind)


def _token(key: str, order: int, query: Query) -> str:
    text = json.dumps([key, order, query_digest(query)])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _parse(token: str, query: Query) -> tuple[str, int]:
    try:
        key, order, digest = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, binascii.Error):
        raise invalid("The page token was not issued by this server.") from None
    if digest != query_digest(query) or not isinstance(key, str) or not isinstance(order, int):
        raise invalid("The page token belongs to another listing.")
    return key, order
