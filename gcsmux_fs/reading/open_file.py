"""Open files and their READs: the face of the read path towards the kernel's side.

Theory of operation: a READ goes to `OpenFile.read_cached` first, a plain function: what is ready
is answered on the spot, without a task switch; for the rest, `OpenFile.read` waits. Both let the
file's planner see the READ and send what it wants fetched ahead in the same tick as the READ's own
ranges, after them, so that all travel in one message. Everything between two awaits is atomic;
the only await of a READ is the one for its demand.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import GenerationGone, StorageError
from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.block_fetcher import Outcome
from gcsmux_fs.reading.block_index import GRANULE_BYTES
from gcsmux_fs.reading.open_planner import SMALL_OBJECT_BYTES, TINY_OBJECT_BYTES
from gcsmux_fs.reading.read_request import ReadRequest
from gcsmux_fs.reading.readahead import KERNEL_READ_BYTES, ReadaheadPlanner
from gcsmux_fs.reading.recent_failures import RecentFailures, repeat_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.access_patterns import Cursor
    from gcsmux_fs.reading.block_index import Block
    from gcsmux_fs.reading.open_planner import Opening
    from gcsmux_fs.reading.read_context import ReadContext

__all__ = ["OpenFile"]


class OpenFile:
    """One open file: reads of one object generation, with readahead of its own."""

    __slots__ = (
        "_awaits_first",
        "_closed",
        "_extents",
        "_last_block",
        "_late",
        "_opening",
        "_path",
        "_planner",
        "key",
        "size",
    )

    def __init__(self, path: ReadContext, key: ObjectKey, size: int, *, grows: bool) -> None:
        self.key = key
        self.size = size
        self._path = path
        self._extents = path.fetcher.open(key, size, grows=grows)
        self._planner = ReadaheadPlanner(size, self._extents.habits)
        self._last_block: Block | None = None
        self._late = RecentFailures(repeat_seconds(path.read_timeout))
        self._opening: Opening | None = None
        self._awaits_first = False
        self._closed = False
        path.open_files += 1

    def __repr__(self) -> str:
        return f"<OpenFile {self.key} {self._planner!r}>"

    async def ask_first(self, opener: int) -> None:
        """Ask for what the first READ will want and wait for it, if that is worth it.

        `opener` is the thread that opens the file. An answer that does not come within
        `ReadContext.open_wait_seconds`, or any other failure, is left to the READ.

        Raises:
            GenerationGone: there is no such generation any more.
        """
        path = self._path
        extents = self._extents
        is_cached = extents.block_count > len(extents.loading)
        opening = self._opening = path.openings.plan(
            self.key, self.size, opener, is_cached=is_cached, is_ready=extents.is_ready
        )
        self._awaits_first = True
        ask = opening.ask
        # Where memory is short nothing is asked: READs go first.
        fetcher = path.fetcher
        if ask is None or fetcher.queued or not fetcher.read_ahead(extents, ask, first_window=True):
            return
        furthest = ask.end + self._limit()
        for piece in opening.ahead:
            if piece.end > furthest or not fetcher.read_ahead(extents, piece, first_window=True):
                break
        path.counters.opens_that_asked += 1
        # One byte: what is read to its end by nobody stays for the READ.
        first = ask.offset, ask.offset + 1
        task = trio.lowlevel.current_task()
        demand = ReadRequest(
            extents, *first, first, functools.partial(trio.lowlevel.reschedule, task)
        )
        fetcher.begin(demand)
        with trio.move_on_after(path.open_wait_seconds):
            await trio.lowlevel.wait_task_rescheduled(functools.partial(self._abort, demand))
            try:
                demand.result()
            except GenerationGone:
                path.counters.opens_found_gone += 1
                path.openings.refused(opening)
                raise
            except StorageError:
                return

    def read_cached(self, offset: int, size: int) -> memoryview | bytes | None:
        """Return the bytes of a READ if all are ready; otherwise None, and the READ is not begun.

        The READ is cut at the object's end. The answer is read-only; it keeps its block's memory,
        so it should not be held for long.
        """
        end = offset + size
        if end > self.size:
            end = self.size
        if offset >= end:
            return b""
        if self._awaits_first:
            self._note_first(offset, end)
        block = self._last_block
        if block is None or not block.start <= offset < block.end or block.content is None:
            block = self._last_block = self._extents.find(offset)
            if block is None:
                return None
        content = block.content
        if content is None:
            return None
        path = self._path
        if end > block.end:
            return self._read_across(offset, end)
        cache = path.fetcher.cache
        if cache.newest is not block:
            cache.touch(block)
        if block.fresh:
            cache.consume(block, end)
        counters = path.counters
        counters.hits += 1
        counters.bytes_served += end - offset
        planner = self._planner
        cursor = planner.current
        if cursor is not None and offset == cursor.position and end < cursor.top_up_at:
            # What observe() would do, for the READ that comes next in order and calls for no plan.
            cursor.position = end
            cursor.bytes_read += end - offset
        else:
            cursor = planner.observe(offset, end)
            if cursor is not None and end >= cursor.top_up_at:
                self._read_ahead(cursor)
        start = block.start
        return content[offset - start : end - start]

    async def read(self, offset: int, size: int) -> memoryview | bytes:
        """Return the bytes of a READ, cut at the object's end; a checkpoint.

        Raises:
            DeadlineExceeded: not all bytes had arrived after the read timeout.
            StorageError: some of them could not be fetched.
        """
        end = min(offset + size, self.size)
        if offset >= end:
            await trio.lowlevel.checkpoint()
            return b""
        began = trio.current_time()
        if self._late and (error := self._late.repeated(offset, end, began)) is not None:
            await trio.lowlevel.checkpoint()
            raise error
        try:
            if end - offset > self._path.budget.largest_demand:
                return await self._read_in_parts(offset, end)
            return await self._demand(offset, end)
        except StorageError as error:
            now = trio.current_time()
            if now - began >= self._path.read_timeout / 2:
                self._late.note(offset, error, now)
            raise

    def begin(self, offset: int, end: int, wake: Callable[[], None]) -> ReadRequest:
        """Start a READ of `[offset, end)`, not empty, within the object, and its readahead.

        Unless the demand is done at return, `wake` is called once when it is; it may not call back
        into the read path. READs must be done or abandoned before the file is closed.
        """
        path = self._path
        if self._closed:
            raise ValueError("read of a closed file")
        cursor = self._planner.observe(offset, end)
        demand = ReadRequest(self._extents, offset, end, self._range_to_fetch(offset, end), wake)
        outcome = path.fetcher.begin(demand)
        counters = path.counters
        if outcome is Outcome.HIT:
            counters.hits += 1
        elif outcome is Outcome.JOINED:
            counters.waits += 1
        else:
            counters.misses += 1
        if cursor is not None:
            if outcome is Outcome.JOINED or outcome is Outcome.ASKED:
                self._planner.waited(cursor, offset)
            if end >= cursor.top_up_at:
                self._read_ahead(cursor)
        return demand

    def abandon(self, demand: ReadRequest) -> None:
        """Give up a READ that is not done."""
        self._path.fetcher.abandon(demand)

    def stop_read_ahead(self) -> None:
        """Give up what has been planned ahead; a reader that goes on begins anew."""
        for passed in self._planner.stop():
            self._path.fetcher.release(self._extents, passed)

    def fetch_whole(self) -> bool:
        """Fetch a small object ahead of its first READ; False if there is no memory for it now."""
        whole = ByteRange(0, self.size)
        return self._path.fetcher.read_ahead(self._extents, whole, first_window=False)

    def give_up_whole(self) -> None:
        """Expect no longer that somebody reads what `fetch_whole` has fetched."""
        self._path.fetcher.release(self._extents, ByteRange(0, self.size))

    def close(self) -> None:
        """Close the file; what it has cached stays. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._last_block = None
        if self._opening is not None:
            self._release_asked(self._opening)
        self.stop_read_ahead()
        self._path.shares.drop(self)
        self._path.fetcher.close(self._extents)
        self._path.open_files -= 1

    def _note_first(self, offset: int, end: int) -> None:
        """Take note of the first READ after `ask_first`."""
        self._awaits_first = False
        opening = self._opening
        assert opening is not None
        self._path.openings.observe(opening, offset, end)
        asked = opening.ask
        if asked is not None and (offset > asked.offset or end < asked.end):
            self._release_asked(opening)

    def _release_asked(self, opening: Opening) -> None:
        """Expect no longer that somebody reads what the OPEN has asked for."""
        asked = opening.ahead if opening.ask is None else (opening.ask, *opening.ahead)
        for each in asked:
            self._path.fetcher.release(self._extents, each)

    def _limit(self) -> int:
        """Return how far ahead this file may read now."""
        path = self._path
        return min(path.read_ahead_bytes, path.shares.share, path.fetcher.pace.window_bytes)

    def _range_to_fetch(self, offset: int, end: int) -> tuple[int, int]:
        size = self.size
        in_earnest = offset == 0 and end >= min(size, KERNEL_READ_BYTES)
        if size <= TINY_OBJECT_BYTES:
            return 0, size
        if in_earnest and size <= SMALL_OBJECT_BYTES and not self._path.budget.is_crowded:
            return 0, size
        last = -(-end // GRANULE_BYTES) * GRANULE_BYTES
        return offset - offset % GRANULE_BYTES, min(last, size)

    def _read_across(self, offset: int, end: int) -> bytes | None:
        """Answer a READ from several blocks, if all are ready."""
        parts: list[memoryview] = []
        at = offset
        blocks = self._extents.overlapping(offset, end)
        for block in blocks:
            if block.content is None or block.start > at:
                return None
            parts.append(block.content[at - block.start : end - block.start])
            at = block.end
        if at < end:
            return None
        path = self._path
        cache = path.fetcher.cache
        for block in blocks:
            cache.touch(block)
            if block.fresh:
                cache.consume(block, end)
        self._last_block = blocks[-1]
        path.counters.hits += 1
        path.counters.bytes_served += end - offset
        cursor = self._planner.observe(offset, end)
        joined = b"".join(parts)
        if cursor is not None and end >= cursor.top_up_at:
            self._read_ahead(cursor)
        return joined

    def _read_ahead(self, cursor: Cursor) -> None:
        path = self._path
        shares = path.shares
        served = path.counters.bytes_served
        shares.renew(self, served)
        for idle in shares.pop_idle(served):
            idle.stop_read_ahead()
        plan = self._planner.plan(cursor, self._limit())
        for passed in plan.release:
            path.fetcher.release(self._extents, passed)
        for wanted in plan.fetch:
            if not path.fetcher.read_ahead(self._extents, wanted, first_window=plan.first_window):
                self._planner.refused(cursor, wanted.offset)
                break
        if not self._planner.is_active:
            shares.drop(self)

    async def _read_in_parts(self, offset: int, end: int) -> memoryview:
        """Read more than the budget gives at once, joined outside of it."""
        largest = self._path.budget.largest_demand
        deadlines = self._path.deadlines
        joined = memoryview(bytearray(end - offset))
        with trio.CancelScope() as whole:
            deadlines.add(whole)
            try:
                for start in range(offset, end, largest):
                    part = await self._demand(start, min(start + largest, end), timed=False)
                    joined[start - offset : start - offset + len(part)] = part
            finally:
                deadlines.discard(whole)
            return joined.toreadonly()
        raise self._path.too_late(self.key, offset, end)

    async def _demand(self, offset: int, end: int, *, timed: bool = True) -> memoryview:
        task = trio.lowlevel.current_task()
        demand = self.begin(offset, end, functools.partial(trio.lowlevel.reschedule, task))
        if demand.is_done:
            await trio.lowlevel.checkpoint()
        else:
            deadlines = self._path.deadlines
            if timed:
                deadlines.add(demand)
            try:
                await trio.lowlevel.wait_task_rescheduled(functools.partial(self._abort, demand))
            finally:
                deadlines.discard(demand)
        answer = demand.result()
        self._path.counters.bytes_served += end - offset
        return answer

    def _abort(self, demand: ReadRequest, _: Callable[[], None]) -> trio.lowlevel.Abort:
        self.abandon(demand)
        # At once, not when the task runs: its time may be up in this very tick.
        self._path.deadlines.discard(demand)
        return trio.lowlevel.Abort.SUCCEEDED
