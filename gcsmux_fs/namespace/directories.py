"""Reads directories: requests pages of listings, and serves open directory handles."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeAlias

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.model.errors import PermissionDenied, StorageError, Unauthenticated
from gcsmux_fs.namespace.deadline import bounded, pause_after
from gcsmux_fs.namespace.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import trio

    from gcsmux_fs.model.values import ListingPage, ObjectInfo
    from gcsmux_fs.namespace.child import Child
    from gcsmux_fs.namespace.entry import Entry
    from gcsmux_fs.namespace.listing_cache import CachedListing
    from gcsmux_fs.namespace.listing_ranges import PageRequest
    from gcsmux_fs.namespace.name_cache import NameCache
    from gcsmux_fs.namespace.name_recall import NameRecall
    from gcsmux_fs.namespace.service_outage import ServiceOutage
    from gcsmux_fs.storage.ports import ObjectStore

    Enter: TypeAlias = Callable[[Child, float], Entry]
    OnPage: TypeAlias = Callable[[CachedListing, StorageError | None], None]

__all__ = ["MAX_PAGE_SIZE", "Directories", "DirectoryHandle"]

MAX_PAGE_SIZE = 1000
"""Maximum entries of a page: https://cloud.google.com/storage/docs/json_api/v1/objects/list."""


class Directories:
    """Requests pages of directories and appends them to the listings in `cache`.

    Args:
        store: the service.
        nursery: runs the requests.
        cache: keeps the listings.
        page_size: how many entries are requested at a time.
        on_placeholder: called with each placeholder object that a page shows.
        clock: returns the time in seconds.
        deadline_seconds: how long one part of a listing may take.
        recall: reads kept listings; None if none are kept.
        outage: decides when the service is away; None if old listings are never used.
    """

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        cache: NameCache,
        *,
        page_size: int,
        on_placeholder: Callable[[ObjectInfo], None],
        clock: Callable[[], float],
        deadline_seconds: float,
        recall: NameRecall | None = None,
        outage: ServiceOutage | None = None,
    ) -> None:
        self._store = store
        self._page_size = page_size
        self._on_placeholder = on_placeholder
        self._clock = clock
        # The next page of a listing, and the requests that it needs.
        self._pages: SingleFlight[CachedListing, None] = SingleFlight(nursery, clock)
        self._requests: SingleFlight[tuple[CachedListing, PageRequest], ListingPage] = SingleFlight(
            nursery, clock
        )
        self._recall = recall
        self._outage = outage
        # Old listings, by location, while the first page of a new listing is requested.
        self._replaced: dict[str, CachedListing] = {}
        self.cache = cache
        self.deadline_seconds = deadline_seconds
        self.page_times = Histogram()

    @property
    def in_flight(self) -> int:
        """The number of listings that grow, plus the number of requested pages."""
        return self._pages.in_flight + self._requests.in_flight

    def fresh_listing(self, location: str) -> CachedListing:
        """Return the cached listing of a directory if it is fresh, or begin a new listing."""
        return self.cache.fresh_listing(location, self._clock())

    async def listing_to_read(self, location: str) -> CachedListing:
        """Return the listing that a new reader uses; wait only for a kept listing.

        Kept listings are read if no listing is cached. If the service is away, the result may be
        older than the TTL.
        """
        cached = self.fresh_listing(location)
        if self._recall is None or cached.listing.pages:
            return cached
        if self._outage is not None and (old := self._replaced.get(location)) is not None:
            return await self._listing_in_outage(old, self._outage)
        await self._recall.read(location)
        kept = self.cache.listings.latest(location)
        if kept is None or kept is cached or self.is_fresh(kept) or self._outage is None:
            return self.fresh_listing(location)
        return await self._listing_in_outage(kept, self._outage)

    async def _listing_in_outage(self, old: CachedListing, outage: ServiceOutage) -> CachedListing:
        """Return a new listing with its first page; return `old` if the service is away."""
        if not old.trusts_all or not old.listing.complete:
            return self.fresh_listing(old.listing.location)
        if not outage.is_on:
            location = old.listing.location
            # As if a handle read it, so that changes are applied to the old listing too.
            old.openers += 1
            new = self.fresh_listing(location)
            self._replaced[location] = old
            try:
                if await outage.answer(lambda: self._first_page_of(new)):
                    return new
            finally:
                self._replaced.pop(location, None)
                self.cache.listings.close(old)
        self.cache.listings.restore(old)
        outage.note_old_answer()
        return old

    async def _first_page_of(self, cached: CachedListing) -> bool:
        await self.grow_beyond(cached, 0)
        return True

    def is_fresh(self, cached: CachedListing) -> bool:
        """Return whether a new reader may use the listing: not invalidated, and still valid."""
        return self.cache.is_fresh(cached, self._clock())

    def is_growing(self, cached: CachedListing) -> bool:
        """Return whether the next page of the listing is in flight."""
        return cached in self._pages

    def grow_soon(self, cached: CachedListing, on_page: OnPage | None = None) -> None:
        """Request the next page of the listing, and do not wait for the page.

        Unless the page is in flight already, `on_page` is called when the page was added, or with
        the error of the request.
        """
        self._pages.start(cached, lambda: self._add_page(cached, on_page, wide=on_page is None))

    async def grow_beyond(self, cached: CachedListing, position: int) -> None:
        """Wait until the listing has an entry at `position` or after it, or is complete."""
        listing = cached.listing
        while not listing.complete and not listing.has_entry_from(position):
            await self._pages.ask(cached, lambda: self._add_page(cached))

    async def may_have_entries(self, cached: CachedListing) -> bool:
        """Read the listing until it has an entry, and return whether it has one.

        If the service refuses the listing, return True, because the user may still be allowed to
        read an object whose name is known.
        """
        try:
            await self.grow_beyond(cached, 0)
        except Unauthenticated:
            raise
        except PermissionDenied:
            return True
        return cached.listing.entries > 0

    async def _add_page(
        self, cached: CachedListing, on_page: OnPage | None = None, *, wide: bool = True
    ) -> None:
        """Add the next page of the listing; if `wide`, request several pages ahead if possible."""
        listing = cached.listing
        if listing.contradiction is not None:
            raise listing.contradiction
        await pause_after(cached.empty_pages)
        try:
            self._request_pages(cached, cached.ranges.upcoming() if wide else [cached.ranges.head])
            flight = cached.ahead.pop(cached.ranges.head)
            page = cached.ranges.take(await flight.wait(), wide=wide)
            self.cache.add_page(cached, page, flight.asked_at, self._clock())
        except StorageError as error:
            # The page token may have caused the failure, so later readers begin a new listing.
            self.cache.listings.discard(cached)
            if on_page is not None:
                on_page(cached, error)
            raise
        if wide and len(upcoming := cached.ranges.upcoming()) > 1:
            self._request_pages(cached, upcoming)
        if on_page is not None:
            on_page(cached, None)
        if listing.complete and self._recall is not None:
            self._recall.note_kept(listing.location)
        if listing.placeholder is not None:
            self._on_placeholder(listing.placeholder)

    def _request_pages(self, cached: CachedListing, requests: Iterable[PageRequest]) -> None:
        for request in requests:
            if request not in cached.ahead:
                cached.ahead[request] = self._requests.start(
                    (cached, request),
                    functools.partial(self._list, cached.listing.location, request),
                )

    async def _list(self, location: str, request: PageRequest) -> ListingPage:
        asked_at = self._clock()
        page = await self._store.list_objects(
            location, delimiter="/", page_size=self._page_size, **request._asdict()
        )
        self.page_times.observe(self._clock() - asked_at)
        return page


