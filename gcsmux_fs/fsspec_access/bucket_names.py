"""Finds objects and folders of one bucket by their names, for callers without a mount.

Names are plain object names. The cached listings and answers are those of a mount (see
`namespace`), so a listing of a folder also answers later questions about its objects. If an object
and a folder have the same name, the name means the object, as in other fsspec file systems.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cachetools
import trio

from gcsmux_fs.model.errors import NotFound, StorageError
from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.deadline import bounded, pause_after
from gcsmux_fs.namespace.directories import MAX_PAGE_SIZE
from gcsmux_fs.namespace.listing_cache import MAX_LISTED_ENTRIES
from gcsmux_fs.namespace.listing_ranges import ListingRanges
from gcsmux_fs.namespace.name_cache import MAX_RESOLUTIONS
from gcsmux_fs.namespace.name_lookup import NameLookup
from gcsmux_fs.namespace.names import Form, Step, locate
from gcsmux_fs.namespace.single_flight import SingleFlight

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ListingPage, ObjectInfo
    from gcsmux_fs.namespace.listing_ranges import PageRequest
    from gcsmux_fs.namespace.name_cache import NameAnswer
    from gcsmux_fs.namespace.single_flight import Flight
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["BucketNames", "FoundNames"]


@dataclass(frozen=True, slots=True)
class FoundNames:
    """The result of a listing: objects in the order of their names, and folders without slash."""

    objects: list[ObjectInfo]
    folders: list[str]


class BucketNames:
    """The names of one bucket.

    Args:
        store: the unary calls on the bucket.
        nursery: runs the requests.
        bucket: the name of the bucket, for messages.
        ttl_seconds: how long a cached answer is valid; 0 to ask always.
        negative_ttl_seconds: how long the absence of a name is valid.
        deadline_seconds: how long one question, or one page of a listing, may take.
    """

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        bucket: str,
        *,
        ttl_seconds: float,
        negative_ttl_seconds: float,
        deadline_seconds: float,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._deadline = deadline_seconds
        self._lookup = NameLookup(
            store,
            nursery,
            ttl_seconds=ttl_seconds,
            negative_ttl_seconds=negative_ttl_seconds,
            page_size=MAX_PAGE_SIZE,
            max_listed_entries=MAX_LISTED_ENTRIES,
            clock=trio.current_time,
            deadline_seconds=deadline_seconds,
            on_placeholder=lambda _: None,
            assume_directories=False,
        )
        # Objects that were asked for without a question about a folder of the same name, and when.
        self._objects: cachetools.LRUCache[str, tuple[ObjectInfo | None, float]] = (
            cachetools.LRUCache(MAX_RESOLUTIONS)
        )
        self._pages: SingleFlight[tuple[int, PageRequest], ListingPage] = SingleFlight(
            nursery, trio.current_time
        )
        self._listings = 0

    # -- single names

    async def find(self, name: str) -> ObjectInfo | Directory:
        """Return what `name` is: an object or a folder. The empty name is the bucket itself.

        Raises:
            NotFound: there is no such object or folder.
        """
        if not name:
            return Directory("")
        answer = self._cached(name, Form.PLAIN) or await self._ask(name, Form.PLAIN)
        child = answer.child
        if isinstance(child, Directory):
            # The cached answer about the folder usually answers this question too.
            beside = self._cached(name, Form.FILE) or await self._ask(name, Form.FILE)
            if isinstance(beside.child, Row):
                return beside.child.info
            if not child.assumed:
                return child
        if isinstance(child, Row):
            return child.info
        raise self._not_found(name)

    async def find_object(self, name: str) -> ObjectInfo:
        """Return the object `name`, without a question about a folder of the same name.

        Raises:
            NotFound: there is no such object.
        """
        child = self._cached_object(name)
        if child is None:
            location, file_name = locate(name, Form.PLAIN)
            info, asked_at = await self._lookup.ask_object(
                location, file_name, Step(Form.PLAIN, name)
            )
            self._objects[name] = info, asked_at
        else:
            info = child.info if isinstance(child, Row) else None
        if info is None:
            raise self._not_found(name)
        return info

    def invalidate(self, name: str) -> None:
        """Drop all cached answers about `name` and everything below it; "" means the bucket."""
        now, cache = trio.current_time(), self._lookup.cache
        if not name:
            self._objects.clear()
            cache.invalidate_below("", now)
            return
        folder = name + "/"
        for each in [key for key in self._objects if key == name or key.startswith(folder)]:
            del self._objects[each]
        cache.invalidate(name, now)
        cache.invalidate_below(folder, now)

    def _cached(self, name: str, form: Form) -> NameAnswer | None:
        location, file_name = locate(name, form)
        return self._lookup.cached(location, file_name, Step(form, name))

    async def _ask(self, name: str, form: Form) -> NameAnswer:
        location, file_name = locate(name, form)
        return await self._lookup.ask(location, file_name, Step(form, name))

    def _cached_object(self, name: str) -> Row | Literal["absent"] | None:
        """Return the object of a valid cached answer; None if no answer is valid."""
        answer = self._cached(name, Form.PLAIN)
        if answer is not None and isinstance(answer.child, Directory):
            answer = self._cached(name, Form.FILE)
        if answer is None and (recent := self._objects.get(name)) is not None:
            info, asked_at = recent
            row = None if info is None else Row.of(info)
            answer = self._lookup.cache.answer(name, row, asked_at)
            if answer.valid_until <= trio.current_time():
                answer = None
        if answer is None:
            return None
        return answer.child if isinstance(answer.child, Row) else "absent"

    def _not_found(self, name: str) -> NotFound:
        return NotFound("no such object or folder", subject=f"gs://{self._bucket}/{name}")

    # -- listings

    async def list_folder(self, name: str) -> FoundNames:
        """Return the objects and the folders directly in a folder; "" is the bucket itself.

        If `name` is an object, the result has only this object.

        Raises:
            NotFound: there is no such object or folder.
        """
        found = await self._list_location(name + "/" if name else "")
        if not found.objects and not found.folders and name:
            itself = await self.find(name)
            if not isinstance(itself, Directory):
                return FoundNames([itself], [])
        return found

    async def _list_location(self, location: str) -> FoundNames:
        directories = self._lookup.directories
        cached = directories.fresh_listing(location)
        cached.openers += 1
        listing = cached.listing
        try:
            while not listing.complete:
                await bounded(
                    self._deadline,
                    location,
                    lambda: directories.grow_beyond(cached, len(listing)),
                )
        finally:
            directories.cache.listings.close(cached)
        found = FoundNames([], [])
        for _, child in listing.entries_from(0):
            if isinstance(child, Row):
                if child.objects.names[child.row_index] != location:
                    found.objects.append(child.info)
            elif child.location.endswith("/"):
                found.folders.append(child.location[:-1])
            else:
                # Names with very long components are listed in parts (see `names`).
                part = await self._list_location(child.location)
                found.objects.extend(part.objects)
                found.folders.extend(part.folders)
        return found

    async def list_names(self, prefix: str, *, delimiter: str) -> FoundNames:
        """Return the objects whose names begin with `prefix`, without using cached answers.

        If `delimiter` is a slash, names with a slash after the prefix become folders. Otherwise
        the listing has all objects below, and the answers about them are cached.
        """
        self._listings += 1
        listing_id = self._listings
        ranges = ListingRanges(prefix)
        ahead: dict[PageRequest, Flight[ListingPage]] = {}
        found = FoundNames([], [])
        tokens: set[str] = set()
        empty_pages = 0
        asked_at = trio.current_time()
        while True:
            await pause_after(empty_pages)
            for request in ranges.upcoming():
                if request not in ahead:
                    ahead[request] = self._pages.start(
                        (listing_id, request),
                        functools.partial(self._page, prefix, delimiter, request),
                    )
            flight = ahead.pop(ranges.head)
            page = ranges.take(await flight.wait(), wide=True)
            has_entries = page.objects or page.prefixes
            empty_pages = 0 if has_entries else empty_pages + 1
            found.objects.extend(page.objects)
            found.folders.extend(folder.removesuffix("/") for folder in page.prefixes)
            token = page.next_page_token
            if not token:
                break
            if token in tokens:
                raise StorageError("the server repeats a page token", subject=repr(prefix))
            tokens.add(token)
        if not delimiter:
            self._store_answers(found.objects, asked_at)
        return found

    async def _page(self, prefix: str, delimiter: str, request: PageRequest) -> ListingPage:
        return await bounded(
            self._deadline,
            prefix,
            lambda: self._store.list_objects(
                prefix, delimiter=delimiter, page_size=MAX_PAGE_SIZE, **request._asdict()
            ),
        )

    def _store_answers(self, objects: list[ObjectInfo], asked_at: float) -> None:
        """Cache each listed object, so that reading the objects needs no further question."""
        for info in objects[:MAX_RESOLUTIONS]:
            self._objects[info.name] = info, asked_at
