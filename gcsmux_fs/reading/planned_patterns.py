"""The patterns of one open file that have a readahead plan, and the ranges that they release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.model.values import ByteRange
    from gcsmux_fs.reading.access_pattern import AccessPattern

__all__ = ["MAX_PATTERNS", "PlannedPatterns", "ReadaheadPlan"]

MAX_PATTERNS = 16
"""Maximum number of patterns with a plan in one open file. Sixteen threads may read one file
through one descriptor. Each READ that does not continue the pattern of the last READ is compared
with all patterns."""


@dataclass(frozen=True, slots=True)
class ReadaheadPlan:
    """The ranges to fetch, nearest first, and the ranges to release."""

    fetch: tuple[ByteRange, ...]
    release: tuple[ByteRange, ...]
    #: True if the pattern has no ready or loading bytes ahead yet.
    first_window: bool


class PlannedPatterns:
    """Patterns with a plan, the least recently used first."""

    __slots__ = ("_patterns", "_released")

    def __init__(self) -> None:
        self._patterns: list[AccessPattern] = []
        self._released: list[ByteRange] = []

    def __repr__(self) -> str:
        return f"{self._patterns}"

    def __len__(self) -> int:
        return len(self._patterns)

    def __iter__(self) -> Iterator[AccessPattern]:
        return iter(self._patterns)

    @property
    def ahead_bytes(self) -> int:
        """The number of planned bytes that the patterns still expect READs of."""
        return sum([each.ahead_bytes for each in self._patterns])

    def match(self, offset: int, end: int) -> AccessPattern | None:
        """Return the nearest pattern to which a READ belongs; None if there is none."""
        nearest: AccessPattern | None = None
        least = 0
        for pattern in reversed(self._patterns):
            distance = pattern.distance(offset, end)
            if distance is None:
                continue
            if not distance:
                return pattern
            if nearest is None or distance < least:
                nearest, least = pattern, distance
        return nearest

    def use(self, pattern: AccessPattern) -> None:
        """Make a pattern the most recently used one."""
        pattern.may_have_ended = False
        if pattern is not self._patterns[-1]:
            self._patterns.remove(pattern)
            self._patterns.append(pattern)

    def add(self, pattern: AccessPattern) -> AccessPattern | None:
        """Add a pattern. Return the pattern that ends because there were too many."""
        ended = None
        if len(self._patterns) >= MAX_PATTERNS:
            ended = self._patterns[0]
            self.end(ended)
        for other in self._patterns:
            other.may_have_ended = True
        pattern.may_have_ended = False
        self._patterns.append(pattern)
        return ended

    def end(self, pattern: AccessPattern) -> None:
        """End the plan of a pattern, and release its ranges."""
        self._patterns.remove(pattern)
        self._released += pattern.finish()

    def pop_released(self) -> list[ByteRange]:
        """Return the ranges of the patterns that have ended since the last call."""
        released, self._released = self._released, []
        return released

    def share(self, limit: int) -> int:
        """Return how many bytes each active pattern may have ahead of `limit` bytes in all.

        The bytes that inactive patterns have ahead are subtracted first, but at most half of
        `limit`. At least one pattern must be active.
        """
        inactive_bytes = sum([each.ahead_bytes for each in self._patterns if each.may_have_ended])
        active_patterns = sum([not each.may_have_ended for each in self._patterns])
        return max(limit - inactive_bytes, limit // 2) // active_patterns
