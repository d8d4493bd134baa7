"""Tests that each layout of the layout benchmark returns its bytes and frees half of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from benchmarks.layouts import EXTENT_BYTES, LAYOUTS, SMALL_BYTES, measure

if TYPE_CHECKING:
    from pathlib import Path

LARGE_BYTES = 32 * 1024 * 1024


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_returns_its_bytes_after_a_restart(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name](tmp_path)
    source = random.Random(1)
    content = {(0, 3 * EXTENT_BYTES): EXTENT_BYTES, (0, 0): EXTENT_BYTES, (7, 0): SMALL_BYTES}
    stored = {key: source.randbytes(length) for key, length in content.items()}
    for (number, offset), extent in stored.items():
        layout.write(number, offset, memoryview(extent))
    layout.reopen()
    for (number, offset), extent in stored.items():
        assert layout.read(number, offset, len(extent)) == extent
        assert layout.read(number, offset + 4096, 4096) == extent[4096:8192]


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_eviction_frees_about_half(tmp_path: Path, name: str) -> None:
    figures = dict(measure(LAYOUTS[name], tmp_path, LARGE_BYTES, small_count=20))
    # Chunks of 8 MiB are removed whole, so more than half is freed.
    freed = 1 - figures["MiB after the eviction"] / figures["MiB on the disk"]
    assert 0.4 < freed < (0.9 if "8 MiB" in name else 0.6)
