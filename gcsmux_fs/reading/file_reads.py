"""Records which part of a file its READs have covered: the head, the tail, or all of the file.

The kernel sends READs in any order, and a program may read the start and the end of a file only. So
the record has two intervals. The *head* begins at offset 0 and grows with each READ that touches
it. The *tail* reaches from the first byte that was read beyond the head to the end of the file. If
the head reaches the tail, both become one head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gcsmux_fs.reading.readahead import ReadaheadPlanner
    from gcsmux_fs.reading.sequential_run import SequentialRun

__all__ = ["FileReads", "FileSummary"]

# A file counts as read whole if 7/8 of it was read, because a program may skip padding. A file
# counts as read in part if the head and the tail are at most 3/4 of the file.
_WHOLE_NUMERATOR, _WHOLE_DENOMINATOR = 7, 8
_PART_NUMERATOR, _PART_DENOMINATOR = 3, 4


class FileSummary(NamedTuple):
    """What the READs of a file have covered.

    `head` and `tail` are lengths from the start and from the end of the file, `read_bytes` is the
    number of bytes of all READs. All numbers are in bytes.
    """

    size: int
    head: int
    tail: int
    read_bytes: int

    @property
    def is_whole(self) -> bool:
        """Whether the file was read whole."""
        covered = min(self.head + self.tail, self.read_bytes)
        return covered * _WHOLE_DENOMINATOR >= self.size * _WHOLE_NUMERATOR

    @property
    def is_part(self) -> bool:
        """Whether the head and the tail are a part of the file that was read densely.

        READs at random offsets soon have a long tail, but few bytes.
        """
        length = self.head + self.tail
        is_short = length * _PART_DENOMINATOR <= self.size * _PART_NUMERATOR
        return is_short and 2 * self.read_bytes >= length


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
        "_read_bytes",
        "_run",
        "_run_position",
        "name",
        "opener",
        "recorded",
        "size",
    )

    def __init__(self, name: str, size: int, planner: ReadaheadPlanner) -> None:
        self.name = name
        self.size = size
        #: The number of the thread that has opened the file; 0 if unknown.
        self.opener = 0
        #: The summary that the file's kind has recorded; None if there is no record yet.
        self.recorded: FileSummary | None = None
        self._planner = planner
        self._head_end = 0
        self._far_start = size
        self._far_end = 0
        # The end of the last noted READ.
        self._last_end = 0
        self._read_bytes = 0
        # The planner's current run at the last noted READ, and its position at that time.
        self._run: SequentialRun | None = None
        self._run_position = 0

    def __repr__(self) -> str:
        return f"<FileReads of {self.name!r}: {self.summary}>"

    @property
    def summary(self) -> FileSummary:
        """What the READs have covered so far."""
        self._follow_run()
        head, tail = self._head_end, self.size - self._far_start
        return FileSummary(self.size, head, tail, self._read_bytes)

    def note(self, offset: int, end: int) -> None:
        """Record a READ of `[offset, end)`; called before the planner observes the READ."""
        run = self._planner.current
        if run is not None and (run is not self._run or run.position != self._run_position):
            self._follow_run()
        self._last_end = end
        self._read_bytes += end - offset
        # Most READs of a random reader change nothing, and this check is faster than a call.
        if end > self._head_end and (offset < self._far_start or end > self._far_end):
            self._cover(offset, end)

    def _follow_run(self) -> None:
        """Record the READs on the fast path since the last noted READ."""
        run = self._planner.current
        if run is None:
            return
        # These READs began at the end of the last noted READ. If that READ did not belong to the
        # run, they began where the run was at that time.
        start = self._last_end
        if run is self._run and not self._run_position <= start <= run.position:
            start = self._run_position
        if run.position > start:
            self._read_bytes += run.position - start
            self._cover(start, run.position)
            self._last_end = run.position
        self._run, self._run_position = run, run.position

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
