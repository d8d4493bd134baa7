"""The one table of blocks: what is here, what is on its way, and who waits for it.

Theory of operation: a READ that is not answered at once becomes a `ReadRequest`. It takes what is
ready, joins what is on its way, and asks for the rest; readahead asks for what nobody has asked
for yet. Both go through the same index, so the same bytes are never asked for twice. Nothing here
waits: everything happens inside the call that begins a READ or inside the source's callback, and a
demand's `wake` is called when its answer is there.

Invariants:

1. No two requests under way overlap, and none overlaps a ready block.
2. Memory is admitted before it is asked for. To make room for a READ, a ready block may be evicted
   at any time, and a loading one cancelled that nobody waits for.
3. A demand that finds no memory queues, first in, first out; it holds nothing meanwhile. Where
   one that holds memory has stalled (see `reading.stalls`), one that has not held any yet takes its
   place, and it queues.
4. A demand is woken exactly once, unless it was abandoned: then never, and nothing refers to it.
5. A block that fails leaves the index at once: whoever waits gets the error, the next READ asks
   anew.
"""

from __future__ import annotations

import enum
import functools
from collections import OrderedDict
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.reading.bandwidth_estimator import BandwidthEstimator
from gcsmux_fs.reading.block_cache import BlockCache
from gcsmux_fs.reading.block_index import BlockIndex
from gcsmux_fs.reading.memory_budget import BLOCK_OVERHEAD_BYTES
from gcsmux_fs.reading.stalls import Stalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ByteRange, ObjectKey
    from gcsmux_fs.reading.block_index import Block
    from gcsmux_fs.reading.counters import ReadCounters
    from gcsmux_fs.reading.memory_budget import MemoryBudget
    from gcsmux_fs.reading.range_source import RangeSource
    from gcsmux_fs.reading.read_request import ReadRequest

__all__ = ["BlockFetcher", "Outcome"]


class Outcome(enum.Enum):
    """How a READ began."""

    #: All of it was ready.
    HIT = enum.auto()
    #: All of it was ready or on its way.
    JOINED = enum.auto()
    #: Some of it had to be asked for.
    ASKED = enum.auto()
    #: There was no memory to ask for it yet.
    QUEUED = enum.auto()


