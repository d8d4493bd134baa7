"""The figures that `gcsmux top` shows, computed from two answers of a mount; sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcsmux_fs.metrics.interval import MetricsInterval, estimated_quantile
from gcsmux_fs.metrics.request_prices import request_cost_usd, transfer_cost_usd
from gcsmux_fs.metrics.transfer import decode_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "ChangeFigures",
    "DiskCacheFigures",
    "FaultCount",
    "MountSnapshot",
    "StreamRow",
    "TopFigures",
    "figures_between",
]

QUANTILES = (0.5, 0.9, 0.99)
"""The percentiles of latency that are shown."""

OUTCOMES = ("hit", "wait", "miss")
"""The outcomes of READs: bytes ready, loading, not yet requested."""

# The counters that show a fault, with their names for people.
_FAULTS = {
    "streams_reopened": "streams reopened",
    "streams_failed": "streams failed",
    "redirects": "redirects",
    "retries": "retries",
    "ranges_resumed": "ranges resumed",
    "ranges_silent": "silent ranges",
    "checksum_failures": "wrong checksums",
    "gaps": "gaps",
    "ranges_failed": "ranges failed",
    "bidi_losses": "fallbacks to ReadObject",
    "reads_displaced": "READs displaced",
    "disk_cache_errors": "disk errors",
    "disk_cache_timeouts": "disk timeouts",
    "disk_cache_mismatches": "wrong bytes on disk",
    "disk_cache_objects_dropped": "wrong objects on disk",
}

# The values of the metric `disk_cache_state`.
_DISK_STATES = {0: "off", 1: "on", 2: "paused", 3: "paused"}


@dataclass(frozen=True, slots=True)
class MountSnapshot:
    """The answers of a mount to the commands `stats` and `streams` at one moment."""

    stats: Mapping[str, Any]
    streams: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One stream: its object, its state, and its rate in the interval."""

    object: str
    generation: int
    state: str
    age_seconds: float
    ranges_in_flight: int
    bytes_received: int
    bytes_per_second: float
    reopens: int
    last_error: str


@dataclass(frozen=True, slots=True)
class FaultCount:
    """How often a kind of fault occurred: in the interval, and since the start of the mount."""

    name: str
    recent: int
    total: int


@dataclass(frozen=True, slots=True)
class DiskCacheFigures:
    """The cache on disk. Sizes are in bytes.

    Attributes:
        state: `on`, `off`, or `paused` because the disk fails.
        rate: bytes from the disk per second in the interval.
        bytes: bytes from the disk since the start.
        share: the share of the ranges of the interval that came from the disk, at least partly;
            None if there was no range.
        used: disk space of the cache, of all mounts that share it.
        limit: the space that the cache may take now.
        evictions: chunks evicted since the start.
    """

    state: str
    rate: float
    bytes: float
    share: float | None
    used: float
    limit: float
    evictions: int


@dataclass(frozen=True, slots=True)
class ChangeFigures:
    """The feed of changes of the bucket (--changes).

    Attributes:
        state: `healthy`, `catching up`, `interrupted`, `lost` or `starting`.
        lag_seconds: how late the changes are that arrived last.
        rate: changes received per second in the interval.
        received: changes received since the start.
    """

    state: str
    lag_seconds: float
    rate: float
    received: int


