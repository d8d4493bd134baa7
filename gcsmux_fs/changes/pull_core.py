"""The protocol core of a change feed: one StreamingPull stream after another; sans-IO.

Theory of operation. The driver starts the core, passes the events of the calls to it, and carries
out the actions that `take_actions` returns. Received messages wait in a `DeliveryLedger` until the
driver takes them. One message at a time is sent to the service: acknowledgements, extensions of
deadlines, or a keep-alive.

The service answers each keep-alive, also on a stream without messages. So the core sends one as
soon as the stream has been opened, and the answer shows that the service accepts the subscription.
If a keep-alive is not answered, the connection is dead, and another stream is opened.

Times are passed in as arguments, in seconds of a monotonic clock. `pull_states` defines the states
and the transitions between them. Streams are numbered from 1.

Invariants:
1. Each received message is acknowledged exactly once: when it is taken, or at once if it is skipped
   because it is older than the mount.
2. An event of a stream that is not the current stream changes nothing and is counted.
3. At most one message is being sent at a time.
4. While the stream is open, the service is heard at least every `ping` + `answer` seconds.
   Otherwise the stream is replaced.
5. No end of a stream ends the feed. Between two backoffs, at most two streams are opened without
   delay: one after a first failure, and one with a renewed token.
6. If messages may have been lost, a gap is reported when the next stream is answered.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gcsmux_fs.changes.delivery_ledger import DeliveryLedger
from gcsmux_fs.changes.pull_actions import (
    FeedCounters,
    NoteGap,
    NoteQuiet,
    OpenPull,
    PullAction,
    PullMoved,
    PullPolicy,
    SendOrder,
    StopPull,
)
from gcsmux_fs.changes.pull_endings import PullEndings
from gcsmux_fs.changes.pull_states import TRANSITIONS, PullEvent, PullState
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.state_table import follow
from gcsmux_fs.storage.ports import PullOrder, StreamEnd

if TYPE_CHECKING:
    from random import Random

    from gcsmux_fs.storage.ports import PulledMessage, PullResponse

__all__ = ["PullCore"]


class PullCore:
    """Decides what to send and when, and how to react to each event of the stream.

    `skip_before`: messages that were published before this time, in seconds since 1970, are
    acknowledged unread. This ends when none is left, because the time may come from a wrong clock.
    """

    def __init__(
        self,
        policy: PullPolicy,
        random: Random,
        counters: FeedCounters,
        *,
        skip_before: float,
    ) -> None:
        self.state = PullState.CLOSED
        #: Number of the current stream, from 1; 0 before the first stream.
        self.stream = 0
        self._policy = policy
        self._counters = counters
        self._skip_before = skip_before
        self._skip_until = math.inf
        self._endings = PullEndings(policy, random)
        self._ledger = DeliveryLedger(policy)
        self._actions: list[PullAction] = []
        self._sending = False
        # Time at which the service answered the current stream.
        self._answered_at = math.inf
        # Time of the latest response of any stream.
        self._heard_at: float | None = None
        # Time at which the unanswered keep-alive was sent; infinity for none.
        self._pinged_at = math.inf
        # Time at which the next keep-alive is sent, if no response arrives before.
        self._ping_due = math.inf
        # Whether a keep-alive has been sent since the current stream was answered.
        self._settled = False
        # Whether the answer of the keep-alive would show that no message is left.
        self._may_be_quiet = False
        self._retry_due = math.inf

    def __repr__(self) -> str:
        return f"<PullCore {self.state.name} stream {self.stream}, {self._ledger!r}>"

    @property
    def queued(self) -> int:
        """Number of messages that wait to be taken."""
        return len(self._ledger)

    @property
    def has_call(self) -> bool:
        """Whether a gRPC call exists now."""
        return self.state is PullState.OPENING or self.state is PullState.OPEN

    @property
    def deadline(self) -> float:
        """Time at which the driver must call `on_timer`; infinity for never."""
        if self.state is PullState.BACKOFF:
            return self._retry_due
        if not self.has_call:
            return math.inf
        due = self._silent_at
        return due if self._sending else min(due, self._ledger.due, self._ping_due)

    @property
    def _silent_at(self) -> float:
        """Time at which the stream counts as dead, if no response arrives before."""
        is_opening = self.state is PullState.OPENING
        return self._unanswered_since + (self._policy.open if is_opening else self._policy.answer)

    @property
    def _unanswered_since(self) -> float:
        """Time at which the current keep-alive was sent or became due; it may wait to be sent."""
        return min(self._pinged_at, self._ping_due)

    def take_actions(self) -> list[PullAction]:
        """Return the actions decided since the last call of this method, in order."""
        actions = self._actions.copy()
        self._actions.clear()
        return actions

    # -- calls of the driver

    def start(self, now: float) -> None:
        """Open the first stream."""
        self._open(PullEvent.STARTED, now)

    def close(self) -> None:
        """End the stream. The core can be started again."""
        if self.has_call:
            self._actions.append(StopPull())
        if self.state is not PullState.CLOSED:
            self._move(PullEvent.SHUTDOWN)

    def take_messages(self, most: int, now: float) -> list[PulledMessage]:
        """Return up to `most` waiting messages, which the driver applies now."""
        messages = self._ledger.take(most, now)
        self._counters.changes_handed += len(messages)
        self._flush(now)
        return messages

    # -- events of the stream

    def on_sent(self, stream: int, now: float) -> None:
        """Handle the event that a message has been sent; send the next one if it is due."""
        if self._is_stale(stream):
            return
        self._sending = False
        self._flush(now)

    def on_message(self, stream: int, message: PullResponse, now: float) -> None:
        """Handle a response of the service."""
        if self._is_stale(stream):
            return
        if self.state is PullState.OPENING:
            self._note_answer(now)
        self._heard_at = now
        if message.messages:
            self._receive(message, now)
            self._may_be_quiet = False
        elif self._may_be_quiet and not self.queued:
            self._may_be_quiet = False
            self._skip_before = -math.inf
            self._actions.append(NoteQuiet())
        self._pinged_at = math.inf
        self._ping_due = now + (self._policy.ping if self._settled else self._policy.settle)
        self._flush(now)

    def on_end(self, stream: int, end: StreamEnd, now: float) -> None:
        """Handle the end of the call: open another stream, now or later."""
        if not self._is_stale(stream):
            self._recover(end, now)

    def on_timer(self, now: float) -> None:
        """If the deadline has come, send what is due, or replace the stream."""
        if now < self.deadline:
            return
        if self.state is PullState.BACKOFF:
            self._open(PullEvent.BACKOFF_OVER, now)
        elif now >= self._silent_at:
            why = f"no answer for {now - self._unanswered_since:.0f} s"
            self._replace(StreamEnd(StatusCode.DEADLINE_EXCEEDED, why), now, "silence")
        else:
            self._flush(now)

    def on_suspended(self, seconds: float, now: float) -> None:
        """Handle the event that the machine was suspended, during which `now` did not advance."""
        if self._heard_at is not None:
            self._heard_at -= seconds
        if self.has_call:
            why = f"this machine was suspended for {seconds:.0f} s"
            self._replace(StreamEnd(StatusCode.CANCELLED, why), now, "suspended")

    # -- internals

    def _is_stale(self, stream: int) -> bool:
        stale = stream != self.stream or not self.has_call
        self._counters.changes_stale_events += stale
        return stale

    def _note_answer(self, now: float) -> None:
        """Handle the first response of a stream."""
        silence = 0.0 if self._heard_at is None else now - self._heard_at
        if self._endings.loses_messages or silence > self._policy.retention:
            self._endings.loses_messages = False
            self._actions.append(NoteGap())
        self._answered_at = now
        self._skip_until = min(self._skip_until, now + self._policy.skip)
        self._move(PullEvent.ANSWERED)

    def _receive(self, response: PullResponse, now: float) -> None:
        messages = response.messages
        if now >= self._skip_until and self._skip_before > -math.inf:
            # So many old messages are unlikely: rather is the clock fast, and they were new.
            self._skip_before = -math.inf
            if self._counters.changes_skipped:
                self._actions.append(NoteGap())
        self._counters.changes_received += len(messages)
        new = [message for message in messages if message.publish_time >= self._skip_before]
        if len(new) < len(messages):
            old = [m.ack_id for m in messages if m.publish_time < self._skip_before]
            self._counters.changes_skipped += len(old)
            self._ledger.acknowledge(old, now)
        self._ledger.add(new, now)

    def _flush(self, now: float) -> None:
        """Send the next message, if one is due and no message is being sent."""
        if self._sending or not self.has_call:
            return
        order = self._ledger.next_order(now)
        if order is None:
            if now < self._ping_due:
                return
            order = PullOrder()
            self._counters.changes_keep_alives += 1
            # The service may answer the first keep-alive before it delivers delayed messages.
            self._settled = self._may_be_quiet = self.state is PullState.OPEN
            self._pinged_at = now
            self._ping_due = math.inf
        self._counters.changes_acknowledged += len(order.ack_ids)
        self._counters.changes_extended += len(order.extended_ack_ids)
        self._sending = True
        self._actions.append(SendOrder(order))

    def _replace(self, end: StreamEnd, now: float, reason: str) -> None:
        """Cancel the current stream, as if it had ended with `end`."""
        self._actions.append(StopPull())
        self._recover(end, now, reason)

    def _recover(self, end: StreamEnd, now: float, reason: str = "") -> None:
        """Open another stream after the current one has ended, now or later."""
        was_open = now - self._answered_at if self.state is PullState.OPEN else 0.0
        ending = self._endings.decide(end, was_open)
        self._counters.note_loss(reason or ending.reason)
        if ending.refused:
            self._retry_due = now + ending.delay
            self._move(PullEvent.REFUSED, ending.why)
        elif ending.delay > 0:
            self._retry_due = now + ending.delay
            self._move(PullEvent.DELAYED, ending.why)
        else:
            self._open(PullEvent.RETRIED, now, ending.why)

    def _open(self, event: PullEvent, now: float, detail: str = "") -> None:
        self._counters.changes_streams_opened += 1
        self.stream += 1
        self._sending = True  # the opening message
        self._pinged_at = math.inf
        self._ping_due = now
        self._settled = self._may_be_quiet = False
        self._move(event, detail)
        self._actions.append(OpenPull(self.stream))

    def _move(self, event: PullEvent, detail: str = "") -> None:
        before, self.state = self.state, follow(TRANSITIONS, self.state, event)
        self._actions.append(PullMoved(before, self.state, self.stream, event, detail))
