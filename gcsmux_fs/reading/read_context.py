"""Opens object generations for reading. Other packages use `reading` through this module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.bandwidth_estimator import BandwidthEstimator
from gcsmux_fs.reading.cache_forgetting import forget_blocks, forget_generation
from gcsmux_fs.reading.cache_warming import CacheWarmer
from gcsmux_fs.reading.file_forecasts import TINY_OBJECT_BYTES
from gcsmux_fs.reading.open_file import OpenFile
from gcsmux_fs.reading.open_planner import SMALL_OBJECT_BYTES, parts_to_request
from gcsmux_fs.reading.read_request import Outcome
from gcsmux_fs.reading.read_resources import ReadResources
from gcsmux_fs.settings.defaults import DEFAULT_READ_AHEAD_BYTES, DEFAULT_READ_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsmux_fs.metrics.histogram import Histogram
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.range_source import LowerTier, RangeSource

__all__ = ["ReadContext"]


class ReadContext:
    """All open files of a mount, with one cache and one memory budget.

    Args:
        source: Answers the ranges that the cache does not hold.
        bandwidth: Measures the network below `source` (see `MeasuredSource`). Without an
            estimator, the readahead window stays at its minimum.
        budget_bytes: Hard limit for all blocks, ready or loading; at least
            `memory_budget.MINIMUM_BUDGET_BYTES`.
        read_ahead_bytes: Maximum readahead window of one open file; 0 turns readahead off.
        read_timeout: Seconds after which a READ without an answer fails. Time in which the process
            is stopped is not counted.
        clock: Returns the time in seconds.
        lower_tier: A cache that is a part of `source`, for example on disk; None if there is none.
    """

    def __init__(
        self,
        source: RangeSource,
        bandwidth: BandwidthEstimator | None = None,
        *,
        budget_bytes: int,
        read_ahead_bytes: int = DEFAULT_READ_AHEAD_BYTES,
        read_timeout: float = DEFAULT_READ_TIMEOUT_SECONDS,
        clock: Callable[[], float] = trio.current_time,
        lower_tier: LowerTier | None = None,
    ) -> None:
        self.resources = ReadResources(
            source,
            bandwidth or BandwidthEstimator(),
            budget_bytes=budget_bytes,
            read_ahead_bytes=read_ahead_bytes,
            read_timeout=read_timeout,
            clock=clock,
            lower_tier=lower_tier,
        )

    @property
    def read_ahead_bytes(self) -> int:
        """Maximum readahead window of one open file; 0 if readahead is off."""
        return self.resources.read_ahead_bytes

    @property
    def read_seconds(self) -> Mapping[Outcome, Histogram]:
        """Durations of READs by outcome.

        `OpenFile.read` adds the durations of its READs. For READs that `OpenFile.read_cached`
        answers, the caller adds the durations, because the caller may measure the whole request.
        """
        return self.resources.read_seconds

    def open(
        self, key: ObjectKey, size: int, *, grows: bool = False, crc32c: int | None = None
    ) -> OpenFile:
        """Open an object generation of `size` bytes; every `OpenFile` must be closed.

        `grows` says that a writer may still append to the object. It is then no error if the
        object has more than `size` bytes. `crc32c` is the CRC32C of the whole object, if known.
        """
        return OpenFile(self.resources, key, size, grows=grows, crc32c=crc32c)

    def cached_bytes(self, key: ObjectKey, offset: int, length: int) -> memoryview | None:
        """Return a range that is exactly one ready block; None if there is no such block."""
        index = self.resources.fetcher.objects.get(key)
        block = None if index is None else index.find(offset)
        if block is None or (block.start, block.end) != (offset, offset + length):
            return None
        return block.content

    @property
    def warm_capacity_bytes(self) -> int:
        """How many bytes of objects (see `cache_charge`) a warm-up may fetch into the caches."""
        tier = self.resources.lower_tier
        return max(
            self.resources.budget.readahead_limit, 0 if tier is None else tier.capacity_bytes
        )

    def new_warmer(
        self,
        nursery: trio.Nursery,
        *,
        on_bytes: Callable[[int], None],
        on_object: Callable[[ObjectKey, StorageError | None], None],
    ) -> CacheWarmer:
        """Return a `CacheWarmer` whose tasks run in `nursery`."""
        return CacheWarmer(self.resources, nursery, on_bytes=on_bytes, on_object=on_object)

    def forget(self, matches: Callable[[str], bool]) -> int:
        """Drop the cached bytes of all objects whose names match.

        Return the number of bytes that were dropped from memory.
        """
        if self.resources.lower_tier is not None:
            self.resources.lower_tier.forget(matches)
        return forget_blocks(self.resources.fetcher, matches)

    def forget_generation(self, key: ObjectKey, size: Callable[[], int | None]) -> None:
        """Drop the cached bytes of a generation that no longer exists, unless it is open.

        `size` returns its size in bytes; None if it is unknown.
        """
        is_dropped = forget_generation(self.resources.fetcher, key)
        if is_dropped and self.resources.lower_tier is not None:
            self.resources.lower_tier.forget_generation(key, size)

    def expected_parts(self, name: str, size: int) -> tuple[ByteRange, ...]:
        """Return what is worth fetching before a program opens a file that it will soon open.

        The answer is the part that was read of the last similar file, or else the whole file if it
        is small, or else nothing.
        """
        if size > TINY_OBJECT_BYTES:
            forecast = self.resources.forecasts.forecast(name, partly_read_files=1)
            if forecast.is_part:
                return parts_to_request(forecast, size)
        return (ByteRange(0, size),) if 0 < size <= SMALL_OBJECT_BYTES else ()

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of the read path."""
        resources = self.resources
        budget, fetcher = resources.budget, resources.fetcher
        registry.fields(resources.counters)
        for outcome in (Outcome.HIT, Outcome.WAIT, Outcome.MISS):
            registry.histogram(
                "read_seconds",
                "Time of a READ: bytes ready (hit), loading (wait), not yet requested (miss).",
                resources.read_seconds[outcome],
                {"outcome": outcome.name.lower()},
            )
        gauge = registry.gauge
        gauge("budget_limit", "bytes", "Memory limit for blocks.", lambda: budget.limit)
        gauge("budget_used", "bytes", "Memory used by blocks, with overhead.", lambda: budget.used)
        gauge("budget_in_flight", "bytes", "Memory of loading blocks.", lambda: budget.in_flight)
        gauge(
            "budget_unread",
            "bytes",
            "Memory of ready blocks fetched ahead that their reader has not finished.",
            lambda: budget.protected,
        )
        gauge("blocks_ready", "blocks", "Blocks in the cache.", lambda: len(fetcher.cache))
        gauge("blocks_loading", "blocks", "Loading blocks.", lambda: fetcher.blocks_loading)
        gauge(
            "waiting_reads",
            "reads",
            "Waiting READs, queued ones included.",
            lambda: len(resources.deadlines),
        )
        gauge("queued_reads", "reads", "READs queued for memory.", lambda: fetcher.queued)
        gauge(
            "objects",
            "objects",
            "Object generations with an open file or a block.",
            lambda: len(fetcher.objects),
        )
        gauge("open_files", "files", "Open files.", lambda: resources.open_files)
        gauge(
            "files_reading_ahead",
            "files",
            "Open files with a share of the readahead memory.",
            lambda: len(resources.window_shares),
        )
