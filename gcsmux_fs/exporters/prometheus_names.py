"""The names of metrics for Prometheus; sans-IO.

A name is `gcsmux_` and the name in the registry, with the unit at its end if the unit is bytes or
seconds (https://prometheus.io/docs/practices/naming). Where gcsfuse has a metric of the same
meaning, the name uses gcsfuse's words: `fs` for the kernel's side, `gcs` for the service's side,
`file_cache` becomes `cache`. A counter also ends with `_total`, which prometheus_client adds.

The names are a public interface: dashboards and alerts depend on them. docs/METRICS.md lists all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.metrics.registry import Metric

__all__ = ["PREFIX", "exported_name"]

PREFIX = "gcsmux_"

_UNITS = ("bytes", "seconds")

# The metrics whose name in the registry is not clear without the heading of its section.
_RENAMED = {
    "requests": "gcs_requests",
    "requests_by_class": "gcs_billed_requests",
    "unary_requests": "gcs_unary_requests",
    "unary_call_seconds": "gcs_request_seconds",
    "retries": "gcs_retries",
    "read_object_requests": "gcs_read_object_requests",
    "read_object_open": "gcs_read_object_open",
    "bytes_received": "gcs_read_bytes",
    "token_fetches": "gcs_token_fetches",
    "token_waits": "gcs_token_waits",
    "tasks": "gcs_call_tasks",
    "redirects": "stream_redirects",
    "messages_sent": "stream_messages_sent",
    "chunks_dropped": "stream_chunks_dropped",
    "checksum_failures": "stream_checksum_failures",
    "gaps": "stream_gaps",
    "stale_events": "stream_stale_events",
    "objects_known": "stream_objects_known",
    "streams_lost": "stream_losses",
    "hits": "cache_read_hits",
    "waits": "cache_read_waits",
    "misses": "cache_read_misses",
    "read_seconds": "cache_read_seconds",
    "bytes_served": "fs_read_bytes",
    "miss_bytes": "cache_miss_bytes",
    "miss_ranges": "cache_miss_ranges",
    "reads_displaced": "cache_reads_displaced",
    "blocks_ready": "cache_blocks_ready",
    "blocks_loading": "cache_blocks_loading",
    "objects": "cache_objects",
    "budget_limit": "memory_budget_limit",
    "budget_used": "memory_budget_used",
    "budget_in_flight": "memory_budget_in_flight",
    "budget_unread": "memory_budget_unread",
    "waiting_reads": "fs_reads_waiting",
    "queued_reads": "fs_reads_queued",
    "open_files": "fs_open_files",
    "open_handles": "fs_open_handles",
    "files_reading_ahead": "readahead_files",
    "ill_formed_metadata": "gcs_ill_formed_metadata",
    "opens_prefetched": "fs_opens_prefetched",
    "opens_found_gone": "fs_opens_found_gone",
    "unary_streams": "gcs_unary_streams",
    "inodes": "names_inodes",
    "listings": "names_listings",
    "listed_entries": "names_listed_entries",
    "resolutions": "names_resolutions",
    "lookup_seconds": "names_lookup_seconds",
    "listing_page_seconds": "names_listing_page_seconds",
    "name_requests_in_flight": "names_requests_in_flight",
    "background_listings": "names_background_listings",
    "background_pages": "names_background_pages",
    "background_answers": "names_background_answers",
    "offline": "names_offline",
    "outages": "names_outages",
    "outage_answers": "names_outage_answers",
}


def exported_name(metric: Metric) -> str:
    """Return the name of a metric for Prometheus, without the suffix `_total` of a counter."""
    name = _RENAMED.get(metric.name, metric.name)
    if metric.unit in _UNITS and not name.endswith(metric.unit):
        name = f"{name}_{metric.unit}"
    return PREFIX + name
