"""A chunk store on the directory of a cache, opened as a mount opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_store import ChunkStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.caching.cache_files import CacheFiles

__all__ = ["MountedStore"]


class MountedStore:
    """Opens a cache, and closes it when the `with` statement ends.

    `wrap` may replace the file operations by others, which for example record them.
    """

    def __init__(
        self,
        root: Path,
        *,
        group: int | None = None,
        open_files: int = 256,
        wrap: Callable[[CacheFiles], CacheFiles] | None = None,
    ) -> None:
        self.directory = open_cache_directory(str(root), group=group)
        real = self.directory.files
        self.files: CacheFiles = real if wrap is None else wrap(real)
        self.store = ChunkStore(self.files, open_files=open_files, owner=self.directory.owner)

    def close(self) -> None:
        self.store.close_removed()
        self.store.close()
        self.directory.close()

    def __enter__(self) -> MountedStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
