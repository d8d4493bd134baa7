"""Lists directories in the background while programs look up names in them.

A program that opens files whose names it knows causes lookups, but no listing. `ListingAllowance`
decides when a listing saves requests. Each lookup that asks the service may request the next page.
So the listing stops when the program stops, or when the listing answers all its lookups. A lookup
never waits for a page, and a page that fails has no effect on lookups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.metrics.registry import counter
from gcsmux_fs.namespace.listing_allowance import ListingAllowance

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.namespace.directories import Directories
    from gcsmux_fs.namespace.listing_cache import CachedListing

__all__ = ["BackgroundCounters", "BackgroundListings"]


@dataclass(slots=True)
class BackgroundCounters:
    """Counters of the listings that lookups have begun."""

    background_listings: int = counter(
        "listings", "Listings begun because names of the directory were looked up."
    )
    background_pages: int = counter(
        "pages", "Pages requested because names of the directory were looked up."
    )
    background_answers: int = counter(
        "lookups", "Lookups that a listing begun in the background answered."
    )


class BackgroundListings:
    """Requests pages of directories in which names are looked up.

    Args:
        directories: requests the pages.
        ttl_seconds: how long an answer of the service is valid.
        max_entries: maximum weight of a listing that grows in the background (see
            `CachedListing.weight`).
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        directories: Directories,
        *,
        ttl_seconds: float,
        max_entries: int,
        clock: Callable[[], float],
    ) -> None:
        self._directories = directories
        self._allowance = ListingAllowance(ttl_seconds)
        self._max_entries = max_entries
        self._clock = clock
        self._counters = BackgroundCounters()

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of background listings."""
        registry.fields(self._counters)

    def note_answered(self, cached: CachedListing) -> None:
        """Record that a listing has answered a lookup."""
        cached.answered += 1
        if cached.in_background:
            self._counters.background_answers += 1

    def note_asked(self, location: str, name: bytes) -> None:
        """Record that the service is asked for a name; request a page of its directory if allowed.

        The page is the next page of the directory's listing. If no listing can be continued, it is
        the first page of a new listing, which replaces the old one.
        """
        now = self._clock()
        cache = self._directories.cache
        self._allowance.note_asked(location, name, now)
        cached, pages, answered = cache.listings.latest(location), 1, 0
        if cached is not None and cache.is_fresh(cached, now) and not cached.listing.complete:
            if self._directories.is_growing(cached) or cached.weight > self._max_entries:
                return
            answered = cached.answered
        elif cached is not None:
            # The listing no longer answers this name, because the negative TTL has ended or the
            # name was invalidated. It may still answer other names until the new listing has as
            # many pages.
            if cache.is_valid(cached, now):
                pages = cached.listing.pages
            cached = None
        if not self._allowance.allows(location, answered, pages, now):
            return
        if cached is None:
            cached = cache.begin_listing(location, now)
            cached.in_background = True
            self._counters.background_listings += 1
        self._counters.background_pages += 1
        self._allowance.note_page(location)
        self._directories.grow_soon(cached, self._on_page)

    def _on_page(self, cached: CachedListing, error: StorageError | None) -> None:
        location = cached.listing.location
        if error is not None:
            self._allowance.note_failed(location, self._clock())
        elif cached.listing.complete:
            self._allowance.note_complete(location)
