"""Cached answers about names, and for how long they are valid; sans-IO.

Theory of operation

Two kinds of answers are cached: listings of directories, and resolutions of single names. A lookup
uses the newer answer. `name_validity` decides how long an answer is valid.

1. An answer is never used if its request was sent before the name was invalidated.
2. A cached resolution is never replaced by the answer to an earlier request.
3. A change of an object is applied to all cached answers, and to all answers in flight when they
   arrive (see `name_patches`).

With a `keeper`, each resolution, each complete listing and each invalidation is also passed to it,
and `adopt` takes what it has kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cachetools

from gcsmux_fs.model.errors import PermissionDenied
from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.child import Child, Directory
from gcsmux_fs.namespace.invalidations import Invalidations
from gcsmux_fs.namespace.listing_cache import CachedListing, ListingCache
from gcsmux_fs.namespace.name_patches import NamePatches
from gcsmux_fs.namespace.names import (
    Form,
    Step,
    locate_directory,
    places_of,
    places_of_changed,
    split_location,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.model.values import ListingPage, ObjectInfo
    from gcsmux_fs.namespace.kept_names import KeptNames, NameKeeper
    from gcsmux_fs.namespace.name_validity import NameValidity
    from gcsmux_fs.namespace.object_change import ObjectChange
    from gcsmux_fs.namespace.resolution import Resolution

__all__ = ["MAX_RESOLUTIONS", "NameAnswer", "NameCache"]

MAX_RESOLUTIONS = 16_384
"""Maximum number of cached resolutions: 16 MB at 1 KB for each name that exists."""


class NameAnswer(NamedTuple):
    """The answer to a request about a name; the request was sent at the time `asked_at`.

    `child` is None if the name does not exist. The answer is valid until the time `valid_until`,
    which is minus infinity if the name was invalidated after the request was sent. `listing` is the
    cached listing that the answer comes from, if it comes from one.
    """

    child: Child | None
    asked_at: float
    valid_until: float
    listing: CachedListing | None = None

    @property
    def is_outdated(self) -> bool:
        """True if the name was invalidated after the request was sent."""
        return self.valid_until == -math.inf


class NameCache:
    """Resolutions, listings, and the times at which names were invalidated.

    Args:
        validity: decides how long an answer is valid.
        max_listed_entries: maximum number of listed entries that are kept for closed directories.
        keeper: keeps the answers across restarts; None to keep nothing.
        root: the location of the root directory.
        hierarchical: whether folders exist without objects.
    """

    def __init__(
        self,
        validity: NameValidity,
        max_listed_entries: int,
        keeper: NameKeeper | None = None,
        *,
        root: str = "",
        hierarchical: bool = False,
    ) -> None:
        self._validity = validity
        self._resolutions: cachetools.LRUCache[str, Resolution] = cachetools.LRUCache(
            MAX_RESOLUTIONS
        )
        self._max_kept_entries = max_listed_entries
        self._keeper = keeper
        self._invalidations = Invalidations()
        self.listings = ListingCache(max_listed_entries)
        self._patches = NamePatches(
            self.listings,
            self._resolutions,
            self._invalidations,
            self.is_valid,
            root=root,
            hierarchical=hierarchical,
        )
        # The names that the keeper was told at the time `_kept_at`.
        self._kept_names: set[str] = set()
        self._kept_at = -math.inf

    @property
    def resolutions(self) -> int:
        """The number of cached resolutions."""
        return len(self._resolutions)

    # -- resolutions

    def resolution(self, target: str) -> Resolution | None:
        """Return the cached resolution of a name, even if its TTL is over."""
        return self._resolutions.get(target)

    def store(self, target: str, resolution: Resolution, now: float) -> Resolution:
        """Cache an answer that has just arrived, unless a cached one or an invalidation is newer.

        Return the answer with the changes since its request.
        """
        patched = self._patches.patched(target, resolution, now)
        if patched is None:
            self._invalidations.note(target, now)
            return resolution
        if self._store(target, patched):
            if patched.info is not None:
                self._patches.show_newer(patched.info)
            if self._keeper is not None:
                self._keeper.note_resolution(target, patched)
        return patched

    def _store(self, target: str, resolution: Resolution) -> bool:
        if self._invalidations.outdates(target, resolution.asked_at):
            return False
        cached = self._resolutions.get(target)
        is_newest = cached is None or cached.asked_at <= resolution.asked_at
        if is_newest:
            self._resolutions[target] = resolution
        return is_newest

    def drop_resolution(self, target: str) -> None:
        """Remove the cached resolution of a name."""
        self._resolutions.pop(target, None)

    # -- lookups

    def newest(self, location: str, name: bytes, step: Step) -> NameAnswer | None:
        """Return the newest cached answer about an entry of the directory `location`.

        `name` is the entry's file name, which was parsed to `step`. None means that no cached
        answer shows what the name is. The TTL of the answer may be over.
        """
        resolution = None if step.form is Form.PART else self._resolutions.get(step.target)
        resolved_at = -math.inf if resolution is None else resolution.asked_at
        cached = self.listings.latest(location)
        if cached is not None and cached.begun_at > resolved_at and cached.trusts(name):
            listing = cached.listing
            child = listing.find(name)
            # A directory of the form PART has many names, which are anywhere in the listing.
            if child is not None or (
                listing.complete if step.form is Form.PART else listing.has_passed(step.target)
            ):
                answer = self.answer(step.target, child, cached.begun_at, cached)
                if not answer.is_outdated:
                    return answer
        if resolution is None:
            return None
        try:
            answer = self.answer(step.target, resolution.child(step), resolved_at)
        except PermissionDenied:
            # A refusal is never answered from the cache, because the caller may have the permission
            # by now.
            return None
        return None if answer.is_outdated else answer

    def answer(
        self,
        target: str,
        child: Child | None,
        asked_at: float,
        listing: CachedListing | None = None,
    ) -> NameAnswer:
        """Return `child` as the answer about the object or directory `target`."""
        if self._invalidations.outdates(target, asked_at):
            return NameAnswer(child, asked_at, -math.inf)
        return NameAnswer(child, asked_at, self._validity.answer_until(child, asked_at), listing)

    def joinable_after(self, target: str, now: float) -> float:
        """Return a time: a lookup may join a request in flight that was sent after this time."""
        return max(self._validity.joinable_after(now), self._invalidations.latest(target))

    # -- listings

    def fresh_listing(self, location: str, now: float) -> CachedListing:
        """Return the cached listing of a directory if it is fresh, or begin a new listing."""
        cached = self.listings.latest(location)
        if cached is None or not self.is_fresh(cached, now):
            cached = self.begin_listing(location, now)
        return cached

    def begin_listing(self, location: str, now: float) -> CachedListing:
        """Begin a new listing of a directory, which replaces the latest one."""
        cached = self.listings.begin(location, now)
        if self._keeper is not None:
            cached.kept_pages = []
        return cached

    def add_page(
        self, cached: CachedListing, page: ListingPage, asked_at: float, now: float
    ) -> None:
        """Append the next page of a listing (see `CachedListing.add_page`)."""
        self.listings.add_page(cached, page, asked_at)
        if cached.pending:
            self._patches.replay(cached, now)
        if cached.weight > self._max_kept_entries:
            cached.kept_pages = None
        if self._keeper is None or cached.kept_pages is None or not cached.listing.complete:
            return
        pages, cached.kept_pages = cached.kept_pages, None
        location = cached.listing.location
        if not self._invalidations.outdates(location, cached.begun_at):
            self._keeper.note_listing(location, cached.begun_at, pages)

    def is_fresh(self, cached: CachedListing, now: float) -> bool:
        """Return whether a new reader may use the listing: not invalidated, and still valid."""
        return cached.trusts_all and self.is_valid(cached, now)

    def is_valid(self, cached: CachedListing, now: float) -> bool:
        """Return whether the listing still answers lookups of names that were not invalidated."""
        return now < self._validity.listing_until(cached.begun_at)

    def listed_until(
        self, cached: CachedListing, position: int, name: bytes, child: Child
    ) -> float:
        """Return the time until which an entry of a listing is valid; 0 if it was invalidated."""
        valid_until = self._validity.answer_until(child, cached.page_asked_at(position))
        if self._invalidations.is_empty and cached.trusts_all:
            return valid_until
        target = (
            child.location if isinstance(child, Directory) else child.objects.names[child.row_index]
        )
        outdated = self._invalidations.outdates(target, cached.page_asked_at(position))
        return valid_until if cached.trusts(name) and not outdated else 0.0

    # -- kept names

    def adopt(self, kept: KeptNames, now: float, *, in_outage: bool = False) -> None:
        """Cache what was kept, except for what is outdated or older than a cached answer.

        If `in_outage` is true, requests in flight get no answer.
        """
        if not self._patches.knows_changes_since_disk(now):
            return
        changed = self._patches.changed_names() if kept.resolutions else set()
        for target, resolution in kept.resolutions:
            if target not in changed:
                self._store(target, resolution)
        cached = kept.listing
        if cached is None or not self._patches.replay_log(cached, now):
            return
        location = cached.listing.location
        if self._invalidations.outdates(location, cached.begun_at):
            return
        start = split_location(location)[0]
        for name, _ in self._invalidations.since(cached.begun_at, start):
            for place, entry_name in places_of_changed(name):
                if place == location:
                    cached.distrust(entry_name)
        self.listings.adopt(cached, in_outage=in_outage)

    # -- changes

    def apply_change(self, change: ObjectChange, now: float) -> Sequence[str]:
        """Patch or drop all answers that are older than a change (see `NamePatches.apply`)."""
        if self._keeper is None:
            return self._patches.apply(change, now)
        appearing = self._patches.unknown_folders(change.name) if change.exists else ()
        vanished = self._patches.apply(change, now)
        if now != self._kept_at:
            self._kept_at = now
            self._kept_names.clear()
        for name in (change.name, *(location[:-1] for location in (*appearing, *vanished))):
            if name not in self._kept_names:
                self._kept_names.add(name)
                self._keeper.note_invalidated(name, now)
        return vanished

    def known_object(self, name: str) -> ObjectInfo | None:
        """Return what is cached about an object, even if it is no longer valid; None if nothing."""
        if name in self._resolutions and (info := self._resolutions[name].info) is not None:
            return info
        for location, entry_name in places_of(name):
            cached = self.listings.peek(location)
            child = None if cached is None else cached.listing.find(entry_name)
            if isinstance(child, Row):
                return child.info
        return None

    # -- invalidation

    def invalidate(self, name: str, now: float) -> None:
        """Drop every answer about the object `name`."""
        self._invalidations.note(name, now)
        self._patches.log.forget(name)
        self.drop_resolution(name)
        for location, entry_name in places_of(name):
            self.listings.distrust(location, entry_name)
        if self._keeper is not None:
            self._keeper.note_invalidated(name, now)

    def invalidate_below(self, prefix: str, now: float) -> None:
        """Drop every answer about names that begin with `prefix`, and about the directory itself.

        `prefix` is empty or ends with a slash.
        """
        self._invalidations.note_below(prefix, now)
        self._patches.log.forget_below(prefix)
        for target in [name for name in self._resolutions if name.startswith(prefix)]:
            self.drop_resolution(target)
        self.listings.invalidate_below(prefix)
        if prefix:
            self.drop_resolution(prefix[:-1])
            self.listings.distrust(*locate_directory(prefix))
        if self._keeper is not None:
            self._keeper.note_invalidated_below(prefix, now)
