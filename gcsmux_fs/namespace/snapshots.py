"""Listings of directories in time: which is the latest, how old it is, which are kept.

1. What is kept is bounded: beyond `max_entries` the least recently used snapshots go, except open
   ones, whose memory would not be freed.
2. Times are those of asking, before the answer: an entry is never taken for newer than it is.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from typing import TYPE_CHECKING

from gcsmux_fs.model.object_table import ObjectColumns
from gcsmux_fs.namespace.listing import Listing

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ListingPage

__all__ = ["Snapshot", "Snapshots"]

# What an entry takes besides its name: five numbers, its place, and the headers of the name.
_ENTRY_BYTES = 100
# A snapshot takes 2.6 KB besides its entries, as much as these.
_WEIGHT_IN_ENTRIES = 26
# A special entry (see `listing`) takes 250 to 400 bytes.
_MORE_ENTRIES_OF_SPECIAL = 2
# Two strings' headers and a dictionary's slot, for each pair of custom metadata.
_PAIR_OVERHEAD_BYTES = 200


class Snapshot:
    """One listing of a directory, begun at one time and growing page by page.

    `distrusted` are the names of entries that turned out to be no longer true; `empty_pages` counts
    the last pages in a row that showed nothing.
    """

    __slots__ = (
        "_asked",
        "_starts",
        "_text_bytes",
        "begun",
        "distrusted",
        "empty_pages",
        "listing",
        "openers",
    )

    def __init__(self, location: str, begun: float) -> None:
        self.listing = Listing(location)
        self.begun = begun
        self.openers = 0
        self.empty_pages = 0
        self.distrusted: set[bytes] = set()
        self._starts: list[int] = []
        self._asked: list[float] = []
        self._text_bytes = 0

    def __repr__(self) -> str:
        return f"<Snapshot begun at {self.begun}, {self.openers} openers: {self.listing!r}>"

    @property
    def weight(self) -> int:
        """The memory taken, in entries; names and custom metadata take up to 9 KiB an object."""
        entries = len(self.listing) + self.listing.specials * _MORE_ENTRIES_OF_SPECIAL
        return _WEIGHT_IN_ENTRIES + entries + self._text_bytes // _ENTRY_BYTES

    def add_page(self, page: ListingPage, asked: float) -> None:
        """Take in the next page, asked for at the time `asked`."""
        shows_something = page.objects or page.prefixes
        self.empty_pages = 0 if shows_something else self.empty_pages + 1
        objects = ObjectColumns.of(page.objects)
        start = len(self.listing)
        released = self.listing.add_page(page)
        self._text_bytes += sum(map(len, objects.names)) + sum(
            len(key) + len(value) + _PAIR_OVERHEAD_BYTES
            for traits in objects.traits
            for key, value in traits.metadata.items()
        )
        self._starts += [start, start + released]
        self._asked += [self.begun, asked]

    def asked_at(self, position: int) -> float:
        """Return when the entry at `position` was asked for."""
        return self._asked[bisect.bisect_right(self._starts, position) - 1]

    def is_in_last_page(self, position: int) -> bool:
        """Tell whether `position` lies in the last page so far."""
        return bool(self._starts) and position >= self._starts[-1]


class Snapshots:
    """The latest snapshot of each directory, as far as it is kept."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._latest: OrderedDict[str, Snapshot] = OrderedDict()
        self.entries = 0

    def __len__(self) -> int:
        return len(self._latest)

    def latest(self, location: str) -> Snapshot | None:
        """Return the directory's latest snapshot, if it is kept."""
        snapshot = self._latest.get(location)
        if snapshot is not None:
            self._latest.move_to_end(location)
        return snapshot

    def distrust(self, location: str, name: bytes) -> None:
        """Believe no longer what the directory's latest snapshot says of a name."""
        snapshot = self.latest(location)
        if snapshot is not None:
            snapshot.distrusted.add(name)

    def begin(self, location: str, now: float) -> Snapshot:
        """Begin a new snapshot of the directory, which becomes the latest."""
        outdated = self._latest.get(location)
        if outdated is not None:
            self.discard(outdated)
        snapshot = Snapshot(location, now)
        self._latest[location] = snapshot
        self.entries += snapshot.weight
        self._evict(snapshot)
        return snapshot

    def add_page(self, snapshot: Snapshot, page: ListingPage, asked: float) -> None:
        """Take in a snapshot's next page (see `Listing.add_page`)."""
        before = snapshot.weight
        try:
            snapshot.add_page(page, asked)
        finally:
            # Also of a page that is refused something may be kept, until the snapshot goes.
            if self._is_kept(snapshot):
                self.entries += snapshot.weight - before
        self._evict(snapshot)

    def discard(self, snapshot: Snapshot) -> None:
        """Keep the snapshot no longer; whoever holds it may go on with it."""
        if self._is_kept(snapshot):
            del self._latest[snapshot.listing.location]
            self.entries -= snapshot.weight

    def close(self, snapshot: Snapshot) -> None:
        """Count one opener less."""
        snapshot.openers -= 1
        self._evict(None)

    def _is_kept(self, snapshot: Snapshot) -> bool:
        return self._latest.get(snapshot.listing.location) is snapshot

    def _evict(self, spared: Snapshot | None) -> None:
        while self.entries > self._max_entries:
            idle = (
                snapshot
                for snapshot in self._latest.values()
                if not snapshot.openers and snapshot is not spared
            )
            victim = next(idle, None)
            if victim is None:
                return
            self.discard(victim)
