"""Readahead across files for a program that reads a directory in order; sans-IO.

Theory of operation. Programs that read a directory of small files (`cp -r`, `grep -r`, `tar`, a
data loader over a sorted list) open them in the order of the listing. Each file costs a round trip,
and readahead within a file cannot hide it. So the next files are fetched whole before the program
opens them. A planner observes the positions, in the listing of one directory, of the files that a
program reads from their start. A few steps forward begin a walk. Each further step doubles the
window, up to `MAX_WINDOW_FILES`. A jump ends the walk.

Invariants:
1. A walk plans no position twice, and no position at or before the file that was just read.
2. Fewer than `MIN_STEPS` steps forward in a row plan nothing, so a program that reads in random
   order causes no prefetch.
"""

from __future__ import annotations

__all__ = ["MAX_WINDOW_FILES", "MIN_STEPS", "SiblingPlanner"]

MAX_WINDOW_FILES = 64
"""The largest window. With a round trip of 50 ms, 64 files in flight make 1,280 files a second,
about as many as this client opens."""

MIN_STEPS = 2
"""Steps forward before anything is planned. A program that reads 2,000 files in random order makes
one step of up to four places in 500 reads, and two in a row in 250,000."""

_LONGEST_STEP = 4
# Sixteen threads that read one list are out of order by at most 32 files.
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
        """Steps forward since the walk began."""
        return self._steps

    def observe(self, position: int) -> range:
        """Note that the file at `position` is read from its start; return positions to fetch."""
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
        # Plan half a window at a time: ranges requested in one turn share one message.
        if position + 1 + self._window // 2 < start:
            return range(0)
        self._planned_until = position + 1 + self._window
        return range(start, self._planned_until)

    def refused(self, position: int) -> None:
        """Note that memory was short: no planned file from `position` on is fetched."""
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
