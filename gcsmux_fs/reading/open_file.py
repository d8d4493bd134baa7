"""Open files and their READs.

Theory of operation: `OpenFile.read_cached` answers a READ from ready blocks at once, in a plain
function, without a task switch, also if the lower tier has the bytes at hand. `OpenFile.read`
answers every other READ and may wait. Both pass the READ to the file's readahead planner. Readahead
requests its ranges after the ranges of the READ, but in the same scheduler tick, so that all ranges
travel in one message. It does not ask the lower tier for bytes at hand, because a window would
occupy trio's thread for milliseconds. Other tasks run only during an await. A READ that is not
divided has only one await, in which it waits for its `ReadRequest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.reading.block_states import BlockState
from gcsmux_fs.reading.fetch_range import range_to_fetch
from gcsmux_fs.reading.file_forecasts import UNKNOWN
from gcsmux_fs.reading.file_prefetch import FilePrefetch
from gcsmux_fs.reading.file_reads import FileReads
from gcsmux_fs.reading.open_prefetch import OpenPrefetch
from gcsmux_fs.reading.read_request import Outcome, ReadRequest
from gcsmux_fs.reading.read_waiting import wait_until_done, wake_current_task
from gcsmux_fs.reading.readahead_driver import ReadaheadDriver
from gcsmux_fs.reading.recent_failures import RecentFailures, repeat_seconds
from gcsmux_fs.reading.sequential_run import KERNEL_READ_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.block_index import Block
    from gcsmux_fs.reading.burst_meter import Density
    from gcsmux_fs.reading.read_resources import ReadResources

__all__ = ["OpenFile"]

# Copies of enum members, because `read_cached` runs for every READ, and a lookup in the enum is
# slower than a module variable.
_PARTLY_READ = BlockState.PARTLY_READ
_READ = BlockState.READ


class OpenFile:
    """One open file of one object generation."""

    __slots__ = (
        "_awaits_first_read",
        "_closed",
        "_failures",
        "_forecast",
        "_index",
        "_last_block",
        "_opening",
        "_planner",
        "_readahead",
        "_reads",
        "_resources",
        "bursts",
        "key",
        "prefetch",
        "size",
    )

    def __init__(
        self,
        resources: ReadResources,
        key: ObjectKey,
        size: int,
        *,
        grows: bool,
        crc32c: int | None = None,
    ) -> None:
        self.key = key
        self.size = size
        self._resources = resources
        self._index = resources.fetcher.open(key, size, grows=grows, crc32c=crc32c)
        self._readahead = ReadaheadDriver(resources, self._index, size)
        self._planner = self._readahead.planner
        self._reads = FileReads(key.name, size, self._planner)
        #: How far the READs of the object go on at one place.
        self.bursts = self._index.bursts
        self._last_block: Block | None = None
        self._failures = RecentFailures(repeat_seconds(resources.read_timeout))
        self._opening: OpenPrefetch | None = None
        self._awaits_first_read = False
        self._forecast = UNKNOWN
        #: What is fetched before the first READ.
        self.prefetch = FilePrefetch(resources.fetcher, self._index, self._readahead, size)
        self._closed = False
        resources.open_files += 1

    def __repr__(self) -> str:
        return f"<OpenFile {self.key} {self._planner!r}>"

    @property
    def expects_tail_only(self) -> bool:
        """Whether the program is expected to read the end of the file and nothing else."""
        return self._forecast.is_part and not self._forecast.head

    async def ask_first(self, opener: int) -> None:
        """Fetch the bytes that the first READ is expected to need, and wait for the first byte.

        `opener` is the number of the thread that opens the file, 0 if unknown. This method returns
        normally if the request fails with another error than `GenerationGone`, or if no answer
        comes within `ReadResources.open_wait_seconds`. The first READ then reports the error.

        Raises:
            GenerationGone: the object generation no longer exists.
        """
        resources, index = self._resources, self._index
        is_cached = index.block_count > len(index.loading)
        limit = self._readahead.limit
        opening = resources.open_planner.plan(
            self.key, self.size, opener, is_cached=is_cached, is_ready=index.is_ready, window=limit
        )
        resources.forecasts.note_open(self._reads, opener)
        self._forecast = opening.forecast
        self._planner.expect_head(*opening.forecast.head_of(self.size))
        self._opening = OpenPrefetch(resources, index, opening)
        if opening.forecast.is_whole and opening.ahead:
            self._readahead.hold(opening.ranges)
        self._awaits_first_read = True
        await self._opening.fetch(limit)

    def read_cached(self, offset: int, size: int) -> memoryview | bytes | None:
        """Return the bytes of a READ if all are ready; after None, the caller must call `read`.

        The READ is cut at the object's end. The answer is read-only. The caller should not keep
        the answer for a long time, because the answer keeps the memory of its block in use.
        """
        end = offset + size
        if end > self.size:
            end = self.size
        if offset >= end:
            return b""
        if self._awaits_first_read:
            self._note_first_read(offset, end)
        block = self._last_block
        if (
            block is None
            or (content := block.content) is None
            or not block.start <= offset < block.end
        ):
            block = self._last_block = self._index.find(offset)
            if block is None:
                return self._read_now(offset, end)
            if (content := block.content) is None:
                return None
        if end > block.end:
            return self._read_across(offset, end)
        resources = self._resources
        cache = resources.fetcher.cache
        if cache.newest is not block:
            cache.touch(block)
        state = block.state
        if state is not _READ and (state is not _PARTLY_READ or end == block.end):
            cache.note_read(block, end)
        counters = resources.counters
        counters.hits += 1
        counters.bytes_served += end - offset
        planner = self._planner
        run = planner.current
        if run is not None and offset == run.position and end < run.replan_offset:
            # The READ continues its run and needs no new plan: do what `observe` does, but faster.
            run.position = end
            run.bytes_read += end - offset
        else:
            self._reads.note(offset, end)
            if end < block.end or self._index.find(end) is not None:
                pattern = planner.observe_hit(offset, end)
            else:
                pattern = planner.observe(offset, end)
            if pattern is not None and end >= pattern.replan_offset:
                self._readahead.advance(pattern)
                self.prefetch.check()
        start = block.start
        return content[offset - start : end - start]

    async def read(self, offset: int, size: int) -> memoryview | bytes:
        """Return the bytes of a READ, cut at the object's end. The call is a trio checkpoint.

        Raises:
            DeadlineExceeded: not all bytes arrived within the read timeout.
            StorageError: some bytes could not be fetched.
        """
        end = min(offset + size, self.size)
        if offset >= end:
            await trio.lowlevel.checkpoint()
            return b""
        started = trio.current_time()
        if self._failures and (error := self._failures.pop_repeated(offset, end, started)):
            await trio.lowlevel.checkpoint()
            raise error
        resources = self._resources
        if end - offset > resources.budget.largest_read:
            outcome, answer = Outcome.MISS, self._read_in_parts(offset, end)
        else:
            request, outcome = self._begin(offset, end, wake_current_task())
            answer = self._finish(request)
        times = resources.read_seconds[outcome]
        try:
            content = await answer
        except StorageError as error:
            now = trio.current_time()
            times.observe(now - started)
            if now - started >= resources.read_timeout / 2:
                self._failures.note(offset, error, now)
            raise
        times.observe(trio.current_time() - started)
        return content

    def begin(self, offset: int, end: int, wake: Callable[[], None]) -> ReadRequest:
        """Begin a READ of `[offset, end)` and its readahead.

        The range must lie within the object and must not be empty. If the request is not done at
        return, `wake` is called once when the request is done. `wake` must not call any method of
        an open file. The request must be done or abandoned before the file is closed.
        """
        request, _ = self._begin(offset, end, wake)
        return request

    def abandon(self, request: ReadRequest) -> None:
        """Give up a READ that is not done."""
        self._resources.fetcher.abandon(request)

    def take_density(self) -> Density | None:
        """Return how the object was read since the last call of any of its open files."""
        return self.bursts.verdict(self.size, self._index.history.coverage.read_bytes)

    def stop_read_ahead(self) -> None:
        """Stop readahead. A reader that continues gets a new readahead plan."""
        self._readahead.stop()

    def take_over(self, prefetched: OpenFile) -> None:
        """Close `prefetched`, an open file of the same object, and take what it has fetched.

        The fetched parts stay protected until READs take them or this file is closed.
        """
        self.prefetch.take_over(prefetched.prefetch)
        prefetched.close()
        if self._forecast == UNKNOWN:
            # Keep as much ahead of the reader as was fetched before its first READ.
            self._planner.expect_head(self.prefetch.length, 0)

    def close(self) -> None:
        """Close the file; its blocks stay cached. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._last_block = None
        self.prefetch.release()
        if self._opening is not None:
            self._opening.release()
            self._resources.forecasts.note_close(self._reads)
        self._readahead.close()
        self._resources.fetcher.close(self._index)
        self._resources.open_files -= 1

    def _note_first_read(self, offset: int, end: int) -> None:
        """Pass the first READ after `ask_first` to the prefetch of the OPEN."""
        self._awaits_first_read = False
        assert self._opening is not None
        self._opening.note_first_read(offset, end)

    def _read_now(self, offset: int, end: int) -> memoryview | None:
        """Return the bytes of a READ that no block holds, if the lower tier has them at hand."""
        resources, index = self._resources, self._index
        tier = resources.lower_tier
        if tier is None or (index.block_count and index.overlapping(offset, end)):
            return None
        # The bytes do not become a block, because they are in memory already.
        content = tier.read_now(self.key, offset, end - offset, index.final)
        if content is None:
            return None
        counters = resources.counters
        counters.hits += 1
        counters.bytes_served += end - offset
        self._reads.note(offset, end)
        if end - offset < KERNEL_READ_BYTES:
            # Like a READ of cached bytes: as long as all bytes are at hand, no readahead is needed.
            pattern = self._planner.observe_hit(offset, end)
        else:
            self.bursts.add(offset, end)
            pattern = self._planner.observe(offset, end)
        if pattern is not None and end >= pattern.replan_offset:
            self._readahead.advance(pattern)
            self.prefetch.check()
        return content

    def _read_across(self, offset: int, end: int) -> bytes | None:
        """Return the bytes of a READ across several blocks, if all are ready."""
        parts: list[memoryview] = []
        position = offset
        blocks = self._index.overlapping(offset, end)
        for block in blocks:
            if block.content is None or block.start > position:
                return None
            parts.append(block.content[position - block.start : end - block.start])
            position = block.end
        if position < end:
            return None
        resources = self._resources
        cache = resources.fetcher.cache
        for block in blocks:
            cache.touch(block)
            if block.state is not _READ:
                cache.note_read(block, end)
        self._last_block = blocks[-1]
        resources.counters.hits += 1
        resources.counters.bytes_served += end - offset
        self._reads.note(offset, end)
        pattern = self._planner.observe(offset, end)
        # The parts are joined before readahead runs, because readahead may evict these blocks.
        joined = b"".join(parts)
        if pattern is not None and end >= pattern.replan_offset:
            self._readahead.advance(pattern)
            self.prefetch.check()
        return joined

    def _begin(
        self, offset: int, end: int, wake: Callable[[], None]
    ) -> tuple[ReadRequest, Outcome]:
        resources = self._resources
        if self._closed:
            raise ValueError(f"READ of {self.key} after its file was closed")
        self._reads.note(offset, end)
        self.bursts.add(offset, end)
        pattern = self._planner.observe(offset, end)
        fetch = range_to_fetch(offset, end, self.size, resources.budget, self._forecast.head)
        request = ReadRequest(self._index, offset, end, fetch, wake)
        outcome = resources.fetcher.begin(request)
        counters = resources.counters
        if outcome is Outcome.HIT:
            counters.hits += 1
        elif outcome is Outcome.WAIT:
            counters.waits += 1
        else:
            counters.misses += 1
        if pattern is not None:
            if outcome is Outcome.WAIT or outcome is Outcome.MISS:
                pattern.note_wait(offset)
            if end >= pattern.replan_offset:
                self._readahead.advance(pattern)
                self.prefetch.check()
        return request, outcome

    async def _finish(self, request: ReadRequest, *, timed: bool = True) -> memoryview:
        """Wait for a READ and return its bytes. `timed` says whether the READ gets a deadline."""
        if request.is_done:
            await trio.lowlevel.checkpoint()
        else:
            deadlines = self._resources.deadlines
            if timed:
                deadlines.add(request)
            try:
                await wait_until_done(self._resources, request)
            finally:
                deadlines.discard(request)
        content = request.result()
        self._resources.counters.bytes_served += request.end - request.offset
        return content

    async def _read_in_parts(self, offset: int, end: int) -> memoryview:
        """Answer a READ longer than `largest_read` in parts. The buffer is not in the budget."""
        largest = self._resources.budget.largest_read
        deadlines = self._resources.deadlines
        joined = memoryview(bytearray(end - offset))
        with trio.CancelScope() as scope:
            deadlines.add(scope)
            try:
                for start in range(offset, end, largest):
                    part_end = min(start + largest, end)
                    request, _ = self._begin(start, part_end, wake_current_task())
                    part = await self._finish(request, timed=False)
                    joined[start - offset : part_end - offset] = part
            finally:
                deadlines.discard(scope)
            return joined.toreadonly()
        raise self._resources.deadline_error(self.key, offset, end)
