"""Counters of the names that are kept on disk."""

from __future__ import annotations

from dataclasses import dataclass

from gcsmux_fs.metrics.registry import counter

__all__ = ["KeptNameCounters"]


@dataclass(slots=True)
class KeptNameCounters:
    """Counters of one mount. Several threads count, so a counter may miss an event."""

    kept_listings_read: int = counter("listings", "Kept listings that were read from disk.")
    kept_listings_written: int = counter("listings", "Listings that were written to disk.")
    kept_names_rejected: int = counter(
        "files", "Files of kept names that were torn or belonged to something else."
    )
    kept_names_removed: int = counter("files", "Files of kept names removed to save space.")
    kept_names_dropped: int = counter(
        "answers", "Answers that were not written to disk, because too many waited or it failed."
    )
    kept_names_failures: int = counter(
        "failures", "Reads and writes of kept names that failed, or took too long."
    )
