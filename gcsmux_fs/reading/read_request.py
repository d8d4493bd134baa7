"""One READ that the cache did not answer at once: its missing blocks and its answer."""

from __future__ import annotations

import copy
import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.reading.block_index import Block, BlockIndex

__all__ = ["Outcome", "ReadRequest"]


class Outcome(enum.Enum):
    """Whether the bytes of a READ were available when the READ began."""

    #: All bytes were ready.
    HIT = enum.auto()
    #: Some bytes were loading, all others were ready.
    WAIT = enum.auto()
    #: Some bytes had to be requested.
    MISS = enum.auto()
    #: Some bytes had to be requested, but the READ has to wait in a queue for memory.
    QUEUED = enum.auto()

    # Hash by identity, because the hash of `enum.Enum` is computed in Python and takes 0.2 us.
    __hash__ = object.__hash__


class ReadRequest:
    """A READ of `[offset, end)`, which requests the missing parts of the range `fetch`.

    The range `fetch` contains `[offset, end)`.

    A READ within one block is answered by a slice of the block. A READ across several blocks copies
    each block into its own buffer when the block arrives. So a copied block may be evicted while
    the other blocks of the READ still load.
    """

    __slots__ = (
        "_answer",
        "_buffer",
        "_error",
        "end",
        "fetch",
        "index",
        "missing",
        "offset",
        "wake",
    )

    def __init__(
        self,
        index: BlockIndex,
        offset: int,
        end: int,
        fetch: tuple[int, int],
        wake: Callable[[], None],
    ) -> None:
        self.index = index
        self.offset = offset
        self.end = end
        self.fetch = fetch
        #: Called once when a READ that had to wait is done; not called for a READ that is given up.
        self.wake = wake
        #: The loading blocks that the READ waits for.
        self.missing: set[Block] = set()
        self._answer: memoryview | None = None
        self._buffer: memoryview | None = None
        self._error: StorageError | None = None

    @property
    def is_done(self) -> bool:
        """Whether the READ has an answer or an error."""
        return self._answer is not None or self._error is not None

    @property
    def last_error(self) -> str:
        """The last error of a missing range that is being retried; empty if there is none."""
        tickets = [block.ticket for block in self.missing]
        return next((each.last_error for each in tickets if each and each.last_error), "")

    def result(self) -> memoryview:
        """Return the bytes of a READ that is done.

        Raises:
            StorageError: some bytes could not be fetched.
        """
        if self._error is not None:
            # READs of the same block share one error. Each caller gets a copy and may change it.
            raise copy.copy(self._error)
        assert self._answer is not None
        return self._answer

    def gather(self, blocks: Sequence[Block]) -> None:
        """Take the ready bytes of `blocks`, and add the loading blocks to `missing`.

        The blocks must cover the READ.
        """
        if len(blocks) > 1:
            self._buffer = memoryview(bytearray(self.end - self.offset))
        self.missing.update([block for block in blocks if block.content is None])
        for block in blocks:
            if block.content is not None:
                self.take(block, block.content)

    def take(self, block: Block, content: memoryview) -> None:
        """Take this READ's part of the content of a block."""
        self.missing.discard(block)
        first = max(self.offset, block.start)
        last = min(self.end, block.end)
        part = content[first - block.start : last - block.start]
        if self._buffer is None:
            self._answer = part
            return
        self._buffer[first - self.offset : last - self.offset] = part
        if not self.missing:
            self._answer = self._buffer.toreadonly()

    def fail(self, error: StorageError) -> None:
        """End the READ with an error."""
        self.missing.clear()
        self._error = error
