"""Targets of symbolic links: from an object's metadata, or from its content by the read path."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import cachetools
import trio

from gcsmux_fs.model.errors import DataCorruption, GenerationGone
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.namespace.foreign_metadata import is_target, read_foreign_metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.filesystem.directory_prefetch import DirectoryPrefetch
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.reading.read_context import ReadContext

__all__ = ["LinkReader"]

# 10,000 links of a usual length: large files push blocks out of the cache, links are tiny.
_MAX_CACHED_BYTES = 1024 * 1024
# A key with its name, and the place of both in the cache.
_OVERHEAD_BYTES = 300


def _weight(target: bytes) -> int:
    return len(target) + _OVERHEAD_BYTES


class LinkReader:
    """Reads targets of links; those that are an object's content are asked for once."""

    def __init__(
        self,
        tree: Tree,
        reader: ReadContext,
        walks: DirectoryPrefetch,
        bucket: str,
        *,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._tree = tree
        self._reader = reader
        self._walks = walks
        self._bucket = bucket
        self._soon = call_soon
        # The size counts because an object that is appended to grows within its generation.
        self._targets: cachetools.LRUCache[tuple[str, int, int], bytes] = cachetools.LRUCache(
            _MAX_CACHED_BYTES, getsizeof=_weight
        )

    async def target(self, inode: int) -> bytes | None:
        """Return where a link leads, byte by byte as it was stored; None if it is no link.

        Raises:
            GenerationGone: the object has been overwritten or deleted.
            DataCorruption: the content is no target, because it holds a NUL.
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
                "a link whose target holds a NUL leads nowhere", subject=repr(info.name)
            )
        return target

    async def _read(self, inode: int, info: ObjectInfo) -> bytes:
        file = self._reader.open(
            ObjectKey(self._bucket, info.name, info.generation),
            info.size,
            grows=not info.finalized,
        )
        try:
            # `ls -l` reads the links of a directory in order: the next ones are fetched meanwhile.
            now = trio.current_time()
            self._soon(functools.partial(self._walks.observe, inode, file, now))
            return bytes(await file.read(0, info.size))
        except GenerationGone:
            self._tree.generation_gone(inode)
            raise
        finally:
            file.close()
