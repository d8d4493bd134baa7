"""Tests that the cached bytes of generations that no longer exist are released."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES
from gcsmux_fs.reading.read_context import ReadContext
from tests.support.sizes import KIB

from .fakes import ManualSource, key_of, metrics_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import FinalContent, ObjectKey
    from gcsmux_fs.reading.open_file import OpenFile

SIZE = 64 * KIB
OLD, NEW = key_of("object", 1), key_of("object", 2)


class Tier:
    """A lower tier that records what it drops."""

    capacity_bytes = 0

    def __init__(self) -> None:
        self.dropped: list[tuple[ObjectKey, int | None]] = []

    def has_room(self, length: int) -> bool:
        return True

    def forget(self, matches: Callable[[str], bool]) -> None: ...

    def forget_generation(self, key: ObjectKey, size: Callable[[], int | None]) -> None:
        self.dropped.append((key, size()))

    def read_now(
        self, key: ObjectKey, offset: int, length: int, final: FinalContent | None
    ) -> memoryview | None:
        return None


async def read(source: ManualSource, file: OpenFile) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.read, 0, SIZE)
        await trio.testing.wait_all_tasks_blocked()
        source.settle_all()


async def test_a_generation_that_is_gone_is_released_and_others_stay() -> None:
    source, tier = ManualSource(), Tier()
    context = ReadContext(
        source, budget_bytes=MINIMUM_BUDGET_BYTES, read_ahead_bytes=0, lower_tier=tier
    )
    for key in (OLD, NEW):
        file = context.open(key, SIZE)
        await read(source, file)
        file.close()
    used = metrics_of(context)["budget_used"]
    context.forget_generation(OLD, lambda: SIZE)
    assert metrics_of(context)["budget_used"] == used // 2
    assert tier.dropped == [(OLD, SIZE)]
    file = context.open(NEW, SIZE)
    assert file.read_cached(0, SIZE) is not None
    file.close()


async def test_an_open_generation_is_released_when_its_last_file_is_closed() -> None:
    source, tier = ManualSource(), Tier()
    context = ReadContext(
        source, budget_bytes=MINIMUM_BUDGET_BYTES, read_ahead_bytes=0, lower_tier=tier
    )
    files = [context.open(OLD, SIZE) for _ in range(2)]
    await read(source, files[0])
    context.forget_generation(OLD, lambda: None)
    files[0].close()
    assert files[1].read_cached(0, SIZE) is not None
    assert tier.dropped == []
    files[1].close()
    assert metrics_of(context)["budget_used"] == 0
    assert tier.dropped == [(OLD, SIZE)]
