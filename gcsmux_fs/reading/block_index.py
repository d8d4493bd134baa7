"""Which bytes of one object generation are here or on their way: an index of disjoint blocks.

Theory of operation: the unit of caching is one fetched range, a `Block`, of any length up to
2 MiB. Blocks are filed under the 2 MiB page of the object they lie in, so that finding one costs a
dict lookup and a bisection over at most 128 entries, however many blocks an object has.

Invariants:

1. The blocks of an object are disjoint.
2. A block begins at a multiple of 16 KiB, and ends at one or at the object's end.
3. A block lies within one page.
4. A block without content is loading and in `BlockIndex.loading`; a block with content is ready.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from gcsmux_fs.reading.access_patterns import AccessPatterns
from gcsmux_fs.reading.memory_budget import BLOCK_OVERHEAD_BYTES

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.range_source import RangeTicket
    from gcsmux_fs.reading.read_request import ReadRequest

__all__ = ["GRANULE_BYTES", "PAGE_BYTES", "Block", "BlockIndex"]

GRANULE_BYTES = 16 * 1024
"""Ranges are aligned to this. Four kernel pages: neighbours of a random 4 KiB read often follow,
and a read that straddles a boundary still moves 32 KiB, half of the 64 KiB we promise at most."""

_PAGE_SHIFT = 21
PAGE_BYTES = 1 << _PAGE_SHIFT
"""The longest block. The service sends at most 2 MiB in one message: a block of 2 MiB is one
message held by reference, and it was the fastest of the sizes measured (0.25 to 2 MiB)."""


class Block:
    """One range of an object, loading or ready; mutable, known by its identity."""

    __slots__ = (
        "charge",
        "content",
        "end",
        "fresh",
        "key",
        "object",
        "protected",
        "speculative",
        "start",
        "ticket",
        "touched",
        "waiters",
    )

    def __init__(self, owner: BlockIndex, start: int, end: int, *, speculative: bool) -> None:
        self.object = owner
        self.start = start
        self.end = end
        self.key = (owner, start)
        #: What it costs the budget.
        self.charge = end - start + BLOCK_OVERHEAD_BYTES
        self.content: memoryview | None = None
        self.ticket: RangeTicket | None = None
        self.waiters: dict[ReadRequest, None] | None = None
        #: Asked for by readahead, and no READ has come to wait for it.
        self.speculative = speculative
        #: Asked for by readahead, and no READ has reached its last byte yet.
        self.fresh = speculative
        #: Fresh, and ahead of a reader that is still at work: evicted last.
        self.protected = speculative
        #: A READ has taken some of it.
        self.touched = not speculative

    def __repr__(self) -> str:
        state = "loading" if self.content is None else "ready"
        return f"<Block [{self.start}, {self.end}) {state}>"


class _Page:
    """The blocks of one page, by start."""

    __slots__ = ("blocks", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.blocks: list[Block] = []


class BlockIndex:
    """The blocks of one object generation."""

    __slots__ = ("_pages", "block_count", "grows", "habits", "key", "loading", "open_files", "size")

    def __init__(self, key: ObjectKey) -> None:
        self.key = key
        #: As known to whoever opened it last: an object may still be appended to.
        self.size = 0
        self.grows = False
        self.open_files = 0
        self.block_count = 0
        self.loading: set[Block] = set()
        self.habits = AccessPatterns()
        self._pages: dict[int, _Page] = {}

    def find(self, offset: int) -> Block | None:
        """Return the block that holds the byte at `offset`."""
        page = self._pages.get(offset >> _PAGE_SHIFT)
        if page is None:
            return None
        index = bisect_right(page.starts, offset) - 1
        if index < 0:
            return None
        block = page.blocks[index]
        return block if offset < block.end else None

    def is_ready(self, offset: int) -> bool:
        """Tell whether the byte at `offset` is here."""
        block = self.find(offset)
        return block is not None and block.content is not None

    def overlapping(self, offset: int, end: int) -> list[Block]:
        """Return the blocks that hold any of `[offset, end)`, in order."""
        found: list[Block] = []
        for number in range(offset >> _PAGE_SHIFT, ((end - 1) >> _PAGE_SHIFT) + 1):
            page = self._pages.get(number)
            if page is None:
                continue
            first = bisect_right(page.starts, offset) - 1
            if first < 0 or page.blocks[first].end <= offset:
                first += 1
            found += page.blocks[first : bisect_left(page.starts, end)]
        return found

    def gaps(self, offset: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of `[offset, end)` that no block holds, cut where pages meet."""
        gaps: list[tuple[int, int]] = []
        at = offset
        for block in self.overlapping(offset, end):
            if at < block.start:
                _cut_at_pages(at, block.start, gaps)
            at = block.end
        if at < end:
            _cut_at_pages(at, end, gaps)
        return gaps

    def add(self, start: int, end: int, *, speculative: bool) -> Block:
        """Add a loading block for `[start, end)`, which must be a gap within one page."""
        block = Block(self, start, end, speculative=speculative)
        page = self._pages.get(start >> _PAGE_SHIFT)
        if page is None:
            page = self._pages[start >> _PAGE_SHIFT] = _Page()
        index = bisect_left(page.starts, start)
        page.starts.insert(index, start)
        page.blocks.insert(index, block)
        self.loading.add(block)
        self.block_count += 1
        return block

    def remove(self, block: Block) -> None:
        """Take a block out, loading or ready."""
        number = block.start >> _PAGE_SHIFT
        page = self._pages[number]
        if len(page.blocks) == 1:
            del self._pages[number]
        else:
            index = bisect_left(page.starts, block.start)
            del page.starts[index]
            del page.blocks[index]
        self.loading.discard(block)
        self.block_count -= 1


def _cut_at_pages(start: int, end: int, into: list[tuple[int, int]]) -> None:
    while (border := (start | (PAGE_BYTES - 1)) + 1) < end:
        into.append((start, border))
        start = border
    into.append((start, end))
