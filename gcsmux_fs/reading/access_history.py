"""What the open files of one object have read: the lengths of the last runs, and the bytes read."""

from __future__ import annotations

from typing import NamedTuple

from gcsmux_fs.reading.block_sizes import GRANULE_BYTES
from gcsmux_fs.reading.read_coverage import ReadCoverage
from gcsmux_fs.reading.sequential_run import FIRST_WINDOW_BYTES, SequentialRun

__all__ = ["AccessHistory", "RunForecast", "RunHistory"]

_COMPARED_RUNS = 4
"""The number of earlier runs that a forecast compares. With fewer runs there is no forecast,
because a few runs are no pattern yet."""

_EQUAL_LENGTH_FACTOR = 1.25
"""Runs count as equally long if the longest is at most this many times as long as the shortest.
The kernel's own readahead can make a run of 1 MiB longer by one READ of 128 KiB."""


_IGNORED_RUNS = 1
"""The number of the shortest compared runs that a forecast ignores. Parts of some runs are in the
page cache of the kernel, so the kernel sends fewer READs for them."""


class RunForecast(NamedTuple):
    """The expected length of a run in bytes; 0 if unknown."""

    shortest: int
    longest: int
    #: The least length of the first READ of a run.
    first_read: int
    #: True if the last runs were equally long.
    are_equal: bool


_UNKNOWN = RunForecast(0, 0, 0, are_equal=False)


class RunHistory:
    """The last runs of one object, from all its open files."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        #: Runs after which the same open file began another run. A run in this list may still
        #: continue.
        self._runs: list[SequentialRun] = []

    def add(self, run: SequentialRun) -> None:
        """Add a run after which the same open file has begun another run."""
        self._runs.append(run)
        del self._runs[:-_COMPARED_RUNS]

    def begin(
        self, offset: int, end: int, size: int, previous: SequentialRun | None
    ) -> SequentialRun:
        """Return a new run that begins with a READ of `[offset, end)`, with a forecast.

        Most programs finish one run before they start the next, so `previous`, the last run of the
        same open file, counts as complete. `size` is the size of the object in bytes.
        """
        if previous is not None and size > FIRST_WINDOW_BYTES:
            self.add(previous)
        forecast = self.forecast()
        run = SequentialRun(offset, end, size, forecast.shortest)
        length = end - offset
        run.follows_forecast = forecast.shortest > length >= forecast.first_read
        if forecast.longest > length:
            likely_end = -(-(offset + forecast.longest) // GRANULE_BYTES) * GRANULE_BYTES
            run.likely_end = min(likely_end, size)
            if forecast.are_equal:
                run.expected_end = run.likely_end
        return run

    def forecast(self) -> RunForecast:
        """Return the expected length of the next run."""
        if len(self._runs) < _COMPARED_RUNS:
            return _UNKNOWN
        lengths = sorted([run.bytes_read for run in self._runs])
        are_equal = lengths[-1] <= lengths[0] * _EQUAL_LENGTH_FACTOR
        first_read = min([run.first_bytes for run in self._runs])
        return RunForecast(lengths[_IGNORED_RUNS], lengths[-1], first_read, are_equal)


class AccessHistory:
    """The READs of one object, from all its open files."""

    __slots__ = ("coverage", "runs")

    def __init__(self) -> None:
        self.runs = RunHistory()
        self.coverage = ReadCoverage()
