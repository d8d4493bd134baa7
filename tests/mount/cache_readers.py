"""Programs that read tagged files of a mount that has a cache on disk, and compare each byte."""

from __future__ import annotations

import errno
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.programs import tagged

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Found", "occupied_bytes", "read_for"]

_READ_BYTES = 1024 * 1024
# The most bytes of one random read.
_PART_BYTES = 300_000


@dataclass(frozen=True)
class Found:
    """What a program read: the number of right and wrong reads, and the errno that ended it."""

    right: int
    wrong: int
    error: str = ""


def read_for(root: str, sizes: Sequence[int], seconds: float, seed: int) -> Found:
    """Read random files, named by their tags, in whole and in parts; stop at the first error."""
    source = random.Random(seed)
    end = time.monotonic() + seconds
    right = wrong = 0
    try:
        while time.monotonic() < end:
            tag = source.randrange(len(sizes))
            descriptor = os.open(f"{root}/{tag}", os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                for offset, length in _ranges(sizes[tag], source):
                    piece = os.pread(descriptor, length, offset)
                    expected = tagged(tag, offset, min(length, sizes[tag] - offset))
                    same = piece == expected
                    if not same and expected.startswith(piece):
                        # The kernel cuts a read whose mount is killed. Then the next one fails.
                        os.pread(descriptor, 1, offset + len(piece))
                    right, wrong = right + same, wrong + (not same)
            finally:
                os.close(descriptor)
    except OSError as error:
        return Found(right, wrong, errno.errorcode[error.errno or 0])
    return Found(right, wrong)


def _ranges(size: int, source: random.Random) -> list[tuple[int, int]]:
    if source.random() < 0.5:
        return [(offset, _READ_BYTES) for offset in range(0, size, _READ_BYTES)]
    return [(source.randrange(size), source.randrange(1, _PART_BYTES)) for _ in range(16)]


def occupied_bytes(folder: Path) -> int:
    """Return the disk space of all files below a directory, like `du`."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(place, name).lstat().st_blocks * 512
            except FileNotFoundError:
                continue  # The cache has removed the file meanwhile.
    return total
