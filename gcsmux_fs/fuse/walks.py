"""Files fetched before they are opened, for programs that walk a directory in order.

The planner of each directory decides (`reading/siblings.py`); here its positions become files of
the namespace, and files of the namespace become fetches of the read path. What was fetched is held
until its file is read or the walk has passed it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import cachetools

from gcsmux_fs.model import ObjectKey
from gcsmux_fs.reading.openfile import SMALL_OBJECT_BYTES
from gcsmux_fs.reading.siblings import MAX_WINDOW_FILES, SiblingPlanner

if TYPE_CHECKING:
    from gcsmux_fs.model import ObjectInfo
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.reading.openfile import OpenFile
    from gcsmux_fs.reading.reader import ReadPath

__all__ = ["WalkReadahead"]

# Directories whose walks are followed at a time: a program walks one, or goes down a few levels.
_MAX_WALKS = 64
# Files held for all walks together.
_MAX_HELD_FILES = 4 * MAX_WINDOW_FILES


class WalkReadahead:
    """Watches which files are read from their start, and fetches their successors."""

    def __init__(self, tree: Tree, reader: ReadPath, bucket: str) -> None:
        self._tree = tree
        self._reader = reader
        self._bucket = bucket
        self._planners: cachetools.LRUCache[str, SiblingPlanner] = cachetools.LRUCache(_MAX_WALKS)
        self._held: OrderedDict[ObjectKey, OpenFile] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def observe(self, inode: int, file: OpenFile) -> None:
        """Note that `file` is read from its start, and fetch what is likely to be read next."""
        fetched = self._held.pop(file.key, None)
        if fetched is not None:
            fetched.close()
        if file.size > SMALL_OBJECT_BYTES or not self._reader.read_ahead_bytes:
            return
        found = self._tree.listing_of(inode)
        if found is None:
            return
        listing, name = found
        planner = self._planners.get(listing.location)
        if planner is None:
            planner = self._planners[listing.location] = SiblingPlanner()
        position = listing.position_of(name)
        if position is None:
            return
        for successor in planner.observe(position):
            info = listing.file_at(successor)
            if info is None or not 0 < info.size <= SMALL_OBJECT_BYTES:
                continue
            if not self._fetch(info):
                planner.refused(successor)
                return

    def close(self) -> None:
        """Let go of everything."""
        while self._held:
            self._drop_oldest()

    def _fetch(self, info: ObjectInfo) -> bool:
        key = ObjectKey(self._bucket, info.name, info.generation)
        if key in self._held:
            return True
        file = self._reader.open(key, info.size, grows=not info.finalized)
        if not file.fetch_whole():
            file.close()
            return False
        self._held[key] = file
        if len(self._held) > _MAX_HELD_FILES:
            self._drop_oldest()
        return True

    def _drop_oldest(self) -> None:
        _, file = self._held.popitem(last=False)
        file.give_up_whole()
        file.close()
