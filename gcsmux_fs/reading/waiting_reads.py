"""Records which READs wait for which loading blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcsmux_fs.reading.block_index import Block
    from gcsmux_fs.reading.read_request import ReadRequest

__all__ = ["WaitingReads"]


class WaitingReads:
    """The READs that wait for each loading block, in the order in which they joined."""

    __slots__ = ("_by_block",)

    def __init__(self) -> None:
        self._by_block: dict[Block, dict[ReadRequest, None]] = {}

    def __contains__(self, block: Block) -> bool:
        """Whether a READ waits for `block`."""
        return block in self._by_block

    def add(self, request: ReadRequest) -> None:
        """Record that a READ waits for its missing blocks."""
        for block in request.missing:
            self._by_block.setdefault(block, {})[request] = None

    def remove(self, request: ReadRequest) -> None:
        """Record that a READ no longer waits for its missing blocks."""
        for block in request.missing:
            requests = self._by_block.get(block)
            if requests is not None:
                requests.pop(request, None)
                if not requests:
                    del self._by_block[block]

    def pop(self, block: Block) -> Iterable[ReadRequest]:
        """Remove and return the READs that wait for `block`."""
        return self._by_block.pop(block, ())
