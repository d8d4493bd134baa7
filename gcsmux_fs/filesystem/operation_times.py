"""Counts the requests of the kernel by operation, with their durations and their errors; sans-IO.

READs are not counted here, because a READ that the cache answers takes microseconds. `reading`
measures READs by their outcome, and `declare_metrics` adds these outcomes together.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from gcsmux_fs.metrics.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcsmux_fs.metrics.registry import Registry

__all__ = ["OperationTimes"]

# The operations that `fuse/operations.py` measures. READs are added by `declare_metrics`.
_OPERATIONS = (
    *("lookup", "forget", "getattr", "statfs", "listxattr", "getxattr", "readlink"),
    *("open", "release", "fsync", "opendir", "readdir", "releasedir", "fsyncdir"),
)
_READ = "read"


class OperationTimes:
    """Durations and errors of the operations of one mount."""

    def __init__(self) -> None:
        #: Durations by operation.
        self.seconds = {operation: Histogram() for operation in _OPERATIONS}
        self._errors: dict[tuple[str, ...], int] = {}

    def note_error(self, operation: str, number: int) -> None:
        """Count an operation that failed with the errno `number`."""
        key = operation, errno.errorcode.get(number, "other")
        self._errors[key] = self._errors.get(key, 0) + 1

    def declare_metrics(self, registry: Registry, read_seconds: Iterable[Histogram]) -> None:
        """Declare `fs_op_seconds` and `fs_op_errors`; `read_seconds` has the durations of READs."""
        text = "Time to answer a request of the kernel, by operation."
        # Some outcomes of READs share one histogram, which must count once.
        reads = {id(times): times for times in read_seconds}.values()
        registry.histogram("fs_op_seconds", text, lambda: Histogram.merged(reads), {"op": _READ})
        for operation, times in self.seconds.items():
            registry.histogram("fs_op_seconds", text, times, {"op": operation})
        registry.family(
            "fs_op_errors",
            "requests",
            "Requests of the kernel that failed, by operation and errno.",
            ("op", "errno"),
            lambda: self._errors,
        )
