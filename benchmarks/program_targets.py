"""The targets of the user programs. Each compares figures of one run, or counts requests and bytes.

A contender that exceeded the time limit counts as infinitely slow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks import programs_plan
from benchmarks.objects import KIB, MIB
from benchmarks.programs_plan import PROGRAMS, titled
from benchmarks.results import Key
from benchmarks.targets import Verdict, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.programs_plan import Program
    from benchmarks.results import Results, Run

__all__ = ["program_verdicts"]

# The latencies of a regional and of a zonal bucket in milliseconds.
_REGIONAL, _ZONAL = 20, 1
# Equal contenders differ by up to this factor from run to run.
_NOISE = 1.1
_PAGES, _READS_PER_PAGE = 200, 1.3
# Rows that gcsfuse also reads with one round trip per READ: here the limit is in seconds.
_SECONDS = {"preads-backward": 1.2, "strides": 1.2, "files-shuffled": 4.0}
# The programs in which the bytes that the program uses are the bytes that the kernel must read.
_DENSE = frozenset(each.name for each in PROGRAMS) - {
    "random-rows",
    "slices",
    "columns",
    "single-pages",
    "first-bytes",
    "media-heads",
}
_BUDGET_BYTES = 256 * MIB


def program_verdicts(results: Results) -> list[Verdict]:
    """Return whether each target of the user programs is met, in the order of the table."""
    found: list[Verdict] = []
    for program in PROGRAMS:
        found += _times(results, program)
    return [*found, *_bytes(results), *_lookups(results), *_processor(results), *_memory(results)]


def _seconds(results: Results, name: str, who: str, latency_ms: int) -> float | None:
    title = titled(name)
    if "not finished" in results.absent.get(Key(title, latency_ms, who), ""):
        return math.inf
    return results.median(title, who, latency_ms, lambda run: run.outcome.seconds)


def _times(results: Results, program: Program) -> Iterator[Verdict]:
    name, title = program.name, program.title
    mount, small, tuned, *gcsfuse = (
        _seconds(results, name, who, _REGIONAL)
        for who in ("mount", "mount, 128 KiB", "mount, tuned", "gcsfuse", "gcsfuse, defaults")
    )
    at = f"{title}, {_REGIONAL} ms"
    if name == "single-pages":
        trips = None if mount is None else mount / _PAGES / (_REGIONAL / 1000)
        yield at_most(at, _READS_PER_PAGE, "round trips per page", trips)
    elif name in _SECONDS:
        yield at_most(at, _SECONDS[name], "seconds", mount)
    else:
        known = [value for value in (*gcsfuse, tuned) if value is not None]
        best = min(known, default=None)
        yield at_most(at, _NOISE, "times the best of gcsfuse and the tuned mount", mount, best)
    yield at_most(f"{at}, READs of 128 KiB", 2, "times the tuned mount", small, tuned)
    zonal = [_seconds(results, name, who, _ZONAL) for who in ("mount, zonal", "gcsfuse, zonal")]
    yield at_most(f"{title}, zonal, {_ZONAL} ms", _NOISE, "times gcsfuse", *zonal)
    if name == "shards":
        in_order = _rate(results, "in-order")
        unit = "of the rate of 721 MB in order"
        yield at_least(at, 0.8, unit, _rate(results, name), in_order)


def _rate(results: Results, name: str) -> float | None:
    return _figure(results, name, lambda run: run.outcome.read_bytes / run.outcome.seconds)


def _figure(
    results: Results, name: str, figure: Callable[[Run], float], who: str = "mount"
) -> float | None:
    return results.median(titled(name), who, _REGIONAL, figure)


def _per_file(run: Run) -> float:
    return run.cost.bytes_asked / run.outcome.operations


def _bytes(results: Results) -> Iterator[Verdict]:
    for name in (each.name for each in PROGRAMS if each.name in _DENSE):
        asked = _figure(results, name, lambda run: run.requested_per_byte)
        yield at_most(titled(name), 1.5, "bytes requested per byte read", asked)
    pages = _figure(results, "single-pages", lambda run: run.cost.bytes_asked / _PAGES / MIB)
    yield at_most(titled("single-pages"), 1.1, "MiB requested per page", pages)
    # The first files are read whole, until the program is recognised.
    heads = _figure(results, "first-bytes", lambda run: _per_file(run) / KIB)
    yield at_most(titled("first-bytes"), 32, "KiB requested per file", heads)
    media = _figure(results, "media-heads", lambda run: run.requested_per_byte)
    yield at_most(titled("media-heads"), 4, "bytes requested per byte read", media)


def _look_ups(run: Run) -> float:
    requests = run.cost.requests
    calls = requests.get("GetObject", 0) + requests.get("ListObjects", 0)
    return calls / run.outcome.operations


def _lookups(results: Results) -> Iterator[Verdict]:
    measured = _figure(results, "files-shuffled", _look_ups)
    yield at_most(titled("files-shuffled"), 0.2, "look-up requests per file", measured)


def _processor(results: Results) -> Iterator[Verdict]:
    for name, limit in (("files-shuffled", 1.2), ("files-in-order", 0.9)):
        measured = _figure(results, name, lambda run: run.cpu_seconds_per_operation * 1e3)
        yield at_most(titled(name), limit, "ms of processor time per file", measured)
    tuned = _figure(results, "in-order", lambda run: run.cpu_seconds_per_gb, "mount, tuned")
    yield at_most("721 MB in order, tuned", 1.0, "processor seconds per GB", tuned)


def _memory(results: Results) -> Iterator[Verdict]:
    title = programs_plan.ALL.title
    peak = results.median(title, "mount", _ZONAL, lambda run: run.cost.peak_memory_bytes)
    limit = (_BUDGET_BYTES + 100 * MIB) / MIB
    yield at_most(title, limit, "MiB of memory", None if peak is None else peak / MIB)