class DirectoryHandle:
    """An open directory.

    The handle reads one listing. All handles that are opened while a listing is fresh share the
    listing. A position is 0, or was returned with an entry, and stays valid until the handle is
    rewound.

    Args:
        directories: the source of listings.
        location: the directory.
        enter: makes the entry of a child whose name is valid until a given time, and counts one
            lookup.
    """

    def __init__(self, directories: Directories, location: str, enter: Enter) -> None:
        self._directories = directories
        self._location = location
        self._enter = enter
        self._cached = directories.fresh_listing(location)
        self._cached.openers += 1
        self._advanced = False

    def __repr__(self) -> str:
        return f"<DirectoryHandle on {self._cached!r}>"

    async def entries_from(self, position: int) -> Iterator[tuple[int, bytes, Entry]]:
        """Return the known entries from `position` on; if there are none, wait for a page.

        Each item is the position of the next entry, the file name, and the entry. No item means the
        end of the directory. The iterator is lazy: each entry that it yields counts one lookup of
        the entry's inode. A caller that does not pass an entry to the kernel takes back the lookup
        by `Tree.forget`.

        Reading from position 0 again begins a new listing if the old listing is no longer fresh.
        """
        if position == 0 and self._advanced and not self._directories.is_fresh(self._cached):
            self._use(self._directories.fresh_listing(self._location))
        if position == 0 and not self._cached.listing.pages:
            self._use(
                await bounded(
                    self._directories.deadline_seconds,
                    self._location,
                    lambda: self._directories.listing_to_read(self._location),
                )
            )
        self._advanced = position > 0
        cached = self._cached
        listing = cached.listing
        if not listing.complete and not listing.has_entry_from(position):
            await bounded(
                self._directories.deadline_seconds,
                self._location,
                lambda: self._directories.grow_beyond(cached, position),
            )
        # This reader has reached the last page that has arrived, so it will soon need the next
        # page.
        if position > 0 and not listing.complete and cached.is_in_last_page(position):
            self._directories.grow_soon(cached)
        return self._entries(cached, position)

    def release(self) -> None:
        """Release the listing; the handle must not be used afterwards."""
        self._directories.cache.listings.close(self._cached)

    def _use(self, cached: CachedListing) -> None:
        if cached is not self._cached:
            self.release()
            cached.openers += 1
            self._cached = cached

    def _entries(self, cached: CachedListing, start: int) -> Iterator[tuple[int, bytes, Entry]]:
        listed_until = self._directories.cache.listed_until
        for position, name, child in cached.listing.places_from(start):
            valid_until = listed_until(cached, position, name, child)
            yield position + 1, name, self._enter(child, valid_until)
