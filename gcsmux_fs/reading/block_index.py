"""Index of the blocks of one object generation: the ranges that are cached or loading.

Theory of operation: the unit of caching is one fetched range, a `Block`, of any length up to
2 MiB. The index divides the object into pages of 2 MiB, and stores each block with its page. A
lookup costs one dict lookup and a bisection over at most 128 blocks, however large the object is.

Invariants:

1. The blocks of an object are disjoint.
2. A block begins at a multiple of 16 KiB. It ends at a multiple of 16 KiB or at the object's end.
3. A block lies within one page.
4. A block without content is loading, and is in `BlockIndex.loading`. A block with content is
   ready.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from gcsmux_fs.reading.access_history import AccessHistory
from gcsmux_fs.reading.block_sizes import PAGE_BYTES
from gcsmux_fs.reading.block_states import TRANSITIONS, BlockEvent, BlockState
from gcsmux_fs.reading.burst_meter import BurstMeter
from gcsmux_fs.reading.memory_budget import BLOCK_OVERHEAD_BYTES

if TYPE_CHECKING:
    from gcsmux_fs.model.values import FinalContent, ObjectKey
    from gcsmux_fs.reading.range_source import RangeTicket

__all__ = ["Block", "BlockIndex"]

_PAGE_SHIFT = PAGE_BYTES.bit_length() - 1


class Block:
    """One cached or loading range of an object. A block is equal only to itself."""

    __slots__ = ("charge", "content", "end", "index", "key", "start", "state", "ticket")

    def __init__(self, index: BlockIndex, start: int, end: int, *, prefetch: bool) -> None:
        self.index = index
        self.start = start
        self.end = end
        self.key = (index, start)
        #: Number of bytes that the block uses of the memory budget.
        self.charge = end - start + BLOCK_OVERHEAD_BYTES
        #: The bytes of the block; None while the block loads, and after its eviction.
        self.content: memoryview | None = None
        #: The request in flight that loads the block; None for a ready block.
        self.ticket: RangeTicket | None = None
        self.state = BlockState.PREFETCHING if prefetch else BlockState.LOADING

    def __repr__(self) -> str:
        return f"<Block [{self.start}, {self.end}) {self.state.name}>"

    def apply(self, event: BlockEvent) -> None:
        """Change the state of the block as `TRANSITIONS` says for `event`.

        Raises:
            AssertionError: the event cannot happen in the current state.
        """
        try:
            self.state = TRANSITIONS[self.state, event]
        except KeyError:
            raise AssertionError(f"{event.name} cannot happen to {self}") from None


class _Page:
    """The blocks of one page, sorted by their start offset."""

    __slots__ = ("blocks", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.blocks: list[Block] = []


class BlockIndex:
    """The blocks of one object generation."""

    __slots__ = (
        "_bursts",
        "_history",
        "_pages",
        "block_count",
        "final",
        "is_gone",
        "key",
        "loading",
        "open_files",
        "requested_bytes",
        "size",
    )

    def __init__(self, key: ObjectKey) -> None:
        self.key = key
        #: The object's size in bytes when it was last opened; an unfinalized object may grow.
        self.size = 0
        #: The whole content of the object; None while a writer may still append to the object.
        self.final: FinalContent | None = None
        #: The number of open files of this object generation.
        self.open_files = 0
        #: True if the service no longer has the generation, so only open files need its blocks.
        self.is_gone = False
        self.block_count = 0
        #: The bytes of all blocks that were requested since the first open, evicted ones included.
        self.requested_bytes = 0
        self.loading: set[Block] = set()
        # Made when they are needed, because many small objects may be cached and not open.
        self._history: AccessHistory | None = None
        self._bursts: BurstMeter | None = None
        self._pages: dict[int, _Page] = {}

    @property
    def history(self) -> AccessHistory:
        """The READs of all open files of the object."""
        if self._history is None:
            self._history = AccessHistory()
        return self._history

    @property
    def bursts(self) -> BurstMeter:
        """How far the READs of the object go on at one place."""
        if self._bursts is None:
            self._bursts = BurstMeter()
        return self._bursts

    def forget_reads(self) -> None:
        """Forget how the object was read, if it is small. No file of the object may be open.

        The record of READs takes 1 KiB, as much memory as the block of a small object.
        """
        if self.size <= PAGE_BYTES:
            self._history = self._bursts = None

    def find(self, offset: int) -> Block | None:
        """Return the loading or ready block that holds the byte at `offset`, or None."""
        page = self._pages.get(offset >> _PAGE_SHIFT)
        if page is None:
            return None
        position = bisect_right(page.starts, offset) - 1
        if position < 0:
            return None
        block = page.blocks[position]
        return block if offset < block.end else None

    def is_ready(self, offset: int) -> bool:
        """Return whether the byte at `offset` is cached."""
        block = self.find(offset)
        return block is not None and block.content is not None

    def overlapping(self, offset: int, end: int) -> list[Block]:
        """Return the blocks that hold any byte of `[offset, end)`, sorted by offset."""
        blocks: list[Block] = []
        for number in range(offset >> _PAGE_SHIFT, ((end - 1) >> _PAGE_SHIFT) + 1):
            page = self._pages.get(number)
            if page is None:
                continue
            first = bisect_right(page.starts, offset) - 1
            if first < 0 or page.blocks[first].end <= offset:
                first += 1
            blocks += page.blocks[first : bisect_left(page.starts, end)]
        return blocks

    def blocks(self) -> list[Block]:
        """Return all blocks."""
        return [block for page in self._pages.values() for block in page.blocks]

    def gaps(self, offset: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of `[offset, end)` that no block holds, cut at page boundaries."""
        gaps: list[tuple[int, int]] = []
        start = offset
        for block in self.overlapping(offset, end):
            if start < block.start:
                _cut_at_pages(start, block.start, gaps)
            start = block.end
        if start < end:
            _cut_at_pages(start, end, gaps)
        return gaps

    def add(self, start: int, end: int, *, prefetch: bool) -> Block:
        """Add a loading block for `[start, end)`, which must lie in one page and overlap no block.

        `prefetch` says that readahead requests the block and no READ waits for the block.
        """
        block = Block(self, start, end, prefetch=prefetch)
        page = self._pages.get(start >> _PAGE_SHIFT)
        if page is None:
            page = self._pages[start >> _PAGE_SHIFT] = _Page()
        position = bisect_left(page.starts, start)
        page.starts.insert(position, start)
        page.blocks.insert(position, block)
        self.loading.add(block)
        self.block_count += 1
        self.requested_bytes += end - start
        return block

    def remove(self, block: Block) -> None:
        """Remove a loading or ready block."""
        block.apply(BlockEvent.REMOVE)
        number = block.start >> _PAGE_SHIFT
        page = self._pages[number]
        if len(page.blocks) == 1:
            del self._pages[number]
        else:
            position = bisect_left(page.starts, block.start)
            del page.starts[position]
            del page.blocks[position]
        self.loading.discard(block)
        self.block_count -= 1


def _cut_at_pages(start: int, end: int, parts: list[tuple[int, int]]) -> None:
    """Append `[start, end)` to `parts`, cut at page boundaries."""
    while (boundary := (start | (PAGE_BYTES - 1)) + 1) < end:
        parts.append((start, boundary))
        start = boundary
    parts.append((start, end))
