"""Fetches whole objects into the block cache, on request of a user.

Theory of operation. Each object is fetched in pieces of one page (2 MiB), several pieces at a time.
A piece is requested like readahead, so readahead's share of the memory budget holds: a quarter of
the budget stays for READs. When a piece has arrived, its protection ends, so later blocks of other
files may evict it like every block that was read.

Invariants:
1. At most `max_in_flight` bytes are in flight, and a quarter of this while READs wait.
2. While READs queue for memory, nothing is requested.
3. The failure of one object does not end the warm-up of others.
4. When the task is cancelled, no piece stays in flight for it.
5. Nothing is requested that the lower tier would drop, because it is busy with earlier pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import DeadlineExceeded, StorageError
from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES, PAGE_BYTES
from gcsmux_fs.reading.memory_budget import BLOCK_OVERHEAD_BYTES
from gcsmux_fs.reading.read_request import ReadRequest
from gcsmux_fs.reading.read_waiting import wait_until_done, wake_current_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.block_index import BlockIndex
    from gcsmux_fs.reading.read_resources import ReadResources

__all__ = ["CacheWarmer", "cache_charge", "cacheable_length"]

# Maximum number of bytes in flight. It keeps a link of 10 Gbit/s busy at a round trip of 25 ms.
_MAX_IN_FLIGHT_BYTES = 32 * 1024 * 1024

# Maximum number of pieces in flight. It matters for small objects, and bounds the tasks.
_MAX_PIECES = 64

# How long to wait until the budget is looked at again. READs free memory within milliseconds.
_PAUSE_SECONDS = 0.02


def cache_charge(size: int) -> int:
    """Return how many bytes of the memory budget an object of `size` bytes takes."""
    return size + -(-size // PAGE_BYTES) * BLOCK_OVERHEAD_BYTES


def cacheable_length(charge: int) -> int:
    """Return how many bytes of an object of any size fit into `charge` bytes of the budget."""
    pieces, rest = divmod(max(charge, 0), PAGE_BYTES + BLOCK_OVERHEAD_BYTES)
    granules = max(0, rest - BLOCK_OVERHEAD_BYTES) // GRANULE_BYTES
    return pieces * PAGE_BYTES + granules * GRANULE_BYTES


async def _pause() -> None:
    await trio.sleep(_PAUSE_SECONDS)


class _Object:
    """One object that is being fetched."""

    __slots__ = ("error", "index", "pending")

    def __init__(self, index: BlockIndex) -> None:
        self.index = index
        self.error: StorageError | None = None
        #: Number of pieces in flight, plus one while pieces are still to be requested.
        self.pending = 1


class CacheWarmer:
    """Fetches objects into the cache of `resources`, in the tasks of `nursery`.

    `on_bytes` is called with the length of each piece that has arrived, or that was cached already.
    `on_object` is called when an object is cached (with None) or has failed (with the error).
    """

    def __init__(
        self,
        resources: ReadResources,
        nursery: trio.Nursery,
        *,
        on_bytes: Callable[[int], None],
        on_object: Callable[[ObjectKey, StorageError | None], None],
    ) -> None:
        self._resources = resources
        self._nursery = nursery
        self._on_bytes = on_bytes
        self._on_object = on_object
        self._max_in_flight = min(_MAX_IN_FLIGHT_BYTES, resources.budget.limit // 8)
        self._in_flight = 0
        self._pieces = 0
        self._waiting = 0
        self._progressed = trio.Event()

    async def fetch(
        self,
        key: ObjectKey,
        size: int,
        length: int,
        *,
        grows: bool,
        crc32c: int | None = None,
    ) -> None:
        """Request the first `length` bytes of an object of `size` bytes, in pieces.

        `length` is a multiple of 16 KiB, or the size.

        The call returns when the last piece is requested. The warm-up has ended when the nursery
        has no more tasks.
        """
        # Objects that are cached already need no wait, so let READs run between them.
        await trio.lowlevel.checkpoint()
        fetcher = self._resources.fetcher
        fetched = _Object(fetcher.open(key, size, grows=grows, crc32c=crc32c))
        try:
            for start in range(0, length, PAGE_BYTES):
                piece = ByteRange(start, min(PAGE_BYTES, length - start))
                if not fetched.index.gaps(piece.offset, piece.end):
                    self._on_bytes(piece.length)
                    continue
                await self._wait_for_turn(piece.length)
                if fetched.error is not None:
                    break
                self._in_flight += piece.length
                self._pieces += 1
                fetched.pending += 1
                self._nursery.start_soon(self._fetch_piece, fetched, piece)
        finally:
            self._finish_one(fetched)

    async def _wait_for_turn(self, length: int) -> None:
        """Wait until `length` more bytes may be in flight (invariants 1 and 2)."""
        resources = self._resources
        while self._pieces:
            others_wait = len(resources.deadlines) > self._waiting
            limit = self._max_in_flight // 4 if others_wait else self._max_in_flight
            if self._in_flight + length <= limit and self._pieces < _MAX_PIECES:
                break
            self._progressed = trio.Event()
            await self._progressed.wait()
        tier = resources.lower_tier
        while (
            resources.fetcher.queued
            or resources.budget.is_crowded
            or (tier is not None and not tier.has_room(self._in_flight + length))
        ):
            await _pause()

    async def _fetch_piece(self, fetched: _Object, piece: ByteRange) -> None:
        index, resources = fetched.index, self._resources
        try:
            await self._request(fetched, piece)
            for block in index.overlapping(piece.offset, piece.end):
                if block.content is None:
                    await self._wait_for_block(index, block.start, block.end)
            self._on_bytes(piece.length)
        except StorageError as error:
            fetched.error = error
        finally:
            resources.fetcher.release(index, piece)
            self._in_flight -= piece.length
            self._pieces -= 1
            self._progressed.set()
            self._finish_one(fetched)

    async def _request(self, fetched: _Object, piece: ByteRange) -> None:
        """Request a piece when the memory budget allows it.

        Raises:
            DeadlineExceeded: the budget refuses the piece for the time of the read timeout.
        """
        resources = self._resources
        with trio.move_on_after(resources.read_timeout):
            while fetched.error is None and not resources.fetcher.read_ahead(
                fetched.index, piece, first_window=False
            ):
                await _pause()
            return
        raise DeadlineExceeded("no memory was free", subject=str(fetched.index.key))

    async def _wait_for_block(self, index: BlockIndex, start: int, end: int) -> None:
        """Wait until the block of `[start, end)` has arrived; request it again if it was cancelled.

        Raises:
            StorageError: the block could not be fetched within the read timeout.
        """
        resources = self._resources
        # The request is for one byte only, so it copies nothing.
        request = ReadRequest(index, start, start + 1, (start, end), wake_current_task())
        resources.fetcher.begin(request)
        if not request.is_done:
            resources.deadlines.add(request)
            self._waiting += 1
            try:
                await wait_until_done(resources, request)
            finally:
                self._waiting -= 1
                resources.deadlines.discard(request)
        request.result()

    def _finish_one(self, fetched: _Object) -> None:
        fetched.pending -= 1
        if not fetched.pending:
            self._resources.fetcher.close(fetched.index)
            self._on_object(fetched.index.key, fetched.error)
