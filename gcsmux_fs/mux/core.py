"""The protocol core of one object generation: many ranges share one stream; sans-IO.

Theory of operation. Readers request ranges at any time (`request`). A requested range is unsent
until `flush` puts it into a message. The core sends one message at a time. Ranges that are
requested while a message is being sent share the next message, which holds at most 100 ranges. The
message that opens the stream requests the first ranges. Each answer of the server names its range
by read id. When a stream ends, every unfinished range becomes unsent again, in order, and the next
stream requests only the missing bytes of each range.

If the opening message requests only one range, and this range covers the object, the message
half-closes the stream. The server then ends the stream after its answer, so no idle stream remains.
A range that is requested before the stream has ended needs a new stream.

Times are passed in as arguments, in seconds of a monotonic clock. `take_actions` returns the
actions that the core has decided on, in order. `stream_states` defines the states of a stream and
the transitions between them. The streams of one object are numbered from 1. The object's generation
is the same for the whole life of a core.

Invariants:
1. Each range ends exactly once: delivered, failed, or cancelled by its reader.
2. Delivered bytes have no gap and no repetition, across any number of streams.
3. After a lost stream a range resumes at its first missing byte, under a new read id.
4. An event of a stream that is not the current stream changes nothing and is counted.
5. A chunk for an unknown or cancelled read id is dropped and counted.
6. At most one message is being sent at a time, with at most 100 ranges.
7. The failure of one range fails no other range.
8. A stream is opened only while a range waits.
9. If no bytes arrive between two backoffs, the number of streams opened between the backoffs is
   bounded, for one object (see `retry`) and for all objects together (see `RetryBudget`).
10. Nothing is sent on a half-closed stream.
11. A range that receives nothing for twice `stall_seconds`, while later ranges receive bytes, is
    requested again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import GenerationGone, StatusCode, StorageError
from gcsmux_fs.model.state_table import follow
from gcsmux_fs.mux.actions import Action, Cancel, Moved, Open, Send, StreamCounters
from gcsmux_fs.mux.answers import Answers
from gcsmux_fs.mux.range_table import PendingRange, RangeTable
from gcsmux_fs.mux.resume_state import ResumeState
from gcsmux_fs.mux.retry import GiveUp, Retries, RetryPolicy
from gcsmux_fs.mux.stream_states import TRANSITIONS, StreamEvent, StreamState
from gcsmux_fs.storage.ports import StreamEnd

if TYPE_CHECKING:
    from random import Random

    from gcsmux_fs.metrics.histogram import Histogram
    from gcsmux_fs.model.retry_budget import RetryBudget
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.mux.range_table import OutcomeCallback
    from gcsmux_fs.storage.ports import BidiMessage, RangeRequest

__all__ = ["StreamCore"]


class StreamCore:
    """Decides what to send and when, and how to react to each event of the stream.

    The cores of all objects share `counters`, `budget` and `first_byte_times` (the durations from
    the opening of a stream to its first byte).
    """

    __slots__ = (
        *("_actions", "_active_at", "_counters", "_first_byte_times", "_half_closed"),
        *("_has_bytes", "_policy", "_resume", "_retries", "_scanned_at"),
        *("_sending", "answers", "key", "opened_at", "ranges", "state", "stream"),
    )

    def __init__(
        self,
        key: ObjectKey,
        policy: RetryPolicy,
        random: Random,
        counters: StreamCounters,
        budget: RetryBudget,
        first_byte_times: Histogram,
    ) -> None:
        self.key = key
        self.state = StreamState.CLOSED
        #: Number of the current stream, from 1; 0 before the first stream.
        self.stream = 0
        self._policy = policy
        self._counters = counters
        self._retries = Retries(key, policy, random, budget)
        self._first_byte_times = first_byte_times
        self._actions: list[Action] = []
        self.ranges = RangeTable()
        self._resume = ResumeState()
        self.answers = Answers(
            key, self.ranges, self._resume, policy.max_bad_answers, counters, self._actions
        )
        self._sending = False
        self._half_closed = False
        self._has_bytes = False
        #: Time at which the current stream was opened.
        self.opened_at = 0.0
        # Time of the last activity: bytes arrived, the first range began to wait, the last waiting
        # range ended, or the stream was opened or answered.
        self._active_at = 0.0
        # Time of the last scan for silent ranges.
        self._scanned_at = 0.0

    def __repr__(self) -> str:
        return (
            f"<StreamCore {self.key} {self.state.name} stream {self.stream},"
            f" {self.ranges.on_wire} ranges in flight, {self.ranges.unsent} unsent>"
        )

    @property
    def waiting(self) -> int:
        """Number of ranges that have not ended."""
        return len(self.ranges)

    @property
    def last_error(self) -> str:
        """The last failure of a stream, in words; empty if bytes have arrived since then."""
        return self._retries.record.last_error

    @property
    def has_call(self) -> bool:
        """Whether a gRPC call exists now, so that the stream is opening or open."""
        return self.state is StreamState.OPEN or self.state is StreamState.OPENING

    @property
    def deadline(self) -> float:
        """Time at which the driver must call `on_timer`; infinity for never."""
        if self.state is StreamState.OPEN:
            if not self.waiting:
                return self._active_at + self._policy.idle_seconds
            return min(self._active_at, self._scanned_at) + self._policy.stall_seconds
        if self.state is StreamState.OPENING:
            return self._active_at + self._policy.open_seconds
        return self._retries.due if self.state is StreamState.BACKOFF else math.inf

    def take_actions(self) -> list[Action]:
        """Return the actions decided since the last call of this method, in order."""
        actions = self._actions.copy()
        self._actions.clear()
        return actions

    # -- calls of readers

    def request(
        self,
        offset: int,
        length: int,
        done: OutcomeCallback,
        now: float,
        *,
        covers_object: bool = False,
        reaches_end: bool = False,
    ) -> PendingRange:
        """Add an unsent range of `length` bytes; the next `flush` sends it.

        `covers_object`: whether the range is the whole object. `reaches_end`: whether the range
        ends where the object ends, and the object does not grow.

        Raises:
            ValueError: the range is empty or its offset is negative. The service understands a
                length of 0 as "to the end of the object".
        """
        if length < 1 or offset < 0:
            raise ValueError(f"invalid range: {length} bytes at offset {offset}")
        pending = PendingRange(
            offset, length, done, covers_object=covers_object, reaches_end=reaches_end
        )
        if not self.waiting:
            self._active_at = self._scanned_at = now
            if self.state is StreamState.CLOSED:
                self._retries.record.reset()
        self.ranges.add(pending)
        self._resume.require(offset + length)
        return pending

    def cancel(self, pending: PendingRange, now: float) -> None:
        """Cancel a range: its reader gets neither bytes nor an error.

        Do nothing if the range has ended.
        """
        if not pending.live:
            return
        self._counters.ranges_cancelled += 1
        if pending.read_id:
            self.ranges.abandon(pending)
        self.ranges.end(pending)
        if self.waiting:
            return
        self._active_at = now
        if self.state is StreamState.BACKOFF:
            self._leave_backoff(StreamEvent.READERS_LEFT)
        elif self.ranges.abandoned:
            # The call is cancelled too, because the server may still send many MiB of the cancelled
            # ranges.
            self._drop_call(StreamEvent.READERS_LEFT)

    def flush(self, now: float) -> None:
        """Request up to 100 unsent ranges in one message, over a new stream if necessary.

        Do nothing while a message is being sent, and in a backoff.
        """
        if self._sending or self.state is StreamState.BACKOFF or not self.ranges.unsent:
            return
        if self.state is StreamState.CLOSED:
            self._open(StreamEvent.REQUESTED, now)
            return
        if self._resume.outdated or self._half_closed:
            detail = "it serves another size" if self._resume.outdated else "it is half-closed"
            self._cancel_call()
            self._counters.ranges_resumed += self.ranges.requeue_all()
            self._open(StreamEvent.REPLACED, now, detail)
            return
        self._sending = True
        self._actions.append(Send(self._next_batch()))

    def close(self, error: StorageError) -> None:
        """Fail all waiting ranges with `error` and end the stream."""
        self.answers.fail_all(error)
        if self.has_call:
            self._drop_call(StreamEvent.SHUTDOWN)
        elif self.state is StreamState.BACKOFF:
            self._leave_backoff(StreamEvent.SHUTDOWN)

    # -- events of the stream

    def on_sent(self, stream: int, now: float) -> None:
        """Handle the event that a message has been sent; send the next message if there is one."""
        if stream != self.stream or not self.has_call:
            self._counters.stale_events += 1
            return
        self._sending = False
        self.flush(now)

    def on_message(self, stream: int, message: BidiMessage, now: float) -> None:
        """Handle a response of the server."""
        if stream != self.stream or not self.has_call:
            self._counters.stale_events += 1
            return
        if self.state is StreamState.OPENING:
            self._move(StreamEvent.ANSWERED)
            self._active_at = self._scanned_at = now
        metadata = message.metadata
        if metadata is not None and metadata.generation != self.key.generation:
            self._resume.reset()
            why = f"the server serves generation {metadata.generation} instead"
            self.answers.fail_all(GenerationGone(why, subject=str(self.key)))
            self._drop_call(StreamEvent.WRONG_GENERATION)
            return
        self._resume.update(message)
        for chunk in message.chunks:
            if self.answers.accept(chunk):
                self._active_at = now
                self._retries.record.reset()
                if not self._has_bytes:
                    self._has_bytes = True
                    self._first_byte_times.observe(now - self.opened_at)
        self.flush(now)

    def on_end(self, stream: int, end: StreamEnd, now: float) -> None:
        """Handle the end of the call: if ranges wait, retry the ranges or fail the ranges."""
        if stream != self.stream or not self.has_call:
            self._counters.stale_events += 1
            return
        cause_removed = self.answers.fail_listed(end)
        self._forget_call()
        if end.redirect is not None:
            self._counters.redirects += 1
            self._resume.redirect(end.redirect)
        if not self.waiting:
            self._move(StreamEvent.ENDED_IDLE, end.code.name)
            return
        self._recover(end, now, cause_removed=cause_removed)

    def on_timer(self, now: float) -> None:
        """If the deadline has come, open, retry or close the stream, or look for silent ranges."""
        if now < self.deadline:
            return
        if self.state is StreamState.BACKOFF:
            self._open(StreamEvent.BACKOFF_OVER, now)
        elif not self.waiting:
            self._drop_call(StreamEvent.IDLE_TIMEOUT)
        elif self.state is StreamState.OPEN and now < self._active_at + self._policy.stall_seconds:
            self._scanned_at = now
            self.answers.request_silent_again()
            self.flush(now)
        else:
            missing = "first response" if self.state is StreamState.OPENING else "bytes"
            why = f"no {missing} for {now - self._active_at:.0f} s"
            self._cancel_call()
            self._recover(StreamEnd(StatusCode.DEADLINE_EXCEEDED, why), now, cause_removed=False)

    # -- internals

    def _recover(self, end: StreamEnd, now: float, *, cause_removed: bool) -> None:
        """Retry the waiting ranges of a lost stream, now or after a backoff, or fail the ranges."""
        self._counters.streams_failed += 1
        decision = self._retries.decide(
            end, now, had_handle=self._resume.has_handle, cause_removed=cause_removed
        )
        if isinstance(decision, GiveUp):
            self._counters.note_loss("given_up")
            self._resume.reset()
            self.answers.fail_all(decision.error)
            self._move(StreamEvent.GIVEN_UP, str(decision.error))
            return
        self._counters.note_loss(decision.reason)
        if not decision.keep_resume_state:
            self._resume.reset()
        self._counters.ranges_resumed += self.ranges.requeue_all()
        if decision.delay > 0:
            self._move(StreamEvent.DELAYED, f"{decision.cause}, {decision.delay:.3f} s")
        else:
            self._open(StreamEvent.RETRIED, now, decision.cause)

    def _open(self, event: StreamEvent, now: float, detail: str = "") -> None:
        if self.stream:
            self._counters.streams_reopened += 1
        self._counters.streams_opened += 1
        self.stream += 1
        self._active_at = self.opened_at = now
        self._has_bytes = False
        self._sending = True
        self._move(event, detail)
        batch = self._next_batch()
        self._half_closed = self.ranges.only_covers_object
        spec = self._resume.open_spec(self.key, half_close=self._half_closed)
        self._actions.append(Open(self.stream, spec, batch))

    def _next_batch(self) -> tuple[RangeRequest, ...]:
        batch = self.ranges.next_batch()
        self._counters.messages_sent += 1
        self._counters.ranges_sent += len(batch)
        return batch

    def _leave_backoff(self, event: StreamEvent) -> None:
        self._retries.cancel()
        self._move(event)

    def _drop_call(self, event: StreamEvent) -> None:
        self._cancel_call()
        self._move(event)

    def _cancel_call(self) -> None:
        self._actions.append(Cancel())
        self._forget_call()

    def _forget_call(self) -> None:
        self._sending = False
        self.ranges.forget_abandoned()

    def _move(self, event: StreamEvent, detail: str = "") -> None:
        before, self.state = self.state, follow(TRANSITIONS, self.state, event)
        self._actions.append(Moved(before, self.state, self.stream, event, detail))
