"""Finds the objects of paths, trees and patterns, without inodes and without the kernel.

A path is the path of a file or directory in the mount, relative to its root. The answers come from
the same cache as those of lookups and listings, and fill it.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.deadline import bounded
from gcsmux_fs.namespace.entry import NoSuchEntry
from gcsmux_fs.namespace.name_lookup import parse_name
from gcsmux_fs.namespace.path_names import split_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.child import Child
    from gcsmux_fs.namespace.name_lookup import NameLookup

    Visit = Callable[[ObjectInfo], None]

__all__ = ["PathSearch"]

_ANY_DEPTH = b"**"
# Number of entries that are visited in one turn of the loop that serves the kernel: a millisecond.
_ENTRIES_PER_TURN = 200
_PATTERN_CHARACTERS = frozenset("*?[")


class PathSearch:
    """Searches the tree whose root is the location `root`."""

    def __init__(self, names: NameLookup, root: str) -> None:
        self._names = names
        self._root = root

    async def visit_files(self, path: str, visit: Visit) -> None:
        """Call `visit` with each object that a path means, in the order of the listings.

        A path means a file, or all files below a directory, or it is a pattern. In a pattern, `*`,
        `?` and `[...]` match within one component, and `**` matches any number of components. If a
        file or directory has the path itself, the path is no pattern.

        Raises:
            NoSuchEntry: nothing has this path, or nothing matches.
            StorageError: the service failed.
        """
        parts = split_path(path)
        try:
            child = await self._find(parts)
        except NoSuchEntry:
            if not _PATTERN_CHARACTERS.intersection(path):
                raise
            if not await self._visit_matches(self._root, parts, visit):
                raise NoSuchEntry(repr(path), 0.0) from None
        else:
            await self._visit_below(child, visit)

    async def _find(self, parts: Sequence[bytes]) -> Child:
        child: Child = Directory(self._root)
        for part in parts:
            if not isinstance(child, Directory):
                raise NoSuchEntry(f"{part!r} in a file", 0.0)
            child = await self._child(child.location, part)
        return child

    async def _child(self, location: str, name: bytes) -> Child:
        step = parse_name(location, name)
        answer = self._names.cached(location, name, step)
        answer = answer or await self._names.ask(location, name, step)
        if answer.child is None:
            raise NoSuchEntry(repr(step.target), 0.0)
        return answer.child

    async def _visit_below(self, child: Child, visit: Visit) -> None:
        """Visit the object of a file, or the objects of all files below a directory."""
        if isinstance(child, Row):
            visit(child.info)
            return
        locations = [child.location]
        while locations:
            found: list[str] = []

            def sort(_: bytes, entry: Child, found: list[str] = found) -> None:
                if isinstance(entry, Row):
                    visit(entry.info)
                else:
                    found.append(entry.location)

            await self._for_each_entry(locations.pop(), sort)
            locations += reversed(found)

    async def _visit_matches(self, location: str, parts: Sequence[bytes], visit: Visit) -> bool:
        """Visit the objects below the directory `location` that match; return whether any does."""
        pattern, rest = parts[0], parts[1:]
        entries: list[tuple[bytes, Child]] = []
        await self._for_each_entry(location, lambda name, child: entries.append((name, child)))
        matched = False
        if pattern == _ANY_DEPTH and rest:
            matched = await self._visit_matches(location, rest, visit)
        for name, child in entries:
            if pattern == _ANY_DEPTH and isinstance(child, Directory):
                matched |= await self._visit_matches(child.location, parts, visit)
            elif not fnmatch.fnmatchcase(name, pattern):
                continue
            elif not rest:
                await self._visit_below(child, visit)
                matched = True
            elif isinstance(child, Directory):
                matched |= await self._visit_matches(child.location, rest, visit)
        return matched

    async def _for_each_entry(self, location: str, visit: Callable[[bytes, Child], object]) -> None:
        """Call `visit` with the name and the child of each entry of a directory."""
        directories = self._names.directories
        cached = await bounded(
            directories.deadline_seconds,
            location,
            lambda: directories.listing_to_read(location),
        )
        cached.openers += 1
        try:
            position, listing = 0, cached.listing
            while True:
                # A cached listing needs no request, so let READs run between its entries.
                await trio.lowlevel.checkpoint()
                places = itertools.islice(listing.places_from(position), _ENTRIES_PER_TURN)
                before = position
                for place, name, child in places:
                    position = place + 1
                    visit(name, child)
                if position > before:
                    continue
                if listing.complete:
                    return
                grow = functools.partial(directories.grow_beyond, cached, position)
                await bounded(directories.deadline_seconds, location, grow)
        finally:
            directories.cache.listings.close(cached)
