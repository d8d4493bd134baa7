"""The states of the StreamingPull stream and the transitions between them, as data.

`TRANSITIONS` is complete: if an event occurs in a state for which `TRANSITIONS` does not list the
event, the code has a bug. A test compares `TRANSITIONS` with this list::

    CLOSED                 --STARTED--> OPENING
    OPENING                --ANSWERED--> OPEN
    OPENING, OPEN          --RETRIED--> OPENING
    OPENING, OPEN          --DELAYED, REFUSED--> BACKOFF
    BACKOFF                --BACKOFF_OVER--> OPENING
    OPENING, OPEN, BACKOFF --SHUTDOWN--> CLOSED
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TRANSITIONS", "PullEvent", "PullState"]


class PullState(enum.Enum):
    """The state of the stream. A gRPC call exists in OPENING and OPEN only."""

    #: The feed has not started, or has been closed.
    CLOSED = enum.auto()
    #: The call has started; the service has not answered yet.
    OPENING = enum.auto()
    #: The service has answered.
    OPEN = enum.auto()
    #: The next call starts when the backoff ends.
    BACKOFF = enum.auto()


class PullEvent(enum.Enum):
    """A cause for a transition; the value of a member describes the cause in the log."""

    STARTED = "started"
    ANSWERED = "first response"
    RETRIED = "lost, retry now"
    DELAYED = "lost, retry later"
    REFUSED = "refused, retry slowly"
    BACKOFF_OVER = "the backoff is over"
    SHUTDOWN = "closing"


def _transitions() -> Mapping[tuple[PullState, PullEvent], PullState]:
    closed, opening, open_, backoff = PullState
    event = PullEvent
    table = {
        (closed, event.STARTED): opening,
        (opening, event.ANSWERED): open_,
        (backoff, event.BACKOFF_OVER): opening,
        (backoff, event.SHUTDOWN): closed,
    }
    for state in (opening, open_):
        table |= {
            (state, event.RETRIED): opening,
            (state, event.DELAYED): backoff,
            (state, event.REFUSED): backoff,
            (state, event.SHUTDOWN): closed,
        }
    return MappingProxyType(table)


TRANSITIONS = _transitions()
"""The next state, by the current state and the event."""
