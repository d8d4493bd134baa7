"""Cache of the latest listing of each directory, with the times of its requests; sans-IO.

1. The cache is bounded: beyond `max_entries` the least recently used listings are evicted. Open
   listings are not evicted, because their handles keep the memory anyway. Pages that were requested
   ahead are not counted. A listing has at most four of them, and only if it has at least ten pages.
2. A listing that is no longer the latest one, but is still read by a handle, can be found by its
   location, so that changes are applied to it too.
3. All times are the times at which requests were sent, not at which answers arrived. So no entry
   seems newer than it is.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from typing import TYPE_CHECKING

from gcsmux_fs.model.object_table import ObjectTable
from gcsmux_fs.namespace.listing_ranges import ListingRanges
from gcsmux_fs.namespace.patched_listing import PatchedListing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.model.values import ListingPage
    from gcsmux_fs.namespace.listing_ranges import PageRequest
    from gcsmux_fs.namespace.object_change import ObjectChange
    from gcsmux_fs.namespace.single_flight import Flight

__all__ = ["MAX_LISTED_ENTRIES", "CachedListing", "ListingCache"]

MAX_LISTED_ENTRIES = 300_000
"""Maximum of cached entries (30 MB): two directories of 100,000 objects and many small ones."""

# Memory of an entry in bytes, without its name: five numbers, its position, and the header of a
# string.
_ENTRY_BYTES = 100
# A listing without its entries takes 2.6 KB, as much as 26 entries.
_WEIGHT_IN_ENTRIES = 26
# A special entry (see `listing`) takes 250 to 400 bytes: as much as three ordinary entries,
# so it counts as two more.
_MORE_ENTRIES_OF_SPECIAL = 2
# Memory in bytes of one key and value of custom metadata, without their text: the headers of two
# strings and a slot of a dictionary.
_PAIR_OVERHEAD_BYTES = 200
# Maximum number of changes that wait for the later pages of a listing: 2 MB.
_MAX_PENDING = 4096
# Stand after the name of an entry whose folder, or whose placeholder object, was invalidated.
_FOLDER = b"/"
_FOLDER_OBJECT = b"//"


class CachedListing:
    """A listing that began at `begun_at` and grows page by page.

    `empty_pages` is the number of consecutive pages without entries before the next page. `openers`
    counts the open handles that read the listing, and `answered` counts the lookups that the
    listing has answered. `in_background` is true if the listing began because of lookups.
    """

    __slots__ = (
        "_asked_at",
        "_distrusted",
        "_starts",
        "_text_bytes",
        "ahead",
        "answered",
        "begun_at",
        "counted_edits",
        "counted_weight",
        "empty_pages",
        "in_background",
        "kept_pages",
        "listing",
        "openers",
        "pending",
        "ranges",
        "trusts_all",
    )

    def __init__(self, location: str, begun_at: float) -> None:
        self.listing = PatchedListing(location)
        self.begun_at = begun_at
        self.ranges = ListingRanges(location)
        #: Pages that were requested ahead, and are in flight or wait for the pages before them.
        self.ahead: dict[PageRequest, Flight[ListingPage]] = {}
        #: The changes of objects and folders that are on later pages, by name, and by whether it is
        #: the object with the name of the folder that has changed. The service may have left them
        #: out of a page that was requested before the change.
        self.pending: dict[tuple[str, bool], ObjectChange] = {}
        #: The weight that the cache has counted, and the number of edits until then.
        self.counted_weight = 0
        self.counted_edits = 0
        self.openers = 0
        self.empty_pages = 0
        self.answered = 0
        self.in_background = False
        #: All pages so far, for the cache on disk; None if the cache does not keep the listing.
        self.kept_pages: list[ListingPage] | None = None
        #: True if no entry was invalidated since the listing began.
        self.trusts_all = True
        # The file names of the invalidated entries, and, with `_FOLDER` or `_FOLDER_OBJECT`, of the
        # entries that depend on something invalidated; None if all entries are invalidated.
        self._distrusted: set[bytes] | None = set()
        self._starts: list[int] = []
        self._asked_at: list[float] = []
        self._text_bytes = 0

    def __repr__(self) -> str:
        return f"<CachedListing begun at {self.begun_at}, {self.openers} openers: {self.listing!r}>"

    @property
    def weight(self) -> int:
        """The memory of the listing, as a number of entries of the usual size.

        The lengths of names and custom metadata count too, because the name and the custom metadata
        of one object can take 9 KiB.
        """
        entries = len(self.listing) + self.listing.specials * _MORE_ENTRIES_OF_SPECIAL
        return _WEIGHT_IN_ENTRIES + entries + self._text_bytes // _ENTRY_BYTES

    def trusts(self, name: bytes) -> bool:
        """Return True unless the entry with this file name was invalidated."""
        if self.trusts_all:
            return True
        known = self._distrusted
        return known is not None and known.isdisjoint((name, name + _FOLDER, name + _FOLDER_OBJECT))

    def distrust(self, name: bytes) -> None:
        """Invalidate the entry with this file name, whether or not the listing has one."""
        self.trusts_all = False
        if self._distrusted is not None:
            self._distrusted.add(name)

    def distrust_folder(self, name: bytes) -> None:
        """Invalidate whether there is a folder that has or changes the entry `name`."""
        self.distrust(name + _FOLDER)

    def distrust_folder_object(self, name: bytes) -> None:
        """Invalidate what the placeholder object of the folder `name` is."""
        self.distrust(name + _FOLDER_OBJECT)

    def trust(self, *names: bytes) -> None:
        """Undo `distrust`, because the entries were changed to what is right.

        If all entries are invalidated, they stay so.
        """
        if not self.trusts_all and self._distrusted:
            self._distrusted.difference_update(names)
            self.trusts_all = not self._distrusted

    def trust_folder(self, *names: bytes) -> None:
        """Undo `distrust_folder`."""
        if self._distrusted:
            self.trust(*[name + _FOLDER for name in names])

    def trust_folder_object(self, name: bytes) -> None:
        """Undo `distrust_folder_object`."""
        if self._distrusted:
            self.trust(name + _FOLDER_OBJECT)

    @property
    def has_trusted_entry(self) -> bool:
        """Whether an entry was not invalidated, for sure."""
        return self._distrusted is not None and self.listing.entries > len(self._distrusted)

    def note_name(self, name: str) -> None:
        """Count the memory of the name of an entry that a change has added."""
        self._text_bytes += len(name)

    def distrust_all(self) -> None:
        """Invalidate all entries."""
        self.trusts_all = False
        self._distrusted = None

    def add_page(self, page: ListingPage, asked_at: float) -> None:
        """Append the next page, which was requested at the time `asked_at`.

        Raises:
            StorageError: the page contradicts the earlier pages (see `Listing.add_page`).
        """
        has_entries = page.objects or page.prefixes
        self.empty_pages = 0 if has_entries else self.empty_pages + 1
        objects = ObjectTable.of(page.objects)
        start = len(self.listing)
        released = self.listing.add_page(page)
        self._text_bytes += sum(map(len, objects.names)) + sum(
            len(key) + len(value) + _PAIR_OVERHEAD_BYTES
            for traits in objects.traits
            for key, value in traits.metadata.items()
        )
        if self.kept_pages is not None:
            self.kept_pages.append(page)
        # Entries that were held back count as requested when the listing began.
        self._starts += [start, start + released]
        self._asked_at += [self.begun_at, asked_at]

    def page_asked_at(self, position: int) -> float:
        """Return when the page with the entry at `position` was requested."""
        return self._asked_at[bisect.bisect_right(self._starts, position) - 1]

    def is_in_last_page(self, position: int) -> bool:
        """Return whether `position` lies in the page that was added last, or beyond this page."""
        return bool(self._starts) and position >= self._starts[-1]


class ListingCache:
    """A cache of the latest listing of each directory; the number of entries is limited."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._latest: OrderedDict[str, CachedListing] = OrderedDict()
        # Listings that handles still read, and that are not the latest ones, by location.
        self._replaced: dict[str, list[CachedListing]] = {}
        #: The sum of the weights of all cached listings.
        self.entries = 0

    def __len__(self) -> int:
        return len(self._latest)

    def __contains__(self, location: object) -> bool:
        """Return whether `at` returns a listing of a directory."""
        return location in self._latest or location in self._replaced

    def latest(self, location: str) -> CachedListing | None:
        """Return the latest listing of a directory, or None if it is not cached."""
        cached = self._latest.get(location)
        if cached is not None:
            self._latest.move_to_end(location)
        return cached

    def at(self, location: str) -> Sequence[CachedListing]:
        """Return the latest listing of a directory, and those that handles still read."""
        cached, replaced = self._latest.get(location), self._replaced.get(location)
        if replaced is None:
            return () if cached is None else (cached,)
        return tuple(replaced) if cached is None else (cached, *replaced)

    def note_patched(self, cached: CachedListing) -> None:
        """Record that a listing was changed in place.

        If the changes take too much memory, the listing is discarded, and no longer changed.
        """
        if len(cached.pending) > _MAX_PENDING:
            self.give_up(cached)
        elif cached.listing.edits != cached.counted_edits:
            self._count(cached)
            if cached.listing.is_wasteful:
                self.give_up(cached)

    def give_up(self, cached: CachedListing) -> None:
        """Discard a listing that can no longer be changed; handles may still read it."""
        cached.distrust_all()
        cached.pending.clear()
        self.discard(cached)
        self._drop_replaced(cached)

    def peek(self, location: str) -> CachedListing | None:
        """Return the latest listing of a directory without counting this as a use."""
        return self._latest.get(location)

    def has_pages(self, location: str) -> bool:
        """Return whether a listing of the directory is cached and has a page."""
        cached = self._latest.get(location)
        return cached is not None and cached.listing.pages > 0

    def distrust(self, location: str, name: bytes) -> None:
        """Invalidate one entry of all listings of a directory."""
        for cached in self.at(location):
            cached.distrust(name)

    def invalidate_below(self, prefix: str) -> None:
        """Remove the listings of all directories whose locations begin with `prefix`."""
        for location, cached in list(self._latest.items()):
            if location.startswith(prefix):
                self.give_up(cached)
        for location, replaced in list(self._replaced.items()):
            if location.startswith(prefix):
                for cached in list(replaced):
                    self.give_up(cached)

    def begin(self, location: str, now: float) -> CachedListing:
        """Begin a new listing of a directory, which replaces the latest one."""
        replaced = self._latest.get(location)
        if replaced is not None:
            self.discard(replaced)
        cached = CachedListing(location, now)
        self._hold(cached)
        return cached

    def adopt(self, cached: CachedListing, *, in_outage: bool = False) -> None:
        """Cache a listing that was kept, unless the latest listing is newer and has a page.

        A newer listing whose first page is in flight counts, too, except in an outage.
        """
        latest = self._latest.get(cached.listing.location)
        if latest is None:
            self._hold(cached)
            return
        has_page = bool(latest.listing.pages or (latest.ahead and not in_outage))
        if latest.begun_at < cached.begun_at or not has_page:
            self.restore(cached)

    def restore(self, cached: CachedListing) -> None:
        """Cache an earlier listing again, and discard the latest one."""
        latest = self._latest.get(cached.listing.location)
        if latest is not None:
            self.discard(latest)
        self._hold(cached)

    def add_page(self, cached: CachedListing, page: ListingPage, asked_at: float) -> None:
        """Append the next page of a listing (see `CachedListing.add_page`)."""
        try:
            cached.add_page(page, asked_at)
        finally:
            # A page that raises an error may have added entries. They count until the listing is
            # discarded.
            self._count(cached)
        self._evict(cached)

    def discard(self, cached: CachedListing) -> None:
        """Remove a listing from the cache; open handles may still read the listing."""
        if self._holds(cached):
            del self._latest[cached.listing.location]
            self.entries -= cached.counted_weight
            cached.counted_weight = 0
            if cached.openers:
                self._replaced.setdefault(cached.listing.location, []).append(cached)

    def close(self, cached: CachedListing) -> None:
        """Record that one handle of the listing was closed."""
        cached.openers -= 1
        if not cached.openers:
            self._drop_replaced(cached)
        self._evict(None)

    def _drop_replaced(self, cached: CachedListing) -> None:
        location = cached.listing.location
        replaced = self._replaced.get(location)
        if replaced is not None and cached in replaced:
            replaced.remove(cached)
            if not replaced:
                del self._replaced[location]

    def _hold(self, cached: CachedListing) -> None:
        self._drop_replaced(cached)
        self._latest[cached.listing.location] = cached
        self._count(cached)
        self._evict(cached)

    def _count(self, cached: CachedListing) -> None:
        """Count the weight of a listing, if it is cached."""
        cached.counted_edits = cached.listing.edits
        if self._holds(cached):
            weight = cached.weight
            self.entries += weight - cached.counted_weight
            cached.counted_weight = weight

    def _holds(self, cached: CachedListing) -> bool:
        return self._latest.get(cached.listing.location) is cached

    def _evict(self, spared: CachedListing | None) -> None:
        while self.entries > self._max_entries:
            evictable = (
                cached
                for cached in self._latest.values()
                if not cached.openers and cached is not spared
            )
            victim = next(evictable, None)
            if victim is None:
                return
            self.discard(victim)
