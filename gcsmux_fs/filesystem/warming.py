"""Fetches the files of paths, trees and patterns into the cache, on request of a user.

A warm-up has two steps. The first finds the files and compares their size with the capacity of the
cache. The second fetches them. If a tier on disk is added below the block cache, the second step
fills it too, because it fetches through the same `RangeSource`; the capacity is then that of the
larger tier (`ReadContext.warm_capacity_bytes`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.reading.cache_warming import cache_charge, cacheable_length

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.reading.read_context import ReadContext

__all__ = ["WarmUp"]

# Number of failures that are described. Further failures are only counted.
_MAX_DESCRIBED = 100


@dataclass(slots=True)
class _Counts:
    """The state of a warm-up. `failures` describes the first failed paths and objects."""

    files: int = 0
    bytes: int = 0
    files_done: int = 0
    bytes_done: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)


class WarmUp:
    """Warms the cache of one mount with the files of some paths.

    The paths are relative to the root of the mount. The caller reads `counts` at any time.
    """

    def __init__(self, tree: Tree, context: ReadContext, bucket: str) -> None:
        self._tree = tree
        self._context = context
        self._bucket = bucket
        self._counts = _Counts()
        self._charge = 0
        # The files to fetch, by name and generation: the size, the length of the part that the
        # cache can hold, whether the object grows, and its CRC32C. Never more than the cache can
        # hold.
        self._plan: dict[tuple[str, int], tuple[int, int, bool, int | None]] = {}

    @property
    def fits(self) -> bool:
        """Whether the cache can hold all files that were found."""
        return self._charge <= self._context.warm_capacity_bytes

    def counts(self) -> dict[str, Any]:
        """Return the numbers of files and bytes, found and fetched, and the failures."""
        counts = self._counts
        return {
            "files": counts.files,
            "bytes": counts.bytes,
            "files_done": counts.files_done,
            "bytes_done": counts.bytes_done,
            "failed": counts.failed,
            "failures": list(counts.failures),
            "charge": self._charge,
            "capacity_bytes": self._context.warm_capacity_bytes,
        }

    async def find(self, paths: Iterable[str]) -> None:
        """Find the files of `paths`. A path that cannot be found counts as a failure."""
        search = self._tree.search()
        for path in paths:
            try:
                await search.visit_files(path, self._add)
            except StorageError as error:
                self._note_failure(path, error)

    async def fetch(self) -> None:
        """Fetch the files that were found, in their order, until the cache is full."""
        async with trio.open_nursery() as nursery:
            warmer = self._context.new_warmer(
                nursery, on_bytes=self._note_bytes, on_object=self._note_object
            )
            for (name, generation), (size, length, grows, crc32c) in self._plan.items():
                key = ObjectKey(self._bucket, name, generation)
                await warmer.fetch(key, size, length, grows=grows, crc32c=crc32c)

    def _add(self, info: ObjectInfo) -> None:
        key = (info.name, info.generation)
        # The plan is bounded, so a file that does not fit counts again if several paths name it.
        if key in self._plan:
            return
        self._counts.files += 1
        self._counts.bytes += info.size
        length = min(info.size, cacheable_length(self._context.warm_capacity_bytes - self._charge))
        self._charge += cache_charge(info.size)
        if not info.size:
            self._counts.files_done += 1
        elif length > 0:
            self._plan[key] = info.size, length, not info.finalized, info.crc32c

    def _note_bytes(self, length: int) -> None:
        self._counts.bytes_done += length

    def _note_object(self, key: ObjectKey, error: StorageError | None) -> None:
        if error is None:
            size, length, *_ = self._plan[key.name, key.generation]
            self._counts.files_done += length == size
        else:
            self._note_failure(key.name, error)

    def _note_failure(self, subject: str, error: StorageError) -> None:
        self._counts.failed += 1
        if self._counts.failed <= _MAX_DESCRIBED:
            self._counts.failures.append(f"{subject}: {error.message}")
