"""Tests that readahead serves real programs well: traces of the programs are replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES
from gcsmux_fs.settings.defaults import DEFAULT_MEMORY_BYTES
from tests.traces.replay import replay
from tests.traces.trace_file import parse_trace

RECORDED = Path(__file__).parent / "recorded"

# For each trace: the round trips of 20 ms that the program may wait for, and the bytes that the
# read path may ask for, divided by the bytes of all READs. The limits are about a tenth above the
# measured values, so that a change that makes a program slower fails. Of the READs of SQLite, tar
# and ffmpeg, most are shorter than the 16 KiB that the read path asks for at least.
LIMITS = [
    ("backward-preads-128k", 8, 1.05),
    ("duckdb-column-1024k", 7, 1.35),
    ("duckdb-column-128k", 11, 1.75),
    ("feather-columns-mapped-1024k", 11, 1.55),
    ("feather-columns-mapped-128k", 26, 1.90),
    ("feather-columns-mapped-16384k", 4, 1.05),
    ("ffmpeg-decode-1024k", 6, 1.05),
    ("ffmpeg-decode-128k", 7, 1.05),
    ("ffmpeg-decode-16384k", 6, 1.05),
    ("ffmpeg-seeks-128k", 7, 4.35),
    ("hdf5-contiguous-slices-128k", 28, 1.70),
    ("hdf5-slices-1024k", 43, 1.05),
    ("hdf5-slices-128k", 36, 1.05),
    ("hdf5-slices-16384k", 36, 1.05),
    ("interleaved-eight-descriptors-1024k", 4, 1.05),
    ("interleaved-eight-descriptors-128k", 6, 1.05),
    ("interleaved-one-descriptor-1024k", 4, 1.05),
    ("interleaved-one-descriptor-128k", 6, 1.05),
    ("lmdb-look-ups-1024k", 55, 1.10),
    ("lmdb-look-ups-128k", 168, 1.60),
    ("memmove-of-mapping-1024k", 13, 1.05),
    ("memmove-of-mapping-128k", 12, 1.05),
    ("memmove-of-mapping-16384k", 4, 1.05),
    ("numpy-column-slice-1024k", 7, 1.65),
    ("numpy-column-slice-128k", 6, 1.55),
    ("numpy-column-slice-16384k", 4, 1.45),
    ("numpy-mapped-backward-1024k", 8, 1.05),
    ("numpy-mapped-backward-128k", 8, 1.05),
    ("numpy-mapped-backward-16384k", 7, 1.05),
    ("numpy-mapped-forward-1024k", 5, 1.05),
    ("numpy-mapped-forward-128k", 6, 1.05),
    ("numpy-mapped-forward-16384k", 4, 1.05),
    ("numpy-npz-some-arrays-1024k", 15, 1.85),
    ("numpy-npz-some-arrays-128k", 15, 2.60),
    ("numpy-npz-some-arrays-16384k", 12, 1.50),
    ("numpy-random-rows-1024k", 44, 1.10),
    ("numpy-random-rows-128k", 165, 1.45),
    ("numpy-random-rows-16384k", 10, 1.05),
    ("numpy-rows-in-workers-1024k", 13, 1.20),
    ("numpy-rows-in-workers-128k", 44, 1.70),
    ("numpy-rows-in-workers-16384k", 4, 1.05),
    ("parquet-batches-1024k", 5, 1.15),
    ("parquet-batches-128k", 28, 1.35),
    ("parquet-columns-1024k", 5, 1.50),
    ("parquet-columns-128k", 7, 2.30),
    ("parquet-columns-16384k", 5, 1.55),
    ("parquet-columns-mapped-1024k", 7, 1.45),
    ("parquet-columns-mapped-128k", 16, 2.25),
    ("parquet-columns-mapped-16384k", 5, 1.55),
    ("random-pages-mapped-1024k", 25, 1.10),
    ("random-pages-mapped-128k", 25, 1.20),
    ("random-pages-mapped-16384k", 15, 1.20),
    ("random-preads-128k", 168, 4.25),
    ("safetensors-backward-copies-1024k", 32, 1.05),
    ("safetensors-backward-copies-128k", 33, 1.05),
    ("safetensors-backward-copies-16384k", 4, 1.05),
    ("safetensors-column-slices-1024k", 6, 1.05),
    ("safetensors-column-slices-128k", 6, 1.05),
    ("safetensors-column-slices-16384k", 4, 1.05),
    ("safetensors-load-1024k", 7, 1.05),
    ("safetensors-load-128k", 8, 1.05),
    ("safetensors-load-16384k", 4, 1.05),
    ("safetensors-some-tensors-1024k", 17, 1.40),
    ("safetensors-some-tensors-128k", 27, 1.75),
    ("safetensors-some-tensors-16384k", 4, 1.05),
    ("sequential-read-1024k", 5, 1.05),
    ("sequential-read-128k", 6, 1.05),
    ("sequential-read-16384k", 5, 1.05),
    ("shuffled-records-1024k", 12, 1.05),
    ("shuffled-records-128k", 10, 1.05),
    ("sqlite-look-ups-128k", 143, 4.45),
    ("sqlite-look-ups-mapped-1024k", 24, 1.10),
    ("sqlite-look-ups-mapped-128k", 56, 2.30),
    ("sqlite-look-ups-mapped-16384k", 4, 1.05),
    ("sqlite-scan-1024k", 7, 1.05),
    ("sqlite-scan-128k", 7, 1.05),
    ("sqlite-scan-16384k", 6, 1.05),
    ("strided-preads-128k", 13, 1.20),
    ("tar-all-members-1024k", 6, 1.05),
    ("tar-all-members-128k", 7, 1.05),
    ("tar-all-members-16384k", 5, 1.05),
    ("tar-list-128k", 167, 5.55),
    ("zip-all-members-1024k", 8, 1.05),
    ("zip-all-members-128k", 8, 1.05),
    ("zip-all-members-16384k", 7, 1.05),
    ("zip-some-members-1024k", 20, 1.45),
    ("zip-some-members-128k", 30, 2.65),
    ("zip-some-members-16384k", 15, 1.15),
]


@pytest.mark.parametrize(("name", "round_trips", "asked_factor"), LIMITS)
def test_a_program_waits_for_few_round_trips(
    name: str, round_trips: int, asked_factor: float
) -> None:
    result = replay(parse_trace((RECORDED / f"{name}.trace").read_text()))
    assert result.round_trips <= round_trips, result
    assert result.asked_factor <= asked_factor, result
    if result.peak_bytes < DEFAULT_MEMORY_BYTES // 2:  # nothing was evicted
        assert result.bytes_asked_again == 0


def test_every_trace_has_limits() -> None:
    assert sorted(path.stem for path in RECORDED.iterdir()) == [name for name, _, _ in LIMITS]


@pytest.mark.parametrize(
    "name",
    [name for name, _, _ in LIMITS if name.endswith("-128k") and "random-p" not in name],
)
def test_a_small_memory_budget_is_enough(name: str) -> None:
    trace = parse_trace((RECORDED / f"{name}.trace").read_text())
    assert replay(trace, budget_bytes=MINIMUM_BUDGET_BYTES).peak_bytes <= MINIMUM_BUDGET_BYTES
