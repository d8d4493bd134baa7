"""What a mount's memory is made of."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import trio

from gcsmux_fs import allocator, memorywatch

if TYPE_CHECKING:
    import pytest

MIB = 1024 * 1024


def test_the_allocator_takes_its_settings() -> None:
    assert allocator.tune()


def test_the_resident_size_is_that_of_the_process() -> None:
    # Before: freed at the heap's end, it would take along what other tests have left free there.
    content = bytes(MIB)
    before = allocator.resident_bytes()
    # Straight from the kernel: what the heap has free is resident already.
    with mmap.mmap(-1, 64 * MIB) as block:
        for _ in range(64):
            block.write(content)
        grown = allocator.resident_bytes() - before
        assert len(block) * 0.9 < grown < len(block) * 1.5


def test_blocks_get_what_messages_in_passage_leave() -> None:
    assert memorywatch.block_budget(256 * MIB) == 224 * MIB
    assert memorywatch.block_budget(16 * MIB) == 14 * MIB
    assert memorywatch.block_budget(4096 * MIB) == 4064 * MIB


async def test_memory_is_given_back_only_near_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([100 * MIB, 340 * MIB, 350 * MIB, 300 * MIB, 100 * MIB])
    given_back: list[float] = []
    monkeypatch.setattr(memorywatch, "resident_bytes", lambda: next(sizes, 100 * MIB))
    monkeypatch.setattr(memorywatch, "give_back", lambda: given_back.append(trio.current_time()))
    with trio.move_on_after(1):
        await memorywatch.watch_memory(256 * MIB)
    assert len(given_back) == 1


async def test_what_does_not_help_is_tried_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_back: list[float] = []
    start = trio.current_time()
    monkeypatch.setattr(memorywatch, "resident_bytes", lambda: 1000 * MIB)
    monkeypatch.setattr(
        memorywatch, "give_back", lambda: given_back.append(trio.current_time() - start)
    )
    with trio.move_on_after(60):
        await memorywatch.watch_memory(256 * MIB)
    assert len(given_back) < 20
    assert given_back[1] - given_back[0] < given_back[-1] - given_back[-2]


async def test_what_was_taken_since_is_given_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    held, free = 1000 * MIB, 0
    given_back: list[float] = []

    def give_back() -> None:
        nonlocal free
        given_back.append(free)
        free = 0

    monkeypatch.setattr(memorywatch, "resident_bytes", lambda: held + free)
    monkeypatch.setattr(memorywatch, "give_back", give_back)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(memorywatch.watch_memory, 256 * MIB)
        # Long enough for it to look seldom, as nothing helps.
        await trio.sleep(60)
        given_back.clear()
        free = 50 * MIB
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert given_back[:1] == [50 * MIB]
