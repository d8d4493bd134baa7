"""Decide whether a program may see an error, by the troubles at that time.

An error is excused

1. by the other writer: `ESTALE` (or SIGBUS through a mapping) of an object that is overwritten or
deleted; for a growing object, only if it was started again since the lookup;
2. by a trouble: a rule in force during the call, or just before it, makes the service refuse
finally or corrupt answers repeatedly;
3. by a timeout: the service failed for about as long as `--read-timeout`. The trouble may last
longer than its rule, because the mount is not notified of the end of the rule.

Every other error is a failure of the mount.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .growth import Growth
from .layout import Fate, fate_of

if TYPE_CHECKING:
    from .schedule import Phase

__all__ = ["SIGBUS", "Failure", "Timeline"]

SIGBUS = "SIGBUS"
_LASTING = frozenset({"EIO", "ETIMEDOUT"})
# Bytes in flight at the end of a trouble still arrive.
_AFTERMATH_SECONDS = 2.0
# The deadline of a call may start a moment after the call.
_WHOLE = 0.85


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call; times are of the monotonic clock.

    `since` is the time of the lookup of the file that it used.
    """

    operation: str
    name: str
    errno: str
    started_at: float
    ended_at: float
    since: float

    def __str__(self) -> str:
        seconds = self.ended_at - self.started_at
        return f"{self.operation} {self.name}: {self.errno} after {seconds:.1f} s"


@dataclass(slots=True)
class Timeline:
    """The troubles in force over time."""

    read_timeout: float
    growth: Growth = field(default_factory=Growth)
    _phases: list[tuple[float, float, Phase]] = field(default_factory=list)

    def begin_phase(self, phase: Phase, now: float) -> None:
        """Record the start of a phase."""
        self._phases.append((now, float("inf"), phase))

    def end_phase(self, now: float) -> None:
        """Record the end of a phase: no trouble is in force."""
        if self._phases and self._phases[-1][1] == float("inf"):
            begin, _, phase = self._phases[-1]
            self._phases[-1] = (begin, now, phase)

    def excuse(self, failure: Failure) -> str | None:
        """Return the excuse for a failure; None if there is no excuse."""
        if failure.errno in ("ESTALE", SIGBUS) and self._may_be_gone(failure):
            return "overwritten"
        around = self._between(failure.started_at - _AFTERMATH_SECONDS, failure.ended_at)
        for phase in around:
            if failure.errno in phase.excuses or (failure.errno == SIGBUS and phase.excuses):
                return "ordered"
        waited = failure.ended_at - failure.started_at
        lasting = failure.errno in _LASTING or failure.errno == SIGBUS
        return "lasted" if lasting and waited >= _WHOLE * self.read_timeout else None

    def _may_be_gone(self, failure: Failure) -> bool:
        fate = fate_of(failure.name)
        if fate is Fate.GROWS:
            return self.growth.overwritten(failure.name, failure.since, failure.ended_at)
        return fate is not Fate.STAYS

    def describe(self, failure: Failure) -> str:
        """Describe a failure and the troubles around it."""
        earliest = failure.started_at - self.read_timeout
        around = "; ".join(str(phase) for phase in self._between(earliest, failure.ended_at))
        return f"{failure}; in force before: {around or 'nothing'}"

    def _between(self, begin: float, end: float) -> list[Phase]:
        return [phase for since, until, phase in self._phases if since <= end and until >= begin]