@dataclass(frozen=True, slots=True)
class TopFigures:
    """All figures of one interval. Sizes are in bytes, times in seconds, costs in US dollars.

    Attributes:
        seconds: length of the interval.
        shares: the share of each outcome among the READs of the interval, from 0 to 1; None if
            there was no READ.
        latencies: the percentiles `QUANTILES` of the READs of the interval, for all READs (`all`)
            and by outcome; None for no READ.
        operations: requests of the kernel other than READs, per second.
        errors: requests of the kernel that failed, except for names that do not exist.
        disk_cache: the cache on disk; None without one.
        changes: the feed of changes; None without --changes.
        requests: requests to the service since the start, by billing class.
        requests_per_second: the same in the interval, per second.
    """

    seconds: float
    source: str
    mountpoint: str
    process: int
    version: str
    uptime_seconds: float
    healthy: bool
    loop_ages: Mapping[str, float]
    reader_rate: float
    reader_bytes: float
    wire_rate: float
    wire_bytes: float
    reads_per_second: float
    ranges_per_second: float
    operations: float
    shares: Mapping[str, float] | None
    latencies: Mapping[str, tuple[float, ...] | None]
    memory_limit: float
    memory_used: float
    memory_in_flight: float
    memory_unread: float
    resident_bytes: float
    disk_cache: DiskCacheFigures | None
    changes: ChangeFigures | None
    open_files: int
    waiting_reads: int
    streams_open: int
    streams_idle: int
    ranges_in_flight: int
    faults: tuple[FaultCount, ...]
    errors: FaultCount
    requests: Mapping[str, float]
    requests_per_second: Mapping[str, float]
    request_cost: float
    hourly_cost: float
    transfer_cost: float
    streams: tuple[StreamRow, ...]


def figures_between(before: MountSnapshot, after: MountSnapshot) -> TopFigures:
    """Compute the figures of the time between two snapshots of the same mount.

    Raises:
        KeyError, TypeError, ValueError: an answer has another form.
    """
    status = after.stats
    seconds = status["uptime_seconds"] - before.stats["uptime_seconds"]
    metrics = MetricsInterval(
        decode_metrics(before.stats["metrics"]), decode_metrics(status["metrics"]), seconds
    )
    total = metrics.total
    classes = {name: total("requests_by_class", **{"class": name}) for name in ("A", "B", "free")}
    rates = {name: metrics.rate("requests_by_class", **{"class": name}) for name in classes}
    return TopFigures(
        seconds=metrics.seconds,
        source=status["source"],
        mountpoint=status["mountpoint"],
        process=status["pid"],
        version=status["version"],
        uptime_seconds=status["uptime_seconds"],
        healthy=status["healthy"],
        loop_ages=status["loop_ages_seconds"],
        reader_rate=metrics.rate("bytes_served"),
        reader_bytes=total("bytes_served"),
        wire_rate=metrics.rate("bytes_received"),
        wire_bytes=total("bytes_received"),
        reads_per_second=sum(metrics.rate(name) for name in ("hits", "waits", "misses")),
        ranges_per_second=metrics.rate("ranges_delivered"),
        operations=_operations(metrics),
        shares=_shares(metrics),
        latencies=_latencies(metrics),
        memory_limit=total("budget_limit"),
        memory_used=total("budget_used"),
        memory_in_flight=total("budget_in_flight"),
        memory_unread=total("budget_unread"),
        resident_bytes=total("resident_bytes"),
        disk_cache=_disk_cache(metrics),
        changes=_changes(metrics, status["metrics"]),
        open_files=int(total("open_files")),
        waiting_reads=int(total("waiting_reads")),
        streams_open=int(total("streams_open")),
        streams_idle=int(total("streams_idle")),
        ranges_in_flight=int(total("ranges_waiting")),
        faults=_faults(metrics),
        errors=_errors(metrics),
        requests=classes,
        requests_per_second=rates,
        request_cost=request_cost_usd(classes["A"], classes["B"]),
        hourly_cost=3600 * request_cost_usd(rates["A"], rates["B"]),
        transfer_cost=transfer_cost_usd(total("bytes_received")),
        streams=_stream_rows(before, after, metrics.seconds),
    )


def _operations(metrics: MetricsInterval) -> float:
    everything = metrics.histogram("fs_op_seconds").count
    return (everything - metrics.histogram("fs_op_seconds", op="read").count) / metrics.seconds


