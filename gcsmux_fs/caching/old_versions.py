"""Removes what other versions of the format have left in the directory of a cache.

Two versions may use one directory at the same time, for example while a cluster is updated. So a
version is removed only if no mount of this version has written for a day.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gcsmux_fs.caching.cache_directory import other_versions
from gcsmux_fs.caching.real_cache_files import RealCacheFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.caching.cache_files import CacheFiles

__all__ = ["remove_old_versions"]

# Mounts write to the ledgers whenever they read or write the cache.
_UNUSED_SECONDS = 86400

# To remove so many files takes some milliseconds.
_FILES_IN_STEP = 100


def remove_old_versions(path: str, now: float) -> Iterator[None]:
    """Remove old versions below the directory `path` in short steps; errors are ignored.

    `now` is the time in seconds since the Unix epoch.
    """
    with contextlib.suppress(OSError):
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            files = RealCacheFiles(top, ".")
            for name in other_versions(path):
                if _last_use(files, name) < now - _UNUSED_SECONDS:
                    yield from _remove(files, name)
        finally:
            os.close(top)


def _last_use(files: CacheFiles, version: str) -> float:
    ledgers = f"{version}/ledgers"
    paths = [version, ledgers, *(f"{ledgers}/{name}" for name in files.names(ledgers))]
    found = [status.modified_at for path in paths if (status := files.path_status(path))]
    return max(found, default=0.0)


def _remove(files: CacheFiles, folder: str) -> Iterator[None]:
    for count, name in enumerate(files.names(folder)):
        path = f"{folder}/{name}"
        status = files.path_status(path)
        if status is not None and status.is_directory:
            yield from _remove(files, path)
        else:
            files.remove(path)
        if count % _FILES_IN_STEP == 0:
            yield
    files.remove_directory(folder)
