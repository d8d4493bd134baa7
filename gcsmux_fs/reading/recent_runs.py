"""The runs of one open file that have no readahead plan, found by their start and by their end."""

from __future__ import annotations

from gcsmux_fs.reading.sequential_run import SequentialRun

__all__ = ["RecentRuns"]

_MAX_RUNS = 32
"""Maximum number of runs without a plan that one open file remembers. A READ is recognised as the
continuation of such a run if fewer than 32 other READs came in between."""


class RecentRuns:
    """The last runs without a plan. No two of them have the same start or the same position."""

    __slots__ = ("_by_end", "_by_start")

    def __init__(self) -> None:
        self._by_end: dict[int, SequentialRun] = {}
        self._by_start: dict[int, SequentialRun] = {}

    def add(self, run: SequentialRun) -> None:
        """Remember a run, and forget the oldest one if there are too many."""
        self._pop(self._by_end.get(run.position))
        self._pop(self._by_start.get(run.start))
        self._by_end[run.position] = run
        self._by_start[run.start] = run
        if len(self._by_end) > _MAX_RUNS:
            self._pop(next(iter(self._by_end.values())))

    def add_read(self, offset: int, end: int, size: int) -> None:
        """Remember a READ of `[offset, end)` of an object of `size` bytes, or let it extend a run.

        The READ belongs to a pattern, but a run may go on where the pattern ends.
        """
        run = self.pop_ending_at(offset)
        if run is None:
            run = SequentialRun(offset, end, size)
        else:
            run.take(offset, end)
        run.noted_end = run.position
        self.add(run)

    def pop_ending_at(self, offset: int) -> SequentialRun | None:
        """Remove and return the run that ends at `offset`."""
        return self._pop(self._by_end.get(offset))

    def pop_starting_at(self, offset: int) -> SequentialRun | None:
        """Remove and return the run that starts at `offset`."""
        return self._pop(self._by_start.get(offset))

    def _pop(self, run: SequentialRun | None) -> SequentialRun | None:
        if run is not None:
            del self._by_end[run.position]
            del self._by_start[run.start]
        return run
