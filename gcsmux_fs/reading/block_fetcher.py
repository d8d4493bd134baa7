"""Fetches blocks for READs and for readahead.

Theory of operation: a READ that the cache cannot answer becomes a `ReadRequest`. The request takes
the ready bytes, waits for the blocks that are loading already, and requests the missing ranges.
Readahead requests the ranges that no block holds. READs and readahead use the same index, so no
byte is requested twice. The fetcher never waits: it works in the call that begins a READ, or in a
callback of the source, and calls `ReadRequest.wake` when the answer is complete.

Invariants:

1. The ranges in flight overlap neither each other nor a ready block.
2. A range is requested only after the budget has admitted its memory. To free memory for a READ,
   any ready block may be evicted, and any loading block for which no READ waits may be cancelled.
3. A READ that finds the budget full waits in a queue (first in, first out) and holds no memory
   meanwhile. If a READ that holds memory has stalled (see `reading.stalls`), a READ that has never
   held memory takes this memory, and the stalled READ goes into the queue.
4. A READ that has to wait is woken exactly once, when it is done. A READ that is given up is never
   woken, and the fetcher keeps no reference to it.
5. A block that cannot be fetched leaves the index at once. The READs that wait for the block get
   the error, and the next READ of the same bytes requests these bytes again.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.model.values import FinalContent
from gcsmux_fs.reading.block_cache import BlockCache
from gcsmux_fs.reading.block_index import BlockIndex
from gcsmux_fs.reading.block_states import BlockEvent, BlockState
from gcsmux_fs.reading.memory_budget import BLOCK_OVERHEAD_BYTES
from gcsmux_fs.reading.read_request import Outcome
from gcsmux_fs.reading.stalls import Stalls
from gcsmux_fs.reading.waiting_reads import WaitingReads

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ByteRange, ObjectKey
    from gcsmux_fs.reading.block_index import Block
    from gcsmux_fs.reading.counters import ReadCounters
    from gcsmux_fs.reading.memory_budget import MemoryBudget
    from gcsmux_fs.reading.range_source import LowerTier, RangeSource
    from gcsmux_fs.reading.read_request import ReadRequest

__all__ = ["BlockFetcher"]


class BlockFetcher:
    """Fetches blocks from `source` within `budget`; `clock` returns the time in seconds.

    `lower_tier` is a cache that is a part of `source`, or None.
    """

    def __init__(
        self,
        source: RangeSource,
        budget: MemoryBudget,
        counters: ReadCounters,
        clock: Callable[[], float],
        lower_tier: LowerTier | None = None,
    ) -> None:
        self._source = source
        self._lower_tier = lower_tier
        self._budget = budget
        self._counters = counters
        self._clock = clock
        #: The object generations that have an open file or a block.
        self.objects: dict[ObjectKey, BlockIndex] = {}
        #: READs that wait for memory. The value says whether the READ has held memory before.
        self._queue: OrderedDict[ReadRequest, bool] = OrderedDict()
        self._stalls: Stalls[ReadRequest] = Stalls()
        self._waiting = WaitingReads()
        #: Loading blocks for which no READ waits, the oldest request first.
        self._prefetching: dict[Block, None] = {}
        self.cache = BlockCache(budget, on_evict=self._on_evict)
        self.blocks_loading = 0

    @property
    def queued(self) -> int:
        """The number of READs queued for memory."""
        return len(self._queue)

    def open(
        self, key: ObjectKey, size: int, *, grows: bool = False, crc32c: int | None = None
    ) -> BlockIndex:
        """Count one more open file of an object, and return the block index of the object.

        `crc32c` is the CRC32C of the whole object; None if it is not known.
        """
        index = self.objects.get(key)
        if index is None:
            index = self.objects[key] = BlockIndex(key)
        index.open_files += 1
        index.size = size
        index.final = None if grows else FinalContent(size, crc32c)
        return index

    def close(self, index: BlockIndex) -> None:
        """Undo one `open` call. The last `close` cancels loading blocks for which no READ waits."""
        index.open_files -= 1
        if index.open_files:
            return
        for block in [block for block in index.loading if block.state.is_prefetching]:
            self._cancel(block)
        if index.is_gone:
            if self._lower_tier is not None:
                self._lower_tier.forget_generation(index.key, lambda: index.size)
            for block in index.blocks():
                if block.content is not None:
                    self.cache.remove(block)
        index.forget_reads()
        self._forget_if_empty(index)
        self._serve_queue()

    def begin(self, request: ReadRequest) -> Outcome:
        """Begin a READ. If the READ is not done at return, `request.wake` is called later."""
        ranges_before = self._counters.miss_ranges
        must_queue = bool(self._queue) and bool(request.index.gaps(*request.fetch))
        if must_queue or not self._start(request):
            if not self._start_in_place_of_stalled(request):
                self._queue[request] = False
                return Outcome.QUEUED
            outcome = self._outcome(request, ranges_before)
            # The displaced READ may have held more memory than this READ needs. Queued READs may
            # use the rest.
            self._serve_queue()
            return outcome
        return self._outcome(request, ranges_before)

    def abandon(self, request: ReadRequest) -> None:
        """Give up a READ that is not done, and cancel the blocks for which no other READ waits."""
        self._queue.pop(request, None)
        self._leave(request)
        self._serve_queue()

    def expire(self, request: ReadRequest, error: StorageError) -> None:
        """End a READ with `error`, unless the READ is done."""
        if not request.is_done:
            self.abandon(request)
            request.fail(error)
            request.wake()

    def displace_stalled(self) -> None:
        """Let queued READs take the memory of stalled READs.

        In one call, at most half as many queued READs take memory as there are READs that hold
        memory. The memory of the other READs is left to new READs, which may come before the next
        call.
        """
        waiting = [request for request, held_memory in self._queue.items() if not held_memory]
        for request in waiting[: len(self._stalls) // 2]:
            if not self._start_in_place_of_stalled(request):
                break
            del self._queue[request]
            if request.is_done:
                request.wake()
        if waiting:
            self._serve_queue()

    def read_ahead(self, index: BlockIndex, target: ByteRange, *, first_window: bool) -> bool:
        """Request the parts of `target` that no block holds.

        Return False if the memory budget refuses a part. The parts before it are requested.
        """
        for start, end in index.gaps(target.offset, target.end):
            evict_bytes = self._budget.for_readahead(
                end - start + BLOCK_OVERHEAD_BYTES, first_window=first_window
            )
            if evict_bytes is None:
                self._counters.readahead_refusals += 1
                return False
            self.cache.evict(evict_bytes)
            self._request(index, start, end, prefetch=True)
            self._counters.readahead_bytes += end - start
            self._counters.readahead_ranges += 1
        return True

    def release(self, index: BlockIndex, passed: ByteRange) -> None:
        """End the protection of the blocks that end within `passed`."""
        for block in index.overlapping(passed.offset, passed.end):
            if block.end <= passed.end:
                self.cache.release(block)

    def _outcome(self, request: ReadRequest, ranges_before: int) -> Outcome:
        if request.is_done:
            return Outcome.HIT
        return Outcome.WAIT if self._counters.miss_ranges == ranges_before else Outcome.MISS

    def _start(self, request: ReadRequest) -> bool:
        """Begin a READ: request its missing ranges. Return False if the memory budget is full."""
        index = request.index
        requested: list[Block] = []
        # To free memory, the cache may evict blocks that this READ needs. So the gaps are computed
        # again until no block was removed. The loop ends, because blocks that load for a READ are
        # never evicted.
        while gaps := index.gaps(*request.fetch):
            length = sum([end - start for start, end in gaps])
            count = index.block_count
            if not self._make_room(length + len(gaps) * BLOCK_OVERHEAD_BYTES):
                # A READ in the queue holds no memory (invariant 3).
                for block in requested:
                    self._cancel(block)
                return False
            is_complete = index.block_count == count
            requested += [self._request(index, start, end, prefetch=False) for start, end in gaps]
            self._counters.miss_bytes += length
            self._counters.miss_ranges += len(gaps)
            if is_complete:
                break
        blocks = index.overlapping(request.offset, request.end)
        request.gather(blocks)
        self._waiting.add(request)
        for block in blocks:
            if block.content is None:
                self._join(block)
            else:
                self.cache.touch(block)
                if block.state is not BlockState.READ:
                    self.cache.note_read(block, request.end)
        if not request.is_done:
            self._stalls.start(request, self._clock())
        return True

    def _start_in_place_of_stalled(self, request: ReadRequest) -> bool:
        """Begin a READ with the memory of stalled READs. The stalled READs go into the queue."""
        now = self._clock()
        while (stalled := self._stalls.longest_stalled(now)) is not None:
            self._leave(stalled)
            self._queue[stalled] = True
            self._counters.reads_displaced += 1
            if self._start(request):
                return True
        return False

    def _leave(self, request: ReadRequest) -> None:
        """End a READ's wait for its blocks, and cancel the blocks for which no other READ waits."""
        self._stalls.discard(request)
        self._waiting.remove(request)
        blocks, request.missing = request.missing, set()
        for block in blocks:
            if block not in self._waiting:
                self._cancel(block)

    def _make_room(self, charge: int) -> bool:
        budget = self._budget
        if not budget.admits_read(charge):
            return False
        while budget.to_cancel(charge):
            # Cancel the block that was requested last, because a READ will need this block last.
            self._cancel(next(reversed(self._prefetching)))
        if excess := budget.to_evict(charge):
            self.cache.evict(excess)
        return True

    def _request(self, index: BlockIndex, start: int, end: int, *, prefetch: bool) -> Block:
        block = index.add(start, end, prefetch=prefetch)
        self.blocks_loading += 1
        if prefetch:
            self._budget.loading_readahead += block.charge
            self._prefetching[block] = None
        else:
            self._budget.loading_read += block.charge
        block.ticket = self._source.request(
            index.key,
            start,
            end - start,
            functools.partial(self._on_result, block),
            final=index.final,
        )
        return block

    def _join(self, block: Block) -> None:
        """Charge a loading block to READs, because a READ waits for it now."""
        if block.state.is_prefetching:
            block.apply(BlockEvent.JOIN)
            del self._prefetching[block]
            self._budget.loading_readahead -= block.charge
            self._budget.loading_joined += block.charge

    def _cancel(self, block: Block) -> None:
        if block.ticket is not None:
            block.ticket.cancel()
        self._drop(block)
        self._counters.readahead_cancelled_bytes += block.end - block.start

    def _on_result(self, block: Block, result: memoryview | StorageError) -> None:
        requests = self._waiting.pop(block)
        block.ticket = None
        if isinstance(result, StorageError):
            if block.state.is_prefetching:
                self._counters.readahead_failures += 1
            self._drop(block)
            self._forget_if_empty(block.index)
            for request in requests:
                self._stalls.discard(request)
                self._waiting.remove(request)
                request.fail(result)
                request.wake()
        else:
            self._stop_loading(block)
            block.apply(BlockEvent.ARRIVE)
            block.index.loading.discard(block)
            block.content = result
            self.cache.add(block)
            for request in requests:
                request.take(block, result)
                if block.state is not BlockState.READ:
                    self.cache.note_read(block, request.end)
                if request.is_done:
                    self._stalls.finish(request, self._clock())
                    request.wake()
        self._serve_queue()

    def _stop_loading(self, block: Block) -> None:
        """Subtract the charge of a block that stops loading from the budget."""
        self.blocks_loading -= 1
        state = block.state
        if state.is_prefetching:
            del self._prefetching[block]
            self._budget.loading_readahead -= block.charge
        elif state is BlockState.LOADING:
            self._budget.loading_read -= block.charge
        else:
            self._budget.loading_joined -= block.charge

    def _drop(self, block: Block) -> None:
        self._stop_loading(block)
        block.index.remove(block)

    def _on_evict(self, block: Block) -> None:
        if block.state in (BlockState.UNREAD, BlockState.UNREAD_RELEASED):
            self._counters.readahead_wasted_bytes += block.end - block.start
        block.index.remove(block)
        self._forget_if_empty(block.index)

    def _forget_if_empty(self, index: BlockIndex) -> None:
        if not index.open_files and not index.block_count:
            self.objects.pop(index.key, None)

    def _serve_queue(self) -> None:
        """Begin queued READs, the oldest first, until the budget is full."""
        while self._queue:
            request = next(iter(self._queue))
            if not self._start(request):
                return
            del self._queue[request]
            if request.is_done:
                request.wake()
