"""Tests that long ranges are written past the page cache, as long as the disk is fast."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.direct_writes import DirectChoice, DirectWriter
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

MILLISECOND = 0.001


def directs(choice: DirectChoice, count: int, *, direct: float, buffered: float) -> int:
    """Write `count` ranges whose kinds take these times; return how many were direct."""
    total = 0
    for _ in range(count):
        is_direct = choice.next_is_direct()
        total += is_direct
        choice.note(2 * MIB, direct if is_direct else buffered, is_direct=is_direct)
    return total


def test_a_fast_disk_is_written_directly() -> None:
    # One write of 32 finds out how fast the other kind is.
    choice = DirectChoice()
    assert directs(choice, 320, direct=2 * MILLISECOND, buffered=MILLISECOND / 2) == 310


def test_a_slow_disk_is_written_through_the_page_cache() -> None:
    choice = DirectChoice()
    assert directs(choice, 320, direct=20 * MILLISECOND, buffered=MILLISECOND) < 12


def test_writes_that_wait_for_a_busy_processor_stay_direct() -> None:
    choice = DirectChoice()
    assert directs(choice, 320, direct=20 * MILLISECOND, buffered=15 * MILLISECOND) > 300


def test_a_disk_that_becomes_fast_is_found() -> None:
    choice = DirectChoice()
    directs(choice, 320, direct=20 * MILLISECOND, buffered=MILLISECOND)
    assert directs(choice, 640, direct=MILLISECOND, buffered=MILLISECOND) > 300


def test_a_file_system_without_direct_writes_is_not_asked_again() -> None:
    choice = DirectChoice()
    choice.refuse()
    assert not directs(choice, 100, direct=MILLISECOND, buffered=MILLISECOND)


@pytest.mark.parametrize("length", [MIB, 256 * KIB, 5 * MIB, 2 * MIB + 1, 16 * KIB])
def test_the_bytes_are_stored(tmp_path: Path, length: int) -> None:
    content = os.urandom(length)
    writer = DirectWriter()
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        place = 0
        while place < length:
            place += writer.write(descriptor, memoryview(content)[place:], 4 * KIB + place)
        assert os.pread(descriptor, length, 4 * KIB) == content
    finally:
        os.close(descriptor)


def test_a_long_write_does_not_fill_the_page_cache(tmp_path: Path) -> None:
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_DIRECT))
        except OSError:
            pytest.skip("the file system has no direct writes")
        DirectWriter().write(descriptor, memoryview(os.urandom(MIB)), 4 * KIB)
        with pytest.raises(BlockingIOError):
            os.preadv(descriptor, [bytearray(4 * KIB)], 4 * KIB, os.RWF_NOWAIT)
    finally:
        os.close(descriptor)


def test_a_file_without_direct_writes_gets_the_bytes() -> None:
    reader, descriptor = os.pipe()
    try:
        # pwrite to a pipe fails in the same way as it does without this module.
        with pytest.raises(OSError, match="Illegal seek"):
            DirectWriter().write(descriptor, memoryview(bytes(MIB)), 4 * KIB)
    finally:
        os.close(reader)
        os.close(descriptor)
