"""Readahead across files: what to fetch for a program that walks a directory in order, sans-IO.

Theory of operation. Programs that read a directory of small files (`cp -r`, `grep -r`, `tar`, a
data loader over a sorted list) open them in the order of the listing. Each file costs a round trip
that readahead within files cannot hide, so the next files are fetched whole before they are opened.
A planner watches the positions, in one directory's listing, of the files that are read from their
start. A few steps forward begin a walk; its window doubles with every further step up to
`MAX_WINDOW_FILES`. A jump ends it.

Invariants:
1. No position is planned twice within one walk, and none at or behind the file just read.
2. Without `MIN_STEPS` steps forward in a row nothing is planned: a shuffled reader gets nothing.
"""

from __future__ import annotations

__all__ = ["MAX_WINDOW_FILES", "MIN_STEPS", "SiblingPlanner"]

# At 50 ms a round trip, 64 files ahead make 1,280 files a second, about what this client opens.
MAX_WINDOW_FILES = 64
# In a shuffled directory of 2,000 files a step of up to four places comes once in 500 reads, two in
# a row once in 250,000.
MIN_STEPS = 2
_LONGEST_STEP = 4
# Parallel readers of one list are this far out of order at most: sixteen threads and some.
_OUT_OF_ORDER_FILES = 32


class SiblingPlanner:
    """Follows one directory; positions are those of its listing."""

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
        """Steps forward since the walk began."""
        return self._steps

    def observe(self, position: int) -> range:
        """Note that the file at `position` is read from its start; return what to fetch now."""
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
        # Half a window at a time: requests that are made together travel together.
        if position + 1 + self._window // 2 < start:
            return range(0)
        self._planned_until = position + 1 + self._window
        return range(start, self._planned_until)

    def refused(self, position: int) -> None:
        """There was no memory for the file at `position` and those planned after it."""
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
