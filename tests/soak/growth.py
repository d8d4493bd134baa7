"""The states that each growing object has had, to decide which states a reader may see.

Theory of operation. A state is a size of one version of an object. The states of an object are
ordered: all sizes of one version, then all sizes of the next version. Each state has the time at
which the appender started to create the state, and the time at which the emulator confirmed the
state. A reader requests the state at one time and gets an answer at a later time. The answer is
right if

1. the appender had started to create the answered state by the time of the answer;
2. the answered state is not older than the newest state that the emulator had confirmed
   `TTL_SECONDS + LATE_SECONDS` before the request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LATE_SECONDS", "TTL_SECONDS", "Growth", "Seen", "State", "WrongState"]

TTL_SECONDS = 1.0
"""The mount's `--metadata-ttl` in seconds."""

LATE_SECONDS = 5.0
"""Maximum number of seconds by which faults may delay an answer of the emulator. Faults stall a
connection for up to 2 s, stop the mount for up to 2 s, and delay calls. Several lookups of the same
name may get the same late answer."""


class WrongState(Exception):
    """A reader saw a state that the object never had, or a state that was too old."""


@dataclass(slots=True)
class State:
    """A state of an object: its version and size. Times are times of the monotonic clock."""

    version: int
    size: int
    started_at: float
    #: Time at which the emulator confirmed the state; infinite if the state is unconfirmed.
    confirmed_at: float = math.inf


@dataclass(frozen=True, slots=True)
class Seen:
    """A state that a reader has seen. `version` is None if too few bytes were read to know it."""

    name: str
    version: int | None
    size: int
    requested_at: float
    answered_at: float

    def __str__(self) -> str:
        return f"{self.name} with {self.size} bytes of version {self.version}"


class Growth:
    """The states of all growing objects. One thread adds states, another thread reads states."""

    def __init__(self) -> None:
        self._states: dict[str, list[State]] = {}

    def begin(self, name: str, version: int, size: int, now: float) -> State:
        """Add a state that the appender starts to create. The caller sets `confirmed_at` later."""
        state = State(version, size, now)
        self._states.setdefault(name, []).append(state)
        return state

    def overwritten(self, name: str, since: float, until: float) -> bool:
        """Return whether a new version may have replaced the version that a reader has opened.

        `since` is the time at which the reader looked the file up. Versions that were started after
        `until` do not count.
        """
        states = list(self._states.get(name, ()))
        firsts = {state.version: state.started_at for state in reversed(states)}
        return any(
            since - TTL_SECONDS - LATE_SECONDS <= started_at <= until
            for started_at in firsts.values()
        )

    def staleness(self, seen: Seen) -> float:
        """Return for how many seconds a state was outdated when the reader requested the state.

        A state is outdated as soon as the emulator has confirmed a newer state.

        Raises:
            WrongState: the object did not have the state before the answer.
        """
        over = math.inf
        found: list[float] = []
        for state in reversed(list(self._states.get(seen.name, ()))):
            known = seen.version is None or state.version == seen.version
            if known and state.size == seen.size and state.started_at <= seen.answered_at:
                found.append(max(0.0, seen.requested_at - over))
            over = min(over, state.confirmed_at)
        if not found:
            raise WrongState(f"{seen}: the object did not have this state before the answer")
        return min(found)

    def check(self, seen: Seen) -> float:
        """Return the same as `staleness`, but raise an exception if the state is too old.

        Raises:
            WrongState: the object did not have the state, or the state was outdated for too long.
        """
        seconds = self.staleness(seen)
        if seconds > TTL_SECONDS + LATE_SECONDS:
            raise WrongState(
                f"{seen}: a newer state was confirmed {seconds:.1f} s before the request"
            )
        return seconds
