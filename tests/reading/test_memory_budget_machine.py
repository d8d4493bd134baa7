"""Memory budget and block cache against lists, the shares of windows against a record of renewals.

The budget is driven as the fetcher drives it, without ranges, pages and READs.
"""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gcsmux_fs.reading.block_cache import BlockCache
from gcsmux_fs.reading.block_index import GRANULE_BYTES, PAGE_BYTES, Block, BlockIndex
from gcsmux_fs.reading.memory_budget import (
    BLOCK_OVERHEAD_BYTES,
    MINIMUM_BUDGET_BYTES,
    MemoryBudget,
    WindowShares,
)

from .fakes import KIB, MIB, key_of

CONTENT = memoryview(b"content")

lengths = st.one_of(
    st.sampled_from([1, GRANULE_BYTES, 128 * KIB, MIB, PAGE_BYTES]), st.integers(1, PAGE_BYTES)
)
numbers = st.integers(0, 10**6)
# Served meanwhile: up to a whole budget a holder is at work.
amounts = st.one_of(st.sampled_from([1, MINIMUM_BUDGET_BYTES]), st.integers(0, 12 * MIB))


def total(blocks: list[Block]) -> int:
    return sum(block.charge for block in blocks)


class BudgetMachine(RuleBasedStateMachine):
    """Invariants 1 to 3 of the budget, and the order of eviction.

    Each list holds blocks, the newest or last used one at its end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.extents = BlockIndex(key_of("object"))
        self.pages = itertools.count()
        self.demanded: list[Block] = []
        self.joined: list[Block] = []
        self.ahead: list[Block] = []
        self.seen: list[Block] = []
        self.unread: list[Block] = []
        self.evicted: list[Block] = []

    @initialize(limit=st.sampled_from([MIB + 1, MINIMUM_BUDGET_BYTES, 20 * MIB + 12_345]))
    def begin(self, limit: int) -> None:
        self.budget = MemoryBudget(limit)
        self.cache = BlockCache(self.budget, on_evict=self.evicted.append)

    # -- asking

    @rule(length=lengths)
    def demand(self, length: int) -> None:
        """Invariant 3: only what READs wait for makes a READ wait."""
        budget, charge = self.budget, length + BLOCK_OVERHEAD_BYTES
        admitted = budget.admits_demand(charge)
        waited_for = total(self.demanded) + total(self.joined)
        assert admitted == (waited_for + charge <= budget.limit)
        if not admitted:
            return
        while budget.to_cancel(charge):
            assert self.in_flight() + charge > budget.limit
            budget.loading_readahead -= self.ahead.pop().charge
        self.evict(budget.to_evict(charge))
        assert budget.used + charge <= budget.limit
        self.demanded.append(self.ask(length, speculative=False))
        budget.loading_demand += charge

    @rule(length=lengths, first_window=st.booleans())
    def read_ahead(self, length: int, first_window: bool) -> None:
        """Invariant 2, and readahead takes nothing that is not seen."""
        budget, charge = self.budget, length + BLOCK_OVERHEAD_BYTES
        ahead = total(self.ahead) + total(self.joined) + total(self.unread) + charge
        needed = budget.for_readahead(charge, first_window=first_window)
        allowed = budget.limit * 7 // 8 if first_window else budget.limit * 3 // 4
        fits = total(self.demanded) + ahead <= budget.limit
        assert (needed is not None) == (ahead <= allowed and fits)
        if needed is None:
            return
        unread = list(self.unread)
        self.evict(needed)
        assert unread == self.unread
        assert budget.used + charge <= budget.limit
        self.ahead.append(self.ask(length, speculative=True))
        budget.loading_readahead += charge

    def in_flight(self) -> int:
        return total(self.demanded) + total(self.joined) + total(self.ahead)

    def ask(self, length: int, *, speculative: bool) -> Block:
        start = next(self.pages) * PAGE_BYTES
        return self.extents.add(start, start + length, speculative=speculative)

    def evict(self, amount: int) -> None:
        """Seen blocks first, of them those used least recently, and not one too many."""
        assert amount <= total(self.seen) + total(self.unread)
        expected: list[Block] = []
        while total(expected) < amount:
            expected.append((self.seen or self.unread).pop(0))
        self.evicted.clear()
        self.cache.evict(amount)
        assert self.evicted == expected
        assert all(block.content is None for block in expected)

    # -- arriving

    @precondition(lambda self: self.ahead)
    @rule(which=numbers)
    def join(self, which: int) -> None:
        block = self.ahead.pop(which % len(self.ahead))
        block.speculative = False
        self.budget.loading_readahead -= block.charge
        self.budget.loading_joined += block.charge
        self.joined.append(block)

    @precondition(lambda self: self.demanded or self.joined or self.ahead)
    @rule(which=numbers)
    def arrive(self, which: int) -> None:
        block = self.take_loading(which)
        block.content = CONTENT
        self.cache.add(block)
        (self.unread if block.protected else self.seen).append(block)

    @precondition(lambda self: self.demanded or self.joined or self.ahead)
    @rule(which=numbers)
    def fail(self, which: int) -> None:
        self.take_loading(which)

    def take_loading(self, which: int) -> Block:
        loading = [*self.demanded, *self.joined, *self.ahead]
        block = loading[which % len(loading)]
        if block in self.demanded:
            self.demanded.remove(block)
            self.budget.loading_demand -= block.charge
        elif block in self.joined:
            self.joined.remove(block)
            self.budget.loading_joined -= block.charge
        else:
            self.ahead.remove(block)
            self.budget.loading_readahead -= block.charge
        return block

    # -- reading

    @precondition(lambda self: self.seen or self.unread)
    @rule(which=numbers, whole=st.booleans())
    def read(self, which: int, whole: bool) -> None:
        """As an open file does, which leaves the look-up out for the block used last."""
        ready = [*self.seen, *self.unread]
        block = ready[which % len(ready)]
        if self.cache.newest is not block:
            self.cache.touch(block)
        self.use(block)
        if block.fresh:
            self.cache.consume(block, block.end if whole else block.end - 1)
            assert block.touched
            assert block.fresh == (not whole)
            if whole:
                self.see(block)

    @precondition(lambda self: self.seen or self.unread or self.ahead or self.joined)
    @rule(which=numbers)
    def release(self, which: int) -> None:
        """A reader has passed a block, ready or on its way, or has given it up."""
        blocks = [*self.seen, *self.unread, *self.ahead, *self.joined]
        block = blocks[which % len(blocks)]
        self.cache.unprotect(block)
        assert not block.protected
        self.see(block)

    def use(self, block: Block) -> None:
        tier = self.unread if block in self.unread else self.seen
        tier.remove(block)
        tier.append(block)

    def see(self, block: Block) -> None:
        if block in self.unread:
            self.unread.remove(block)
            self.seen.append(block)

    # -- what must hold

    @invariant()
    def bytes_are_counted_and_within_the_limit(self) -> None:
        budget = self.budget
        assert budget.loading_demand == total(self.demanded)
        assert budget.loading_joined == total(self.joined)
        assert budget.loading_readahead == total(self.ahead)
        assert budget.seen == total(self.seen)
        assert budget.unread == total(self.unread)
        assert budget.used <= budget.limit
        ahead = budget.loading_readahead + budget.loading_joined + budget.unread
        assert ahead <= budget.limit * 7 // 8

    @invariant()
    def ready_blocks_are_in_the_tier_that_tells_whether_they_are_protected(self) -> None:
        assert len(self.cache) == len(self.seen) + len(self.unread)
        for tier, blocks in ((self.cache._seen, self.seen), (self.cache._unread, self.unread)):
            assert {block.key for block in blocks} == set(tier)
        assert all(block.protected for block in self.unread)
        assert not any(block.protected for block in self.seen)
        assert all(block.content is CONTENT for block in [*self.seen, *self.unread])

    @invariant()
    def block_used_last_is_evicted_last(self) -> None:
        newest = self.cache.newest
        if newest is not None and newest.content is not None:
            assert newest in (self.seen[-1:] + self.unread[-1:])

    def teardown(self) -> None:
        while self.demanded or self.joined or self.ahead:
            self.arrive(0)
        self.evict(self.budget.used)
        self.bytes_are_counted_and_within_the_limit()
        assert self.budget.used == len(self.cache) == 0


class SharesMachine(RuleBasedStateMachine):
    """Who reads ahead, with what the mount had served then; the order is that of renewal."""

    def __init__(self) -> None:
        super().__init__()
        self.served = 0
        self.renewed: dict[str, int] = {}

    @initialize(limit=st.sampled_from([MINIMUM_BUDGET_BYTES, 20 * MIB + 12_345]))
    def begin(self, limit: int) -> None:
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
        """Whoever has been overtaken by a whole budget, and nobody else; or some of them."""
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
    def windows_together_take_no_more_than_there_is(self) -> None:
        holders = len(self.renewed)
        assert len(self.shares) == holders
        assert self.total - max(1, holders) < self.shares.share * max(1, holders) <= self.total


TestBudget = BudgetMachine.TestCase
TestBudget.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestShares = SharesMachine.TestCase
TestShares.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
