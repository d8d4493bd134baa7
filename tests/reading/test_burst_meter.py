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
PAGE = 4 * KIB


def meter_of(window: int) -> BurstMeter:
    meter = BurstMeter()
    meter.set_window(window)
    return meter


def fault(offset: int, window: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the READs, of at most 1 MiB, of a page fault at `offset` of a mapped file."""
    offset -= offset % PAGE
    start = max(0, offset - window // 2)
    end = min(start + window, size)
    for position in range(start, end, MIB):
        yield position, min(position + MIB, end)


@pytest.mark.parametrize("window", WINDOWS)
def test_single_pages_of_a_mapped_file_are_isolated_bursts_with_every_window(window: int) -> None:
    source, size = random.Random(1), 64 * GIB
    meter = meter_of(window)
    for _ in range(40):
        for start, end in fault(source.randrange(size), window, size):
            meter.add(start, end)
    assert meter.early_verdict(64 * GIB) is Density.ISOLATED
    assert meter.early_verdict(64 * GIB) is None
    assert meter.verdict(64 * GIB, 0) is Density.ISOLATED
    assert meter.verdict(64 * GIB, 0) is None


@pytest.mark.parametrize("window", WINDOWS)
def test_a_mapped_file_read_in_order_or_backward_is_a_long_run(window: int) -> None:
    size = 64 * GIB
    for direction in (1, -1):
        meter = meter_of(window)
        for step in range(100 * MIB // window):
            place = GIB + direction * step * window
            reads = list(fault(place, window, size))
            # The READs of a window may arrive in another order.
            for start, end in [*reads[1:3], *reads[:1], *reads[3:]]:
                meter.add(start, end)
        assert meter.early_verdict(64 * GIB) is None
        assert meter.verdict(64 * GIB, 0) is Density.LONG_RUNS


def test_aligned_reads_of_one_window_are_no_page_faults() -> None:
    """A program that reads records of 1 MiB by read(2) would need 8 READs with a small window."""
    meter = meter_of(MIB)
    for place in random.Random(4).sample(range(60_000), 40):
        meter.add(place * MIB, place * MIB + MIB)
    assert meter.verdict(64 * GIB, 0) is None


def test_bursts_of_a_few_windows_are_short_runs() -> None:
    meter = meter_of(128 * KIB)
    for place in random.Random(5).sample(range(6000), 20):
        for step in range(8):
            start = place * 10 * MIB + step * 128 * KIB + PAGE
            meter.add(start, start + 128 * KIB)
    assert meter.verdict(64 * GIB, 0) is Density.SHORT_RUNS


def test_earlier_bursts_are_compared_with_the_window_of_their_time() -> None:
    source, meter = random.Random(6), meter_of(128 * KIB)
    for _ in range(20):
        for start, end in fault(source.randrange(64 * GIB), 128 * KIB, 64 * GIB):
            meter.add(start, end)
    meter.set_window(16 * MIB)
    assert meter.verdict(64 * GIB, 0) is Density.ISOLATED


def test_page_faults_beside_a_longer_run_are_not_isolated() -> None:
    source, meter = random.Random(8), meter_of(MIB)
    for step in range(100):
        meter.add(step * MIB, step * MIB + MIB)
    for _ in range(40):
        for start, end in fault(source.randrange(GIB, 64 * GIB), MIB, 64 * GIB):
            meter.add(start, end)
    assert meter.early_verdict(64 * GIB) is None
    assert meter.verdict(64 * GIB, 0) is Density.LONG_RUNS


def test_one_fault_is_no_long_run_although_its_readahead_has_a_plan() -> None:
    meter = meter_of(16 * MIB)
    meter.add(100 * MIB, 101 * MIB)
    for end in range(102, 117):
        meter.add_progress(100 * MIB, end * MIB, (end - 100) * MIB)
    assert meter.verdict(64 * GIB, 0) is None


def test_a_run_that_the_cache_answers_is_a_long_run() -> None:
    """Readahead makes most READs hits, which the meter sees only as the progress of the plan."""
    meter = meter_of(MIB)
    meter.add(0, MIB)
    meter.add_progress(0, 2 * MIB, 2 * MIB)
    meter.add_progress(0, 100 * MIB, 100 * MIB)
    assert meter.verdict(64 * GIB, 0) is Density.LONG_RUNS


def test_eight_interleaved_readers_read_in_long_runs() -> None:
    meter = meter_of(MIB)
    for step in range(20):
        for reader in range(8):
            start = reader * 4 * GIB + step * MIB
            meter.add(start, start + MIB)
    assert meter.verdict(64 * GIB, 0) is Density.LONG_RUNS


def test_short_reads_say_nothing_because_they_are_no_page_faults() -> None:
    source, meter = random.Random(2), meter_of(MIB)
    for _ in range(500):
        start = source.randrange(2**20) * 64 * KIB
        meter.add(start, start + 64 * KIB)
    assert meter.verdict(64 * GIB, 0) is None


def test_a_run_with_gaps_is_no_long_run() -> None:
    """64 KiB of each MiB: a large window would fetch the gaps too if the file were mapped."""
    meter = meter_of(MIB)
    for start in range(0, 600 * MIB, MIB):
        meter.add(start, start + 64 * KIB)
        meter.add_progress(0, start + 64 * KIB, start // 16 + 64 * KIB)
    assert meter.verdict(64 * GIB, 0) is None


@pytest.mark.parametrize("size", [300 * KIB, 2 * MIB])
def test_an_object_of_two_windows_says_nothing(size: int) -> None:
    assert meter_of(MIB).verdict(size, size) is None


def test_only_the_bytes_read_since_the_last_verdict_can_make_an_object_mostly_read() -> None:
    meter = meter_of(MIB)
    assert meter.verdict(100 * MIB, 40 * MIB) is None
    assert meter.verdict(100 * MIB, 80 * MIB) is None
    assert meter.verdict(100 * MIB, 130 * MIB) is Density.MOSTLY_READ


def test_random_rows_of_a_small_object_are_not_isolated_before_its_files_are_closed() -> None:
    """Six hundred random rows of a matrix of 200 MB read most of its bytes."""
    source, size, meter = random.Random(7), 200 * MIB, meter_of(MIB)
    for _ in range(30):
        for start, end in fault(source.randrange(size), MIB, size):
            meter.add(start, end)
        assert meter.early_verdict(size) is None
    assert meter.verdict(size, 190 * MIB) is Density.MOSTLY_READ


def test_random_page_faults_compare_few_bursts() -> None:
    meter = meter_of(128 * KIB)
    for number in range(1000):
        meter.add(number * 4 * MIB, number * 4 * MIB + 128 * KIB)
    assert len(meter._bursts) <= 8
