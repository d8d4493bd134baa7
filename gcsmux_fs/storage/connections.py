"""Decides, without I/O, which connection carries a call and when a connection is replaced.

Each gRPC channel is one connection. Calls fill the connections in order. When all are full, a new
connection is made, up to a maximum number. When this number is reached, a new call uses the
connection with the fewest calls.

A connection can be dead without an error, for example because the server lost power, or because a
router dropped the state of the connection. Each message on a dead connection is lost, and new calls
on it get no response until keepalive detects the dead connection after more than a minute. So a
connection becomes *stale*, and new calls use a new connection, in two cases:

- A call on the connection was cancelled or timed out after a period without any message from the
  server.
- The connection has carried no call for so long that a router may have dropped its state.

Calls on a stale connection continue. The connection is closed when these calls have ended.

An idle connection is closed even if no call follows. While a connection is open, gRPC's threads
wake up about ten times a second. These threads end when the last connection is closed.

This module has no clock: the caller passes the time.
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
"""Number of calls that fill a connection; more calls use another connection. Front ends commonly
allow 100 HTTP/2 streams on a connection, and gRPC delays any further call until one of these
streams ends. BidiReadObject streams stay open while they are idle, so on a full connection a read
could wait for idle streams."""

CONNECTION_SILENCE_SECONDS = 5.0
"""Time without a message from the server after which a connection may be dead. A call that is
cancelled or times out after this time makes its connection stale. On a busy connection, a healthy
service answers at least one call sooner. All timeouts of calls are longer than this time."""

IDLE_SECONDS = 90.0
"""Time after which an idle connection is closed. Go's HTTP client uses the same value (net/http,
DefaultTransport). Routers drop the state of an idle connection after some minutes, and gRPC's
keepalive sends no pings on a connection without calls."""

Channel = TypeVar("Channel")


class Connection(Generic[Channel]):
    """A channel, the number of its calls, and whether it may be dead."""

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
        #: Number of calls that have begun and not ended.
        self.load = 0
        self._silence = silence_seconds
        self._unanswered_since = math.inf
        self._idle_since = math.inf
        self._may_be_dead = False
        self._close: Callable[[Channel], None] | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.channel!r}: {self.load} calls>"

    def is_stale(self, now: float) -> bool:
        """Return whether new calls should use another connection."""
        return self._may_be_dead or now - self._idle_since >= IDLE_SECONDS

    def stale_at(self, now: float) -> float:
        """Return when this connection becomes stale because it is idle, if no call begins."""
        return min(now, self._idle_since) + IDLE_SECONDS

    def note_begin(self) -> None:
        """Record that a call begins."""
        self.load += 1
        self._idle_since = math.inf

    def note_end(self, now: float) -> None:
        """Record that a call has ended, with any status."""
        self.load -= 1
        if self.load:
            return
        if self._close is not None:
            self._close(self.channel)
        self._idle_since = now

    def note_sent(self, now: float) -> None:
        """Record that a message is sent which the server has to answer."""
        self._unanswered_since = min(self._unanswered_since, now)

    def note_received(self) -> None:
        """Record that a message has arrived on any call, so the connection is alive."""
        self._unanswered_since = math.inf
        self._may_be_dead = False

    def note_abandoned(self, now: float) -> None:
        """Record that this side cancels a call, or that a call has timed out."""
        if now - self._unanswered_since >= self._silence:
            self._may_be_dead = True

    def retire(self, close: Callable[[Channel], None]) -> None:
        """Close the channel as soon as it carries no call."""
        if self.load:
            self._close = close
        else:
            close(self.channel)


class Connections(Generic[Channel]):
    """The connections for one kind of calls. Calls fill the connections in order.

    Args:
        make: makes a channel.
        close: closes a channel; called once for each channel.
        most: maximum number of connections.
        call_later: calls a function after a number of seconds, and passes the current time.
        silence_seconds: see `CONNECTION_SILENCE_SECONDS`.
    """

    __slots__ = ("_all", "_call_later", "_close", "_make", "_most", "_silence", "_sweep_is_due")

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
        self._sweep_is_due = False
        self._all: list[Connection[Channel]] = []

    def pick(self, now: float) -> Connection[Channel]:
        """Return the connection for a call that begins now."""
        if not self._sweep_is_due:
            self._sweep_is_due = True
            self._call_later(IDLE_SECONDS, self._sweep)
        for index, connection in enumerate(self._all):
            if connection.is_stale(now):
                connection.retire(self._close)
                self._all[index] = self._new()
            if self._all[index].load < CALLS_PER_CONNECTION:
                return self._all[index]
        if len(self._all) < self._most:
            self._all.append(self._new())
            return self._all[-1]
        return min(self._all, key=lambda connection: connection.load)

    def _sweep(self, now: float) -> None:
        """Close idle connections. While any connection is left, schedule the next sweep."""
        idle = [each for each in self._all if not each.load and each.is_stale(now)]
        self._all = [each for each in self._all if each not in idle]
        for connection in idle:
            connection.retire(self._close)
        self._sweep_is_due = bool(self._all)
        if self._sweep_is_due:
            due = min(connection.stale_at(now) for connection in self._all)
            self._call_later(due - now, self._sweep)

    def _new(self) -> Connection[Channel]:
        return Connection(self._make(), self._silence)
