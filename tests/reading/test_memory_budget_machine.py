"""Tests with random calls of the memory budget, the block cache and the window shares.

Plain lists and dicts are the reference. The test calls the budget as the fetcher does, but without
a range source and without READs.
"""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gcsmux_fs.reading.block_cache import BlockCache
from gcsmux_fs.reading.block_index import Block, BlockIndex
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES, PAGE_BYTES
from gcsmux_fs.reading.block_states import BlockEvent, BlockState
from gcsmux_fs.reading.memory_budget import (
    BLOCK_OVERHEAD_BYTES,
    MINIMUM_BUDGET_BYTES,
    MemoryBudget,
    WindowShares,
)
from tests.support.examples import examples
from tests.support.sizes import KIB, MIB

from .fakes import (
    key_of,
)

CONTENT = memoryview(b"content")

lengths = st.one_of(
    st.sampled_from([1, GRANULE_BYTES, 128 * KIB, MIB, PAGE_BYTES]), st.integers(1, PAGE_BYTES)
)
numbers = st.integers(0, 10**6)
# Number of bytes that the mount serves between two steps. A holder is idle after more bytes than
# the limit of the budget.
amounts = st.one_of(st.sampled_from([1, MINIMUM_BUDGET_BYTES]), st.integers(0, 12 * MIB))


def total(blocks: list[Block]) -> int:
    return sum(block.charge for block in blocks)


