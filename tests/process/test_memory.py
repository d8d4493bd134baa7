"""What a mount's memory is made of."""

from __future__ import annotations

import mmap
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.process import malloc, memory_watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

MIB = 1024 * 1024


def test_the_allocator_takes_its_settings() -> None:
    assert malloc.tune()


def test_the_resident_size_is_that_of_the_process() -> None:
    # Before: freed at the heap's end, it would take along what other tests have left free there.
    content = bytes(MIB)
    before = malloc.resident_bytes()
    # Straight from the kernel: what the heap has free is resident already.
    with mmap.mmap(-1, 64 * MIB) as block:
        for _ in range(64):
            block.write(content)
        grown = malloc.resident_bytes() - before
        assert len(block) * 0.9 < grown < len(block) * 1.5


def test_blocks_get_what_messages_in_passage_leave() -> None:
    assert memory_watch.block_budget(256 * MIB) == 224 * MIB
    assert memory_watch.block_budget(16 * MIB) == 14 * MIB
    assert memory_watch.block_budget(4096 * MIB) == 4064 * MIB


class Heap:
    """A process: what it uses, what is free and can be given back, and what is beside the heap."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used = 60 * MIB
        self.free = 0
        self.beside = 70 * MIB
        self.given_back: list[int] = []
        self.arriving = True
        self.waits = 0
        monkeypatch.setattr(memory_watch, "allocated_bytes", lambda: self.used)
        monkeypatch.setattr(memory_watch, "resident_bytes", lambda: self.resident)
        monkeypatch.setattr(memory_watch, "give_back", self._give_back)

    @property
    def resident(self) -> int:
        return self.used + self.free + self.beside

    async def arrival(self) -> None:
        """Wait for what arrives: `arriving` says whether that is all the time, or never."""
        self.waits += 1
        if not self.arriving:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    def _give_back(self) -> None:
        self.given_back.append(self.free)
        self.free = 0


@asynccontextmanager
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Heap]:
    """Watch a process that has been given time to begin."""
    heap = Heap(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory_watch.watch_memory, 32 * MIB, heap.arrival)
        await trio.sleep(1)
        heap.given_back.clear()
        yield heap
        nursery.cancel_scope.cancel()


async def test_free_memory_is_left_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(monkeypatch) as heap:
        heap.used, heap.beside, heap.free = 20 * MIB, 60 * MIB, 40 * MIB
        await trio.sleep(1)
        assert not heap.given_back
        heap.used += 10 * MIB
        await trio.sleep(1)
        assert heap.given_back == [40 * MIB]


async def test_memory_in_use_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(monkeypatch) as heap:
        heap.used = 1000 * MIB
        await trio.sleep(60)
        heap.beside = 500 * MIB
        await trio.sleep(60)
        # What is beside the heap cannot be told from what is free there, but once.
        assert heap.given_back == [0]


async def test_what_comes_to_be_free_is_given_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(monkeypatch) as heap:
        heap.used = 150 * MIB
        await trio.sleep(60)
        assert not heap.given_back
        heap.used, heap.free = 80 * MIB, 70 * MIB
        await trio.sleep(0.1)
        assert heap.given_back == [70 * MIB]


async def test_a_mount_where_nothing_arrives_looks_twice_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(monkeypatch) as heap:
        heap.arriving = False
        await trio.sleep(1)
        waits = heap.waits
        # Near its limit, where it looks 50 times a second while something arrives.
        heap.used, heap.free = 80 * MIB, 70 * MIB
        await trio.sleep(3600)
        assert heap.waits - waits < 125
        # The kernel has made it forget inodes.
        assert heap.given_back == [70 * MIB]


async def test_free_memory_that_is_used_again_may_be_given_back_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(monkeypatch) as heap:
        # Half of a page is in use, and so all of it stays.
        heap.beside += 30 * MIB
        await trio.sleep(1)
        heap.given_back.clear()
        heap.beside -= 30 * MIB
        heap.used += 30 * MIB
        await trio.sleep(1)
        assert not heap.given_back
        heap.used -= 30 * MIB
        heap.free += 30 * MIB
        await trio.sleep(1)
        assert heap.given_back == [30 * MIB]


def test_memory_in_use_is_told_from_what_is_free() -> None:
    # What is mapped by itself is not counted as in use.
    assert malloc.tune()
    before = malloc.allocated_bytes()
    blocks = [bytes(MIB) for _ in range(64)]
    assert malloc.allocated_bytes() - before >= 64 * MIB
    blocks.clear()
    assert malloc.allocated_bytes() - before < 8 * MIB


async def test_what_comes_to_be_free_after_the_last_arrival_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(monkeypatch) as heap:
        heap.arriving = False
        await trio.sleep(0.3)
        heap.used, heap.free = 80 * MIB, 90 * MIB
        await trio.sleep(1)
        assert heap.given_back == [90 * MIB]
