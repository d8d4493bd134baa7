"""Faults of a disk, and the table that decides which fault an operation meets."""

from __future__ import annotations

import fnmatch
import random
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["FOR_EVER", "READING", "WRITING", "DiskFault", "FaultTable"]

FOR_EVER = -1

#: The operations that only read.
READING = frozenset({"lookup", "getattr", "open", "read", "readdir", "readlink", "statfs"})
#: The operations that change something. A read-only disk refuses them.
WRITING = frozenset(
    {"create", "link", "mkdir", "rename", "rmdir", "setattr", "symlink", "unlink", "write"}
)


@dataclass(frozen=True, slots=True)
class DiskFault:
    """A fault that operations of a disk meet.

    Attributes:
        operations: the operations that meet the fault.
        errno: the error with which the operations fail, or 0.
        seconds: the time for which each operation waits first.
        hangs: whether each operation waits until the test removes the fault.
        times: the number of operations that meet the fault.
        skip: the number of operations that pass before the first operation meets the fault.
        probability: the probability that an operation meets the fault.
        path: a pattern of paths below the root of the disk.
    """

    operations: frozenset[str]
    errno: int = 0
    seconds: float = 0.0
    hangs: bool = False
    times: int = FOR_EVER
    skip: int = 0
    probability: float = 1.0
    path: str = "*"


@dataclass
class FaultTable:
    """The current faults of a disk. It counts all operations, and how often each fault occurred."""

    random: random.Random = field(default_factory=lambda: random.Random(1))
    operations: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    _faults: list[tuple[DiskFault, int, int]] = field(default_factory=list)

    def replace(self, faults: tuple[DiskFault, ...]) -> None:
        """Replace all faults."""
        self._faults = [(fault, fault.skip, fault.times) for fault in faults]

    def meets(self, operation: str, path: str) -> DiskFault | None:
        """Count an operation; return the first fault that it meets, or None."""
        self.operations[operation] += 1
        for number, (fault, skip, times) in enumerate(self._faults):
            if operation not in fault.operations or not fnmatch.fnmatch(path, fault.path):
                continue
            if not times or self.random.random() >= fault.probability:
                continue
            if skip:
                self._faults[number] = (fault, skip - 1, times)
                continue
            self._faults[number] = (fault, 0, max(times - 1, FOR_EVER))
            self.met[operation] += 1
            return fault
        return None
