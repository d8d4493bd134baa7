"""The bucket as a tree of directories: lookups, attributes and listings.

Theory of operation

A lookup uses the newest cached answer about the name (see `name_cache`). If no answer is valid, the
lookup asks the service for the object and for anything below the name, usually by one request (see
`resolver`). If both an object and a directory exist, the plain name leads to the directory.

Attributes belong to an inode, which stands for one generation of an object at one size. The
attributes never change, so reading them takes no request, even if the object was overwritten or
deleted since. Only a lookup shows the change. A lookup of an object that is still being appended to
leads to another inode when the object has grown.

Code between two awaits is atomic, so there are no locks. Tasks that look up the same name share one
request, unless that request was sent longer ago than the TTL. With a TTL of 0 no request is shared,
so every lookup sees the newest object.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.model.errors import GenerationGone
from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.directories import MAX_PAGE_SIZE, DirectoryHandle
from gcsmux_fs.namespace.entry import Entry, NoSuchEntry
from gcsmux_fs.namespace.entry_factory import EntryFactory
from gcsmux_fs.namespace.file_inodes import InodeState
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE
from gcsmux_fs.namespace.inodes import InodeTable
from gcsmux_fs.namespace.listing_cache import MAX_LISTED_ENTRIES
from gcsmux_fs.namespace.name_lookup import NameLookup, parse_name
from gcsmux_fs.namespace.names import Form, locate
from gcsmux_fs.namespace.path_names import names_of_path
from gcsmux_fs.namespace.path_search import PathSearch
from gcsmux_fs.namespace.tree_changes import TreeChanges
from gcsmux_fs.settings.defaults import DEFAULT_READ_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.kept_names import NameKeeper
    from gcsmux_fs.namespace.listing import Listing
    from gcsmux_fs.namespace.name_cache import NameAnswer
    from gcsmux_fs.namespace.name_validity import NewsPromise
    from gcsmux_fs.namespace.names import Step
    from gcsmux_fs.namespace.service_outage import ServiceOutage
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["ROOT_INODE", "DirectoryHandle", "Entry", "NoSuchEntry", "Tree"]


class Tree:
    """All objects of a bucket whose names begin with `prefix`.

    Args:
        store: the service.
        nursery: where requests run; cancelling it cancels them.
        prefix: empty, or ends with a slash.
        ttl_seconds: how long an answer is valid; 0 to ask always, infinity to ask once.
        negative_ttl_seconds: how long the absence of a name is valid.
        directory_mtime_ns: the mtime of directories without a known placeholder object.
        page_size: how many entries of a directory are requested at a time.
        max_listed_entries: maximum number of listed entries that are kept for closed directories.
        clock: returns the time in seconds.
        deadline_seconds: how long one lookup, or one part of a listing, may take.
        on_invalidated: called with the inode of a generation that is gone, whose names the kernel
            must look up again, and when a file of an invalidated inode is closed, because the
            kernel keeps the names of open files.
        on_found_gone: called with the name of each object whose generation an open or a read found
            gone, unless that was known.
        assume_directories: true if the caller may not list (see `resolution`, rule 3).
        keeper: keeps names across restarts; None to keep none.
        outage: decides when names older than the TTL are used; None to use none.
        news: what is promised about the news of changes; None if there are no news.
        hierarchical: whether the bucket has folders without objects.
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
        on_invalidated: Callable[[int], None] = lambda _: None,
        on_found_gone: Callable[[str], None] = lambda _: None,
        assume_directories: bool = False,
        keeper: NameKeeper | None = None,
        outage: ServiceOutage | None = None,
        news: NewsPromise | None = None,
        hierarchical: bool = False,
    ) -> None:
        self._clock = clock
        self._inodes = InodeTable(prefix)
        self._entries = EntryFactory(self._inodes, ttl_seconds, directory_mtime_ns, clock)
        self._on_invalidated = on_invalidated
        self._on_found_gone = on_found_gone
        self._cached_lookup_times, self._asked_lookup_times = Histogram(), Histogram()
        self._names = NameLookup(
            store,
            nursery,
            ttl_seconds=ttl_seconds,
            negative_ttl_seconds=negative_ttl_seconds,
            page_size=page_size,
            max_listed_entries=max_listed_entries,
            clock=clock,
            deadline_seconds=deadline_seconds,
            on_placeholder=self._entries.update_placeholder,
            assume_directories=assume_directories,
            keeper=keeper,
            outage=outage,
            news=news,
            root=prefix,
            hierarchical=hierarchical,
        )
        #: Applies changes of objects, of which notifications tell.
        self.changes = TreeChanges(
            self._inodes, self._names.cache, clock, is_expected=news is not None
        )

    def search(self) -> PathSearch:
        """Return a search for the objects of paths, without inodes and without the kernel."""
        return PathSearch(self._names, self._inodes.root.location)

    def names_of_path(self, path: str) -> list[str]:
        """Return the names to `invalidate` for a path in the mount (see `path_names`).

        Raises:
            NoSuchEntry: no entry can have this path.
        """
        return names_of_path(self._inodes.root.location, path)

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of inodes, lookups, and cached answers."""
        registry.gauge(
            "inodes",
            "inodes",
            "Inodes that the kernel or an open file references.",
            lambda: len(self._inodes),
        )
        text = "Time of a lookup that cached answers served, or for which the service was asked."
        for answer, times in (
            ("cached", self._cached_lookup_times),
            ("asked", self._asked_lookup_times),
        ):
            registry.histogram("lookup_seconds", text, times, {"answer": answer})
        self._names.declare_metrics(registry)

    @property
    def objects_grow(self) -> bool:
        """Whether the latest object that was looked up is still being appended to."""
        return self._names.resolver.objects_grow

    # -- lookups

    async def lookup(self, parent: int, name: bytes) -> Entry:
        """Return what `name` leads to, counting one lookup of its inode.

        `.` leads to the inode `parent` itself, even if that is a file, or was forgotten.

        Raises:
            NoSuchEntry: `name` leads to nothing.
            GenerationGone: there is no inode `parent`.
            PermissionDenied: the service refuses to show what the name is.
            StorageError: the service failed, or did not answer before the deadline.
        """
        began = self._clock()
        times = self._cached_lookup_times
        try:
            entry = self.lookup_cached(parent, name)
            if entry is None:
                times = self._asked_lookup_times
                entry = await self._lookup_asking(parent, name)
            return entry
        finally:
            times.observe(self._clock() - began)

    def lookup_cached(self, parent: int, name: bytes) -> Entry | None:
        """Like `lookup`, but return None if the service must be asked."""
        if name == b".":
            return self._entries.enter_itself(parent)
        location = self._inodes.require_directory(parent).location
        if name == b"..":
            return self._entries.enter(Directory(self._inodes.location_above(parent)), math.inf)
        return self._lookup_in_cache(location, name)

    def enter_again(self, inode: int) -> Entry | None:
        """Count one lookup of an inode; return None if it is unknown, invalidated, or gone."""
        if self._inodes.files.state(inode) is not InodeState.REMOTE:
            return None
        return self._entries.enter_itself(inode)

    def forget(self, inode: int, lookups: int) -> None:
        """Subtract from the lookup count of an inode (see `InodeTable.forget`)."""
        self._inodes.forget(inode, lookups)

    async def _lookup_asking(self, parent: int, name: bytes) -> Entry:
        if name != b".":
            return await self._ask(self._inodes.require_directory(parent).location, name)
        # The kernel has forgotten this inode, and an NFS server asks for the inode by its number.
        for location, entry_name in self._inodes.forgotten.places_of(parent):
            try:
                entry = self._lookup_in_cache(location, entry_name)
                entry = entry or await self._ask(location, entry_name)
            except NoSuchEntry:
                continue
            if entry.inode == parent:
                return entry
            self.forget(entry.inode, 1)
        raise GenerationGone("no such inode", subject=f"inode {parent}")

    async def _ask(self, location: str, name: bytes) -> Entry:
        step = parse_name(location, name)
        return self._enter_answer(step, await self._names.ask(location, name, step))

    def _lookup_in_cache(self, location: str, name: bytes) -> Entry | None:
        step = parse_name(location, name)
        answer = self._names.cached(location, name, step)
        return None if answer is None else self._enter_answer(step, answer)

    def _enter_answer(self, step: Step, answer: NameAnswer) -> Entry:
        if answer.child is None:
            valid_seconds = max(0.0, answer.valid_until - self._clock())
            if valid_seconds:
                self.changes.note_absent(step.target, answer.valid_until)
            raise NoSuchEntry(repr(step.target), valid_seconds)
        entry = self._entries.enter(answer.child, answer.valid_until)
        if not answer.is_outdated:
            self._inodes.files.confirm(entry.inode)
        return entry

    # -- inodes

    def get(self, inode: int) -> Entry:
        """Return the attributes of an inode, with `name_valid_seconds` of 0.

        Raises:
            GenerationGone: there is no such inode.
        """
        directory = self._inodes.directory(inode)
        if directory is not None:
            return self._entries.of_directory(directory, 0.0)
        return self._entries.of_file(inode, Row.of(self._inodes.require_file(inode)), 0.0)

    def object_of(self, inode: int) -> ObjectInfo | None:
        """Return the object of a file, or the placeholder object of a directory if it has one.

        Raises:
            GenerationGone: there is no such inode.
        """
        directory = self._inodes.directory(inode)
        return self._inodes.require_file(inode) if directory is None else directory.placeholder

    def pin(self, inode: int) -> ObjectInfo:
        """Keep the inode of a file in the table while the file is open, and return its object.

        Raises:
            GenerationGone: the inode is not a file, or its generation is gone. After this error
                the kernel looks the name up again and opens what it leads to now.
        """
        info = self._inodes.files.pin(inode)
        if info is None:
            raise GenerationGone(
                "its generation is gone, or it is not a file", subject=f"inode {inode}"
            )
        return info

    def unpin(self, inode: int) -> None:
        """Undo one `pin`."""
        if self._inodes.files.state(inode) is not InodeState.REMOTE:
            self._on_invalidated(inode)
        self._inodes.files.unpin(inode)

    # -- directories

    async def confirm_directory(self, inode: int) -> None:
        """Ask the service again about a directory if it was assumed (see `Resolver.confirm`)."""
        await self._names.resolver.confirm(self._inodes.require_directory(inode).location)

    def open_directory(self, inode: int) -> DirectoryHandle:
        """Return a handle that reads the directory; nothing is requested before it reads.

        Raises:
            GenerationGone: there is no such directory.
        """
        location = self._inodes.require_directory(inode).location
        return DirectoryHandle(self._names.directories, location, self._entries.enter)

    def listing_of(self, inode: int) -> tuple[Listing, bytes] | None:
        """Return the cached listing of a file's directory, and the file's name; None if none."""
        info = self._inodes.files.get(inode)
        if info is None:
            return None
        location, name = locate(info.name, Form.PLAIN)
        cached = self._names.cache.listings.latest(location)
        return None if cached is None else (cached.listing, name)

    async def find_sibling(self, inode: int, name: bytes) -> ObjectInfo | None:
        """Return the object of the file `name` in the directory of the file `inode`.

        Return None if `name` is no file, or if there is no inode `inode`. No lookup is counted.

        Raises:
            StorageError: the service failed, or did not answer before the deadline.
        """
        info = self._inodes.files.get(inode)
        if info is None:
            return None
        location, _ = locate(info.name, Form.PLAIN)
        step = parse_name(location, name)
        answer = self._names.cached(location, name, step)
        answer = answer or await self._names.ask(location, name, step)
        return answer.child.info if isinstance(answer.child, Row) else None

    # -- invalidation

    def invalidate(self, name: str) -> list[int]:
        """Drop all cached answers about an object that may have changed.

        A `name` that ends with a slash stands for a directory and everything below it, an empty
        `name` for the whole tree. Answers to requests in flight are not used either. Open files
        keep their generation.

        The kernel has its own cache of names. The result is the inodes whose names the kernel must
        look up again; the caller makes the kernel drop these names, or all names.

        The call compares the names of all inodes, which takes about 2 ms for 100,000 inodes.
        """
        now, inodes = self._clock(), self._inodes
        directories: list[int] = []
        if name and not name.endswith("/"):
            self._names.cache.invalidate(name, now)
            files = inodes.files.named(name)
        else:
            self._names.cache.invalidate_below(name, now)
            files = inodes.files.below(name)
            directories = inodes.directories_below(name)
        for inode in files:
            inodes.files.invalidate(inode)
        return [*files, *directories]

    def generation_gone(self, inode: int) -> None:
        """Record that an OPEN or a READ found the generation of a file overwritten or deleted.

        The inode cannot be pinned again, unless a later answer shows that the generation exists.
        The name of the file is invalidated; other inodes with this name do not change.
        """
        files = self._inodes.files
        info = files.get(inode)
        if info is None or files.state(inode) is InodeState.GONE:
            return
        files.mark_gone(inode)
        self._names.cache.invalidate(info.name, self._clock())
        self._on_invalidated(inode)
        if info.finalized:
            self._on_found_gone(info.name)
