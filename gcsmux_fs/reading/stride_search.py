"""Searches the READs of one open file for groups at constant distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.reading.block_sizes import GRANULE_BYTES
from gcsmux_fs.reading.sequential_run import SequentialRun
from gcsmux_fs.reading.strided_run import MAX_CYCLE_GROUPS, StridedRun, find_cycle

if TYPE_CHECKING:
    from gcsmux_fs.reading.read_coverage import ReadCoverage

__all__ = ["StrideSearch"]

_COMPARED_GROUPS = 2 * MAX_CYCLE_GROUPS + 1
"""The number of groups that the search compares."""


class StrideSearch:
    """The last groups of READs of one open file: runs with a plan or without one.

    `size` is the size of the object in bytes, and `coverage` holds all its READs.
    """

    __slots__ = ("_coverage", "_jump", "_size", "groups")

    def __init__(self, size: int, coverage: ReadCoverage) -> None:
        self._size = size
        self._coverage = coverage
        #: The last group that `add_jump` has added.
        self._jump: SequentialRun | None = None
        #: The groups in the order of their first READs.
        self.groups: list[SequentialRun] = []

    def add(self, group: SequentialRun) -> StridedRun | None:
        """Record a new group. Return a strided run if the group begins where one expects it."""
        self.groups.append(group)
        del self.groups[:-_COMPARED_GROUPS]
        count = find_cycle(self.groups)
        return StridedRun(self.groups, count, self._size) if count else None

    def add_jump(self, run: SequentialRun, offset: int, end: int) -> StridedRun | None:
        """Record a READ of `[offset, end)` ahead of the position of `run` as a group of its own.

        The distances of a strided run may be shorter than the tolerance of a sequential run. Return
        a strided run if there is one.
        """
        last = self.groups[-1] if self.groups else run
        if last is run:
            # The run goes on, but its first group ends here.
            self.groups[-1:] = [SequentialRun(run.start, run.position, self._size)]
        elif last is self._jump and run.start <= last.start < run.position:
            last.position = run.position
            last.bytes_read = last.position - last.start
        self._jump = group = SequentialRun(offset, end, self._size)
        strided = self.add(group)
        return strided if strided is not None and self._is_last_gap_unread() else None

    def _is_last_gap_unread(self) -> bool:
        """Return whether no READ has touched the bytes between the last two complete groups.

        If the kernel sends the READs of a sequential run in a regular order, every second READ for
        example, their groups look like a strided run. Later READs fill the gaps.
        """
        first, second = sorted(self.groups[-3:-1], key=lambda group: group.start)
        start = -(-first.position // GRANULE_BYTES) * GRANULE_BYTES
        end = second.start - second.start % GRANULE_BYTES
        return start >= end or not self._coverage.bytes_touched(start, end)
