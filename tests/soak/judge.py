"""Decide whether a program may see an error, based on the troubles active at that time.

An error is allowed for one of three reasons:

1. The other writer. `ESTALE` (or SIGBUS through a mapping) is allowed for an object that is
overwritten or deleted. For a growing object, these errors are allowed only if a new version of the
object was started after the file was looked up.
2. A trouble. A rule that is active during the call, or was active just before the call, makes the
emulator refuse calls permanently or corrupt answers repeatedly.
3. A timeout. The call failed after about `--read-timeout`. No rule needs to be active at that time,
because nothing notifies the mount of the end of a rule, so the mount may still wait.

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
# Number of seconds for which a trouble excuses errors after its end, because bytes that were sent
# during the trouble may still be in flight.
_AFTERMATH_SECONDS = 2.0
# Minimum duration of a call that counts as timed out, as a fraction of the read timeout.
_WHOLE = 0.85


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call. Times are times of the monotonic clock.

    `since` is the time at which the file of the call was looked up.
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
    """The troubles of a soak, and the times at which they were active."""

    read_timeout: float
    growth: Growth = field(default_factory=Growth)
    _phases: list[tuple[float, float, Phase]] = field(default_factory=list)

    def begin_phase(self, phase: Phase, now: float) -> None:
        """Record the start of a phase."""
        self._phases.append((now, float("inf"), phase))

    def end_phase(self, now: float) -> None:
        """Record the end of a phase: from now on, no trouble is active."""
        if self._phases and self._phases[-1][1] == float("inf"):
            begin, _, phase = self._phases[-1]
            self._phases[-1] = (begin, now, phase)

    def excuse(self, failure: Failure) -> str | None:
        """Return the reason that allows a failure; None if the failure is not allowed."""
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
        """Describe a failure and the troubles that were active during the call or before it."""
        earliest = failure.started_at - self.read_timeout
        around = "; ".join(str(phase) for phase in self._between(earliest, failure.ended_at))
        return f"{failure}; troubles until then: {around or 'none'}"

    def _between(self, begin: float, end: float) -> list[Phase]:
        return [phase for since, until, phase in self._phases if since <= end and until >= begin]
