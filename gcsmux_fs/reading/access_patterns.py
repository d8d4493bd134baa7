"""Runs of READs as readers of an object make them, and what they have in common."""

from __future__ import annotations

__all__ = ["TOLERANCE_BYTES", "AccessPatterns", "Cursor"]

TOLERANCE_BYTES = 1024 * 1024
"""How far the READs of one reader stray: the kernel has up to 12 READs of 128 KiB under way."""

_ALIKE_RUNS = 4
"""Runs before that a new one is compared with: enough that a few READs in a row are no habit."""

_ALIKE_FACTOR = 1.25
"""How much longer than the shortest the longest of alike runs is: the kernel reads ahead of the
program by one READ, 128 KiB for 1 MiB, and not each time."""


class Cursor:
    """One run of READs of one open file; mutable, known by its identity.

    It may be no more than one READ, with nothing planned ahead of it.
    """

    __slots__ = (
        "ahead_end",
        "bytes_read",
        "doubted",
        "expected",
        "growth_mark",
        "position",
        "protected_from",
        "start",
        "stop",
        "top_up_at",
        "window",
    )

    def __init__(self, start: int, position: int, expected: int, stop: int) -> None:
        self.start = start
        self.bytes_read = position - start
        #: How long the run is likely to be at least, and where alike runs would have ended (0: none
        #: are known); beyond that nothing is planned before the run itself is there.
        self.expected = expected
        self.stop = stop
        #: Where the furthest READ ended.
        self.position = position
        self.window = 0
        self.begin()

    def begin(self) -> None:
        """Plan from where the run is now, as if it had just begun."""
        #: Everything before this has been asked for, by READs or ahead of them.
        self.ahead_end = self.position
        #: Another run has begun since the last READ of this one, which may have been the last.
        self.doubted = False
        #: A wait for bytes before this does not make the window grow.
        self.growth_mark = self.position
        #: A READ that ends here or later calls for a plan.
        self.top_up_at = self.position
        self.protected_from = self.position

    def __repr__(self) -> str:
        return f"<Cursor at {self.position}, window {self.window}, ahead to {self.ahead_end}>"

    @property
    def is_sparse(self) -> bool:
        """Whether most of what the cursor went over was skipped: not sequential after all."""
        span = self.position - self.start
        return span > TOLERANCE_BYTES and self.bytes_read * 4 < span


class AccessPatterns:
    """The runs of one object, of all who have it open."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        #: The last ones that others followed; a few of them may still go on.
        self._runs: list[Cursor] = []

    def add(self, run: Cursor) -> None:
        """Take note of a run after which its reader has begun another."""
        self._runs.append(run)
        del self._runs[:-_ALIKE_RUNS]

    def expect(self) -> tuple[int, int]:
        """Return how long a new run will be at least and, if all are alike, at most; 0: unknown."""
        if len(self._runs) < _ALIKE_RUNS:
            return 0, 0
        lengths = [run.bytes_read for run in self._runs]
        shortest, longest = min(lengths), max(lengths)
        return shortest, longest if longest <= shortest * _ALIKE_FACTOR else 0
