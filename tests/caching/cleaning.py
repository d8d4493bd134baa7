"""A cache directory for tests of the account and of the cleaner, without any content."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.caching.chunk_format import ChunkId
from gcsmux_fs.caching.cleaner import Cleaner
from gcsmux_fs.caching.real_cache_files import RealCacheFiles
from gcsmux_fs.caching.space_account import SpaceAccount

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1024
MIB = 1024 * KIB


def chunk_number(number: int) -> ChunkId:
    """Return a chunk that differs for each number. Consecutive chunks are in other directories."""
    return ChunkId(number.to_bytes(16, "little"), number % 3)


@dataclass
class Clock:
    """A clock that a test sets. It begins before all times of the real file system."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class OneMount:
    """The account and the cleaner of one mount of the cache directory `path`.

    If `slow_steps` is true, each step of the cleaner does the least possible.
    """

    path: Path
    size_bytes: int | None = 64 * MIB
    min_free_bytes: int = 0
    clock: Clock = field(default_factory=Clock)
    slow_steps: bool = False

    def __post_init__(self) -> None:
        self.killed = False
        self.directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        self.files = RealCacheFiles(self.directory, ".")
        self.account = SpaceAccount(
            self.files,
            size_bytes=self.size_bytes,
            min_free_bytes=self.min_free_bytes,
            clock=self.clock,
        )
        ticks = itertools.count(0, self.slow_steps)
        self.cleaner = Cleaner(
            self.files,
            self.account,
            clock=self.clock,
            processor_time=lambda: next(ticks),
            random=random.Random(1),
            boot=bytes(16),
            remove=lambda chunk: self.files.remove(chunk.path),
        )

    def write(self, chunk: ChunkId, size: int) -> bool:
        """Write a chunk of `size` bytes if the account admits it, as the tier does."""
        if not self.account.admit(chunk, size):
            return False
        self.write_unrecorded(chunk, size)
        status = self.files.path_status(chunk.path)
        assert status is not None
        self.account.wrote(chunk, status.allocated_bytes, status.allocated_bytes)
        self.account.publish()
        return True

    def write_unrecorded(self, chunk: ChunkId, size: int) -> None:
        """Write a chunk of which no account knows."""
        path = self.path / chunk.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))

    def clean(self) -> None:
        """Clean until there is nothing urgent to do."""
        for _ in range(5000):
            self.clock.now += 0.1
            if not self.cleaner.run_once():
                return
        raise AssertionError("the cleaner does not come to an end")

    def clean_for(self, seconds: float) -> None:
        """Clean as in a mount that does nothing else for some time."""
        self.account.flush()
        end = self.clock.now + seconds
        idle = max(0.5, seconds / 500)
        while self.clock.now < end:
            self.clock.now += 0.02 if self.cleaner.run_once() else idle
        self.account.flush()

    def chunk_files(self) -> list[Path]:
        return [path for path in self.path.glob("chunks/*/*") if path.is_file()]

    def disk_bytes(self) -> int:
        """Return the disk space of all chunk files."""
        total = 0
        for path in self.chunk_files():
            # Another process may remove the file meanwhile.
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_blocks * 512
        return total

    def close(self) -> None:
        if not self.killed:
            self.cleaner.close()
            self.account.close()
        os.close(self.directory)

    def kill(self) -> None:
        """End the mount as SIGKILL does: the locks are released, and nothing is written."""
        self.killed = True
        usage = self.account._usage
        descriptors = [] if usage is None else [usage._lock, usage._table]
        descriptors += [self.cleaner._lock._descriptor] if self.cleaner.cleans else []
        for descriptor in descriptors:
            os.close(descriptor)
