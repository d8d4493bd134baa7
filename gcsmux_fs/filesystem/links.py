"""Reads the targets of symbolic links, from the metadata or the content of an object."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import cachetools
import trio

from gcsmux_fs.model.errors import DataCorruption
from gcsmux_fs.namespace.foreign_metadata import is_target, read_foreign_metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.filesystem.directory_prefetch import DirectoryPrefetch
    from gcsmux_fs.filesystem.object_opener import ObjectOpener
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.tree import Tree

__all__ = ["LinkReader"]

# Maximum size of the cache of link targets, enough for about 3,000 targets. Link targets have their
# own cache, because large files would evict the targets from the block cache.
_MAX_CACHED_BYTES = 1024 * 1024
# Estimated memory that a cache entry takes in addition to its target: the key, the object name and
# the dictionary slots.
_OVERHEAD_BYTES = 300


def _weight(target: bytes) -> int:
    return len(target) + _OVERHEAD_BYTES


class LinkReader:
    """Reads the targets of symbolic links, and caches targets that are the content of an object."""

    def __init__(
        self,
        tree: Tree,
        opener: ObjectOpener,
        prefetch: DirectoryPrefetch,
        *,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._tree = tree
        self._opener = opener
        self._prefetch = prefetch
        self._call_soon = call_soon
        # The key is name, generation and size. It includes the size because an appendable object
        # can grow within one generation.
        self._targets: cachetools.LRUCache[tuple[str, int, int], bytes] = cachetools.LRUCache(
            _MAX_CACHED_BYTES, getsizeof=_weight
        )

    async def target(self, inode: int) -> bytes | None:
        """Return the target of a link as it was stored; None if the inode is not a link.

        Raises:
            GenerationGone: the object has been overwritten or deleted.
            DataCorruption: the content holds a NUL byte.
            StorageError: the content could not be read.
        """
        info = self._tree.object_of(inode)
        link = None if info is None else read_foreign_metadata(info.metadata, info.size).link
        if info is None or link is None:
            return None
        if link.target is not None:
            return link.target
        key = (info.name, info.generation, info.size)
        target = self._targets.get(key)
        if target is None:
            target = self._targets[key] = await self._read(inode, info)
        if not is_target(target):
            raise DataCorruption(
                "the content of this symbolic link holds a NUL byte, so it is no path",
                subject=repr(info.name),
            )
        return target

    async def _read(self, inode: int, info: ObjectInfo) -> bytes:
        file = self._opener.open(info)
        try:
            # `ls -l` reads the links of a directory in order, so prefetch the links that follow.
            now = trio.current_time()
            self._call_soon(functools.partial(self._prefetch.observe, inode, file, now))
            return bytes(await file.read(0, info.size))
        finally:
            file.close()
