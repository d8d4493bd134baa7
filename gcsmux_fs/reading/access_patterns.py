"""Records sequential runs of READs, and forecasts the length of the next run from earlier runs."""

from __future__ import annotations

__all__ = ["TOLERANCE_BYTES", "RunHistory", "SequentialRun"]

TOLERANCE_BYTES = 1024 * 1024
"""A READ belongs to a run if it starts at most this many bytes before or after the run's position.
The tolerance is needed because the kernel has up to 12 READs of 128 KiB in flight, and sends these
READs in any order."""

_COMPARED_RUNS = 4
"""The number of earlier runs that a forecast compares. With fewer runs there is no forecast,
because a few runs are no pattern yet."""

_EQUAL_LENGTH_FACTOR = 1.25
"""Runs count as equally long if the longest is at most this many times as long as the shortest.
The kernel's own readahead can make a run of 1 MiB longer by one READ of 128 KiB."""


class SequentialRun:
    """READs of one open file that follow each other, and the readahead planned for these READs.

    A single READ that has no successor yet is a run without a plan. A run is equal only to itself.
    """

    __slots__ = (
        "bytes_read",
        "expected_bytes",
        "expected_end",
        "growth_offset",
        "may_have_ended",
        "planned_end",
        "position",
        "release_offset",
        "replan_offset",
        "start",
        "window",
    )

    def __init__(self, start: int, position: int, expected_bytes: int, expected_end: int) -> None:
        self.start = start
        self.bytes_read = position - start
        #: The least length that the run is expected to reach, in bytes; 0 if unknown.
        self.expected_bytes = expected_bytes
        #: The offset where this run ends if it is as long as the earlier runs; 0 if the lengths of
        #: the earlier runs differ. No range beyond this offset is planned before a READ of this run
        #: has passed the offset.
        self.expected_end = expected_end
        #: The end offset of the furthest READ.
        self.position = position
        #: The number of bytes that should be ready or loading ahead of `position`.
        self.window = 0
        self.restart()

    def restart(self) -> None:
        """Discard the plan, and plan from the current position on."""
        #: READs or readahead have requested all bytes of the run before this offset.
        self.planned_end = self.position
        #: True if another run has got a plan since the last READ of this run.
        self.may_have_ended = False
        #: The window grows only if a READ at or after this offset has to wait.
        self.growth_offset = self.position
        #: The next plan is made when a READ ends at or after this offset.
        self.replan_offset = self.position
        #: The planned ranges before this offset have been released: the cache may evict them.
        self.release_offset = self.position

    def __repr__(self) -> str:
        return (
            f"<SequentialRun at {self.position}, window {self.window},"
            f" planned to {self.planned_end}>"
        )

    @property
    def is_sparse(self) -> bool:
        """Whether the READs skipped more than 3/4 of the run. Such a run is not sequential."""
        passed_bytes = self.position - self.start
        return passed_bytes > TOLERANCE_BYTES and self.bytes_read * 4 < passed_bytes


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

    def forecast(self) -> tuple[int, int]:
        """Return the expected least and greatest length of the next run in bytes; 0 if unknown."""
        if len(self._runs) < _COMPARED_RUNS:
            return 0, 0
        lengths = [run.bytes_read for run in self._runs]
        shortest, longest = min(lengths), max(lengths)
        return shortest, longest if longest <= shortest * _EQUAL_LENGTH_FACTOR else 0
