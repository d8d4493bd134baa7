"""One READ that is not answered at once: what it waits for, and its answer."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.reading.block_index import Block, BlockIndex

__all__ = ["ReadRequest"]


class ReadRequest:
    """A READ of `[offset, end)`; `fetch` is the range, at least as wide, in which gaps are filled.

    A READ within one block is answered by a slice of it. A READ across blocks is joined in a
    buffer of its own, filled as they arrive, so that a block which is evicted while the others
    are on their way is neither needed again nor kept in memory beyond the budget.
    """

    __slots__ = (
        "_answer",
        "_buffer",
        "_error",
        "_missing",
        "end",
        "fetch",
        "object",
        "offset",
        "wake",
    )

    def __init__(
        self,
        owner: BlockIndex,
        offset: int,
        end: int,
        fetch: tuple[int, int],
        wake: Callable[[], None],
    ) -> None:
        self.object = owner
        self.offset = offset
        self.end = end
        self.fetch = fetch
        self.wake = wake
        self._answer: memoryview | None = None
        self._buffer: memoryview | None = None
        self._error: StorageError | None = None
        self._missing: set[Block] = set()

    @property
    def is_done(self) -> bool:
        """Whether `result` has an answer."""
        return self._answer is not None or self._error is not None

    @property
    def trouble(self) -> str:
        """What went wrong last with a range that is waited for; empty if nothing did."""
        tickets = [block.ticket for block in self._missing]
        errors = [ticket.last_error for ticket in tickets if ticket is not None]
        return next(filter(None, errors), "")

    def result(self) -> memoryview:
        """Return the bytes, once done.

        Raises:
            StorageError: some of them could not be fetched.
        """
        if self._error is not None:
            # Others may wait for the same block: each raises, and amends, an error of its own.
            raise copy.copy(self._error)
        assert self._answer is not None
        return self._answer

    def gather(self, blocks: Sequence[Block]) -> None:
        """Take what is ready of `blocks`, which cover the READ, and join what is loading."""
        if len(blocks) > 1:
            self._buffer = memoryview(bytearray(self.end - self.offset))
        for block in blocks:
            if block.content is None:
                if block.waiters is None:
                    block.waiters = {}
                block.waiters[self] = None
                self._missing.add(block)
        for block in blocks:
            if block.content is not None:
                self.take(block, block.content)

    def take(self, block: Block, content: memoryview) -> None:
        """Take this READ's part of a block."""
        self._missing.discard(block)
        first = max(self.offset, block.start)
        last = min(self.end, block.end)
        part = content[first - block.start : last - block.start]
        if self._buffer is None:
            self._answer = part
            return
        self._buffer[first - self.offset : last - self.offset] = part
        if not self._missing:
            self._answer = self._buffer.toreadonly()

    def fail(self, error: StorageError) -> None:
        """End with an error."""
        self.leave()
        self._error = error

    def leave(self) -> list[Block]:
        """Wait for nothing any more; return the blocks that were waited for."""
        left = list(self._missing)
        self._missing.clear()
        for block in left:
            if block.waiters is not None:
                block.waiters.pop(self, None)
        return left
