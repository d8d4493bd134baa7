"""The program that reads files while the disk of the cache fails."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from tests.support.programs import tagged

__all__ = ["Measured", "read_measured"]

_READ_BYTES = 256 * 1024


@dataclass(frozen=True)
class Measured:
    """What a program saw: the number of right and wrong pieces, and the longest read."""

    right: int
    wrong: int
    slowest_seconds: float


def read_measured(path: str, tag: int, size: int) -> Measured:
    """Read a whole file with tagged content, without the kernel's cache, and compare each byte."""
    content = memoryview(tagged(tag, 0, size))
    right = wrong = 0
    slowest = 0.0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for offset in range(0, size + 1, _READ_BYTES):
            start = time.monotonic()
            piece = os.pread(descriptor, _READ_BYTES, offset)
            slowest = max(slowest, time.monotonic() - start)
            if piece == content[offset : offset + _READ_BYTES]:
                right += 1
            else:
                wrong += 1
    finally:
        os.close(descriptor)
    return Measured(right, wrong, slowest)
