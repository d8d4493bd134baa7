"""Which connection a call goes to, and when a connection is made anew: pure decisions.

A channel is one connection. The next one is made when those before it are full, and the least
loaded takes the call when there may be no more.

A connection can be dead without anybody being told: a router has forgotten it, or its server lost
power. What is sent on it is swallowed, and each new call would fall silent as well until keepalive
finds out, after more than a minute. So a connection is *worn*, and left for a new one, when a call
on it was given up after nothing at all had been heard for a while, and when nothing has been asked
of it for so long that it may be forgotten. Calls that it still carries go on; it is closed when
they have ended.

A connection that has been idle for so long is closed even if no call follows: gRPC's threads wake
up some ten times a second while one is open, and end with the last one.

There is no clock: times come in as arguments.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CALLS_PER_CONNECTION",
    "CONNECTION_SILENCE_SECONDS",
    "IDLE_SECONDS",
    "Connection",
    "Connections",
]

CALLS_PER_CONNECTION = 80
"""Front ends commonly allow 100 streams on a connection, and gRPC lets any further call wait until
one of them ends: a reader would wait for streams that are merely idle."""

CONNECTION_SILENCE_SECONDS = 5.0
"""Longer than a working service takes to say something on a connection of many calls, shorter than
any patience with one call."""

IDLE_SECONDS = 90.0
"""As long as Go's HTTP client keeps one (net/http, DefaultTransport); what forgets idle connections
takes some minutes. Keepalive asks on behalf of calls only."""

Channel = TypeVar("Channel")


class Connection(Generic[Channel]):
    """One channel, how many calls it carries, and whether it may be dead."""

    __slots__ = (
        "_close",
        "_idle_since",
        "_may_be_dead",
        "_silence",
        "_unanswered_since",
        "channel",
        "load",
    )

    def __init__(
        self, channel: Channel, silence_seconds: float = CONNECTION_SILENCE_SECONDS
    ) -> None:
        self.channel = channel
        self.load = 0
        self._silence = silence_seconds
        self._unanswered_since = math.inf
        self._idle_since = math.inf
        self._may_be_dead = False
        self._close: Callable[[Channel], None] | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.channel!r}: {self.load} calls>"

    def is_worn(self, now: float) -> bool:
        """Tell whether calls had better go elsewhere."""
        return self._may_be_dead or now - self._idle_since >= IDLE_SECONDS

    def idle_until(self, now: float) -> float:
        """Return when it will have been idle for too long, if no call begins after `now`."""
        return min(now, self._idle_since) + IDLE_SECONDS

    def begun(self) -> None:
        """Note that a call begins."""
        self.load += 1
        self._idle_since = math.inf

    def ended(self, now: float) -> None:
        """Note that a call has ended, however."""
        self.load -= 1
        if self.load:
            return
        if self._close is not None:
            self._close(self.channel)
        self._idle_since = now

    def sent(self, now: float) -> None:
        """Note that a message goes out that is to be answered."""
        self._unanswered_since = min(self._unanswered_since, now)

    def heard(self) -> None:
        """Note that something has come in, on any call."""
        self._unanswered_since = math.inf
        self._may_be_dead = False

    def given_up(self, now: float) -> None:
        """Note that a call is cancelled from this side, or its time is up."""
        if now - self._unanswered_since >= self._silence:
            self._may_be_dead = True

    def retire(self, close: Callable[[Channel], None]) -> None:
        """Have the channel closed as soon as it carries no call."""
        if self.load:
            self._close = close
        else:
            close(self.channel)


class Connections(Generic[Channel]):
    """The connections of one kind of calls, `most` of them, in the order in which they fill.

    `make` and `close` are called for each channel once. `call_later` has a function called after
    so many seconds, with the time at that moment.
    """

    __slots__ = ("_all", "_call_later", "_close", "_make", "_most", "_silence", "_sweeps")

    def __init__(
        self,
        make: Callable[[], Channel],
        close: Callable[[Channel], None],
        *,
        most: int,
        call_later: Callable[[float, Callable[[float], None]], object],
        silence_seconds: float = CONNECTION_SILENCE_SECONDS,
    ) -> None:
        self._make = make
        self._close = close
        self._most = most
        self._silence = silence_seconds
        self._call_later = call_later
        self._sweeps = False
        self._all: list[Connection[Channel]] = []

    def pick(self, now: float) -> Connection[Channel]:
        """Return the connection for a call that begins now."""
        if not self._sweeps:
            self._sweeps = True
            self._call_later(IDLE_SECONDS, self._sweep)
        for index, one in enumerate(self._all):
            if one.is_worn(now):
                one.retire(self._close)
                self._all[index] = self._new()
            if self._all[index].load < CALLS_PER_CONNECTION:
                return self._all[index]
        if len(self._all) < self._most:
            self._all.append(self._new())
            return self._all[-1]
        return min(self._all, key=lambda one: one.load)

    def _sweep(self, now: float) -> None:
        """Close connections that have been idle for too long, now and until none is left."""
        idle = [one for one in self._all if not one.load and one.is_worn(now)]
        self._all = [one for one in self._all if one not in idle]
        for one in idle:
            one.retire(self._close)
        self._sweeps = bool(self._all)
        if self._sweeps:
            due = min(one.idle_until(now) for one in self._all)
            self._call_later(due - now, self._sweep)

    def _new(self) -> Connection[Channel]:
        return Connection(self._make(), self._silence)
