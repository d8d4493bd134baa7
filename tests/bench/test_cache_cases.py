"""Tests of the cases of the cache on disk: the targets, and the cache of a million extents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import cache_plan as plan
from benchmarks.cache_targets import cache_verdicts
from benchmarks.extents import EXTENTS, write_zeros
from benchmarks.results import Key, Results, Run
from benchmarks.running import Cost
from benchmarks.tasks import Outcome
from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_format import CHUNK_BYTES, GRANULE_BYTES
from gcsmux_fs.caching.chunk_store import ChunkStore

if TYPE_CHECKING:
    from pathlib import Path

GB = 10**9
IDENTITY = bytes(range(16))


def results_of(*runs: tuple[str, str, Outcome, Cost]) -> Results:
    results = Results()
    for case, contender, outcome, cost in runs:
        results.add(Run(Key(case, 0, contender), outcome, cost))
    return results


def verdicts(results: Results) -> dict[tuple[str, str], tuple[str, bool | None]]:
    found = [each for each in cache_verdicts(results) if each.met is not None]
    return {(each.workload, each.target): (each.measured, each.met) for each in found}


def test_hits_are_compared_with_the_plain_file_system() -> None:
    results = results_of(
        (plan.AGAIN, "local files", Outcome(1.0, GB), Cost()),
        (plan.AGAIN, "mount, cached", Outcome(1.6, GB), Cost()),
        (plan.RANDOM_1, "local files", Outcome(1.0, operations=1000), Cost()),
        (plan.RANDOM_1, "mount, cached", Outcome(1.0, operations=750), Cost()),
    )
    assert verdicts(results) == {
        (plan.AGAIN, "at least 0.8 of a plain pyfuse3 file system"): ("0.62", False),
        (plan.RANDOM_1, "at least 0.7 of a plain pyfuse3 file system"): ("0.75", True),
    }


def test_a_read_after_a_restart_must_have_the_same_bytes_and_no_ranges() -> None:
    def digest(crc: float, ranges: int = 0) -> tuple[Outcome, Cost]:
        return Outcome(1.0, GB, figures={"crc32": crc}), Cost(ranges=ranges)

    results = results_of(
        (plan.SAME_BYTES, "disk", *digest(7)),
        (plan.SAME_BYTES, "mount, read once", *digest(7, ranges=3)),
        (plan.SAME_BYTES, "mount, cached, killed", *digest(8)),
    )
    assert verdicts(results) == {
        ("cache, same bytes, after a restart", "at most 0 ranges requested"): ("3.00", False),
        ("cache, same bytes, after a restart", "at most 0 reads with other bytes"): ("0.00", True),
        ("cache, same bytes, after kill -9", "at most 0 ranges requested"): ("0.00", True),
        ("cache, same bytes, after kill -9", "at most 0 reads with other bytes"): ("1.00", False),
    }


def test_the_memory_of_an_extent_is_the_difference_of_two_reads() -> None:
    few, many = 65_536, EXTENTS
    results = results_of(
        (
            plan.FEW_EXTENTS,
            "mount, million extents",
            Outcome(1.0, GB),
            Cost(memory_growth_bytes=10**8),
        ),
        (
            plan.MANY_EXTENTS,
            "mount, million extents",
            Outcome(1.0, GB),
            Cost(memory_growth_bytes=10**8 + 50 * (many - few)),
        ),
    )
    assert verdicts(results) == {
        ("cache, memory of an extent in use", "at most 100 bytes"): ("50.00", True)
    }


def test_a_cache_crafted_without_a_server_is_valid(tmp_path: Path) -> None:
    size = 3 * CHUNK_BYTES
    write_zeros(tmp_path / "cache", IDENTITY, size, 2)
    directory = open_cache_directory(str(tmp_path / "cache"))
    store = ChunkStore(directory.files)
    parts = store.read(IDENTITY, size, GRANULE_BYTES, 2 * CHUNK_BYTES)
    assert sum(len(view) for _, view in parts) == 2 * CHUNK_BYTES - GRANULE_BYTES
    assert not any(bytes(view).strip(b"\0") for _, view in parts)
    directory.close()


@pytest.mark.parametrize("latency_ms", [0, 20])
def test_a_cold_read_is_compared_at_each_latency(latency_ms: int) -> None:
    results = Results()
    for contender, seconds in (("mount", 1.0), ("mount, cache on", 1.25)):
        results.add(Run(Key(plan.COLD, latency_ms, contender), Outcome(seconds, GB), Cost()))
    name = f"cache, 1 GiB cold, {latency_ms} ms"
    assert verdicts(results) == {(name, "at least 0.9 of a read without a cache"): ("0.80", False)}
