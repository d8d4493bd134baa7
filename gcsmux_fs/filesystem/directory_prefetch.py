"""Prefetches files for a program that reads the files of a directory in order.

A `SiblingPlanner` for each directory decides which positions of the listing to fetch. This module
turns the positions into objects and fetches them. A prefetched file stays open until a program
reads it, or until the program seems to have stopped reading the directory.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, NoReturn

import cachetools
import trio

from gcsmux_fs.filesystem.sibling_planner import MAX_WINDOW_FILES, SiblingPlanner

if TYPE_CHECKING:
    from gcsmux_fs.filesystem.object_opener import ObjectOpener
    from gcsmux_fs.model.values import ObjectInfo, ObjectKey
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.reading.open_file import OpenFile

__all__ = ["ABANDONED_SECONDS", "DirectoryPrefetch"]

ABANDONED_SECONDS = 10.0
"""Time without a step forward after which a walk counts as abandoned. In a walk, a program reads
the files of a directory in order. A program that makes no step for this time was interrupted, or
takes so long for each small file that round trips do not matter. The prefetched files are then
closed. Their bytes stay in the cache and are evicted like bytes that a program has read."""

# Maximum number of walks at the same time, at most one for each directory. A program walks one
# directory, or a few levels of a tree, so it has few walks.
_MAX_WALKS = 64
# Maximum number of prefetched files that are open at the same time, over all walks.
_MAX_OPEN_FILES = 4 * MAX_WINDOW_FILES


class _Walk:
    """A walk: a program reads the files of one directory in order.

    `last_step` is the time when the program last went forward in the listing. If the program jumps
    to a distant file, a new walk begins.
    """

    __slots__ = ("last_step", "planner")

    def __init__(self, planner: SiblingPlanner, last_step: float) -> None:
        self.planner = planner
        self.last_step = last_step


class DirectoryPrefetch:
    """Observes which files are read from their start, and fetches the files that follow them.

    `len()` is the number of prefetched files that are open.
    """

    def __init__(self, tree: Tree, opener: ObjectOpener) -> None:
        self._tree = tree
        self._opener = opener
        self._walks: cachetools.LRUCache[str, _Walk] = cachetools.LRUCache(_MAX_WALKS)
        self._files: OrderedDict[ObjectKey, tuple[OpenFile, _Walk]] = OrderedDict()
        self._has_files = trio.Event()

    def __len__(self) -> int:
        return len(self._files)

    def observe(self, inode: int, file: OpenFile, now: float) -> None:
        """Record that a program reads `file` from its start, and fetch the files that follow it."""
        prefetched = self._files.pop(file.key, None)
        if prefetched is not None:
            prefetched[0].close()
        opener = self._opener
        if not opener.reads_ahead or not opener.expected_parts(file.key.name, file.size):
            return
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

    def close_abandoned(self, now: float) -> float:
        """Close the files of abandoned walks; return the time for the next call of this method.

        The returned time is infinity if no prefetched file is open.
        """
        for key, (_, walk) in list(self._files.items()):
            if walk.last_step + ABANDONED_SECONDS <= now:
                self._close(key)
        steps = (walk.last_step for _, walk in self._files.values())
        return min(steps, default=math.inf) + ABANDONED_SECONDS

    async def run(self) -> NoReturn:
        """Close the files of abandoned walks, until cancelled.

        The method sleeps while no prefetched file is open.
        """
        while True:
            await self._has_files.wait()
            due = self.close_abandoned(trio.current_time())
            if due == math.inf:
                self._has_files = trio.Event()
            else:
                await trio.sleep_until(due)

    def close(self) -> None:
        """Close all prefetched files."""
        for key in list(self._files):
            self._close(key)

    def _fetch(self, info: ObjectInfo, walk: _Walk) -> bool:
        """Fetch what is expected to be read of a file; return False if memory is short."""
        parts = self._opener.expected_parts(info.name, info.size)
        if not parts:
            return True
        key = self._opener.key_of(info)
        if (prefetched := self._files.get(key)) is not None:
            self._files[key] = prefetched[0], walk
            return True
        file = self._opener.open(info)
        if not file.fetch_parts(parts):
            file.close()
            return False
        self._files[key] = file, walk
        self._has_files.set()
        if len(self._files) > _MAX_OPEN_FILES:
            self._close(next(iter(self._files)))
        return True

    def _close(self, key: ObjectKey) -> None:
        file, _ = self._files.pop(key)
        file.give_up_parts()
        file.close()
