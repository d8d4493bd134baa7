"""The bucket as a tree of directories: lookups, attributes, listings, each as fresh as promised.

Theory of operation

A name is answered from the newest evidence there is: the latest listing of its directory, or what
was asked for that name alone. Evidence counts for `ttl_seconds` from its asking, evidence of
absence for `negative_ttl_seconds`. Else the service is asked: for the object and, at the same
time, for anything below it. The directory takes the plain name.

Attributes belong to an inode, which belongs to one generation of an object, whose bytes, size and
times never change. They are answered without asking, whatever has become of the object: that its
name leads elsewhere by now is for a lookup to tell, as with a deleted file on a disk. Only an
object that is still being appended to is asked for again.

Nothing is awaited where an answer is at hand, and code between two awaits is atomic: there are no
locks. Each question is asked once however many wait; with a TTL of 0 a question never joins one
asked earlier, so that a lookup always sees the newest object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.errors import GenerationGone
from gcsmux_fs.namespace.directories import Directories, DirectoryHandle
from gcsmux_fs.namespace.entry import Entry, NoSuchEntry
from gcsmux_fs.namespace.inodes import ROOT_INODE, Inode, InodeTable
from gcsmux_fs.namespace.listing import Child, Directory
from gcsmux_fs.namespace.names import Form, Step, locate, locate_directory, step
from gcsmux_fs.namespace.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model import ObjectInfo
    from gcsmux_fs.namespace.listing import Listing
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["ROOT_INODE", "DirectoryHandle", "Entry", "NoSuchEntry", "Tree", "TreeStatistics"]

# Room for one directory of 100,000 objects, which takes some 65 MB, and a little more.
MAX_LISTED_ENTRIES = 120_000
# The service's own limit (https://cloud.google.com/storage/docs/json_api/v1/objects/list).
MAX_PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class TreeStatistics:
    """What a tree holds, for debugging and tests; `requests` are those under way."""

    inodes: int
    listings: int
    listed_entries: int
    resolutions: int
    requests: int


class Tree:
    """All objects of a bucket whose names begin with `prefix`.

    Args:
        store: where to ask.
        nursery: where requests run; cancelling it gives them up.
        prefix: empty, or ends with a slash.
        ttl_seconds: how long an answer counts; 0 always asks, infinity never asks again.
        negative_ttl_seconds: the same for the answer that there is no such name.
        directory_mtime_ns: the time of directories of which no placeholder object is known.
        page_size: how many entries of a directory to ask for at once.
        max_listed_entries: how many entries of closed directories to keep.
        clock: the time in seconds.
    """

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        *,
        prefix: str = "",
        ttl_seconds: float,
        negative_ttl_seconds: float,
        directory_mtime_ns: int = 0,
        page_size: int = MAX_PAGE_SIZE,
        max_listed_entries: int = MAX_LISTED_ENTRIES,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._ttl = ttl_seconds
        self._negative_ttl = negative_ttl_seconds
        self._directory_mtime_ns = directory_mtime_ns
        self._clock = clock
        self._inodes = InodeTable(prefix)
        self._resolver = Resolver(store, nursery, join=ttl_seconds > 0, clock=clock)
        self._directories = Directories(
            store,
            nursery,
            ttl_seconds=ttl_seconds,
            page_size=page_size,
            max_entries=max_listed_entries,
            on_placeholder=self._learn_placeholder,
            clock=clock,
        )

    def statistics(self) -> TreeStatistics:
        """Return what is held now."""
        snapshots = self._directories.snapshots
        return TreeStatistics(
            inodes=len(self._inodes),
            listings=len(snapshots),
            listed_entries=snapshots.entries,
            resolutions=len(self._resolver),
            requests=self._resolver.requests + self._directories.requests,
        )

    async def lookup(self, parent: int, name: bytes) -> Entry:
        """Return what `name` leads to, counting one lookup of its inode.

        Raises:
            NoSuchEntry: it leads to nothing.
            GenerationGone: there is no such parent.
        """
        known = self.lookup_cached(parent, name)
        if known is not None:
            return known
        found = self._step(self._inode(parent).name, name)
        if found.form is Form.PART:
            snapshot = self._directories.fresh(found.target)
            exists = await self._directories.has_entries(snapshot)
            return self._answer(found, Directory(found.target) if exists else None, snapshot.begun)
        resolution = await self._resolver.resolve(found.target)
        return self._answer(found, resolution.child(found), resolution.asked)

    def lookup_cached(self, parent: int, name: bytes) -> Entry | None:
        """Do as `lookup`, or return None if the service must be asked."""
        inode = self._inode(parent)
        if name == b".":
            return self._enter(Directory(inode.name), math.inf)
        if name == b"..":
            return self._enter(Directory(self._location_above(inode)), math.inf)
        found = self._step(inode.name, name)
        evidence = self._evidence(inode.name, name, found)
        if evidence is None:
            return None
        child, asked = evidence
        if self._valid_seconds(child, asked) <= 0:
            return None
        return self._answer(found, child, asked)

    async def get(self, inode: int) -> Entry:
        """Return the attributes of an inode that the kernel knows; of names it says nothing.

        Raises:
            GenerationGone: there is no such inode.
        """
        known = self._inode(inode)
        info = known.info
        if info is not None and not info.finalized and self._clock() >= known.fresh_until:
            asked = self._clock()
            newest = await self._resolver.newest(known.name)
            if newest is not None and newest.generation == known.generation:
                known.learn(newest, asked + self._ttl)
        return self._entry(known, 0.0)

    def forget(self, inode: int, lookups: int) -> None:
        """Take back lookups that were counted (see `InodeTable.forget`)."""
        self._inodes.forget(inode, lookups)

    def pin(self, inode: int) -> ObjectInfo:
        """Keep a file's inode in the table while it is open, and return its object.

        Raises:
            GenerationGone: there is no such file.
        """
        known = self._inode(inode)
        if known.info is None or known.is_directory:
            raise GenerationGone("not a file", subject=f"inode {inode}")
        self._inodes.pin(inode)
        return known.info

    def unpin(self, inode: int) -> None:
        """Undo one `pin`."""
        self._inodes.unpin(inode)

    def open_directory(self, inode: int) -> DirectoryHandle:
        """Return a handle that reads the directory; nothing is asked before it reads."""
        location = self._inode(inode).name
        return DirectoryHandle(self._directories, location, self._enter, ttl_seconds=self._ttl)

    def listing_of(self, inode: int) -> tuple[Listing, bytes] | None:
        """Return the latest listing of the directory a file is in, and the file's name there."""
        known = self._inodes.get(inode)
        if known is None or known.is_directory:
            return None
        location, name = locate(known.name, Form.PLAIN)
        snapshot = self._directories.snapshots.latest(location)
        return None if snapshot is None else (snapshot.listing, name)

    def invalidate(self, inode: int) -> list[tuple[int, bytes]]:
        """Believe no longer that any name leads to this inode: a read found its generation gone.

        Returns where the kernel may still hold a name for it, as (directory's inode, name).
        """
        gone = self._inodes.get(inode)
        if gone is None or gone.is_directory:
            return []
        self._resolver.distrust(gone.name)
        forms = [Form.CONTENT] if gone.name.endswith("/") else [Form.PLAIN, Form.FILE]
        held: list[tuple[int, bytes]] = []
        for location, name in (locate(gone.name, form) for form in forms):
            snapshot = self._directories.snapshots.latest(location)
            if snapshot is not None:
                snapshot.distrusted.add(name)
            if (parent := self._inodes.find(location)) is not None:
                held.append((parent.number, name))
        return held

    def _inode(self, number: int) -> Inode:
        inode = self._inodes.get(number)
        if inode is None:
            raise GenerationGone("no such inode", subject=f"inode {number}")
        return inode

    def _location_above(self, directory: Inode) -> str:
        if directory.number == ROOT_INODE:
            return directory.name
        return locate_directory(directory.name)[0]

    def _step(self, location: str, name: bytes) -> Step:
        found = step(location, name)
        if found is None:
            raise NoSuchEntry(f"{name!r} in {location!r}", math.inf)
        return found

    def _evidence(
        self, location: str, name: bytes, found: Step
    ) -> tuple[Child | None, float] | None:
        """Return what the newest source says of the name, and when it was asked."""
        resolution = None
        if found.form is not Form.PART:
            resolution = self._resolver.known(found.target)
        snapshot = self._directories.snapshots.latest(location)
        if snapshot is not None and name not in snapshot.distrusted:
            child = snapshot.listing.children.get(name)
            newer = resolution is None or snapshot.begun > resolution.asked
            if newer and (child is not None or snapshot.listing.complete):
                return child, snapshot.begun
        if resolution is None:
            return None
        return resolution.child(found), resolution.asked

    def _valid_seconds(self, child: Child | None, asked: float) -> float:
        ttl = self._ttl if child is not None else self._negative_ttl
        return max(0.0, asked + ttl - self._clock())

    def _answer(self, found: Step, child: Child | None, asked: float) -> Entry:
        if child is None:
            raise NoSuchEntry(repr(found.target), self._valid_seconds(child, asked))
        return self._enter(child, asked + self._ttl)

    def _enter(self, child: Child, valid_until: float) -> Entry:
        """Count one lookup of a child that is known until `valid_until`."""
        if isinstance(child, Directory):
            inode = self._inodes.remember_directory(child.location)
            inode.learn(child.placeholder, valid_until)
        else:
            inode = self._inodes.remember_file(child)
            inode.learn(child, valid_until)
        return self._entry(inode, max(0.0, valid_until - self._clock()))

    def _entry(self, inode: Inode, name_valid_seconds: float) -> Entry:
        info = inode.info
        if inode.is_directory:
            attributes_valid_seconds = self._ttl
        elif info is not None and info.finalized:
            attributes_valid_seconds = math.inf
        else:
            attributes_valid_seconds = max(0.0, inode.fresh_until - self._clock())
        return Entry(
            inode=inode.number,
            is_directory=inode.is_directory,
            info=info,
            mtime_ns=info.mtime_ns if info is not None else self._directory_mtime_ns,
            name_valid_seconds=name_valid_seconds,
            attributes_valid_seconds=attributes_valid_seconds,
        )

    def _learn_placeholder(self, placeholder: ObjectInfo) -> None:
        directory = self._inodes.find(placeholder.name)
        if directory is not None:
            directory.learn(placeholder, directory.fresh_until)
