"""Opens the directory of a cache for names when it is first needed, in the thread that needs it.

So a disk that hangs or fails does not delay the start of a mount.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from gcsmux_fs.caching.bucket_facts import BucketFacts, pack_facts, unpack_facts
from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.name_counters import KeptNameCounters
from gcsmux_fs.caching.name_files import NameFiles, NameFilesPolicy
from gcsmux_fs.caching.name_records import HEADER_BYTES, FileId, body_of, record
from gcsmux_fs.settings.cache_options import default_min_free

if TYPE_CHECKING:
    from gcsmux_fs.caching.name_ages import Moment
    from gcsmux_fs.settings.cache_options import CacheOptions

__all__ = ["NameDirectory", "name_space_bytes"]

# The space of names: a fiftieth of --cache-size, so that content and names together stay within the
# size, up to 256 MiB. An entry takes about 100 bytes.
_SIZE_FRACTION = 50
_MAX_BYTES = 256 * 1024 * 1024


def name_space_bytes(cache_size_bytes: int | None) -> int:
    """Return the limit of the space of names; `cache_size_bytes` is None without a limit."""
    if cache_size_bytes is None:
        return _MAX_BYTES
    return min(_MAX_BYTES, cache_size_bytes // _SIZE_FRACTION)


class NameDirectory:
    """The part of a cache for names. All methods may block, and any thread may call them."""

    def __init__(self, options: CacheOptions) -> None:
        self.counters = KeptNameCounters()
        self._options = options
        self._opening = threading.Lock()
        self._files: NameFiles | None = None

    def files(self) -> NameFiles:
        """Return the files of kept names. The first call opens the directory.

        Raises:
            CacheDirectoryError: the directory cannot be used.
            OSError: the disk failed.
        """
        with self._opening:
            if self._files is None:
                self._files = self._open()
            return self._files

    def read_facts(self, file: FileId) -> BucketFacts | None:
        """Return what is kept about a bucket; None if nothing is kept.

        Raises:
            CacheDirectoryError: the directory cannot be used.
            OSError: the disk failed.
        """
        data = self.files().read(file.name, HEADER_BYTES, lambda _: True)
        body = None if data is None else body_of(data, file)
        try:
            return None if body is None else unpack_facts(body[0])
        except ValueError:
            return None

    def write_facts(self, file: FileId, facts: BucketFacts, now: Moment) -> None:
        """Keep facts about a bucket.

        Raises:
            CacheDirectoryError: the directory cannot be used.
            OSError: the disk failed.
        """
        self.files().replace(file.name, record(file, now, [pack_facts(facts)]))

    def _open(self) -> NameFiles:
        options = self._options
        directory = open_cache_directory(str(options.directory), group=options.group)
        min_free = options.min_free_bytes
        if min_free is None:
            disk = os.fstatvfs(directory.fd)
            min_free = default_min_free(disk.f_blocks * disk.f_frsize)
        policy = NameFilesPolicy(name_space_bytes(options.size_bytes), min_free)
        return NameFiles(directory.files, policy, time.time, self.counters)
