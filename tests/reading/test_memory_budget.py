"""Tests of the memory budget at its limits, and of the readahead shares of open files."""

from __future__ import annotations

import pytest

from gcsmux_fs.reading.memory_budget import MINIMUM_BUDGET_BYTES, MemoryBudget, WindowShares
from tests.support.sizes import KIB, MIB


def test_new_budget_is_empty() -> None:
    budget = MemoryBudget(1600)
    assert (budget.limit, budget.used, budget.in_flight) == (1600, 0, 0)
    for charge in (1, 1600):
        assert (budget.to_cancel(charge), budget.to_evict(charge)) == (0, 0)
    assert (budget.to_cancel(1601), budget.to_evict(1601)) == (1, 1)


def test_budget_counts_each_byte_once() -> None:
    budget = MemoryBudget(1600)
    budget.loading_read = 1
    budget.loading_joined = 20
    budget.loading_readahead = 300
    assert (budget.in_flight, budget.used) == (321, 321)
    budget.protected = 400
    budget.unprotected = 600
    assert (budget.in_flight, budget.used) == (321, 1321)


def test_read_is_refused_only_while_reads_wait_for_the_whole_limit() -> None:
    budget = MemoryBudget(1600)
    budget.loading_read, budget.loading_joined = 500, 600
    budget.loading_readahead, budget.protected = 300, 200
    assert budget.admits_read(500)
    assert not budget.admits_read(501)


def test_budget_is_crowded_when_reads_wait_for_half_of_the_limit() -> None:
    budget = MemoryBudget(1600)
    budget.loading_readahead, budget.protected, budget.unprotected = 800, 400, 100
    assert budget.is_crowded is False
    budget.loading_read, budget.loading_joined = 500, 299
    assert budget.is_crowded is False
    budget.loading_joined = 300
    assert budget.is_crowded is True


def test_readahead_evicts_unprotected_blocks_only() -> None:
    budget = MemoryBudget(1600)
    budget.loading_read = 800
    budget.unprotected = 600
    assert budget.for_readahead(800, first_window=False) == 600
    assert budget.for_readahead(801, first_window=False) is None


def test_blocks_fetched_ahead_count_against_the_readahead_limit_until_they_are_read() -> None:
    budget = MemoryBudget(1600)
    budget.loading_joined, budget.loading_readahead, budget.protected = 100, 200, 300
    assert budget.for_readahead(600, first_window=False) == 0
    assert budget.for_readahead(601, first_window=False) is None
    assert budget.for_readahead(800, first_window=True) == 0
    assert budget.for_readahead(801, first_window=True) is None


def test_windows_use_three_quarters_of_the_readahead_limit() -> None:
    assert MemoryBudget(1600).readahead_share_total == 900


def test_minimum_budget_holds_the_reads_of_the_kernel_beside_readahead() -> None:
    budget = MemoryBudget(MINIMUM_BUDGET_BYTES)
    assert budget.largest_read >= 128 * KIB
    assert budget.for_readahead(3 * 2 * MIB, first_window=False) == 0
    budget.loading_readahead = 3 * 2 * MIB
    assert budget.to_cancel(2 * MIB) == 0


def test_largest_read_is_a_sixteenth_of_the_limit() -> None:
    assert MemoryBudget(1600).largest_read == 100


# -- shares


@pytest.fixture
def shares() -> WindowShares[str]:
    """Return shares of 1200 bytes. A holder is idle if over 100 bytes were served since `renew`."""
    return WindowShares(1200, idle_after_bytes=100)


def test_holders_get_equal_shares(shares: WindowShares[str]) -> None:
    assert (len(shares), shares.share) == (0, 1200)
    sizes: list[int] = []
    for name in "abc":
        shares.renew(name, 0)
        sizes.append(shares.share)
    assert sizes == [1200, 600, 400]
    shares.renew("a", 10)
    assert (len(shares), shares.share) == (3, 400)


def test_dropped_holder_returns_its_share(shares: WindowShares[str]) -> None:
    shares.renew("a", 0)
    shares.renew("b", 0)
    shares.drop("a")
    shares.drop("a")
    assert (len(shares), shares.share) == (1, 1200)


def test_idle_holders_are_removed_the_longest_idle_first(shares: WindowShares[str]) -> None:
    for served, name in enumerate("abc"):
        shares.renew(name, served)
    shares.renew("a", 3)
    assert list(shares.pop_idle(101)) == []
    assert list(shares.pop_idle(103)) == ["b", "c"]
    assert len(shares) == 1


def test_all_holders_may_be_idle(shares: WindowShares[str]) -> None:
    shares.renew("a", 0)
    shares.renew("b", 0)
    assert list(shares.pop_idle(1000)) == ["a", "b"]
    assert (len(shares), shares.share) == (0, 1200)
    assert list(shares.pop_idle(2000)) == []
