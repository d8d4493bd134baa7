"""READs that are answered at once, because a source below the block cache has their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES
from gcsmux_fs.reading.read_context import ReadContext
from tests.support.sizes import KIB, MIB

from .fakes import ManualSource, content_of, key_of, metrics_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import FinalContent, ObjectKey

KEY = key_of("object")
SIZE = 64 * MIB


class Shelf:
    """A lower tier that has all bytes of an object before `end` at hand."""

    def __init__(self, end: int) -> None:
        self.end = end
        #: The ranges it was asked for.
        self.asked: list[tuple[int, int]] = []
        self.finals: list[FinalContent | None] = []

    @property
    def capacity_bytes(self) -> int:
        return 0

    def has_room(self, length: int) -> bool:
        return True

    def forget(self, matches: Callable[[str], bool]) -> None:
        pass

    def forget_generation(self, key: ObjectKey, size: Callable[[], int | None]) -> None:
        pass

    def read_now(
        self, key: ObjectKey, offset: int, length: int, final: FinalContent | None
    ) -> memoryview | None:
        self.asked.append((offset, offset + length))
        self.finals.append(final)
        return memoryview(content_of(key, offset, length)) if offset + length <= self.end else None


def new_context(source: ManualSource, shelf: Shelf, read_ahead_bytes: int = 0) -> ReadContext:
    return ReadContext(
        source,
        budget_bytes=MINIMUM_BUDGET_BYTES,
        read_ahead_bytes=read_ahead_bytes,
        lower_tier=shelf,
    )


@pytest.mark.parametrize(("offset", "size"), [(0, 4 * KIB), (16 * KIB - 5, 10), (2 * MIB - 5, 10)])
async def test_a_read_needs_no_task_if_the_bytes_are_at_hand(offset: int, size: int) -> None:
    source, shelf = ManualSource(), Shelf(SIZE)
    context = new_context(source, shelf)
    file = context.open(KEY, SIZE, crc32c=7)
    for _ in range(2):
        content = file.read_cached(offset, size)
        assert content is not None
        assert bytes(content) == content_of(KEY, offset, size)
    assert source.requests == []
    assert shelf.asked == 2 * [(offset, offset + size)]
    assert {final and (final.size, final.crc32c) for final in shelf.finals} == {(SIZE, 7)}
    metrics = metrics_of(context)
    assert (metrics["hits"], metrics["misses"], metrics["bytes_served"]) == (2, 0, 2 * size)
    assert metrics["budget_used"] == 0, "the source has the bytes in memory, so no block is needed"


async def test_bytes_that_are_not_at_hand_are_requested() -> None:
    source, shelf = ManualSource(), Shelf(0)
    file = new_context(source, shelf).open(KEY, SIZE)
    assert file.read_cached(2 * MIB - 4 * KIB, 4 * KIB) is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.read, 2 * MIB - 4 * KIB, 4 * KIB)
        await trio.testing.wait_all_tasks_blocked()
        assert source.spans == [(2 * MIB - 16 * KIB, 2 * MIB)]
        source.settle_all()


async def test_bytes_of_a_block_are_not_asked_for() -> None:
    source, shelf = ManualSource(), Shelf(0)
    file = new_context(source, shelf).open(KEY, SIZE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.read, 0, 4 * KIB)
        await trio.testing.wait_all_tasks_blocked()
        shelf.end = SIZE
        assert file.read_cached(4 * KIB, 4 * KIB) is None, "the block is loading"
        source.settle_all()
    assert file.read_cached(4 * KIB, 4 * KIB) is not None
    assert shelf.asked == []


async def test_an_instant_read_starts_readahead_like_any_other() -> None:
    source, shelf = ManualSource(), Shelf(128 * KIB)
    file = new_context(source, shelf, read_ahead_bytes=4 * MIB).open(KEY, SIZE)
    assert file.read_cached(0, 128 * KIB) is not None
    assert source.spans[0][0] == 128 * KIB
    assert source.spans[-1][1] == MIB
