"""The settings of a `PullCore`, the actions that it asks its driver to carry out, its counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.metrics.registry import counter, labelled_counter
from gcsmux_fs.model.backoff import Backoff

if TYPE_CHECKING:
    from gcsmux_fs.changes.pull_states import PullEvent, PullState
    from gcsmux_fs.storage.ports import PullOrder

__all__ = [
    "FeedCounters",
    "NoteGap",
    "NoteQuiet",
    "OpenPull",
    "PullAction",
    "PullMoved",
    "PullPolicy",
    "SendOrder",
    "StopPull",
]


@dataclass(frozen=True, slots=True)
class PullPolicy:
    """The limits and times of the stream; times are in seconds.

    Attributes:
        ack_deadline: time after which the service delivers a message again that is not
            acknowledged; Pub/Sub takes 10 s at least. Messages that were sent on a dead connection
            are late by this time, and the new stream looks healthy meanwhile.
        max_messages: maximum number of delivered messages that are not acknowledged. 10,000
            messages a second need 1,000 of them at a round trip of 50 ms and `ack_delay`.
        max_bytes: maximum size of these messages. A message has about 1.5 KB.
        ack_delay: time for which acknowledgements are collected. It saves wake-ups of two threads.
        ping: time without a response after which a keep-alive is sent. Google's clients send one
            every 30 s. A shorter time detects a dead stream sooner, and names are valid until then.
        settle: the same time just after the stream has opened. The answer to this keep-alive shows
            that no delayed messages are left.
        answer: time in which the service answers a keep-alive, as in Google's clients.
        open: time in which the service answers on a new stream: an attempt to connect (10 s) and
            `answer`.
        steady: time after which an open stream counts as progress, so that its end is retried
            without delay. The service ends each stream after at most half an hour.
        first_backoff: upper bound of the first backoff, as for streams of objects.
        max_backoff: upper bound of every backoff: how long names may be unwatched after an outage.
        refused: time between two attempts after the service has refused the stream. An
            administrator may repair the cause.
        skip: maximum time for which messages from before the start are skipped.
        retention: shortest time for which a subscription may be set to keep messages. After a
            longer interruption, messages may be lost.
    """

    ack_deadline: int = 10
    max_messages: int = 5000
    max_bytes: int = 16 * 1024 * 1024
    ack_delay: float = 0.05
    ping: float = 10.0
    settle: float = 1.0
    answer: float = 15.0
    open: float = 25.0
    steady: float = 10.0
    first_backoff: float = 0.1
    max_backoff: float = 10.0
    refused: float = 60.0
    skip: float = 60.0
    retention: float = 600.0

    @property
    def backoff(self) -> Backoff:
        """The backoff between two attempts to open the stream."""
        return Backoff(self.first_backoff, self.max_backoff)


@dataclass(frozen=True, slots=True)
class OpenPull:
    """Open the stream with the number `stream`."""

    stream: int


@dataclass(frozen=True, slots=True)
class SendOrder:
    """Send a message on the current stream."""

    order: PullOrder


@dataclass(frozen=True, slots=True)
class StopPull:
    """Cancel the call of the current stream."""


@dataclass(frozen=True, slots=True)
class PullMoved:
    """`event` changed the state of the stream from `before` to `after`; `detail` says why."""

    before: PullState
    after: PullState
    stream: int
    event: PullEvent
    detail: str


@dataclass(frozen=True, slots=True)
class NoteGap:
    """Report that messages may have been lost before now."""


@dataclass(frozen=True, slots=True)
class NoteQuiet:
    """Report that the service has no message left to deliver."""


PullAction = OpenPull | SendOrder | StopPull | PullMoved | NoteGap | NoteQuiet


@dataclass(slots=True)
class FeedCounters:
    """What a change feed has received, sent and lost."""

    changes_received: int = counter("messages", "Messages received from the subscription.")
    changes_skipped: int = counter(
        "messages", "Messages acknowledged unread, because they are older than this mount."
    )
    changes_foreign: int = counter(
        "messages", "Messages ignored, because they are not about a change of the bucket."
    )
    changes_handed: int = counter("messages", "Messages applied to the names of the mount.")
    changes_acknowledged: int = counter("messages", "Messages acknowledged.")
    changes_extended: int = counter(
        "messages", "Extensions of the deadline of messages that wait to be applied."
    )
    changes_keep_alives: int = counter("messages", "Keep-alives sent to the service.")
    changes_gaps: int = counter("gaps", "Times at which messages may have been lost.")
    changes_streams_opened: int = counter("streams", "StreamingPull streams opened.")
    changes_streams_lost: dict[tuple[str, ...], int] = labelled_counter(
        "streams",
        "StreamingPull streams that ended, by reason: a status code in lower case, silence,"
        " suspended or token_refused. The service ends each stream after at most half an hour.",
        "reason",
    )
    changes_stale_events: int = counter(
        "events", "Events received for a stream that had ended or been cancelled."
    )

    def note_loss(self, reason: str) -> None:
        """Count a stream that ended."""
        key = (reason,)
        self.changes_streams_lost[key] = self.changes_streams_lost.get(key, 0) + 1
