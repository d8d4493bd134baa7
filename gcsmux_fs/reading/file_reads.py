"""Records which part of a file its READs have covered: the head, the tail, or all of the file.

The kernel sends READs in any order, and a program may read the start and the end of a file only. So
the record has two intervals. The *head* begins at offset 0 and grows with each READ that touches
it. The *tail* reaches from the first byte that was read beyond the head to the end of the file. If
the head reaches the tail, both become one head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.reading.readahead import ReadaheadPlanner

__all__ = ["FileReads"]


class FileReads:
    """The READs of one open file of `size` bytes; `name` is the object's name.

    `note` is not called for READs on the fast path of `OpenFile.read_cached`. These READs continue
    the current run of `planner`, and begin at the end of the last noted READ.
    """

    __slots__ = (
        "_far_end",
        "_far_start",
        "_head_end",
        "_last_end",
        "_planner",
        "name",
        "recorded",
        "size",
    )

    def __init__(self, name: str, size: int, planner: ReadaheadPlanner) -> None:
        self.name = name
        self.size = size
        #: The extent that the file's directory has recorded; None if there is no record yet.
        self.recorded: tuple[int, int] | None = None
        self._planner = planner
        self._head_end = 0
        self._far_start = size
        self._far_end = 0
        # The end of the last noted READ.
        self._last_end = 0

    def __repr__(self) -> str:
        return f"<FileReads of {self.name!r}: {self.extent} of {self.size} bytes>"

    @property
    def extent(self) -> tuple[int, int]:
        """The length of the head and the length of the tail in bytes; (0, 0) without a READ."""
        run = self._planner.current
        if run is not None and run.position > self._last_end:
            self._cover(self._last_end, run.position)
        return self._head_end, self.size - self._far_start

    def note(self, offset: int, end: int) -> None:
        """Record a READ of `[offset, end)`; called before the planner observes the READ."""
        run = self._planner.current
        if run is not None and run.position > self._last_end:
            self._cover(self._last_end, run.position)
        self._last_end = end
        # Most READs of a random reader change nothing, and this check is faster than a call.
        if end > self._head_end and (offset < self._far_start or end > self._far_end):
            self._cover(offset, end)

    def _cover(self, offset: int, end: int) -> None:
        if offset > self._head_end:
            self._far_start = min(self._far_start, offset)
            self._far_end = max(self._far_end, end)
            return
        self._head_end = max(self._head_end, end)
        if self._head_end >= self._far_start:
            self._head_end = max(self._head_end, self._far_end)
            self._far_start = self.size
            self._far_end = 0
