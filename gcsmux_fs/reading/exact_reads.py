"""Reads given ranges of an object, all at the same time and without readahead.

Theory of operation: a batch begins one `ReadRequest` for each part of its plan. Parts that are
begun in the same scheduler tick travel in one message. The requests use the block cache, so bytes
that are cached or in flight are not requested again, and their memory is in the budget.

Invariants:

1. The unanswered parts of one batch request at most a quarter of the memory budget, or one part. So
   a large batch does not delay other READs until it ends.
2. When `ExactReads.fetch` returns or raises, none of its requests is left.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.reading.exact_plan import DEFAULT_GAP_BYTES, plan_exact_reads
from gcsmux_fs.reading.read_request import ReadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.block_index import BlockIndex
    from gcsmux_fs.reading.exact_plan import ExactPart
    from gcsmux_fs.reading.read_resources import ReadResources

__all__ = ["ExactReads"]

_BUDGET_DIVISOR = 4


class ExactReads:
    """Reads ranges with the cache, the budget and the deadlines of `resources`."""

    def __init__(self, resources: ReadResources) -> None:
        self._resources = resources

    async def fetch(
        self,
        key: ObjectKey,
        size: int,
        ranges: Sequence[tuple[int, int]],
        take: Callable[[int, int, memoryview], None],
        *,
        grows: bool = False,
        crc32c: int | None = None,
        max_gap: int = DEFAULT_GAP_BYTES,
    ) -> None:
        """Read `ranges` of one object generation of `size` bytes.

        The ranges `(start, end)` lie within the object. `take(slot, position, content)` gets each
        part: `slot` is the index of the range, `position` the distance of the part from the start
        of the range in bytes. The caller copies `content` before `take` returns, because its memory
        is in the budget only until then.

        Raises:
            GenerationGone: the object generation no longer exists.
            DeadlineExceeded: a part did not arrive within the read timeout.
            StorageError: a part could not be fetched.
        """
        fetcher = self._resources.fetcher
        index = fetcher.open(key, size, grows=grows, crc32c=crc32c)
        try:
            batch = _Batch(self._resources, index, plan_exact_reads(ranges, max_gap))
            await batch.run(
                lambda part, view: take(part.slot, part.offset - ranges[part.slot][0], view)
            )
        finally:
            fetcher.close(index)


class _Batch:
    def __init__(
        self, resources: ReadResources, index: BlockIndex, plan: Sequence[ExactPart]
    ) -> None:
        self._resources = resources
        self._index = index
        self._planned = deque(plan)
        self._running: dict[ReadRequest, ExactPart] = {}
        self._done: deque[ReadRequest] = deque()
        self._bytes_in_flight = 0
        self._window = resources.budget.limit // _BUDGET_DIVISOR
        self._is_woken = trio.Event()

    async def run(self, take: Callable[[ExactPart, memoryview], None]) -> None:
        await trio.lowlevel.checkpoint()
        try:
            while self._planned or self._running:
                self._begin_parts()
                while self._done:
                    request = self._done.popleft()
                    part = self._running.pop(request)
                    self._bytes_in_flight -= part.length
                    self._resources.deadlines.discard(request)
                    content = request.result()
                    self._resources.counters.bytes_served += part.end - part.offset
                    take(part, content)
                    # The window may be open again.
                    self._begin_parts()
                if self._running:
                    await self._is_woken.wait()
                    self._is_woken = trio.Event()
        finally:
            for request in self._running:
                self._resources.deadlines.discard(request)
                if not request.is_done:
                    self._resources.fetcher.abandon(request)

    def _begin_parts(self) -> None:
        while self._planned:
            part = self._planned[0]
            if self._bytes_in_flight and self._bytes_in_flight + part.length > self._window:
                return
            self._planned.popleft()
            self._begin(part)

    def _begin(self, part: ExactPart) -> None:
        fetch = part.fetch_start, part.fetch_end
        request = ReadRequest(self._index, part.offset, part.end, fetch, _ignore)
        request.wake = functools.partial(self._on_done, request)
        self._running[request] = part
        self._bytes_in_flight += part.length
        self._resources.fetcher.begin(request)
        if request.is_done:
            self._on_done(request)
        else:
            self._resources.deadlines.add(request)

    def _on_done(self, request: ReadRequest) -> None:
        self._done.append(request)
        self._is_woken.set()


def _ignore() -> None: ...
