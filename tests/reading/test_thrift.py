"""Tests of the bytes that are requested for a program that reads only a part of many files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.file_forecasts import PARTLY_READ_FILES, WHOLE_FILES
from gcsmux_fs.reading.read_context import ReadContext
from tests.support.sizes import KIB, MIB

from .fakes import ManualSource, content_of, key_of, metrics_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.reading.open_file import OpenFile

FILES = 40
PROGRAM = 4711


class Mount:
    """Files that a program opens and reads one after the other. The source answers at once."""

    def __init__(self, read_ahead_bytes: int = 64 * MIB) -> None:
        self.source = ManualSource()
        self.context = ReadContext(
            self.source, budget_bytes=256 * MIB, read_ahead_bytes=read_ahead_bytes
        )
        #: How often a program has waited for the service.
        self.round_trips = 0
        self._files = 0

    async def open(self, size: int, opener: int = PROGRAM) -> OpenFile:
        self._files += 1
        file = self.context.open(key_of(f"dir/{self._files:03}.bin"), size)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.ask_first, opener)
            await trio.testing.wait_all_tasks_blocked()
            self._answer()
        return file

    def read(self, file: OpenFile, offset: int, length: int) -> None:
        content = file.read_cached(offset, length)
        if content is None:
            request = file.begin(offset, min(offset + length, file.size), lambda: None)
            self._answer()
            content = request.result()
        else:
            self.source.settle_all()
        assert content == content_of(file.key, offset, min(length, file.size - offset))

    async def visit(self, size: int, reads: Sequence[tuple[int, int]]) -> int:
        """Open, read and close a file. Return the number of bytes that were requested."""
        before = self.source.total
        file = await self.open(size)
        for offset, length in reads:
            self.read(file, offset, length)
        file.close()
        return self.source.total - before

    def _answer(self) -> None:
        self.round_trips += bool(self.source.pending)
        self.source.settle_all()


def whole(size: int) -> list[tuple[int, int]]:
    return [(offset, 128 * KIB) for offset in range(0, size, 128 * KIB)]


@pytest.mark.parametrize(
    ("size", "reads", "expected"),
    [
        pytest.param(10**6, [(0, 16 * KIB)], 16 * KIB, id="100 bytes of a small file"),
        pytest.param(10**6, whole(256 * KIB), 256 * KIB, id="the head of a small file"),
        pytest.param(20 * 10**6, whole(384 * KIB), 384 * KIB, id="the head of a large file"),
        pytest.param(20 * 10**6, [(0, MIB)], MIB, id="one READ of 1 MiB"),
        pytest.param(40 * 10**6, whole(7 * MIB), 7 * MIB, id="a long head"),
        pytest.param(MIB, [(MIB - 4 * KIB, 4 * KIB)], 16 * KIB, id="the tail of a small file"),
        pytest.param(50 * MIB, [(50 * MIB - 64 * KIB, 64 * KIB)], 64 * KIB, id="a footer"),
        pytest.param(
            50 * MIB, [(0, 16 * KIB), (50 * MIB - 8 * KIB, 8 * KIB)], 32 * KIB, id="head and tail"
        ),
    ],
)
async def test_only_the_part_is_requested_that_was_read_of_the_files_before(
    size: int, reads: list[tuple[int, int]], expected: int
) -> None:
    mount = Mount()
    for _ in range(PARTLY_READ_FILES):
        await mount.visit(size, reads)
    before = mount.round_trips
    for _ in range(FILES):
        assert await mount.visit(size, reads) == expected
    # The OPEN requests all of the part.
    assert mount.round_trips - before == FILES
    assert metrics_of(mount.context)["budget_unread"] == 0


async def test_an_open_waits_for_the_tail_if_the_tail_is_read_first() -> None:
    mount = Mount()
    size = 50 * MIB
    for _ in range(PARTLY_READ_FILES):
        await mount.visit(size, [(size - 8 * KIB, 8 * KIB), (0, 16 * KIB)])
    file = mount.context.open(key_of("dir/next.bin"), size)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.ask_first, PROGRAM)
        await trio.testing.wait_all_tasks_blocked()
        tail = next(request for request in mount.source.pending if request.offset)
        tail.settle()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
    file.close()


async def test_a_file_read_whole_ends_the_thrift() -> None:
    mount = Mount()
    size = 10**6
    for _ in range(10):
        await mount.visit(size, [(0, 16 * KIB)])
    before = mount.round_trips
    assert await mount.visit(size, whole(size)) == size
    assert mount.round_trips - before == 2
    for _ in range(10):
        assert await mount.visit(size, whole(size)) == size
    assert mount.round_trips - before == 12


async def test_large_file_is_read_as_fast_as_before_after_heads_of_other_files() -> None:
    mount = Mount()
    size = 64 * MIB
    assert await mount.visit(size, whole(size)) == size
    cold = mount.round_trips
    mount = Mount()
    for _ in range(10):
        await mount.visit(size, whole(256 * KIB))
    before = mount.round_trips
    assert await mount.visit(size, whole(size)) == size
    assert mount.round_trips - before <= cold + 1


async def test_a_program_that_keeps_its_files_open_is_recognised() -> None:
    mount = Mount()
    files = []
    for _ in range(FILES):
        file = await mount.open(10**6)
        mount.read(file, 0, 16 * KIB)
        files.append(file)
    assert mount.source.total <= FILES * 16 * KIB + (PARTLY_READ_FILES + 1) * 10**6
    for file in files:
        file.close()
    assert metrics_of(mount.context)["budget_unread"] == 0


async def test_the_readahead_of_files_read_whole_begins_with_its_full_window() -> None:
    mount = Mount()
    size = 12 * MIB
    for _ in range(WHOLE_FILES):
        await mount.visit(size, whole(size))
    before = mount.round_trips
    assert await mount.visit(size, whole(size)) == size
    assert mount.round_trips - before == 1
    # The OPEN begins the window, so that the window does not take a round trip of its own.
    before = mount.source.total
    file = await mount.open(size)
    assert mount.source.total - before == size
    file.close()


async def test_random_reads_of_a_file_that_is_expected_to_be_read_whole_request_little() -> None:
    mount = Mount()
    size = 12 * MIB
    for _ in range(WHOLE_FILES):
        await mount.visit(size, whole(size))
    size = 400 * MIB
    opened = await mount.visit(size, [])
    reads = [(number * number * 37 % 397 * MIB, 128 * KIB) for number in range(1, 50)]
    # The window that the OPEN requests is the only one.
    assert await mount.visit(size, reads) <= opened + len(reads) * 128 * KIB


async def test_an_expected_part_stays_protected_until_the_file_is_closed() -> None:
    mount = Mount()
    for _ in range(PARTLY_READ_FILES):
        await mount.visit(10 * MIB, [(0, 256 * KIB)])
    file = await mount.open(10 * MIB)
    mount.read(file, 0, 16 * KIB)
    assert metrics_of(mount.context)["budget_unread"] >= 256 * KIB
    file.close()
    assert metrics_of(mount.context)["budget_unread"] == 0


async def test_an_open_of_a_cached_head_requests_the_rest_of_the_part_and_does_not_wait() -> None:
    mount = Mount()
    size = 50 * MIB
    for _ in range(PARTLY_READ_FILES):
        await mount.visit(size, [*whole(4 * MIB), (size - 8 * KIB, 8 * KIB)])
    file = mount.context.open(key_of("dir/next.bin"), size)
    file.prefetch.fetch((ByteRange(0, MIB),))
    mount.source.settle_all()
    before = mount.source.total
    await file.ask_first(PROGRAM)
    assert mount.source.total - before == 3 * MIB + 16 * KIB
    file.close()


async def test_without_readahead_an_open_requests_only_the_first_part() -> None:
    mount = Mount(read_ahead_bytes=0)
    size = 40 * MIB
    for _ in range(PARTLY_READ_FILES):
        await mount.visit(size, whole(4 * MIB))
    before = mount.source.total
    file = await mount.open(size)
    assert mount.source.total - before == 256 * KIB
    file.close()


async def test_many_opens_without_a_read_leave_memory_for_the_readahead_of_others() -> None:
    mount = Mount()
    for _ in range(WHOLE_FILES):
        await mount.visit(32 * MIB, [(offset, MIB) for offset in range(0, 32 * MIB, MIB)])
    files = [await mount.open(32 * MIB) for _ in range(8)]
    assert metrics_of(mount.context)["budget_unread"] <= 32 * MIB
    for file in files:
        file.close()


async def test_window_of_an_open_is_released_when_its_reader_is_idle() -> None:
    mount = Mount()
    for _ in range(WHOLE_FILES):
        await mount.visit(32 * MIB, [(offset, MIB) for offset in range(0, 32 * MIB, MIB)])
    idle = await mount.open(32 * MIB)
    mount.read(idle, 0, 128 * KIB)
    other = mount.context.open(key_of("other.y"), 600 * MIB)
    for offset in range(0, 400 * MIB, MIB):
        mount.read(other, offset, MIB)
    other.close()
    assert metrics_of(mount.context)["budget_unread"] == 0
    idle.close()
