"""Opens a cache on disk, and keeps it in order; synchronous, for threads that may block."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_store import ChunkStore, open_files_limit
from gcsmux_fs.caching.cleaner import Cleaner
from gcsmux_fs.caching.machine_moments import boot_id
from gcsmux_fs.caching.old_versions import remove_old_versions
from gcsmux_fs.caching.space_account import SpaceAccount
from gcsmux_fs.settings.cache_options import default_min_free

if TYPE_CHECKING:
    from gcsmux_fs.caching.cache_directory import CacheDirectory
    from gcsmux_fs.settings.cache_options import CacheOptions

__all__ = ["Housekeeping", "OpenedCache", "open_cache"]

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 1.0


class OpenedCache(NamedTuple):
    """The parts of an open cache."""

    directory: CacheDirectory
    store: ChunkStore
    account: SpaceAccount
    cleaner: Cleaner
    #: How many bytes the cache may have, as far as that was known when it was opened.
    capacity_bytes: int

    def reopen(self) -> None:
        """Use the directory that the path leads to now. Call this on the thread of the cleaner.

        Raises:
            CacheDirectoryError: the directory cannot be used.
        """
        # The old directory may be gone.
        with suppress(OSError):
            self.cleaner.close()
        self.directory.reopen()
        with suppress(OSError):
            self.account.close()
        self.store.close()

    def close(self, *, keeps_directory: bool = False) -> None:
        """Write the last records. What is lost if this is not called is repaired later.

        With `keeps_directory`, the descriptor of the directory stays open for threads that may
        still use it.

        Raises:
            OSError: the disk fails.
        """
        try:
            self.cleaner.close()
            self.account.close()
            self.store.close()
        finally:
            if not keeps_directory:
                self.directory.close()


def open_cache(options: CacheOptions) -> OpenedCache:
    """Open the directory of a cache, and create it if necessary.

    Raises:
        CacheDirectoryError: the directory cannot be used; a `CacheDiskError` may end by itself.
    """
    directory = open_cache_directory(str(options.directory), group=options.group)
    files = directory.files
    space = os.fstatvfs(directory.fd)
    min_free = options.min_free_bytes
    if min_free is None:
        min_free = default_min_free(space.f_blocks * space.f_frsize)
    capacity = options.size_bytes or max(0, space.f_bavail * space.f_frsize - min_free)
    account = SpaceAccount(
        files, size_bytes=options.size_bytes, min_free_bytes=min_free, clock=time.time
    )
    store = ChunkStore(
        files,
        open_files=open_files_limit(),
        owner=directory.owner,
        removed=account.removed,
    )
    cleaner = Cleaner(
        files,
        account,
        clock=time.time,
        processor_time=time.thread_time,
        random=Random(),
        boot=boot_id(),
        remove=store.known.remove,
    )
    return OpenedCache(directory, store, account, cleaner, capacity)


class Housekeeping:
    """What has to be done again and again for an open cache."""

    def __init__(self, cache: OpenedCache) -> None:
        self._cache = cache
        self._flush_at = 0.0
        self._evictions: int | None = None
        self._removal = remove_old_versions(cache.directory.path, time.time())
        self._has_old_versions = True

    def run_once(self) -> bool:
        """Do one short step; return whether there is more to do.

        Raises:
            OSError: the disk fails.
            CacheDirectoryError: another directory is in its place, which cannot be used.
        """
        now = time.monotonic()
        account = self._cache.account
        if now >= self._flush_at:
            self._flush_at = now + _FLUSH_SECONDS
            if not self._cache.directory.is_in_place():
                self._cache.reopen()
                log.info(
                    "the directory %s of the cache on disk was removed or replaced: using the one"
                    " that is there now",
                    self._cache.directory.path,
                )
            account.flush()
        # A file that was evicted uses disk space as long as a mount has it open.
        evictions = account.evictions()
        if evictions != self._evictions:
            self._evictions = evictions
            self._cache.store.close_removed()
        if self._has_old_versions:
            self._has_old_versions = next(self._removal, self) is not self
        return self._cache.cleaner.run_once() or self._has_old_versions
