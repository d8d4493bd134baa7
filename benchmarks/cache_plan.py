"""The cases of the cache on disk. The name of each case begins with the word "cache"."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import objects
from benchmarks.cases import Case
from benchmarks.extents import EXTENT_CHUNKS
from benchmarks.objects import BIG, BIG_BUCKET, GIB, KIB, MIB, WIDE, WIDE_BYTES
from benchmarks.results import Metric
from benchmarks.tasks import Kind, Task
from gcsmux_fs.caching.chunk_format import CHUNK_BYTES

__all__ = ["CASES"]

AGAIN = "cache, 1 GiB again"
AGAIN_FROM_DISK = "cache, 1 GiB again, from disk"
RANDOM_1 = "cache, random 4 KiB, 1 thread"
RANDOM_32 = "cache, random 4 KiB, 32 threads"
SAME_BYTES = "cache, same bytes"
COLD = "cache, 1 GiB cold"
SMALL = "cache, 2,000 small files"
START = "cache, start"
FEW_EXTENTS = "cache, 65,536 extents in use"
MANY_EXTENTS = "cache, 1,000,192 extents in use"
FEW = 256 * CHUNK_BYTES // objects.MIB
MANY = EXTENT_CHUNKS * CHUNK_BYTES // objects.MIB

_BIG = Task(Kind.SEQUENTIAL, (BIG,), GIB)
_RANDOM = Task(Kind.RANDOM, (BIG,), GIB, 4 * KIB, seconds=1.5)
_SMALL = Task(Kind.FILES, ("files",), threads=16, shuffled=True)
_WIDE = Task(Kind.SEQUENTIAL, (WIDE,), WIDE_BYTES, MIB)
_CACHED = ("local files", "mount, cached", "rclone, cached", "gcsfuse, cached")
_FROM_DISK = ("local files, from disk", "mount, cached, from disk", "rclone, cached, from disk")
_COLD = ("mount", "mount, cache on", "rclone", "rclone, cache on", "gcsfuse, cache on")


def _big(
    name: str,
    task: Task,
    metric: Metric,
    contenders: tuple[str, ...],
    rounds: int,
    *latencies_ms: int,
) -> Case:
    return Case(name, BIG_BUCKET, task, metric, contenders, latencies_ms or (0,), rounds)


def _small(contenders: tuple[str, ...], *latencies_ms: int) -> Case:
    bucket = objects.SMALL_BUCKET
    return Case(SMALL, bucket, _SMALL, Metric.SECONDS, contenders, latencies_ms, rounds=3)


CASES = (
    _big(AGAIN, _BIG, Metric.RATE, _CACHED, 7),
    _big(AGAIN_FROM_DISK, _BIG, Metric.RATE, _FROM_DISK, 3),
    _big(RANDOM_1, _RANDOM, Metric.OPERATIONS, _CACHED, 5),
    _big(RANDOM_32, replace(_RANDOM, threads=32), Metric.OPERATIONS, _CACHED, 3),
    _big(
        SAME_BYTES,
        replace(_BIG, kind=Kind.DIGEST),
        Metric.RATE,
        ("disk", "mount, read once", "mount, cached, killed"),
        1,
    ),
    _big(COLD, _BIG, Metric.RATE, _COLD, 5, 0),
    _big(COLD, _BIG, Metric.RATE, _COLD[:2], 5, 20),
    _small((*_COLD, "mount, cached", "mount, cached, names", "rclone, cached"), 0),
    _small((*_COLD[:2], "mount, cached", "mount, cached, names"), 20),
    _big(
        START,
        Task(Kind.START, ()),
        Metric.SECONDS,
        ("mount, empty cache", "mount, million extents"),
        5,
    ),
    _big(FEW_EXTENTS, replace(_WIDE, count=FEW), Metric.RATE, ("mount, million extents",), 2),
    _big(MANY_EXTENTS, replace(_WIDE, count=MANY), Metric.RATE, ("mount, million extents",), 1),
)
"""All cases of the cache, which take about nine minutes."""
