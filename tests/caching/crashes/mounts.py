"""The cache on disk as one mount uses it: store, account and cleaner, in virtual time."""

from __future__ import annotations

import itertools
import os
import stat
import time
from random import Random
from typing import TYPE_CHECKING

from gcsmux_fs.caching.chunk_format import CHUNK_BYTES, GRANULE_BYTES, ChunkId
from gcsmux_fs.caching.cleaner import Cleaner
from gcsmux_fs.caching.space_account import SpaceAccount

from .stores import MountedStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.caching.cache_files import CacheFiles

    from .objects import CachedObject

__all__ = ["Clock", "MountedCache", "chunk_bytes"]

_FILE_OVERHEAD_BYTES = 8192


class Clock:
    """A clock that tests advance. It begins with the present time, which new files have."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class MountedCache(MountedStore):
    """Does what the disk tier does, without its threads."""

    def __init__(
        self,
        root: Path,
        size_bytes: int,
        clock: Clock,
        *,
        group: int | None = None,
        boot: bytes = bytes(16),
        wrap: Callable[[CacheFiles], CacheFiles] | None = None,
    ) -> None:
        super().__init__(root, group=group, open_files=4, wrap=wrap)
        self.clock = clock
        self.account = SpaceAccount(
            self.files, size_bytes=size_bytes, min_free_bytes=0, clock=clock
        )
        ticks = itertools.count()
        self.cleaner = Cleaner(
            self.files,
            self.account,
            clock=clock,
            processor_time=lambda: next(ticks) / 1_000_000,
            random=Random(1),
            boot=boot,
            remove=lambda chunk: self.files.remove(chunk.path),
        )

    def write(self, written: CachedObject, offset: int, length: int) -> bool:
        """Write a range if the account admits it; return whether it was written."""
        chunk = ChunkId(written.identity, offset // CHUNK_BYTES)
        granules = -(-length // GRANULE_BYTES)
        if not self.account.admit(chunk, granules * GRANULE_BYTES + _FILE_OVERHEAD_BYTES):
            return False
        content = written.content[offset : offset + length]
        result = self.store.write(written.identity, written.size, offset, content)
        if result.allocated_bytes:
            self.account.wrote(chunk, result.allocated_bytes, result.added_bytes)
            self.account.publish()
        if result.complete:
            self.store.check_object(written.identity, written.size, written.crc)
        return True

    def write_all(self, written: CachedObject) -> bool:
        """Write all pages of an object; return whether all were written."""
        return all(self.write(written, offset, length) for offset, length in written.pages())

    def __enter__(self) -> MountedCache:
        return self

    def keep_house(self, seconds: float, *, idle_seconds: float = 0.25) -> None:
        """Flush and clean as a mount does, for some virtual seconds."""
        end = self.clock.now + seconds
        flush_at = self.clock.now
        while self.clock.now < end:
            if self.clock.now >= flush_at:
                flush_at = self.clock.now + 1
                self.account.flush()
                self.store.close_removed()
            self.clock.now += 0.02 if self._clean() else idle_seconds

    def _clean(self) -> bool:
        """Do a step of cleaning; as in a mount, an error ends the step and not the mount."""
        try:
            return self.cleaner.run_once()
        except FileNotFoundError:
            # The virtual clocks of two processes differ. So one may take the other's lock, as from
            # a mount that was stopped for a minute, and remove a file that the other one renames.
            return False

    def close(self) -> None:
        """End the mount as it should end."""
        self.cleaner.close()
        self.account.close()
        super().close()


def chunk_bytes(root: Path) -> int:
    """Return the disk space of all chunk files."""
    total = 0
    for folder, _, names in os.walk(root / "gcsmux-cache-v1/chunks"):
        for name in names:
            try:
                status = os.lstat(f"{folder}/{name}")
            except FileNotFoundError:
                continue  # Another process has removed the file meanwhile.
            total += status.st_blocks * 512 if stat.S_ISREG(status.st_mode) else 0
    return total
