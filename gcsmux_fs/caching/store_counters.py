"""Counters of the chunk files on disk."""

from __future__ import annotations

from dataclasses import dataclass

from gcsmux_fs.metrics.registry import counter

__all__ = ["StoreCounters"]


@dataclass(slots=True)
class StoreCounters:
    """Totals since the start of the mount. `ChunkStore` and its parts increment the attributes."""

    disk_cache_reads: int = counter("reads", "Ranges looked up in the files of the disk cache.")
    disk_cache_read_bytes: int = counter("bytes", "Verified bytes read from the disk cache.")
    disk_cache_memory_reads: int = counter(
        "reads", "Ranges read from the disk cache without waiting for the disk."
    )
    disk_cache_mismatches: int = counter(
        "granules", "Granules of 16 KiB on disk that did not match their CRC32C, and were dropped."
    )
    disk_cache_files_damaged: int = counter(
        "files", "Files of the disk cache with a damaged header or of another type, removed."
    )
    disk_cache_written_bytes: int = counter("bytes", "Bytes written to the disk cache.")
    disk_cache_objects_verified: int = counter(
        "objects", "Objects whose content matched the CRC32C of the whole object."
    )
    disk_cache_objects_dropped: int = counter(
        "objects", "Objects not kept on disk, because their CRC32C differed from the service's."
    )
