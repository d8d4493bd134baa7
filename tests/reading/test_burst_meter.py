"""Tests of the meter of bursts: what the READs of an open file say about the kernel's window."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.reading.burst_meter import BurstMeter, Density
from tests.support.sizes import GIB, KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOWS = [128 * KIB, MIB, 16 * MIB]


def fault(offset: int, window: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the READs, of at most 1 MiB, of a page fault at `offset` of a mapped file."""
    start = max(0, offset - window // 2)
    end = min(start + window, size)
    for position in range(start, end, MIB):
        yield position, min(position + MIB, end)


@pytest.mark.parametrize("window", WINDOWS)
def test_single_pages_of_a_mapped_file_are_isolated_bursts_with_every_window(window: int) -> None:
    source, size = random.Random(1), 64 * GIB
    meter = BurstMeter(size, window)
    for _ in range(40):
        for start, end in fault(source.randrange(size), window, size):
            meter.add(start, end)
    assert meter.is_due
    assert meter.verdict() is Density.ISOLATED
    assert meter.verdict() is None


@pytest.mark.parametrize("window", WINDOWS)
def test_a_mapped_file_read_in_order_or_backward_is_a_long_run(window: int) -> None:
    size = 64 * GIB
    for direction in (1, -1):
        meter = BurstMeter(size, window)
        for step in range(100 * MIB // window):
            place = GIB + direction * step * window
            reads = list(fault(place, window, size))
            # The READs of a window may arrive in another order.
            for start, end in [*reads[1:3], *reads[:1], *reads[3:]]:
                meter.add(start, end)
        assert not meter.is_due
        assert meter.verdict() is Density.LONG_RUNS


def test_one_fault_is_no_long_run_although_its_readahead_has_a_plan() -> None:
    meter = BurstMeter(GIB, 16 * MIB)
    meter.add(100 * MIB, 101 * MIB)
    for end in range(102, 117):
        meter.add_progress(100 * MIB, end * MIB, (end - 100) * MIB)
    assert meter.verdict() is None


def test_a_run_that_the_cache_answers_is_a_long_run() -> None:
    """Readahead makes most READs hits, which the meter sees only as the progress of the plan."""
    meter = BurstMeter(GIB, MIB)
    meter.add(0, MIB)
    meter.add_progress(0, 2 * MIB, 2 * MIB)
    meter.add_progress(0, 100 * MIB, 100 * MIB)
    assert meter.verdict() is Density.LONG_RUNS


def test_eight_interleaved_readers_read_in_long_runs() -> None:
    meter = BurstMeter(64 * GIB, MIB)
    for step in range(20):
        for reader in range(8):
            start = reader * 4 * GIB + step * MIB
            meter.add(start, start + MIB)
    assert meter.verdict() is Density.LONG_RUNS


def test_short_reads_say_nothing_because_they_are_no_page_faults() -> None:
    source, meter = random.Random(2), BurstMeter(64 * GIB, MIB)
    for _ in range(500):
        start = source.randrange(2**20) * 64 * KIB
        meter.add(start, start + 64 * KIB)
    assert meter.verdict() is None


def test_a_run_with_gaps_is_no_long_run() -> None:
    """64 KiB of each MiB: a large window would fetch the gaps too if the file were mapped."""
    meter = BurstMeter(64 * GIB, MIB)
    for start in range(0, 600 * MIB, MIB):
        meter.add(start, start + 64 * KIB)
        meter.add_progress(0, start + 64 * KIB, start // 16 + 64 * KIB)
    assert meter.verdict() is None


def test_an_object_that_is_mostly_read_in_any_order_is_mostly_read() -> None:
    size, source = 200 * MIB, random.Random(3)
    places = list(range(0, size, MIB))
    source.shuffle(places)
    meter = BurstMeter(size, MIB)
    for start in places[:150]:
        meter.add(start, start + MIB)
    assert meter.verdict() in (Density.MOSTLY_READ, Density.LONG_RUNS)


@pytest.mark.parametrize("size", [300 * KIB, 2 * MIB])
def test_an_object_of_two_windows_says_nothing(size: int) -> None:
    meter = BurstMeter(size, MIB)
    for start in range(0, size, 128 * KIB):
        meter.add(start, min(start + 128 * KIB, size))
    assert meter.verdict() is None


def test_random_page_faults_compare_few_bursts() -> None:
    meter = BurstMeter(64 * GIB, 128 * KIB)
    for number in range(1000):
        meter.add(number * 4 * MIB, number * 4 * MIB + 128 * KIB)
    assert len(meter._bursts) <= 8
