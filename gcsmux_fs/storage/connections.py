"""Which connection a call goes to: a pure decision.

A channel is one connection. The next one is used when those before it are full, and the least
loaded when all are.

A connection can be dead without anybody being told: a router has forgotten it, or its server lost
power. What is sent on it is swallowed, and keepalive finds out in `_SUSPECT_SECONDS`; until then
each new call would fall silent as well. So a connection on which a call was given up after nothing
at all had been heard for a while is passed over, until something is heard there or keepalive must
have done its work.

There is no clock: times come in as arguments.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CALLS_PER_CONNECTION", "SILENCE_SECONDS", "Connection", "Connections"]

CALLS_PER_CONNECTION = 80
"""Front ends commonly allow 100 streams on a connection, and gRPC lets any further call wait until
one of them ends: a reader would wait for streams that are merely idle."""

SILENCE_SECONDS = 5.0
"""Longer than a working service takes to say something on a connection of many calls, shorter than
any patience with one call."""

_SUSPECT_SECONDS = 90.0
"""Keepalive asks after 60 s and waits for 20 s, and a connection without calls is closed after 60 s
(see `channel`); gRPC then connects anew."""

Channel = TypeVar("Channel")


class Connection(Generic[Channel]):
    """One channel, how many calls it carries, and whether it may be dead."""

    __slots__ = ("_silence", "_suspect_until", "_unanswered_since", "channel", "load")

    def __init__(self, channel: Channel, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.channel = channel
        self._silence = silence_seconds
        self.load = 0
        self._unanswered_since = math.inf
        self._suspect_until = -math.inf

    def is_suspect(self, now: float) -> bool:
        """Tell whether calls had better go elsewhere."""
        return now < self._suspect_until

    def sent(self, now: float) -> None:
        """Note that a message goes out that is to be answered."""
        self._unanswered_since = min(self._unanswered_since, now)

    def heard(self) -> None:
        """Note that something has come in, on any call."""
        self._unanswered_since = math.inf
        self._suspect_until = -math.inf

    def given_up(self, now: float) -> None:
        """Note that a call was cancelled from this side."""
        if now - self._unanswered_since >= self._silence:
            self._suspect_until = now + _SUSPECT_SECONDS


class Connections(Generic[Channel]):
    """All of a mount's connections for streams, in their order; the last ones are used least."""

    __slots__ = ("_all",)

    def __init__(
        self, channels: Iterable[Channel], silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self._all = [Connection(channel, silence_seconds) for channel in channels]

    def pick(self, now: float) -> Connection[Channel]:
        """Return the connection for the next call."""
        usable = self._usable(now)
        for one in usable:
            if one.load < CALLS_PER_CONNECTION:
                return one
        return min(usable, key=lambda one: one.load)

    def spare(self, now: float) -> Connection[Channel]:
        """Return a connection for a call whose own may be dead: one of few streams, if any."""
        return min(reversed(self._usable(now)), key=lambda one: one.load)

    def _usable(self, now: float) -> list[Connection[Channel]]:
        return [one for one in self._all if not one.is_suspect(now)] or self._all
