"""Counters of the cache on disk, as the readers see it."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from gcsmux_fs.metrics.registry import counter, labelled_counter

__all__ = ["TierCounters"]


@dataclass(slots=True)
class TierCounters:
    """Totals since the start of the mount."""

    disk_cache_hits: int = counter("ranges", "Ranges answered from the cache on disk.")
    disk_cache_partial_hits: int = counter(
        "ranges", "Ranges of which a part was in the cache on disk, and the rest was fetched."
    )
    disk_cache_misses: int = counter("ranges", "Ranges that the cache on disk did not have.")
    disk_cache_bypasses: int = counter(
        "ranges", "Ranges for which the cache on disk was not asked, because the disk fails."
    )
    disk_cache_hit_bytes: int = counter("bytes", "Bytes answered from the cache on disk.")
    disk_cache_dropped_bytes: int = counter(
        "bytes", "Fetched bytes that were not kept: the disk was slower than the network, or full."
    )
    disk_cache_timeouts: int = counter(
        "ranges", "Ranges that were fetched, because the disk did not answer in time."
    )
    disk_cache_errors: dict[tuple[str, ...], int] = labelled_counter(
        "errors", "Errors of the disk by operation and error code.", "operation", "error"
    )
    disk_cache_pauses: int = counter("pauses", "Times that the failing disk was left alone.")

    def note_error(self, operation: str, error: Exception) -> None:
        """Count an error of the disk."""
        name = errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
        labels = operation, name
        self.disk_cache_errors[labels] = self.disk_cache_errors.get(labels, 0) + 1
