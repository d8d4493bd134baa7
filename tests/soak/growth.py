"""The states of each growing object over time, to judge which of them a reader may see.

Theory of operation. The states of a name are ordered: sizes of one version, then those of the next.
Each state has the time at which the appender started to create it, and the time at which the
service confirmed it. A reader asks for the state at one time and gets it at a later time. The state
that it sees

1. is one that the appender had started to create by the time of the answer;
2. is not older than the newest state that was confirmed one TTL before the request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LATE_SECONDS", "TTL_SECONDS", "Growth", "Seen", "State", "WrongState"]

TTL_SECONDS = 1.0
"""The mount's `--metadata-ttl`."""

LATE_SECONDS = 5.0
"""The maximum delay of an answer of the service. A connection stalls for up to 2 s, the mount is
stopped for up to 2 s, and calls are delayed. Lookups of the same name share the late answer."""


class WrongState(Exception):
    """A reader saw a state that never existed, or one that was too old."""


@dataclass(slots=True)
class State:
    """A size of one version of an object; times are of the monotonic clock."""

    version: int
    size: int
    started_at: float
    #: The time at which the service confirmed the state; infinite before that.
    confirmed_at: float = math.inf


@dataclass(frozen=True, slots=True)
class Seen:
    """A state that a reader has seen; the version is None if too few bytes were read."""

    name: str
    version: int | None
    size: int
    requested_at: float
    answered_at: float

    def __str__(self) -> str:
        return f"{self.name} with {self.size} bytes of version {self.version}"


class Growth:
    """The states of all growing objects; one thread adds them, another one reads them."""

    def __init__(self) -> None:
        self._states: dict[str, list[State]] = {}

    def begin(self, name: str, version: int, size: int, now: float) -> State:
        """Add a state that the appender starts to create; the caller sets its confirmation."""
        state = State(version, size, now)
        self._states.setdefault(name, []).append(state)
        return state

    def overwritten(self, name: str, since: float, until: float) -> bool:
        """Return whether a file of this name, looked up at `since`, may be deleted by `until`."""
        states = list(self._states.get(name, ()))
        firsts = {state.version: state.started_at for state in reversed(states)}
        return any(
            since - TTL_SECONDS - LATE_SECONDS <= started_at <= until
            for started_at in firsts.values()
        )

    def staleness(self, seen: Seen) -> float:
        """Return the age of the seen state at the time of the request, in seconds.

        Raises:
            WrongState: the state never existed, or did not exist yet.
        """
        over = math.inf
        found: list[float] = []
        for state in reversed(list(self._states.get(seen.name, ()))):
            known = seen.version is None or state.version == seen.version
            if known and state.size == seen.size and state.started_at <= seen.answered_at:
                found.append(max(0.0, seen.requested_at - over))
            over = min(over, state.confirmed_at)
        if not found:
            raise WrongState(f"{seen}: this state never existed, or did not exist yet")
        return min(found)

    def check(self, seen: Seen) -> float:
        """Return the same as `staleness`, but reject states that are too old.

        Raises:
            WrongState: the state was not valid at the time of the request.
        """
        seconds = self.staleness(seen)
        if seconds > TTL_SECONDS + LATE_SECONDS:
            raise WrongState(f"{seen}: this state was outdated {seconds:.1f} s before the request")
        return seconds
