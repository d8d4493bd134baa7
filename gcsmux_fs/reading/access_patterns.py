"""Sequential runs of READs, and the length of earlier runs as a forecast of the next one."""

from __future__ import annotations

__all__ = ["TOLERANCE_BYTES", "RunHistory", "SequentialRun"]

TOLERANCE_BYTES = 1024 * 1024
"""How far READs of one run arrive out of order: the kernel has up to 12 READs of 128 KiB pending,
and sends them in any order."""

_COMPARED_RUNS = 4
"""The number of earlier runs that must exist before a forecast: a few READs are no pattern yet."""

_EQUAL_LENGTH_FACTOR = 1.25
"""The longest of the compared runs has at most this many times the length of the shortest, or they
have no common length. The kernel's own readahead adds up to one READ of 128 KiB to a run of 1 MiB.
"""


class SequentialRun:
    """READs of one open file that follow each other, and the readahead planned for them.

    A single READ that has no successor yet is a run without a plan. Compared by identity.
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
        #: The end of this run if it is as long as the earlier runs; 0 if their lengths differ.
        #: No range beyond this end is planned before a READ of the run has passed it.
        self.expected_end = expected_end
        #: The end of the furthest READ.
        self.position = position
        #: The number of bytes that should be ready or loading ahead of `position`.
        self.window = 0
        self.restart()

    def restart(self) -> None:
        """Discard the plan, and plan from the current position on."""
        #: The end of the planned ranges: READs or readahead have requested all before it.
        self.planned_end = self.position
        #: Another run has got a plan since the last READ of this run.
        self.may_have_ended = False
        #: The window does not grow if a READ before this offset waits.
        self.growth_offset = self.position
        #: A READ that ends at or after this offset calls for the next plan.
        self.replan_offset = self.position
        #: The planned ranges before this offset have been released.
        self.release_offset = self.position

    def __repr__(self) -> str:
        return (
            f"<SequentialRun at {self.position}, window {self.window},"
            f" planned to {self.planned_end}>"
        )

    @property
    def is_sparse(self) -> bool:
        """Whether the READs skipped most of the bytes that they passed: not sequential."""
        passed_bytes = self.position - self.start
        return passed_bytes > TOLERANCE_BYTES and self.bytes_read * 4 < passed_bytes


class RunHistory:
    """The last runs of one object, by all open files."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        #: Runs after which their reader began another run; a run may still go on.
        self._runs: list[SequentialRun] = []

    def add(self, run: SequentialRun) -> None:
        """Add a run after which its reader has begun another."""
        self._runs.append(run)
        del self._runs[:-_COMPARED_RUNS]

    def forecast(self) -> tuple[int, int]:
        """Return the least and the greatest length of the next run in bytes; 0 is unknown."""
        if len(self._runs) < _COMPARED_RUNS:
            return 0, 0
        lengths = [run.bytes_read for run in self._runs]
        shortest, longest = min(lengths), max(lengths)
        return shortest, longest if longest <= shortest * _EQUAL_LENGTH_FACTOR else 0
