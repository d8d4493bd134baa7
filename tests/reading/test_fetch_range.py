"""Tests of the range fetched for a READ: the whole object, or the READ aligned to 16 KiB."""

from __future__ import annotations

import pytest

from gcsmux_fs.reading.fetch_range import range_to_fetch
from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES, MemoryBudget
from tests.support.sizes import KIB, MIB


def crowded_budget() -> MemoryBudget:
    """Return a budget in which the blocks that READs wait for use half of the limit."""
    budget = MemoryBudget(MINIMUM_BUDGET_BYTES)
    budget.loading_read = MINIMUM_BUDGET_BYTES // 2
    return budget


@pytest.mark.parametrize(
    ("size", "offset", "end", "expected"),
    [
        pytest.param(64 * KIB, 60 * KIB, 61 * KIB, (0, 64 * KIB), id="any READ of a tiny object"),
        pytest.param(MIB, 0, 128 * KIB, (0, MIB), id="sequential READ of a small object"),
        pytest.param(100_000, 0, 100_000, (0, 100_000), id="READ of all of a small object"),
        pytest.param(MIB, 0, 4 * KIB, (0, 16 * KIB), id="short READ of a small object"),
        pytest.param(MIB, 128 * KIB, MIB, (128 * KIB, MIB), id="READ not at the start"),
        pytest.param(MIB + 1, 0, 128 * KIB, (0, 128 * KIB), id="READ of a larger object"),
        pytest.param(MIB + 1, 16 * KIB - 1, 16 * KIB + 1, (0, 32 * KIB), id="two granules"),
        pytest.param(
            9 * MIB + 5, 9 * MIB, 9 * MIB + 5, (9 * MIB, 9 * MIB + 5), id="READ of the end"
        ),
    ],
)
def test_range_for_a_read(size: int, offset: int, end: int, expected: tuple[int, int]) -> None:
    budget = MemoryBudget(MINIMUM_BUDGET_BYTES)
    assert range_to_fetch(offset, end, size, budget) == expected


def test_small_object_is_not_fetched_whole_while_the_budget_is_crowded() -> None:
    assert range_to_fetch(0, 128 * KIB, MIB, crowded_budget()) == (0, 128 * KIB)
    assert range_to_fetch(0, 4 * KIB, 64 * KIB, crowded_budget()) == (0, 64 * KIB)


def test_small_object_is_not_fetched_whole_if_only_its_head_is_expected() -> None:
    budget = MemoryBudget(MINIMUM_BUDGET_BYTES)
    assert range_to_fetch(0, 128 * KIB, MIB, budget, 256 * KIB) == (0, 128 * KIB)
    assert range_to_fetch(0, 256 * KIB, MIB, budget, 256 * KIB) == (0, 256 * KIB)
    assert range_to_fetch(0, 256 * KIB + 1, MIB, budget, 256 * KIB) == (0, MIB)
