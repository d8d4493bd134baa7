"""Measure the cost of the latency histogram: the time of a READ hit with and without it.

Run as `observation.py VARIANT TASK`; it prints the outcome. VARIANT is `hit`,
`hit-without-histogram` or `observe`. Like a READ of the kernel, each READ
calls `BucketOperations` and `BucketFilesystem`, but without a mount and without a server. The
outcome is the time of the fastest batch, because other processes delay all other batches.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pyfuse3
import trio

from benchmarks.tasks import Outcome, Task
from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
from gcsmux_fs.fuse.operations import BucketOperations
from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.process.deferred_calls import DeferredCalls
from gcsmux_fs.reading.read_request import Outcome as ReadOutcome
from tests.filesystem.served_bucket import THREAD, served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["measure"]

_BATCHES = 200
_SECONDS = 20e-6  # the observed duration; each duration costs the same


class _WithoutHistogram(BucketFilesystem):
    """A file system that does not measure READ hits.

    It omits two calls of the clock and one observation of `BucketFilesystem.read_cached`. It also
    omits the start of the prefetch, which happens only at offset 0. No READ at offset 0 is
    measured.
    """

    def read_cached(self, handle: int, offset: int, size: int) -> memoryview | bytes | None:
        _, file = self._files[handle]
        return file.read_cached(offset, size)


async def _shortest(batch: Callable[[], Awaitable[None]]) -> float:
    """Run batches one after another; return the duration of the fastest batch in seconds."""
    samples: list[float] = []
    for _ in range(_BATCHES):
        began = time.perf_counter()
        await batch()
        samples.append(time.perf_counter() - began)
    return min(samples)


async def _read_hits(kind: type[BucketFilesystem], task: Task) -> float:
    """Read one cached block `task.count` times per batch; return the seconds of the fastest."""
    (name,) = task.names
    async with served(name, size=task.size_bytes) as bucket:
        filesystem = kind(
            bucket.tree,
            bucket.context,
            bucket.policy,
            bucket="bucket",
            call_soon=DeferredCalls(),
        )
        operations = BucketOperations(filesystem)
        opened = await filesystem.open(await bucket.inode_of(name), 0, THREAD)
        handle, offset = pyfuse3.FileHandleT(opened.handle), task.block_bytes
        await operations.read(handle, offset, task.block_bytes)

        async def batch() -> None:
            for _ in range(task.count):
                await operations.read(handle, offset, task.block_bytes)

        seconds = await _shortest(batch)
        measured = bucket.context.read_seconds[ReadOutcome.HIT].count > 0
        assert measured is (kind is BucketFilesystem), "only BucketFilesystem must measure its hits"
        filesystem.close()
    return seconds


async def _observe(task: Task) -> float:
    """Call `observe` `task.count` times per batch; return the seconds of the fastest batch."""
    histogram = Histogram()

    async def batch() -> None:
        for _ in range(task.count):
            histogram.observe(_SECONDS)

    return await _shortest(batch)


async def measure(variant: str, task: Task) -> Outcome:
    """Return the duration of `task.count` calls of a variant."""
    if variant == "observe":
        seconds = await _observe(task)
    else:
        kind = BucketFilesystem if variant == "hit" else _WithoutHistogram
        seconds = await _read_hits(kind, task)
    return Outcome(seconds, operations=task.count)


if __name__ == "__main__":
    print(trio.run(measure, sys.argv[1], Task.from_json(sys.argv[2])).to_json())
