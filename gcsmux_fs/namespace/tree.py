"""The bucket as a tree of directories: lookups, attributes, listings, each as fresh as promised.

Theory of operation

A name is answered from the newest evidence there is: the latest listing of its directory, or what
was asked for that name alone. Evidence counts for `ttl_seconds` from its asking, evidence of
absence for `negative_ttl_seconds`. Else the service is asked: for the object and, at the same
time, for anything below it. The directory takes the plain name.

Attributes belong to an inode, which belongs to one generation of an object at one size, whose bytes
never change. They are answered without asking, whatever has become of the object: that its name
leads elsewhere by now is for a lookup to tell, as with a deleted file on a disk. A lookup of an
object that is still being appended to leads to another inode whenever the object has grown.

Nothing is awaited where an answer is at hand, and code between two awaits is atomic: there are no
locks. Each question is asked once however many wait; with a TTL of 0 a question never joins one
asked earlier, so that a lookup always sees the newest object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import GenerationGone, PermissionDenied
from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.deadline import bounded
from gcsmux_fs.namespace.directories import Directories, DirectoryHandle
from gcsmux_fs.namespace.entries import Entries
from gcsmux_fs.namespace.entry import Entry, NoSuchEntry
from gcsmux_fs.namespace.gone_names import GoneNames, places_of
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE
from gcsmux_fs.namespace.inodes import DirectoryInode, InodeTable
from gcsmux_fs.namespace.listing import Child, Directory
from gcsmux_fs.namespace.names import Form, Step, locate, locate_directory, step
from gcsmux_fs.namespace.resolver import Resolver
from gcsmux_fs.settings.defaults import DEFAULT_READ_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.listing import Listing
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["ROOT_INODE", "DirectoryHandle", "Entry", "NoSuchEntry", "Tree", "TreeStatistics"]

# 30 MB: two directories of 100,000 objects with names of 30 characters, or 10,000 small ones.
MAX_LISTED_ENTRIES = 300_000
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
        deadline_seconds: how long one lookup, or one part of a listing, may take.
        on_gone: called with an inode found gone, and again when one of its files is closed.
        assume_directories: the caller may not list (see `resolver`).
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
        deadline_seconds: float = DEFAULT_READ_TIMEOUT_SECONDS,
        on_gone: Callable[[int], None] = lambda _: None,
        assume_directories: bool = False,
    ) -> None:
        self._ttl = ttl_seconds
        self._negative_ttl = negative_ttl_seconds
        self._clock = clock
        self._inodes = InodeTable(prefix)
        self._entries = Entries(self._inodes, ttl_seconds, directory_mtime_ns, clock)
        self._deadline = deadline_seconds
        self._on_gone = on_gone
        self._gone = GoneNames()
        self._resolver = Resolver(
            store,
            nursery,
            join=ttl_seconds > 0,
            clock=clock,
            deadline_seconds=deadline_seconds,
            assume_directories=assume_directories,
        )
        self._directories = Directories(
            store,
            nursery,
            ttl_seconds=ttl_seconds,
            page_size=page_size,
            max_entries=max_listed_entries,
            on_placeholder=self._entries.learn_placeholder,
            clock=clock,
            deadline_seconds=deadline_seconds,
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

        `.` leads to the inode `parent` itself, also if that is a file, or was forgotten.

        Raises:
            NoSuchEntry: it leads to nothing.
            GenerationGone: there is no such parent.
        """
        known = self.lookup_cached(parent, name)
        if known is not None:
            return known
        if name == b".":
            return await self._recall(parent)
        return await self._find(self._directory(parent).location, name)

    async def _recall(self, number: int) -> Entry:
        """Return the entry of an inode that was forgotten."""
        for location, name in self._places(number):
            try:
                entry = self._known(location, name) or await self._find(location, name)
            except NoSuchEntry:
                continue
            if entry.inode == number:
                return entry
            self.forget(entry.inode, 1)
        raise GenerationGone("no such inode", subject=f"inode {number}")

    def _places(self, number: int) -> list[tuple[str, bytes]]:
        forgotten = self._inodes.forgotten
        if (location := forgotten.directory(number)) is not None:
            return [locate_directory(location)]
        name = forgotten.file(number)
        return [] if name is None else places_of(name)

    async def _find(self, location: str, name: bytes) -> Entry:
        return await bounded(self._deadline, location, lambda: self._ask_for(location, name))

    async def _ask_for(self, location: str, name: bytes) -> Entry:
        found = self._step(location, name)
        if found.form is Form.PART:
            snapshot = self._directories.fresh(found.target)
            exists = await self._directories.may_have_entries(snapshot)
            return self._answer(found, Directory(found.target) if exists else None, snapshot.begun)
        resolution = await self._resolver.resolve(found.target)
        while self._gone.outdates(found.target, resolution.asked):
            resolution = await self._resolver.resolve(found.target)
        return self._answer(found, resolution.child(found), resolution.asked)

    def lookup_cached(self, parent: int, name: bytes) -> Entry | None:
        """Do as `lookup`, or return None if the service must be asked."""
        if name == b".":
            return self._itself(parent)
        directory = self._directory(parent)
        if name == b"..":
            return self._entries.enter(Directory(self._location_above(directory)), math.inf)
        return self._known(directory.location, name)

    def _itself(self, number: int) -> Entry | None:
        directory = self._inodes.directory(number)
        if directory is not None:
            return self._entries.enter(Directory(directory.location), math.inf)
        row = self._inodes.files.count(number)
        return None if row is None else self._entries.of_file(number, row, 0.0)

    def _known(self, location: str, name: bytes) -> Entry | None:
        found = self._step(location, name)
        evidence = self._evidence(location, name, found)
        if evidence is None:
            return None
        child, asked = evidence
        if self._valid_seconds(child, asked) <= 0:
            return None
        return self._answer(found, child, asked)

    def enter_again(self, inode: int) -> Entry | None:
        """Count one lookup of an inode; None if it is not known, or was found gone."""
        return None if self._inodes.files.is_gone(inode) else self._itself(inode)

    def get(self, inode: int) -> Entry:
        """Return the attributes of an inode that the kernel knows; of names it says nothing.

        Raises:
            GenerationGone: there is no such inode.
        """
        directory = self._inodes.directory(inode)
        if directory is not None:
            return self._entries.of_directory(directory, 0.0)
        return self._entries.of_file(inode, Row.of(self._file(inode)), 0.0)

    def object_of(self, inode: int) -> ObjectInfo | None:
        """Return the object of an inode that the kernel knows; of a directory its placeholder.

        Raises:
            GenerationGone: there is no such inode.
        """
        directory = self._inodes.directory(inode)
        return self._file(inode) if directory is None else directory.placeholder

    def forget(self, inode: int, lookups: int) -> None:
        """Take back lookups that were counted (see `InodeTable.forget`)."""
        self._inodes.forget(inode, lookups)

    def pin(self, inode: int) -> ObjectInfo:
        """Keep a file's inode in the table while it is open, and return its object.

        Raises:
            GenerationGone: there is no such file, or a read found its generation gone: the kernel
                looks the name up again and opens what it leads to now.
        """
        files = self._inodes.files
        info = None if files.is_gone(inode) else files.pin(inode)
        if info is None:
            raise GenerationGone("gone, or not a file", subject=f"inode {inode}")
        return info

    def unpin(self, inode: int) -> None:
        """Undo one `pin`."""
        if self._inodes.files.is_gone(inode):
            self._on_gone(inode)
        self._inodes.files.unpin(inode)

    async def confirm_directory(self, inode: int) -> None:
        """Ask whether something is a directory, if that was assumed (see `Resolver.confirm`)."""
        await self._resolver.confirm(self._directory(inode).location)

    def open_directory(self, inode: int) -> DirectoryHandle:
        """Return a handle that reads the directory; nothing is asked before it reads."""
        location = self._directory(inode).location
        return DirectoryHandle(self._directories, location, self._entries.enter_listed, self._ttl)

    def listing_of(self, inode: int) -> tuple[Listing, bytes] | None:
        """Return the latest listing of the directory a file is in, and the file's name there."""
        info = self._inodes.files.get(inode)
        if info is None:
            return None
        location, name = locate(info.name, Form.PLAIN)
        snapshot = self._directories.snapshots.latest(location)
        return None if snapshot is None else (snapshot.listing, name)

    def found_gone(self, inode: int) -> None:
        """Believe no longer that any name leads to this inode: its generation was found gone."""
        files = self._inodes.files
        info = files.get(inode)
        if info is None or files.is_gone(inode):
            return
        files.found_gone(inode, self._clock())
        self._gone.note(info.name, self._clock())
        self._resolver.distrust(info.name)
        for location, name in places_of(info.name):
            self._directories.snapshots.distrust(location, name)
        self._on_gone(inode)

    def _directory(self, number: int) -> DirectoryInode:
        directory = self._inodes.directory(number)
        if directory is None:
            raise GenerationGone("no such directory", subject=f"inode {number}")
        return directory

    def _file(self, number: int) -> ObjectInfo:
        info = self._inodes.files.get(number)
        if info is None:
            raise GenerationGone("no such inode", subject=f"inode {number}")
        return info

    def _location_above(self, directory: DirectoryInode) -> str:
        if directory.number == ROOT_INODE:
            return directory.location
        return locate_directory(directory.location)[0]

    def _step(self, location: str, name: bytes) -> Step:
        found = step(location, name)
        if found is None:
            raise NoSuchEntry(f"{name!r} in {location!r}", math.inf)
        return found

    def _evidence(
        self, location: str, name: bytes, found: Step
    ) -> tuple[Child | None, float] | None:
        """Return what the newest source says of the name, and when it was asked."""
        resolution = None if found.form is Form.PART else self._resolver.known(found.target)
        if resolution is not None and self._gone.outdates(found.target, resolution.asked):
            resolution = None
        snapshot = self._directories.snapshots.latest(location)
        if snapshot is not None and name not in snapshot.distrusted:
            child = snapshot.listing.find(name)
            newer = resolution is None or snapshot.begun > resolution.asked
            newer = newer and not self._gone.outdates(found.target, snapshot.begun)
            if newer and (child is not None or snapshot.listing.complete):
                return child, snapshot.begun
        if resolution is None:
            return None
        try:
            return resolution.child(found), resolution.asked
        except PermissionDenied:
            # A refusal is not remembered: it may be over by now.
            return None

    def _valid_seconds(self, child: Child | None, asked: float) -> float:
        return max(0.0, asked + self._ttl_of(child) - self._clock())

    def _ttl_of(self, child: Child | None) -> float:
        if child is None:
            return self._negative_ttl
        assumed = isinstance(child, Directory) and child.assumed
        return min(self._ttl, self._negative_ttl) if assumed else self._ttl

    def _answer(self, found: Step, child: Child | None, asked: float) -> Entry:
        if child is None:
            raise NoSuchEntry(repr(found.target), self._valid_seconds(child, asked))
        entry = self._entries.enter(child, asked + self._ttl_of(child))
        self._inodes.files.found(entry.inode, asked)
        return entry
