"""Tests of ObjectOpener: what it passes on about an opened object."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gcsmux_fs.filesystem.object_opener import ObjectOpener
from gcsmux_fs.model.values import ObjectInfo, ObjectKey

INFO = ObjectInfo("dir/file", 7, 100, 0, crc32c=5)


class RecordingContext:
    """A fake `ReadContext` that records the arguments of each `open`."""

    def __init__(self, read_ahead_bytes: int = 0) -> None:
        self.read_ahead_bytes = read_ahead_bytes
        self.opened: list[tuple[ObjectKey, int, bool, int | None]] = []

    def open(self, key: ObjectKey, size: int, *, grows: bool, crc32c: int | None) -> None:
        self.opened.append((key, size, grows, crc32c))


@pytest.mark.parametrize("finalized", [True, False])
def test_an_object_is_opened_by_its_generation_and_may_grow_until_finalized(
    finalized: bool,
) -> None:
    context: Any = RecordingContext()
    ObjectOpener(context, "bucket").open(replace(INFO, finalized=finalized))
    assert context.opened == [(ObjectKey("bucket", "dir/file", 7), 100, not finalized, 5)]


@pytest.mark.parametrize(("read_ahead_bytes", "reads_ahead"), [(0, False), (1, True)])
def test_readahead_of_zero_bytes_is_off(read_ahead_bytes: int, reads_ahead: bool) -> None:
    context: Any = RecordingContext(read_ahead_bytes)
    assert ObjectOpener(context, "bucket").reads_ahead is reads_ahead
