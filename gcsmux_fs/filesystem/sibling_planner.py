"""Plans readahead across files for a program that reads a directory in order; sans-IO.

Theory of operation. Programs that read a directory of small files (`cp -r`, `grep -r`, `tar`, a
data loader over a sorted list) open them in the order of the listing. Each file costs a round trip,
and readahead within a file cannot hide this round trip. So the next files are fetched whole before
the program opens them. For one directory, a planner observes which files a program reads from their
start, as positions in the listing. After `MIN_STEPS` steps forward, the planner begins to plan the
files that follow. Each further step doubles the window (the number of files that are planned
ahead), up to `MAX_WINDOW_FILES`. A jump to a distant file ends the walk (the steps so far) and
begins a new walk.

Invariants:
1. A walk plans no position twice, and no position at or before the file that was just read.
2. Nothing is planned before `MIN_STEPS` steps forward in a row, so a program that reads in random
   order causes no prefetch.
"""

from __future__ import annotations

__all__ = ["MAX_WINDOW_FILES", "MIN_STEPS", "SiblingPlanner"]

MAX_WINDOW_FILES = 64
"""Maximum number of files that are planned ahead. With a round trip of 50 ms, 64 files in
flight give 1,280 files per second. The mount cannot open many more files per second."""

MIN_STEPS = 2
"""Number of steps forward in a row after which files are planned. A step goes forward by one to
four places in the listing. A program that reads 2,000 files in random order makes one such step in
about 500 reads, and two steps in a row in about 250,000 reads."""

_LONGEST_STEP = 4
# Maximum number of places by which a read may go back and still belong to the walk. If sixteen
# threads read one list, their reads are out of order by at most 32 files.
_OUT_OF_ORDER_FILES = 32


class SiblingPlanner:
    """Plans the prefetch of one directory. A position is the place of a file in the listing."""

    __slots__ = ("_last", "_planned_until", "_steps", "_window")

    def __init__(self) -> None:
        self._last: int | None = None
        self._planned_until = 0
        self._steps = 0
        self._window = 0

    def __repr__(self) -> str:
        return f"<SiblingPlanner at {self._last}, {self._steps} steps, window {self._window}>"

    @property
    def steps(self) -> int:
        """Number of steps forward since the walk began."""
        return self._steps

    def observe(self, position: int) -> range:
        """Record that the file at `position` is read from its start. Return positions to fetch."""
        if self._last is None or not self._is_near(position):
            self._begin_at(position)
            return range(0)
        if position <= self._last:
            return range(0)
        self._last = position
        self._steps += 1
        if self._steps < MIN_STEPS:
            return range(0)
        self._window = min(max(2 * self._window, 4), MAX_WINDOW_FILES)
        start = max(self._planned_until, position + 1)
        # Plan half a window at a time, because ranges that are requested in one turn of the event
        # loop share one message.
        if position + 1 + self._window // 2 < start:
            return range(0)
        self._planned_until = position + 1 + self._window
        return range(start, self._planned_until)

    def refused(self, position: int) -> None:
        """Record that memory was short, so the planned files from `position` on are not fetched."""
        self._planned_until = position
        self._window = 0

    def _is_near(self, position: int) -> bool:
        assert self._last is not None
        furthest = max(self._last + _LONGEST_STEP, self._planned_until - 1)
        return self._last - _OUT_OF_ORDER_FILES <= position <= furthest

    def _begin_at(self, position: int) -> None:
        self._last = position
        self._planned_until = position + 1
        self._steps = 0
        self._window = 0
