"""What the read path counts, and the snapshot it shows."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReadCounters", "ReadStatistics"]


@dataclass(slots=True)
class ReadCounters:
    """Running totals, incremented in place."""

    hits: int = 0
    waits: int = 0
    misses: int = 0
    bytes_served: int = 0
    demand_bytes: int = 0
    demand_ranges: int = 0
    demands_displaced: int = 0
    readahead_bytes: int = 0
    readahead_ranges: int = 0
    readahead_wasted_bytes: int = 0
    readahead_cancelled_bytes: int = 0
    readahead_failures: int = 0
    readahead_refusals: int = 0
    opens_that_asked: int = 0
    opens_found_gone: int = 0


@dataclass(frozen=True, slots=True)
class ReadStatistics:
    """The read path at one moment: totals since its start, then gauges."""

    #: READs answered from ready blocks.
    hits: int
    #: READs that asked for nothing and waited for bytes on their way.
    waits: int
    #: READs that asked for bytes, or queued for the memory to do so.
    misses: int
    bytes_served: int
    #: Bytes and ranges asked for by READs.
    demand_bytes: int
    demand_ranges: int
    #: READs that had stalled and gave the memory that they held to others.
    demands_displaced: int
    #: Bytes and ranges asked for ahead of READs, by OPENs too.
    readahead_bytes: int
    readahead_ranges: int
    #: Bytes fetched ahead and evicted before any READ took some.
    readahead_wasted_bytes: int
    #: Bytes asked for ahead and cancelled: the file was closed, or a READ needed the memory.
    readahead_cancelled_bytes: int
    #: Ranges asked for ahead that failed with nobody waiting.
    readahead_failures: int
    #: Ranges not asked for ahead, for want of memory.
    readahead_refusals: int
    #: OPENs that were answered when the service had answered.
    opens_that_asked: int
    #: Those that found their generation gone.
    opens_found_gone: int
    budget_limit: int
    #: Bytes of `budget_limit` taken, overhead included; zero only once all is evicted.
    budget_used: int
    #: Bytes of `budget_used` that are on their way; zero at rest.
    budget_in_flight: int
    #: Bytes of `budget_used` fetched ahead of an open file's reader.
    budget_unread: int
    blocks_ready: int
    #: Ranges on their way; zero at rest.
    blocks_loading: int
    #: READs waiting, those queued for memory included; zero at rest.
    waiting_reads: int
    #: READs queued for memory; zero at rest.
    queued_reads: int
    #: Object generations with an open file or a block.
    objects: int
    open_files: int
    #: Open files whose readahead has a share of the memory now.
    files_reading_ahead: int
