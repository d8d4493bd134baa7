"""Tests of memory_watch: a process near its memory limit returns free memory to the system."""

from __future__ import annotations

import mmap
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.process import malloc, memory_watch
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


def test_the_allocator_accepts_its_settings() -> None:
    assert malloc.tune()


def test_resident_bytes_grow_with_a_mapping() -> None:
    # Allocate this content before the first measurement and free it after the last measurement. If
    # it were freed in between, the allocator could also return free heap memory of earlier tests
    # to the system, and the measurement would be wrong.
    content = bytes(MIB)
    before = malloc.resident_bytes()
    # Allocate a new mapping, because an allocation on the heap may use free memory that is already
    # resident.
    with mmap.mmap(-1, 64 * MIB) as block:
        for _ in range(64):
            block.write(content)
        grown = malloc.resident_bytes() - before
        assert len(block) * 0.9 < grown < len(block) * 1.5


def test_allocated_bytes_follow_allocations_on_the_heap() -> None:
    # `tune` puts the blocks on the heap. allocated_bytes() does not count blocks outside of the
    # heap.
    assert malloc.tune()
    before = malloc.allocated_bytes()
    blocks = [bytes(MIB) for _ in range(64)]
    assert malloc.allocated_bytes() - before >= 64 * MIB
    blocks.clear()
    assert malloc.allocated_bytes() - before < 8 * MIB


def test_the_block_budget_excludes_the_reserve_for_messages() -> None:
    assert memory_watch.block_budget(256 * MIB) == 224 * MIB
    assert memory_watch.block_budget(16 * MIB) == 14 * MIB
    assert memory_watch.block_budget(4096 * MIB) == 4064 * MIB


class FakeProcess:
    """A simulated process: `used` and `free` memory of the heap, and memory outside of the heap.

    A trim frees all `free` memory. `trimmed` contains the bytes that each trim has freed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used = 60 * MIB
        self.free = 0
        self.off_heap = 70 * MIB
        self.trimmed: list[int] = []
        self.arriving = True
        self.waits = 0
        monkeypatch.setattr(memory_watch, "allocated_bytes", lambda: self.used)
        monkeypatch.setattr(memory_watch, "resident_bytes", lambda: self.resident)
        monkeypatch.setattr(memory_watch, "trim", self._trim)

    @property
    def resident(self) -> int:
        return self.used + self.free + self.off_heap

    async def arrival(self) -> None:
        """Wait for data: return at once if `arriving`, otherwise never."""
        self.waits += 1
        if not self.arriving:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    def _trim(self) -> None:
        self.trimmed.append(self.free)
        self.free = 0


@asynccontextmanager
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeProcess]:
    """Watch a process with a budget of 32 MiB for a second, clear `trimmed`, and yield it."""
    process = FakeProcess(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory_watch.watch_memory, 32 * MIB, process.arrival)
        await trio.sleep(1)
        process.trimmed.clear()
        yield process
        nursery.cancel_scope.cancel()


async def test_free_memory_stays_while_the_process_is_below_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(monkeypatch) as process:
        process.used, process.off_heap, process.free = 20 * MIB, 60 * MIB, 40 * MIB
        await trio.sleep(1)
        assert not process.trimmed
        process.used += 10 * MIB
        await trio.sleep(1)
        assert process.trimmed == [40 * MIB]


async def test_memory_in_use_causes_no_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(monkeypatch) as process:
        process.used = 1000 * MIB
        await trio.sleep(60)
        assert not process.trimmed


async def test_memory_off_the_heap_causes_only_one_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(monkeypatch) as process:
        process.used = 1000 * MIB
        process.off_heap = 500 * MIB
        await trio.sleep(60)
        # One trim is necessary, because only a trim shows that this memory cannot be freed.
        assert process.trimmed == [0]


async def test_memory_is_trimmed_as_soon_as_it_becomes_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(monkeypatch) as process:
        process.used = 150 * MIB
        await trio.sleep(60)
        assert not process.trimmed
        process.used, process.free = 80 * MIB, 70 * MIB
        await trio.sleep(0.1)
        assert process.trimmed == [70 * MIB]


async def test_a_mount_without_arrivals_checks_twice_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(monkeypatch) as process:
        process.arriving = False
        await trio.sleep(1)
        waits = process.waits
        # The process is so near its limit that it would be checked 50 times a second if data
        # arrived.
        process.used, process.free = 80 * MIB, 70 * MIB
        await trio.sleep(3600)
        assert process.waits - waits < 125
        # This memory became free although no bytes arrived from the service, as happens when the
        # kernel forgets inodes.
        assert process.trimmed == [70 * MIB]


async def test_memory_that_is_used_and_freed_again_is_trimmed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(monkeypatch) as process:
        # This memory represents free memory in pages that are partly in use. A trim cannot free it.
        process.off_heap += 30 * MIB
        await trio.sleep(1)
        process.trimmed.clear()
        process.off_heap -= 30 * MIB
        process.used += 30 * MIB
        await trio.sleep(1)
        assert not process.trimmed
        process.used -= 30 * MIB
        process.free += 30 * MIB
        await trio.sleep(1)
        assert process.trimmed == [30 * MIB]


async def test_memory_that_becomes_free_after_the_last_arrival_is_trimmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(monkeypatch) as process:
        process.arriving = False
        await trio.sleep(0.3)
        process.used, process.free = 80 * MIB, 90 * MIB
        await trio.sleep(1)
        assert process.trimmed == [90 * MIB]