class BudgetMachine(RuleBasedStateMachine):
    """Checks invariants 1 to 3 of `memory_budget`, and the order of eviction.

    Each list holds blocks. The newest or most recently used block is the last one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.index = BlockIndex(key_of("object"))
        self.pages = itertools.count()
        self.loading: list[Block] = []
        self.joined: list[Block] = []
        self.prefetching: list[Block] = []
        self.unprotected: list[Block] = []
        self.protected: list[Block] = []
        self.evicted: list[Block] = []

    @initialize(limit=st.sampled_from([MIB + 1, MINIMUM_BUDGET_BYTES, 20 * MIB + 12_345]))
    def create_budget(self, limit: int) -> None:
        self.budget = MemoryBudget(limit)
        self.cache = BlockCache(self.budget, on_evict=self.evicted.append)

    # -- requesting

    @rule(length=lengths)
    def request_for_a_read(self, length: int) -> None:
        """Check invariant 3: a READ is refused only because of blocks for which READs wait."""
        budget, charge = self.budget, length + BLOCK_OVERHEAD_BYTES
        admitted = budget.admits_read(charge)
        read_bytes = total(self.loading) + total(self.joined)
        assert admitted == (read_bytes + charge <= budget.limit)
        if not admitted:
            return
        while budget.to_cancel(charge):
            assert self.in_flight() + charge > budget.limit
            budget.loading_readahead -= self.prefetching.pop().charge
        self.evict(budget.to_evict(charge))
        assert budget.used + charge <= budget.limit
        self.loading.append(self.add_block(length, prefetch=False))
        budget.loading_read += charge

    @rule(length=lengths, first_window=st.booleans())
    def read_ahead(self, length: int, first_window: bool) -> None:
        """Check invariant 2, and that readahead evicts only unprotected blocks."""
        budget, charge = self.budget, length + BLOCK_OVERHEAD_BYTES
        readahead_bytes = (
            total(self.prefetching) + total(self.joined) + total(self.protected) + charge
        )
        evict_bytes = budget.for_readahead(charge, first_window=first_window)
        allowed = budget.limit * 7 // 8 if first_window else budget.limit * 3 // 4
        fits = total(self.loading) + readahead_bytes <= budget.limit
        assert (evict_bytes is not None) == (readahead_bytes <= allowed and fits)
        if evict_bytes is None:
            return
        protected_before = list(self.protected)
        self.evict(evict_bytes)
        assert protected_before == self.protected
        assert budget.used + charge <= budget.limit
        self.prefetching.append(self.add_block(length, prefetch=True))
        budget.loading_readahead += charge

    def in_flight(self) -> int:
        return total(self.loading) + total(self.joined) + total(self.prefetching)

    def add_block(self, length: int, *, prefetch: bool) -> Block:
        start = next(self.pages) * PAGE_BYTES
        return self.index.add(start, start + length, prefetch=prefetch)

    def evict(self, amount: int) -> None:
        """Check that unprotected blocks go first, in LRU order, and no more blocks than needed."""
        assert amount <= total(self.unprotected) + total(self.protected)
        expected: list[Block] = []
        while total(expected) < amount:
            expected.append((self.unprotected or self.protected).pop(0))
        self.evicted.clear()
        self.cache.evict(amount)
        assert self.evicted == expected
        assert all(block.content is None for block in expected)

    # -- loading

    @precondition(lambda self: self.prefetching)
    @rule(which=numbers)
    def join(self, which: int) -> None:
        block = self.prefetching.pop(which % len(self.prefetching))
        block.apply(BlockEvent.JOIN)
        self.budget.loading_readahead -= block.charge
        self.budget.loading_joined += block.charge
        self.joined.append(block)

    @precondition(lambda self: self.loading or self.joined or self.prefetching)
    @rule(which=numbers)
    def arrive(self, which: int) -> None:
        block = self.pop_loading(which)
        block.apply(BlockEvent.ARRIVE)
        block.content = CONTENT
        self.cache.add(block)
        (self.protected if block.state.is_protected else self.unprotected).append(block)

    @precondition(lambda self: self.loading or self.joined or self.prefetching)
    @rule(which=numbers)
    def fail(self, which: int) -> None:
        self.pop_loading(which)

    def pop_loading(self, which: int) -> Block:
        loading = [*self.loading, *self.joined, *self.prefetching]
        block = loading[which % len(loading)]
        if block in self.loading:
            self.loading.remove(block)
            self.budget.loading_read -= block.charge
        elif block in self.joined:
            self.joined.remove(block)
            self.budget.loading_joined -= block.charge
        else:
            self.prefetching.remove(block)
            self.budget.loading_readahead -= block.charge
        return block

    # -- reading

    @precondition(lambda self: self.unprotected or self.protected)
    @rule(which=numbers, to_the_end=st.booleans())
    def read(self, which: int, to_the_end: bool) -> None:
        """Read a ready block as an open file does: do not touch the most recently used block."""
        ready = [*self.unprotected, *self.protected]
        block = ready[which % len(ready)]
        if self.cache.newest is not block:
            self.cache.touch(block)
        self.move_to_the_end(block)
        if block.state is not BlockState.READ:
            self.cache.note_read(block, block.end if to_the_end else block.end - 1)
            stays_protected = block in self.protected and not to_the_end
            assert block.state.name == ("PARTLY_READ" if stays_protected else "READ")
            if not stays_protected:
                self.unprotect(block)

    @precondition(
        lambda self: self.unprotected or self.protected or self.prefetching or self.joined
    )
    @rule(which=numbers)
    def release(self, which: int) -> None:
        """Release a block, as if its reader had passed the block or had stopped before it."""
        blocks = [*self.unprotected, *self.protected, *self.prefetching, *self.joined]
        block = blocks[which % len(blocks)]
        self.cache.release(block)
        assert not block.state.is_protected
        self.unprotect(block)

    def move_to_the_end(self, block: Block) -> None:
        tier = self.protected if block in self.protected else self.unprotected
        tier.remove(block)
        tier.append(block)

    def unprotect(self, block: Block) -> None:
        if block in self.protected:
            self.protected.remove(block)
            self.unprotected.append(block)

    # -- invariants

    @invariant()
    def bytes_are_counted_and_within_the_limit(self) -> None:
        budget = self.budget
        assert budget.loading_read == total(self.loading)
        assert budget.loading_joined == total(self.joined)
        assert budget.loading_readahead == total(self.prefetching)
        assert budget.unprotected == total(self.unprotected)
        assert budget.protected == total(self.protected)
        assert budget.used <= budget.limit
        readahead_bytes = budget.loading_readahead + budget.loading_joined + budget.protected
        assert readahead_bytes <= budget.limit * 7 // 8

    @invariant()
    def ready_blocks_are_in_the_tier_of_their_state(self) -> None:
        assert len(self.cache) == len(self.unprotected) + len(self.protected)
        assert {block.key for block in self.unprotected} == set(self.cache._unprotected)
        assert {block.key for block in self.protected} == set(self.cache._protected)
        assert all(block.state.is_protected for block in self.protected)
        assert not any(block.state.is_protected for block in self.unprotected)
        assert all(block.content is CONTENT for block in [*self.unprotected, *self.protected])

    @invariant()
    def most_recently_used_block_is_evicted_last(self) -> None:
        newest = self.cache.newest
        if newest is not None and newest.content is not None:
            assert newest in (self.unprotected[-1:] + self.protected[-1:])

    def teardown(self) -> None:
        while self.loading or self.joined or self.prefetching:
            self.arrive(0)
        self.evict(self.budget.used)
        self.bytes_are_counted_and_within_the_limit()
        assert self.budget.used == len(self.cache) == 0


class SharesMachine(RuleBasedStateMachine):
    """Random calls of WindowShares. The reference is a dict of the bytes served at each renewal."""

    def __init__(self) -> None:
        super().__init__()
        self.served = 0
        self.renewed: dict[str, int] = {}

    @initialize(limit=st.sampled_from([MINIMUM_BUDGET_BYTES, 20 * MIB + 12_345]))
    def create_shares(self, limit: int) -> None:
        self.idle_after = limit
        self.total = MemoryBudget(limit).readahead_share_total
        self.shares: WindowShares[str] = WindowShares(self.total, idle_after_bytes=limit)

    @rule(holder=st.sampled_from("abcdefgh"), served=amounts)
    def renew(self, holder: str, served: int) -> None:
        self.served += served
        self.shares.renew(holder, self.served)
        self.renewed.pop(holder, None)
        self.renewed[holder] = self.served

    @rule(holder=st.sampled_from("abcdefgh"))
    def drop(self, holder: str) -> None:
        self.shares.drop(holder)
        self.renewed.pop(holder, None)

    @rule(served=amounts, most=st.integers(1, 8))
    def pop_idle(self, served: int, most: int) -> None:
        """Check that `pop_idle` yields the idle holders and no others, the longest idle first.

        The test takes at most `most` holders from `pop_idle`.
        """
        self.served += served
        idle = [
            holder
            for holder, renewed in self.renewed.items()
            if self.served - renewed > self.idle_after
        ][:most]
        assert list(itertools.islice(self.shares.pop_idle(self.served), most)) == idle
        for holder in idle:
            del self.renewed[holder]

    @invariant()
    def shares_add_up_to_the_total(self) -> None:
        holders = len(self.renewed)
        assert len(self.shares) == holders
        assert self.total - max(1, holders) < self.shares.share * max(1, holders) <= self.total


TestBudget = BudgetMachine.TestCase
TestBudget.settings = settings(max_examples=examples(100), stateful_step_count=50, deadline=None)
TestShares = SharesMachine.TestCase
TestShares.settings = settings(max_examples=examples(50), stateful_step_count=50, deadline=None)
