"""Directories read page by page, by many readers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from gcsmux_fs.model.errors import PermissionDenied, StorageError, Unauthenticated
from gcsmux_fs.namespace.deadline import bounded, pause_after
from gcsmux_fs.namespace.single_flight import SingleFlight
from gcsmux_fs.namespace.snapshots import Snapshot, Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import trio

    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.entry import Entry
    from gcsmux_fs.namespace.listing import Child
    from gcsmux_fs.storage.ports import ObjectStore

    Enter: TypeAlias = Callable[[Child, float], Entry]

__all__ = ["Directories", "DirectoryHandle"]


class Directories:
    """The snapshots of all directories, and the requests that make them grow.

    `on_placeholder` is told of each placeholder object that a page shows.
    """

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        *,
        ttl_seconds: float,
        page_size: int,
        max_entries: int,
        on_placeholder: Callable[[ObjectInfo], None],
        clock: Callable[[], float],
        deadline_seconds: float,
    ) -> None:
        self._store = store
        self._ttl = ttl_seconds
        self._page_size = page_size
        self._on_placeholder = on_placeholder
        self._clock = clock
        self.deadline_seconds = deadline_seconds
        self._pages: SingleFlight[Snapshot, None] = SingleFlight(nursery)
        self.snapshots = Snapshots(max_entries)

    @property
    def requests(self) -> int:
        """The number of pages under way."""
        return self._pages.under_way

    def is_fresh(self, snapshot: Snapshot) -> bool:
        """Tell whether a reader who begins now may read this snapshot."""
        return not snapshot.distrusted and self._clock() < snapshot.begun + self._ttl

    def fresh(self, location: str) -> Snapshot:
        """Return a snapshot that a reader who begins now may read."""
        snapshot = self.snapshots.latest(location)
        if snapshot is None or not self.is_fresh(snapshot):
            snapshot = self.snapshots.begin(location, self._clock())
        return snapshot

    async def grow(self, snapshot: Snapshot) -> None:
        """Wait until the snapshot has one page more."""
        await self._pages.ask(snapshot, lambda: self._add_page(snapshot))

    def grow_soon(self, snapshot: Snapshot) -> None:
        """Ask for the snapshot's next page without waiting for it."""
        self._pages.start(snapshot, lambda: self._add_page(snapshot))

    async def grow_beyond(self, snapshot: Snapshot, position: int) -> None:
        """Wait until the snapshot has an entry after `position`, or is complete."""
        listing = snapshot.listing
        while position >= len(listing) and not listing.complete:
            await self.grow(snapshot)

    async def may_have_entries(self, snapshot: Snapshot) -> bool:
        """Read as far as it takes to tell whether there is any entry.

        A refused listing does not tell: who knows the name of an entry may be allowed to read it.
        """
        try:
            await self.grow_beyond(snapshot, 0)
        except Unauthenticated:
            raise
        except PermissionDenied:
            return True
        return len(snapshot.listing) > 0

    async def _add_page(self, snapshot: Snapshot) -> None:
        listing = snapshot.listing
        if listing.refused is not None:
            raise listing.refused
        await pause_after(snapshot.empty_pages)
        asked = self._clock()
        try:
            page = await self._store.list_objects(
                listing.location,
                delimiter="/",
                page_token=listing.page_token,
                page_size=self._page_size,
            )
            self.snapshots.add_page(snapshot, page, asked)
        except StorageError:
            # Its token may be what fails: nobody else should have to begin with it.
            self.snapshots.discard(snapshot)
            raise
        if listing.placeholder is not None:
            self._on_placeholder(listing.placeholder)


class DirectoryHandle:
    """An open directory.

    It reads one snapshot, shared with others who opened the directory while that was fresh. A
    position is 0 or one that came with an entry, and stays valid until the handle is rewound.
    """

    def __init__(
        self, directories: Directories, location: str, enter: Enter, ttl_seconds: float
    ) -> None:
        self._directories = directories
        self._location = location
        self._enter = enter
        self._ttl = ttl_seconds
        self._snapshot = self._open()
        self._advanced = False

    def __repr__(self) -> str:
        return f"<DirectoryHandle on {self._snapshot!r}>"

    async def entries_from(self, position: int) -> Iterator[tuple[int, bytes, Entry]]:
        """Return the entries after `position` that are known, waiting for a page if none is.

        Each comes with the position after it and its name. None at all is the end. The iterator
        is lazy, and each entry that it yields counts one lookup of its inode: an entry that was
        not handed on to the kernel is given back by `Tree.forget`.

        Reading from 0 again begins afresh, once the snapshot is older than the TTL.
        """
        if position == 0 and self._advanced and not self._directories.is_fresh(self._snapshot):
            self.release()
            self._snapshot = self._open()
        self._advanced = position > 0
        snapshot = self._snapshot
        listing = snapshot.listing
        if position >= len(listing) and not listing.complete:
            await bounded(
                self._directories.deadline_seconds,
                self._location,
                lambda: self._directories.grow_beyond(snapshot, position),
            )
        # Who reads on within the last page will want the next one.
        if position > 0 and not listing.complete and snapshot.is_in_last_page(position):
            self._directories.grow_soon(snapshot)
        return self._entries(snapshot, position)

    def release(self) -> None:
        """Let go of the snapshot."""
        self._directories.snapshots.close(self._snapshot)

    def _open(self) -> Snapshot:
        snapshot = self._directories.fresh(self._location)
        snapshot.openers += 1
        return snapshot

    def _entries(self, snapshot: Snapshot, start: int) -> Iterator[tuple[int, bytes, Entry]]:
        position = start
        for name, child in snapshot.listing.entries_from(start):
            trusted = name not in snapshot.distrusted
            valid_until = snapshot.asked_at(position) + self._ttl if trusted else 0.0
            position += 1
            yield position, name, self._enter(child, valid_until)
