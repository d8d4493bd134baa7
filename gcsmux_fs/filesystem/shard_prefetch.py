"""Continues readahead in the next file, for a program that reads large files one after the other.

A `ShardChain` for each directory and suffix chooses the next file. This module finds the object of
the chosen name, in the cached listing of the directory or by a lookup, and fetches its start.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import cachetools
import trio

from gcsmux_fs.filesystem.shard_chain import ShardChain
from gcsmux_fs.filesystem.shard_names import next_numbered
from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.model.object_table import Row
from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.block_sizes import PAGE_BYTES
from gcsmux_fs.reading.file_forecasts import kind_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gcsmux_fs.filesystem.prefetched_files import PrefetchedFiles
    from gcsmux_fs.filesystem.shard_chain import SuccessorRule
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.listing import Listing
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.reading.open_file import OpenFile

__all__ = ["ShardPrefetch"]

_MAX_CHAINS = 64
# Maximum number of other entries that may lie between two files of a chain in the listing.
_MAX_SKIPPED = 16
# The bytes that a chain may have fetched ahead, in windows: two readers may read different files.
_MAX_WINDOWS = 2
# At least this part of a window is fetched of a file, or the whole file. The reader would soon wait
# for the rest of a shorter part.
_LEAST_PART_OF_WINDOW = 4


class _Chain:
    """The files of one directory with one suffix that a program reads one after the other."""

    def __init__(self, planner: ShardChain, last_step: float) -> None:
        self.planner = planner
        self.last_step = last_step
        #: The bytes that were fetched of each file that no program has read yet, by file name.
        self.ahead: dict[str, int] = {}

    def note_unread(self, file: OpenFile) -> None:
        """Record that a prefetched file is closed, and that no program has read it."""
        name = _file_name(file.key.name)
        self.ahead.pop(name, None)
        self.planner.note_unread(name)


class ShardPrefetch:
    """Observes which large files are read from their start, and fetches the files after them."""

    def __init__(
        self,
        tree: Tree,
        files: PrefetchedFiles,
        start_soon: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self._tree = tree
        self._files = files
        self._start_soon = start_soon
        self._chains: cachetools.LRUCache[tuple[str, str], _Chain] = cachetools.LRUCache(
            _MAX_CHAINS
        )

    def observe(self, inode: int, file: OpenFile, now: float) -> None:
        """Record that a program reads `file` from its start; continue in the next file later."""
        name = _file_name(file.key.name)
        kind = kind_of(file.key.name)
        chain = self._chains.get(kind)
        if chain is None:
            chain = self._chains[kind] = _Chain(ShardChain(name), now)
        chain.last_step = now
        chain.ahead.pop(name, None)
        chain.planner.note_read(name, file.size, self._rules(inode))
        file.prefetch.when_nearly_fetched(functools.partial(self._continue, inode, name, chain))

    def _continue(self, inode: int, name: str, chain: _Chain, window: int) -> None:
        self._start_soon(functools.partial(self._fetch_next, inode, name, chain, window))

    async def _fetch_next(self, inode: int, name: str, chain: _Chain, window: int) -> None:
        """Fetch `window` bytes of the files that follow the file `name` of the inode `inode`."""
        planner, rest = chain.planner, window
        while (allowed_bytes := planner.allowed_bytes) > 0:
            rules = self._rules(inode)
            following = planner.upcoming(name, rules)
            # If there is nothing to fetch now, this lookup saves the next call a round trip.
            info = None if following is None else await self._find(inode, following)
            if following is None or info is None:
                return
            ahead = sum(chain.ahead.values())
            room = min(rest, _MAX_WINDOWS * window - ahead, allowed_bytes - ahead)
            if room < min(info.size, window // _LEAST_PART_OF_WINDOW):
                return
            if planner.upcoming(name, rules) == following:
                planner.suggest(name, rules)
                length = min(info.size, room)
                if not self._fetch(info, length, chain):
                    return
                rest -= length
                name = following

    def _fetch(self, info: ObjectInfo, length: int, chain: _Chain) -> bool:
        """Fetch the first `length` bytes of a file; return False if memory is short."""
        parts = tuple(
            ByteRange(start, min(PAGE_BYTES, length - start))
            for start in range(0, length, PAGE_BYTES)
        )
        chain.last_step = trio.current_time()
        if not self._files.fetch(info, parts, chain):
            return False
        chain.ahead[_file_name(info.name)] = length
        return True

    async def _find(self, inode: int, name: str) -> ObjectInfo | None:
        """Return the file `name` in the directory of a file; None if it cannot be found."""
        located = self._tree.listing_of(inode)
        if located is not None:
            listing, _ = located
            child = listing.find(name.encode())
            if isinstance(child, Row):
                return child.info
            if listing.complete:
                return None
        try:
            return await self._tree.find_sibling(inode, name.encode())
        except StorageError:
            return None

    def _rules(self, inode: int) -> tuple[SuccessorRule, SuccessorRule]:
        """Return the rules for the next file: by its number, and by the order of the listing."""
        located = self._tree.listing_of(inode)
        listing = None if located is None else located[0]
        return (
            functools.partial(_next_by_number, listing),
            functools.partial(_next_in_listing, listing),
        )


def _next_by_number(listing: Listing | None, name: str) -> str | None:
    following = next_numbered(name)
    if following is None or listing is None or not listing.complete:
        return following
    return None if listing.find(following.encode()) is None else following


def _next_in_listing(listing: Listing | None, name: str) -> str | None:
    """Return the next file of the listing that has the suffix of `name`."""
    position = None if listing is None else listing.position_of(name.encode())
    if listing is None or position is None:
        return None
    suffix = kind_of(name)[1]
    for following in range(position + 1, position + 1 + _MAX_SKIPPED):
        info = listing.file_at(following)
        if info is not None and kind_of(info.name)[1] == suffix:
            return _file_name(info.name)
    return None


def _file_name(object_name: str) -> str:
    return object_name.rpartition("/")[2]
