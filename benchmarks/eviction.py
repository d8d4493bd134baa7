"""Compares policies of eviction on recorded traces: `python -m benchmarks.eviction [TRACE...]`.

For each trace of `benchmarks/traces` and for all traces at once, a table shows which share of the
requested bytes a cache on disk has, by cache size and policy. `ours` is the real account and the
real cleaner, with the files in memory. The cache sizes are shares of all bytes that the trace
requests. `written` is the number of bytes that were written to the disk per byte requested.

The first table is about a walk over ten times the cache. Each program runs before and after the
walk, in a cache that has room for all its files. The table has the hit rates of the second run.

`--chunk-sizes` compares chunks of 2, 4 and 8 MiB, `--admission` the admission of bytes when they
are requested for the first or for the second time.
"""

from __future__ import annotations

import argparse
import functools
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cache_policies import (
    Chunk,
    Fifo,
    Lru,
    PlainS3Fifo,
    Policy,
    TwoQueues,
    optimal_hits,
)
from benchmarks.memory_files import MemoryFiles
from benchmarks.range_trace import GRANULE_BYTES, RangeTrace, RequestedRange, read_trace
from gcsmux_fs.caching.chunk_format import HEADER_BYTES, ChunkId
from gcsmux_fs.caching.cleaner import Cleaner
from gcsmux_fs.caching.space_account import SpaceAccount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Result", "replay"]

_MIB = 1024 * 1024
_TRACES = Path(__file__).parent / "traces"
_SHARES = (0.05, 0.1, 0.2, 0.4, 0.7)
_CHUNK_BYTES = 4 * _MIB
_STEP_SECONDS = 1
_PAGE_BYTES = 2 * _MIB
_ROOM_SHARE = 1.2

_TIME_SCALE = 100
"""The files of the traces are a hundredth of real ones, so real programs take a hundred times as
long from one use of a file to the next."""


class Ours:
    """The real account and the real cleaner of one mount."""

    def __init__(self, capacity: int) -> None:
        self._now = 0.0
        self._files = MemoryFiles(free_bytes=2**50)
        self._account = SpaceAccount(
            self._files, size_bytes=capacity, min_free_bytes=0, clock=lambda: self._now
        )
        self._cleaner = Cleaner(
            self._files,
            self._account,
            clock=lambda: self._now,
            processor_time=lambda: 0.0,
            random=random.Random(1),
            boot=bytes(16),
            remove=lambda chunk: self._files.remove(chunk.path),
        )
        self._next = 0.0
        self._chunks: dict[str, Chunk] = {}

    def put(self, chunk: Chunk, size: int, at: float) -> bool:
        identity = _id(chunk)
        before = self._files.allocated(identity.path)
        if not self._account.admit(identity, size - before):
            return False
        self._chunks[identity.path] = chunk
        self._files.allocate(identity.path, size)
        self._account.wrote(identity, size, size - before)
        return True

    def use(self, chunk: Chunk, at: float) -> None:
        self._account.touch(_id(chunk))

    def evict(self, at: float) -> Iterator[Chunk]:
        """Let the time pass until `at`."""
        while self._next <= at:
            self._now = self._next
            self._account.flush()
            while self._cleaner.run_once():
                pass
            self._next += _STEP_SECONDS
        self._now = at
        for path in self._files.removed:
            if path in self._chunks:
                yield self._chunks.pop(path)
        self._files.removed.clear()


@functools.cache
def _id(chunk: Chunk) -> ChunkId:
    # The identity of an object is a digest, which is spread evenly.
    digest = random.Random(chunk.number).randbytes(16)
    return ChunkId(digest, chunk.chunk)


_POLICIES: dict[str, Callable[[int], Policy]] = {
    "ours": Ours,
    "S3-FIFO": PlainS3Fifo,
    "2Q": TwoQueues,
    "LRU": Lru,
    "FIFO": Fifo,
}


@dataclass
class Result:
    """What a replay has counted, in granules."""

    requested: int = 0
    hits: int = 0
    written: int = 0
    refused: int = 0

    @property
    def hit_rate(self) -> float:
        return self.hits / max(1, self.requested)


@dataclass
class _Admission:
    """Admits each granule, or only granules that were requested before."""

    second: bool = False
    seen: dict[Chunk, int] = field(default_factory=dict)

    def admitted(self, chunk: Chunk, mask: int) -> int:
        if not self.second:
            return mask
        before = self.seen.get(chunk, 0)
        self.seen[chunk] = before | mask
        return mask & before


def _pieces(request: RequestedRange, per_chunk: int) -> Iterator[tuple[Chunk, int]]:
    """Yield the chunks of a request, each with a mask of its granules."""
    first, end = request.first, request.first + request.granules
    while first < end:
        number, start = divmod(first, per_chunk)
        stop = min(end, (number + 1) * per_chunk)
        yield Chunk(request.number, number), ((1 << (stop - first)) - 1) << start
        first = stop


