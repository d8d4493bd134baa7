"""Functions for test programs: open many files, and read while signals arrive.

Like the functions of `programs`, these functions run in the process of a test program. This module
imports nothing of the package.
"""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.programs import tagged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

__all__ = ["close_all", "open_many", "read_at", "read_interrupted"]

_PIECE_BYTES = 65_536

_opened: list[int] = []


def open_many(paths: Sequence[str], count: int) -> int:
    """Open `count` files and keep them open; return the number of open files.

    If there are fewer paths than `count`, each path is opened several times.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _opened.extend(os.open(paths[number % len(paths)], os.O_RDONLY) for number in range(count))
    return len(_opened)


def read_at(number: int, offset: int, size: int) -> bytes:
    """Read from the open file with this number: 0 is the file that `open_many` opened first."""
    return os.pread(_opened[number], size, offset)


def close_all() -> None:
    """Close all files that `open_many` has opened."""
    while _opened:
        os.close(_opened.pop())


def read_interrupted(path: str, tag: int, every_seconds: float) -> tuple[int, int]:
    """Read a file while SIGALRM arrives again and again.

    Return the number of signals and the number of pieces of the file that had wrong bytes.

    Python restarts a system call that a signal has interrupted (PEP 475).
    """
    signals = 0

    def count(_number: int, _frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1

    before = signal.signal(signal.SIGALRM, count)
    signal.setitimer(signal.ITIMER_REAL, every_seconds, every_seconds)
    wrong = offset = 0
    try:
        with Path(path).open("rb", buffering=0) as file:
            while piece := file.read(_PIECE_BYTES):
                wrong += piece != tagged(tag, offset, len(piece))
                offset += len(piece)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return signals, wrong
