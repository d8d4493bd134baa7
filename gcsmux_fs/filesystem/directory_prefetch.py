"""Prefetches files for a program that reads the files of a directory in order.

For small files, and for files of which only a part is read, a `SiblingPlanner` for each directory
decides which positions of the listing to fetch. This module turns the positions into objects and
fetches them. `ShardPrefetch` does the same for files that are large and read whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import cachetools
import trio

from gcsmux_fs.filesystem.prefetched_files import PrefetchedFiles
from gcsmux_fs.filesystem.shard_prefetch import ShardPrefetch
from gcsmux_fs.filesystem.sibling_planner import SiblingPlanner
from gcsmux_fs.reading.open_planner import SMALL_OBJECT_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gcsmux_fs.filesystem.object_opener import ObjectOpener
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.reading.open_file import OpenFile

__all__ = ["DirectoryPrefetch"]

# Maximum number of walks at the same time, at most one for each directory. A program walks one
# directory, or a few levels of a tree, so it has few walks.
_MAX_WALKS = 64


class _Walk:
    """A walk: a program reads the files of one directory in order.

    `last_step` is the time when the program last went forward in the listing. If the program jumps
    to a distant file, a new walk begins.
    """

    __slots__ = ("last_step", "planner")

    def __init__(self, planner: SiblingPlanner, last_step: float) -> None:
        self.planner = planner
        self.last_step = last_step

    def note_unread(self, file: OpenFile) -> None:
        """Do nothing: the walk has ended, and the next walk begins with a new planner."""


class DirectoryPrefetch:
    """Observes which files are read from their start, and fetches the files that follow them.

    `files` has the prefetched files that are open.
    """

    def __init__(self, tree: Tree, opener: ObjectOpener) -> None:
        self._tree = tree
        self._opener = opener
        self.files = PrefetchedFiles(opener)
        self._walks: cachetools.LRUCache[str, _Walk] = cachetools.LRUCache(_MAX_WALKS)
        self._shards = ShardPrefetch(tree, self.files, self._start_soon)
        self._nursery: trio.Nursery | None = None

    def observe(self, inode: int, file: OpenFile, now: float) -> None:
        """Record that a program reads `file` from its start, and fetch the files that follow it."""
        self.files.hand_over(file)
        opener = self._opener
        if not opener.reads_ahead:
            return
        if opener.expected_parts(file.key.name, file.size):
            self._walk(inode, file, now)
        elif file.size > SMALL_OBJECT_BYTES:
            self._shards.observe(inode, file, now)

    async def run(self) -> NoReturn:
        """Look up the next files, and close the files that no program reads, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.files.run()

    def close(self) -> None:
        """Close all prefetched files."""
        self.files.close()

    def _start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(function)

    def _walk(self, inode: int, file: OpenFile, now: float) -> None:
        """Record a step of a walk through small files, and fetch the next files."""
        located = self._tree.listing_of(inode)
        if located is None:
            return
        listing, name = located
        position = listing.position_of(name)
        if position is None:
            return
        walk = self._walks.get(listing.location)
        planner = SiblingPlanner() if walk is None else walk.planner
        steps = planner.steps
        planned = planner.observe(position)
        if walk is None or not planner.steps:
            walk = self._walks[listing.location] = _Walk(planner, now)
        elif planner.steps > steps:
            walk.last_step = now
        for next_position in planned:
            info = listing.file_at(next_position)
            if info is not None and not self._fetch(info, walk):
                planner.refused(next_position)
                return

    def _fetch(self, info: ObjectInfo, walk: _Walk) -> bool:
        """Fetch what is expected to be read of a file; return False if memory is short."""
        parts = self._opener.expected_parts(info.name, info.size)
        return not parts or self.files.fetch(info, parts, walk)