class BlockFetcher:
    """Brings blocks in from `source` within `budget`, for READs and ahead of them."""

    def __init__(
        self,
        source: RangeSource,
        budget: MemoryBudget,
        counters: ReadCounters,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._budget = budget
        self._counters = counters
        self._objects: dict[ObjectKey, BlockIndex] = {}
        #: Demands that wait for memory, and whether they have held some before.
        self._queue: OrderedDict[ReadRequest, bool] = OrderedDict()
        self._stalls: Stalls[ReadRequest] = Stalls()
        #: Loading blocks that nobody waits for, in the order in which they were asked for.
        self._ahead: dict[Block, None] = {}
        self._clock = clock
        self.pace = BandwidthEstimator()
        self.cache = BlockCache(budget, on_evict=self._evicted)
        self.blocks_loading = 0

    @property
    def queued(self) -> int:
        """Demands that wait for memory."""
        return len(self._queue)

    @property
    def object_count(self) -> int:
        """Object generations that have an open file or a block."""
        return len(self._objects)

    def open(self, key: ObjectKey, size: int, *, grows: bool = False) -> BlockIndex:
        """Return the index of an object, for one more open file; see `ReadContext.open`."""
        extents = self._objects.get(key)
        if extents is None:
            extents = self._objects[key] = BlockIndex(key)
        extents.open_files += 1
        extents.size = size
        extents.grows = grows
        return extents

    def close(self, extents: BlockIndex) -> None:
        """Give back what `open` returned; the last one cancels readahead that nobody waits for."""
        extents.open_files -= 1
        if extents.open_files:
            return
        for block in [b for b in extents.loading if b.speculative]:
            self._cancel(block)
        self._forget_if_empty(extents)
        self._serve_queue()

    def begin(self, demand: ReadRequest) -> Outcome:
        """Start on a READ; unless it is done at return, its `wake` will be called."""
        before = self._counters.demand_ranges
        waits = bool(self._queue) and bool(demand.object.gaps(*demand.fetch))
        if waits or not self._start(demand):
            if not self._start_in_place_of_stalled(demand):
                self._queue[demand] = False
                return Outcome.QUEUED
            outcome = self._outcome(demand, before)
            # It may have needed less than what it took the place of.
            self._serve_queue()
            return outcome
        return self._outcome(demand, before)

    def _outcome(self, demand: ReadRequest, before: int) -> Outcome:
        if demand.is_done:
            return Outcome.HIT
        return Outcome.JOINED if self._counters.demand_ranges == before else Outcome.ASKED

    def abandon(self, demand: ReadRequest) -> None:
        """Forget a READ that is not done; what nobody else waits for is not fetched any more."""
        self._queue.pop(demand, None)
        self._leave(demand)
        self._serve_queue()

    def expire(self, demand: ReadRequest, error: StorageError) -> None:
        """End a READ with an error of our own, unless its answer has come in the meantime."""
        if not demand.is_done:
            self.abandon(demand)
            demand.fail(error)
            demand.wake()

    def relieve(self) -> None:
        """Let READs that queue take the places of those that have stalled meanwhile.

        The other half of the places is left to READs that begin before the next call.
        """
        waiting = [demand for demand, had_a_turn in self._queue.items() if not had_a_turn]
        for demand in waiting[: len(self._stalls) // 2]:
            if not self._start_in_place_of_stalled(demand):
                break
            del self._queue[demand]
            if demand.is_done:
                demand.wake()
        if waiting:
            self._serve_queue()

    def read_ahead(self, extents: BlockIndex, wanted: ByteRange, *, first_window: bool) -> bool:
        """Ask for what is missing of `wanted`; return False if there is no memory for it now."""
        for start, end in extents.gaps(wanted.offset, wanted.end):
            needed = self._budget.for_readahead(
                end - start + BLOCK_OVERHEAD_BYTES, first_window=first_window
            )
            if needed is None:
                self._counters.readahead_refusals += 1
                return False
            self.cache.evict(needed)
            self._request(extents, start, end, speculative=True)
            self._counters.readahead_bytes += end - start
            self._counters.readahead_ranges += 1
        return True

    def release(self, extents: BlockIndex, passed: ByteRange) -> None:
        """Protect the blocks that end within `passed` no more than others."""
        for block in extents.overlapping(passed.offset, passed.end):
            if block.protected and block.end <= passed.end:
                self.cache.unprotect(block)

    def _start(self, demand: ReadRequest) -> bool:
        extents = demand.object
        # Making room for a gap may take away another block of this very READ, hence the loop; it
        # ends, because what a READ has asked for stays.
        while gaps := extents.gaps(*demand.fetch):
            length = sum([end - start for start, end in gaps])
            count = extents.block_count
            if not self._make_room(length + len(gaps) * BLOCK_OVERHEAD_BYTES):
                return False
            is_complete = extents.block_count == count
            for start, end in gaps:
                self._request(extents, start, end, speculative=False)
            self._counters.demand_bytes += length
            self._counters.demand_ranges += len(gaps)
            if is_complete:
                break
        blocks = extents.overlapping(demand.offset, demand.end)
        demand.gather(blocks)
        for block in blocks:
            if block.content is None:
                self._adopt(block)
            else:
                self.cache.touch(block)
                if block.fresh:
                    self.cache.consume(block, demand.end)
        if not demand.is_done:
            self._stalls.began(demand, self._clock())
        return True

    def _start_in_place_of_stalled(self, demand: ReadRequest) -> bool:
        """Start on a READ with the memory of some that have stalled; those queue."""
        now = self._clock()
        while (stalled := self._stalls.longest(now)) is not None:
            self._leave(stalled)
            self._queue[stalled] = True
            self._counters.demands_displaced += 1
            if self._start(demand):
                return True
        return False

    def _leave(self, demand: ReadRequest) -> None:
        """Have a READ wait for nothing; what nobody else waits for is not fetched any more."""
        self._stalls.left(demand)
        for block in demand.leave():
            if not block.waiters and not block.speculative:
                self._cancel(block)

    def _make_room(self, charge: int) -> bool:
        budget = self._budget
        if not budget.admits_demand(charge):
            return False
        while budget.to_cancel(charge):
            # The newest is needed last.
            self._cancel(next(reversed(self._ahead)))
        if excess := budget.to_evict(charge):
            self.cache.evict(excess)
        return True

    def _request(self, extents: BlockIndex, start: int, end: int, *, speculative: bool) -> None:
        block = extents.add(start, end, speculative=speculative)
        self.blocks_loading += 1
        if speculative:
            self._budget.loading_readahead += block.charge
            self._ahead[block] = None
        else:
            self._budget.loading_demand += block.charge
        asked = self._clock(), self.pace.received
        block.ticket = self._source.request(
            extents.key,
            start,
            end - start,
            functools.partial(self._arrived, block, asked),
            covers_object=end - start == extents.size,
            reaches_end=end == extents.size and not extents.grows,
        )

    def _adopt(self, block: Block) -> None:
        """Treat a loading block as a READ's own: one waits for it now."""
        if block.speculative:
            block.speculative = False
            del self._ahead[block]
            self._budget.loading_readahead -= block.charge
            self._budget.loading_joined += block.charge

    def _cancel(self, block: Block) -> None:
        if block.ticket is not None:
            block.ticket.cancel()
        self._drop(block)
        self._counters.readahead_cancelled_bytes += block.end - block.start

    def _arrived(
        self, block: Block, asked: tuple[float, int], result: memoryview | StorageError
    ) -> None:
        waiters = block.waiters or ()
        block.waiters = block.ticket = None
        if isinstance(result, StorageError):
            self._drop(block)
            self._forget_if_empty(block.object)
            if block.speculative:
                self._counters.readahead_failures += 1
            for demand in waiters:
                self._stalls.left(demand)
                demand.fail(result)
                demand.wake()
        else:
            self.pace.note(len(result), *asked, self._clock())
            self._unload(block)
            block.object.loading.discard(block)
            block.content = result
            self.cache.add(block)
            for demand in waiters:
                demand.take(block, result)
                if block.fresh:
                    self.cache.consume(block, demand.end)
                if demand.is_done:
                    self._stalls.answered(demand, self._clock())
                    demand.wake()
        self._serve_queue()

    def _unload(self, block: Block) -> None:
        self.blocks_loading -= 1
        if block.speculative:
            del self._ahead[block]
            self._budget.loading_readahead -= block.charge
        elif block.fresh:
            self._budget.loading_joined -= block.charge
        else:
            self._budget.loading_demand -= block.charge

    def _drop(self, block: Block) -> None:
        self._unload(block)
        block.object.remove(block)

    def _evicted(self, block: Block) -> None:
        if not block.touched:
            self._counters.readahead_wasted_bytes += block.end - block.start
        block.object.remove(block)
        self._forget_if_empty(block.object)

    def _forget_if_empty(self, extents: BlockIndex) -> None:
        if not extents.open_files and not extents.block_count:
            self._objects.pop(extents.key, None)

    def _serve_queue(self) -> None:
        while self._queue:
            demand = next(iter(self._queue))
            if not self._start(demand):
                return
            del self._queue[demand]
            if demand.is_done:
                demand.wake()
