"""Whether an error that a program has seen is one that it may see: by what was wrong at the time.

An error is excused

1. as the other writer's work: `ESTALE` (through a mapping SIGBUS) of an object that is overwritten
   or deleted; where it grows, only if it was begun anew since the file was looked up;
2. as what was ordered: a trouble in force during the call, or just before it, makes the service
   refuse for good, or spoils answers again and again;
3. as a service that failed for as long as `--read-timeout`: the call took about that long. What
   was broken may stay so for a while after it was mended: nobody has told that it is.

Everything else is a failure of the mount.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .growth import Growth
from .layout import Fate, fate_of

if TYPE_CHECKING:
    from .schedule import InjectionPoint

__all__ = ["SIGBUS", "Failure", "Timeline"]

SIGBUS = "SIGBUS"
_LASTING = frozenset({"EIO", "ETIMEDOUT"})
# What was on its way when a trouble was mended still arrives.
_AFTERMATH_SECONDS = 2.0
# A call that waited for its deadline may have begun to wait a moment after it was made.
_WHOLE = 0.85


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed; instants are of the monotonic clock.

    `since` is when the file was looked up that it used.
    """

    operation: str
    name: str
    errno: str
    begun: float
    ended: float
    since: float

    def __str__(self) -> str:
        return f"{self.operation} {self.name}: {self.errno} after {self.ended - self.begun:.1f} s"


@dataclass(slots=True)
class Timeline:
    """What was in force when."""

    read_timeout: float
    growth: Growth = field(default_factory=Growth)
    _phases: list[tuple[float, float, InjectionPoint]] = field(default_factory=list)

    def ordered(self, phase: InjectionPoint, now: float) -> None:
        """Take note that the troubles of a phase begin."""
        self._phases.append((now, float("inf"), phase))

    def mended(self, now: float) -> None:
        """Take note that nothing is wrong any more."""
        if self._phases and self._phases[-1][1] == float("inf"):
            begin, _, phase = self._phases[-1]
            self._phases[-1] = (begin, now, phase)

    def excuse(self, failure: Failure) -> str | None:
        """Return why a program may see this; None if it may not."""
        if failure.errno in ("ESTALE", SIGBUS) and self._may_be_gone(failure):
            return "overwritten"
        around = self._between(failure.begun - _AFTERMATH_SECONDS, failure.ended)
        for phase in around:
            if failure.errno in phase.excuses or (failure.errno == SIGBUS and phase.excuses):
                return "ordered"
        waited = failure.ended - failure.begun
        lasting = failure.errno in _LASTING or failure.errno == SIGBUS
        return "lasted" if lasting and waited >= _WHOLE * self.read_timeout else None

    def _may_be_gone(self, failure: Failure) -> bool:
        fate = fate_of(failure.name)
        if fate is Fate.GROWS:
            return self.growth.overwritten(failure.name, failure.since, failure.ended)
        return fate is not Fate.STAYS

    def describe(self, failure: Failure) -> str:
        """Tell a failure and what was wrong around it."""
        earliest = failure.begun - self.read_timeout
        around = "; ".join(str(phase) for phase in self._between(earliest, failure.ended))
        return f"{failure}; in force before: {around or 'nothing'}"

    def _between(self, begin: float, end: float) -> list[InjectionPoint]:
        return [phase for since, until, phase in self._phases if since <= end and until >= begin]