def replay(
    requests: Iterable[RequestedRange],
    policy: Policy,
    *,
    chunk_bytes: int = _CHUNK_BYTES,
    second_touch: bool = False,
    uncounted: int = 0,
) -> Result:
    """Return the hits of a policy, without those of the first `uncounted` requests."""
    result = Result()
    admission = _Admission(second_touch)
    present: dict[Chunk, int] = {}
    for place, request in enumerate(requests):
        if place == uncounted:
            result = Result()
        at = request.at * _TIME_SCALE
        for chunk, mask in _pieces(request, chunk_bytes // GRANULE_BYTES):
            for victim in policy.evict(at):
                present.pop(victim, None)
            has = present.get(chunk, 0)
            result.requested += mask.bit_count()
            result.hits += (mask & has).bit_count()
            if mask & has:
                policy.use(chunk, at)
            new = admission.admitted(chunk, mask & ~has)
            if new:
                size = HEADER_BYTES + (has | new).bit_count() * GRANULE_BYTES
                if policy.put(chunk, size, at):
                    present[chunk] = has | new
                    result.written += new.bit_count()
                else:
                    result.refused += new.bit_count()
    return result


def _optimum(requests: Sequence[RequestedRange], capacity: int) -> Result:
    """Return the hits of an optimal cache of single granules."""
    accesses = [
        request.number << 32 | granule
        for request in requests
        for granule in range(request.first, request.first + request.granules)
    ]
    return Result(len(accesses), optimal_hits(accesses, capacity // GRANULE_BYTES))


def _together(traces: Sequence[RangeTrace]) -> RangeTrace:
    """Return a trace of all programs at once. A short one is repeated with other objects."""
    longest = max(trace.requests[-1].at for trace in traces)
    sizes: list[int] = []
    requests: list[RequestedRange] = []
    for trace in traces:
        stretched = longest / trace.requests[-1].at
        requests += [
            RequestedRange(number + len(sizes), first, granules, at * stretched)
            for number, first, granules, at in trace.requests
        ]
        sizes += trace.sizes
    return RangeTrace("all at once", sizes, sorted(requests, key=lambda request: request.at))


def _around_walk(trace: RangeTrace, walk_bytes: int) -> tuple[list[RequestedRange], int]:
    """Return the requests of a program, a walk over other files, and the same requests again.

    The number is that of the requests before the program runs again.
    """
    end = trace.requests[-1].at
    pages = walk_bytes // _PAGE_BYTES
    walk = [
        RequestedRange(-1 - page // 512, page % 512 * 128, 128, end + page * end / pages)
        for page in range(pages)
    ]
    again = [
        RequestedRange(number, first, granules, at + 2 * end)
        for number, first, granules, at in trace.requests
    ]
    return [*trace.requests, *walk, *again], len(trace.requests) + len(walk)


def _compare_walks(traces: Sequence[RangeTrace]) -> None:
    print("\nafter a walk over 10 times the cache, which has room for all files of the program:")
    print(f"{'':>24}" + "".join(f"{name:>9}" for name in _POLICIES))
    for trace in traces:
        capacity = int(_footprint(trace) * _ROOM_SHARE)
        requests, uncounted = _around_walk(trace, 10 * capacity)
        rates = "".join(
            f"{replay(requests, new(capacity), uncounted=uncounted).hit_rate:9.3f}"
            for new in _POLICIES.values()
        )
        print(f"{trace.program:>24}{rates}")


def _footprint(trace: RangeTrace) -> int:
    used: dict[Chunk, int] = {}
    for request in trace.requests:
        for chunk, mask in _pieces(request, _CHUNK_BYTES // GRANULE_BYTES):
            used[chunk] = used.get(chunk, 0) | mask
    return sum(mask.bit_count() for mask in used.values()) * GRANULE_BYTES


def _compare_policies(trace: RangeTrace) -> None:
    footprint = _footprint(trace)
    print(f"\n{trace.program}: {len(trace.requests)} requests, {footprint / _MIB:.0f} MiB")
    names = [*_POLICIES, "optimum"]
    print(f"{'cache':>8}" + "".join(f"{name:>9}" for name in names) + f"{'written':>10}")
    for share in _SHARES:
        capacity = int(footprint * share)
        results = {name: replay(trace.requests, new(capacity)) for name, new in _POLICIES.items()}
        results["optimum"] = _optimum(trace.requests, capacity)
        rates = "".join(f"{results[name].hit_rate:9.3f}" for name in names)
        written = results["ours"].written / results["ours"].requested
        print(f"{share:8.0%}{rates}{written:10.3f}")


def _compare_variants(trace: RangeTrace, variants: dict[str, dict[str, int]]) -> None:
    footprint = _footprint(trace)
    print(f"\n{trace.program}: hit rate / written")
    print(f"{'cache':>8}" + "".join(f"{name:>16}" for name in variants))
    for share in _SHARES:
        cells = ""
        for options in variants.values():
            result = replay(trace.requests, Ours(int(footprint * share)), **options)  # type: ignore[arg-type]
            cells += f"{result.hit_rate:8.3f}/{result.written / result.requested:6.3f} "
        print(f"{share:8.0%}{cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", nargs="*", type=Path)
    parser.add_argument("--chunk-sizes", action="store_true")
    parser.add_argument("--admission", action="store_true")
    arguments = parser.parse_args()
    paths = arguments.traces or sorted(_TRACES.glob("*.ranges.xz"))
    traces = [read_trace(path) for path in paths]
    if not arguments.chunk_sizes and not arguments.admission:
        _compare_walks(traces)
    if len(traces) > 1:
        traces.append(_together(traces))
    for trace in traces:
        if arguments.chunk_sizes:
            sizes = {f"{size} MiB": {"chunk_bytes": size * _MIB} for size in (2, 4, 8)}
            _compare_variants(trace, sizes)
        elif arguments.admission:
            _compare_variants(trace, {"first": {}, "second": {"second_touch": True}})
        else:
            _compare_policies(trace)


if __name__ == "__main__":
    main()
