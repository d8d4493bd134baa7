"""What the appender has made of each object that grows, and whether a reader may have seen it so.

Theory of operation. The states of a name follow each other in one order: sizes of one version, then
those of the next. Each has the instant at which the appender began to bring it about, and the one
at which the service had said that it is so. A reader asks at some instant which state there is and
is told at a later one. What it is told

1. is a state that the appender had begun to bring about by then;
2. is not older than what the service had confirmed when the reader asked, less what a name may be
   believed for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LATE_SECONDS", "TTL_SECONDS", "Growth", "Seen", "State", "WrongState"]

TTL_SECONDS = 1.0
"""The mount's `--metadata-ttl`."""

LATE_SECONDS = 5.0
"""How much later than it was given an answer of the service may arrive: a connection stalls and the
mount is stopped, up to 2 s each, and calls are delayed. Programs that want the same name meanwhile
have the same answer."""


class WrongState(Exception):
    """An object was seen as it never was, or was no more."""


@dataclass(slots=True)
class State:
    """A size of one version of an object; instants are of the monotonic clock."""

    version: int
    size: int
    begun: float
    #: When the service had said so; infinite if it has not.
    ended: float = math.inf


@dataclass(frozen=True, slots=True)
class Seen:
    """A state that a reader has seen; the version is None where too few bytes tell it."""

    name: str
    version: int | None
    size: int
    asked: float
    told: float

    def __str__(self) -> str:
        return f"{self.name} with {self.size} bytes of version {self.version}"


class Growth:
    """The states of all objects that grow; one thread writes, another one reads."""

    def __init__(self) -> None:
        self._states: dict[str, list[State]] = {}

    def begin(self, name: str, version: int, size: int, now: float) -> State:
        """Take note that a state is about to be brought about; the caller says when it has been."""
        state = State(version, size, now)
        self._states.setdefault(name, []).append(state)
        return state

    def overwritten(self, name: str, since: float, until: float) -> bool:
        """Return whether a file of that name, looked up at `since`, may be gone by `until`."""
        states = list(self._states.get(name, ()))
        firsts = {state.version: state.begun for state in reversed(states)}
        return any(
            since - TTL_SECONDS - LATE_SECONDS <= begun <= until for begun in firsts.values()
        )

    def staleness(self, seen: Seen) -> float:
        """Return for how many seconds what was seen had been over when it was asked for.

        Raises:
            WrongState: it never was so, or not yet.
        """
        over = math.inf
        found: list[float] = []
        for state in reversed(list(self._states.get(seen.name, ()))):
            known = seen.version is None or state.version == seen.version
            if known and state.size == seen.size and state.begun <= seen.told:
                found.append(max(0.0, seen.asked - over))
            over = min(over, state.ended)
        if not found:
            raise WrongState(f"{seen}: it has never been so, or not yet")
        return min(found)

    def check(self, seen: Seen) -> float:
        """Do as `staleness`, and refuse what is too old as well.

        Raises:
            WrongState: it was not so when it was seen.
        """
        seconds = self.staleness(seen)
        if seconds > TTL_SECONDS + LATE_SECONDS:
            raise WrongState(f"{seen}: this was over {seconds:.1f} s before it was asked for")
        return seconds
