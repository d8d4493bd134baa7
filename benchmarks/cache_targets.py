"""The targets of the cache on disk. All ratios are between medians of one run, taken in turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import cache_plan as plan
from benchmarks.extents import EXTENTS
from benchmarks.objects import MIB
from benchmarks.results import Metric
from benchmarks.targets import Verdict, at_least, at_most
from gcsmux_fs.caching.chunk_format import GRANULE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Results, Run

__all__ = ["cache_verdicts"]

_LATENCIES_MS = (0, 20)
# A second epoch that is as fast as the first one may measure slower by this factor.
_NOISE = 1.1


def cache_verdicts(results: Results) -> list[Verdict]:
    """Return whether each target of the cache is met, in the order of the cases."""
    return [*_hits(results), *_same_bytes(results), *_cold(results), *_start(results)]


def _rate(run: Run) -> float:
    return Metric.RATE.of(run.outcome)


def _operations(run: Run) -> float:
    return Metric.OPERATIONS.of(run.outcome)


def _seconds(run: Run) -> float:
    return run.outcome.seconds


def _hits(results: Results) -> Iterator[Verdict]:
    """Yield the speed of a warm cache relative to the plain file system and to rclone."""
    for case, suffix, limit, figure in (
        (plan.AGAIN, "", 0.8, _rate),
        (plan.AGAIN_FROM_DISK, ", from disk", 0.8, _rate),
        (plan.RANDOM_1, "", 0.7, _operations),
        (plan.RANDOM_32, "", 0.7, _operations),
    ):
        local, cached, rclone = (
            results.median(case, f"{who}{suffix}", 0, figure)
            for who in ("local files", "mount, cached", "rclone, cached")
        )
        yield at_least(case, limit, "of a plain pyfuse3 file system", cached, local)
        yield at_least(case, 1.0, "times rclone's cache", cached, rclone)


def _same_bytes(results: Results) -> Iterator[Verdict]:
    """Yield whether a cached object is read without requests, and has the right bytes."""

    def crc(run: Run) -> float:
        return run.outcome.figures["crc32"]

    expected = results.median(plan.SAME_BYTES, "disk", 0, crc)
    for who, event in (("mount, read once", "a restart"), ("mount, cached, killed", "kill -9")):
        name = f"{plan.SAME_BYTES}, after {event}"
        ranges = results.median(plan.SAME_BYTES, who, 0, lambda run: run.cost.ranges)
        yield at_most(name, 0, "ranges requested", ranges)
        found = results.median(plan.SAME_BYTES, who, 0, crc)
        differs = None if found is None or expected is None else float(found != expected)
        yield at_most(name, 0, "reads with other bytes", differs)


def _cold(results: Results) -> Iterator[Verdict]:
    """Yield the speed of a first read with the cache, relative to one without, and the second."""
    for latency_ms in _LATENCIES_MS:
        off, on = (
            results.median(plan.COLD, who, latency_ms, _rate)
            for who in ("mount", "mount, cache on")
        )
        yield at_least(f"{plan.COLD}, {latency_ms} ms", 0.9, "of a read without a cache", on, off)
        off, on, again, named = (
            results.median(plan.SMALL, who, latency_ms, _seconds)
            for who in ("mount", "mount, cache on", "mount, cached", "mount, cached, names")
        )
        name = f"{plan.SMALL}, {latency_ms} ms"
        yield at_least(f"{name}, cold", 0.9, "of the rate without a cache", off, on)
        yield at_most(f"{name}, second epoch", _NOISE, "times the first epoch", again, on)
        yield at_most(
            f"{name}, second epoch with names", _NOISE, "times the first epoch", named, on
        )
        ranges = results.median(
            plan.SMALL, "mount, cached", latency_ms, lambda run: run.cost.ranges
        )
        yield at_most(f"{name}, second epoch", 0, "ranges requested", ranges)


def _start(results: Results) -> Iterator[Verdict]:
    """Yield the cost of a large cache: the delay of the start, and the memory per extent."""
    empty, full = (
        results.median(plan.START, who, 0, _seconds)
        for who in ("mount, empty cache", "mount, million extents")
    )
    delay = None if empty is None or full is None else full - empty
    yield at_most(f"{plan.START} with a million extents", 0.3, "seconds more", delay)
    few, many = (
        results.median(case, "mount, million extents", 0, lambda run: run.cost.memory_growth_bytes)
        for case in (plan.FEW_EXTENTS, plan.MANY_EXTENTS)
    )
    least = plan.FEW * MIB // GRANULE_BYTES
    memory = None if few is None or many is None else (many - few) / (EXTENTS - least)
    yield at_most("cache, memory of an extent in use", 100, "bytes", memory)
