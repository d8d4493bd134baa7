"""The states of an object's stream and the transitions between them, as data.

`TRANSITIONS` is complete: if an event occurs in a state for which `TRANSITIONS` does not list the
event, the code has a bug. A test compares `TRANSITIONS` with this list::

    CLOSED                 --REQUESTED--> OPENING
    OPENING                --ANSWERED--> OPEN
    OPENING, OPEN          --REPLACED, RETRIED--> OPENING
    OPENING, OPEN          --DELAYED--> BACKOFF
    BACKOFF                --BACKOFF_OVER--> OPENING
    OPENING, OPEN          --GIVEN_UP, ENDED_IDLE--> CLOSED
    OPEN                   --IDLE_TIMEOUT, WRONG_GENERATION--> CLOSED
    OPENING, OPEN, BACKOFF --READERS_LEFT, SHUTDOWN--> CLOSED
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TRANSITIONS", "StreamEvent", "StreamState"]


class StreamState(enum.Enum):
    """The state of an object's stream. A gRPC call exists in OPENING and OPEN only."""

    #: There is no call, and no range waits.
    CLOSED = enum.auto()
    #: The call has started; the server has not responded yet.
    OPENING = enum.auto()
    #: The server has responded.
    OPEN = enum.auto()
    #: Ranges wait; the next call starts when the backoff ends.
    BACKOFF = enum.auto()


class StreamEvent(enum.Enum):
    """A cause for a transition; the value of a member describes the cause in the log."""

    REQUESTED = "ranges requested"
    ANSWERED = "first response"
    REPLACED = "the current call cannot serve the requested ranges"
    RETRIED = "lost, retry now"
    DELAYED = "lost, retry later"
    BACKOFF_OVER = "the backoff is over"
    GIVEN_UP = "lost, no further retry"
    ENDED_IDLE = "the stream ended while no range waited"
    IDLE_TIMEOUT = "no range has been requested for the idle time"
    WRONG_GENERATION = "the server serves another generation"
    READERS_LEFT = "all readers have cancelled their ranges"
    SHUTDOWN = "closing"


def _transitions() -> Mapping[tuple[StreamState, StreamEvent], StreamState]:
    closed, opening, open_, backoff = StreamState
    event = StreamEvent
    table = {
        (closed, event.REQUESTED): opening,
        (opening, event.ANSWERED): open_,
        (open_, event.IDLE_TIMEOUT): closed,
        (open_, event.WRONG_GENERATION): closed,
        (backoff, event.BACKOFF_OVER): opening,
        (backoff, event.READERS_LEFT): closed,
        (backoff, event.SHUTDOWN): closed,
    }
    for state in (opening, open_):
        table |= {
            (state, event.REPLACED): opening,
            (state, event.RETRIED): opening,
            (state, event.DELAYED): backoff,
            (state, event.GIVEN_UP): closed,
            (state, event.ENDED_IDLE): closed,
            (state, event.READERS_LEFT): closed,
            (state, event.SHUTDOWN): closed,
        }
    return MappingProxyType(table)


TRANSITIONS = _transitions()
"""The next state, by the current state and the event."""
