"""Counters of READs, of the ranges requested for READs, and of readahead."""

from __future__ import annotations

from dataclasses import dataclass

from gcsmux_fs.metrics.registry import counter

__all__ = ["ReadCounters"]


@dataclass(slots=True)
class ReadCounters:
    """Totals since the start of the mount. Other modules of `reading` increment the attributes."""

    hits: int = counter("reads", "READs answered from ready blocks.")
    waits: int = counter("reads", "READs that waited for loading blocks and requested no range.")
    misses: int = counter("reads", "READs that requested a range, or queued for memory to do so.")
    bytes_served: int = counter("bytes", "Bytes returned to READs.")
    miss_bytes: int = counter("bytes", "Bytes requested by READs.")
    miss_ranges: int = counter("ranges", "Ranges requested by READs.")
    reads_displaced: int = counter("reads", "Stalled READs that gave their memory to other READs.")
    readahead_bytes: int = counter(
        "bytes", "Bytes requested ahead of READs, also by OPENs and warm-ups."
    )
    readahead_ranges: int = counter(
        "ranges", "Ranges requested ahead of READs, also by OPENs and warm-ups."
    )
    readahead_wasted_bytes: int = counter(
        "bytes", "Bytes fetched ahead and evicted before a READ took any of them."
    )
    readahead_cancelled_bytes: int = counter(
        "bytes", "Bytes whose request was cancelled: no READ waited, or a READ needed the memory."
    )
    readahead_failures: int = counter(
        "ranges", "Ranges requested ahead that failed before a READ waited for them."
    )
    readahead_refusals: int = counter(
        "ranges", "Ranges not requested ahead, because the memory budget was full."
    )
    opens_prefetched: int = counter("opens", "OPENs that waited for the bytes of the first READ.")
    opens_found_gone: int = counter("opens", "OPENs that found their object generation deleted.")