def _disk_cache(metrics: MetricsInterval) -> DiskCacheFigures | None:
    if not metrics.declares("disk_cache_state"):
        return None
    hits = metrics.increase("disk_cache_hits") + metrics.increase("disk_cache_partial_hits")
    others = metrics.increase("disk_cache_misses") + metrics.increase("disk_cache_bypasses")
    return DiskCacheFigures(
        state=_DISK_STATES.get(int(metrics.total("disk_cache_state")), "unknown"),
        rate=metrics.rate("disk_cache_hit_bytes"),
        bytes=metrics.total("disk_cache_hit_bytes"),
        share=hits / (hits + others) if hits + others > 0 else None,
        used=metrics.total("disk_cache_bytes"),
        limit=metrics.total("disk_cache_limit_bytes"),
        evictions=int(metrics.total("disk_cache_evictions")),
    )


def _changes(
    metrics: MetricsInterval, encoded: Sequence[Mapping[str, Any]]
) -> ChangeFigures | None:
    states = next((each["values"] for each in encoded if each["name"] == "changes_state"), ())
    state = next((each["labels"]["state"] for each in states if each["value"]), None)
    if state is None:
        return None
    return ChangeFigures(
        state=state.replace("_", " "),
        lag_seconds=metrics.total("changes_lag_seconds"),
        rate=metrics.rate("changes_received"),
        received=int(metrics.total("changes_received")),
    )


def _shares(metrics: MetricsInterval) -> dict[str, float] | None:
    counts = [metrics.increase(name) for name in ("hits", "waits", "misses")]
    reads = sum(counts)
    if reads <= 0:
        return None
    return {outcome: count / reads for outcome, count in zip(OUTCOMES, counts, strict=True)}


def _latencies(metrics: MetricsInterval) -> dict[str, tuple[float, ...] | None]:
    latencies: dict[str, tuple[float, ...] | None] = {}
    for outcome in ("all", *OUTCOMES):
        labels = {} if outcome == "all" else {"outcome": outcome}
        histogram = metrics.histogram("read_seconds", **labels)
        found = [estimated_quantile(histogram, quantile) for quantile in QUANTILES]
        known = tuple(seconds for seconds in found if seconds is not None)
        latencies[outcome] = known or None
    return latencies


def _faults(metrics: MetricsInterval) -> tuple[FaultCount, ...]:
    """Return the kinds of faults that have occurred, first the kinds of the interval."""
    counts = [
        FaultCount(name, int(metrics.increase(counter)), int(metrics.total(counter)))
        for counter, name in _FAULTS.items()
    ]
    found = [count for count in counts if count.total]
    return tuple(sorted(found, key=lambda count: -count.recent))


def _errors(metrics: MetricsInterval) -> FaultCount:
    """Return the failed requests. An absent file or extended attribute is no failure."""
    recent, total = metrics.increase("fs_op_errors"), metrics.total("fs_op_errors")
    for errno in ("ENOENT", "ENODATA"):
        recent -= metrics.increase("fs_op_errors", errno=errno)
        total -= metrics.total("fs_op_errors", errno=errno)
    return FaultCount("failed requests", int(recent), int(total))


def _stream_rows(
    before: MountSnapshot, after: MountSnapshot, seconds: float
) -> tuple[StreamRow, ...]:
    """Return the open streams, the fastest first."""
    earlier = {
        (each["object"], each["generation"]): each["bytes_received"] for each in before.streams
    }
    rows = [
        StreamRow(
            object=each["object"],
            generation=each["generation"],
            state=each["state"],
            age_seconds=each["age_seconds"],
            ranges_in_flight=each["ranges_in_flight"] + each["ranges_unsent"],
            bytes_received=each["bytes_received"],
            bytes_per_second=max(
                0.0,
                (each["bytes_received"] - earlier.get((each["object"], each["generation"]), 0))
                / seconds,
            ),
            reopens=each["reopens"],
            last_error=each["last_error"],
        )
        for each in after.streams
    ]
    return tuple(
        sorted(rows, key=lambda row: (-row.bytes_per_second, -row.ranges_in_flight, row.object))
    )
