"""Files fetched before they are opened, for programs that walk a directory in order.

The planner of each directory decides (`filesystem/sibling_planner.py`); here its positions become
files of the namespace, and files of the namespace become fetches of the read path. What was fetched
is held until its file is read, or the walk seems to have been given up.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, NoReturn

import cachetools
import trio

from gcsmux_fs.filesystem.sibling_planner import MAX_WINDOW_FILES, SiblingPlanner
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.reading.open_planner import SMALL_OBJECT_BYTES

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.reading.open_file import OpenFile
    from gcsmux_fs.reading.read_context import ReadContext

__all__ = ["ABANDONED_SECONDS", "DirectoryPrefetch"]

# A walk that makes no step for so long is taken for given up: its program was interrupted, or works
# so long on a small file that round trips are nothing to it. What was fetched stays in the cache,
# on a level with what has been read.
ABANDONED_SECONDS = 10.0

# Directories whose walks are followed at a time: a program walks one, or goes down a few levels.
_MAX_WALKS = 64
# Files held for all walks together.
_MAX_HELD_FILES = 4 * MAX_WINDOW_FILES


class _Walk:
    """One walk of a directory, until a jump begins the next; `stepped` is when it last went on."""

    __slots__ = ("planner", "stepped")

    def __init__(self, planner: SiblingPlanner, stepped: float) -> None:
        self.planner = planner
        self.stepped = stepped


class DirectoryPrefetch:
    """Watches which files are read from their start, and fetches their successors."""

    def __init__(self, tree: Tree, reader: ReadContext, bucket: str) -> None:
        self._tree = tree
        self._reader = reader
        self._bucket = bucket
        self._walks: cachetools.LRUCache[str, _Walk] = cachetools.LRUCache(_MAX_WALKS)
        self._held: OrderedDict[ObjectKey, tuple[OpenFile, _Walk]] = OrderedDict()
        self._holds_some = trio.Event()

    def __len__(self) -> int:
        return len(self._held)

    def observe(self, inode: int, file: OpenFile, now: float) -> None:
        """Note that `file` is read from its start, and fetch what is likely to be read next."""
        held = self._held.pop(file.key, None)
        if held is not None:
            held[0].close()
        if file.size > SMALL_OBJECT_BYTES or not self._reader.read_ahead_bytes:
            return
        found = self._tree.listing_of(inode)
        if found is None:
            return
        listing, name = found
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
            walk.stepped = now
        for successor in planned:
            info = listing.file_at(successor)
            if info is None or not 0 < info.size <= SMALL_OBJECT_BYTES:
                continue
            if not self._fetch(info, walk):
                planner.refused(successor)
                return

    def let_go(self, now: float) -> float:
        """Let go of what walks have left that were given up; return when to do so next.

        That is infinity when nothing is held.
        """
        for key, (_, walk) in list(self._held.items()):
            if walk.stepped + ABANDONED_SECONDS <= now:
                self._drop(key)
        steps = (walk.stepped for _, walk in self._held.values())
        return min(steps, default=math.inf) + ABANDONED_SECONDS

    async def run(self) -> NoReturn:
        """Let go of what walks leave, until cancelled; wakes only while something is held."""
        while True:
            await self._holds_some.wait()
            due = self.let_go(trio.current_time())
            if due == math.inf:
                self._holds_some = trio.Event()
            else:
                await trio.sleep_until(due)

    def close(self) -> None:
        """Let go of everything."""
        for key in list(self._held):
            self._drop(key)

    def _fetch(self, info: ObjectInfo, walk: _Walk) -> bool:
        key = ObjectKey(self._bucket, info.name, info.generation)
        if (held := self._held.get(key)) is not None:
            self._held[key] = held[0], walk
            return True
        file = self._reader.open(key, info.size, grows=not info.finalized)
        if not file.fetch_whole():
            file.close()
            return False
        self._held[key] = file, walk
        self._holds_some.set()
        if len(self._held) > _MAX_HELD_FILES:
            self._drop(next(iter(self._held)))
        return True

    def _drop(self, key: ObjectKey) -> None:
        file, _ = self._held.pop(key)
        file.give_up_whole()
        file.close()
