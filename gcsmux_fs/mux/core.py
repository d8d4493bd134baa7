"""The protocol core of one object generation: many ranges on one bidirectional stream, sans-IO.

Theory of operation. Readers ask for ranges at any time (`request`); what they ask for waits
unsent until `flush` turns it into a message. At most one message is being sent at a time; what is
asked meanwhile goes together into the next one, at most 100 ranges. The first ranges travel in the
opening message. Answers find their range by read id. When a stream ends, every unfinished range is
unsent again, in its order, and the next stream asks for its missing bytes only.
A stream whose opening message asks for all of its object is half-closed with it: the server ends
it by itself, nothing idles, and nothing has to be cancelled. Should anybody want more of the
object before that, it is given up for a new one.
The core knows no clock, no lock and no I/O: time comes in as an argument, and everything that is
to happen comes out of `take_actions`, in order.

A *stream generation* numbers the streams of this object, from 1. It is unrelated to the object's
generation, which never changes here.

States::

    CLOSED --flush--> OPENING --first message--> OPEN
    OPENING, OPEN --end, ranges waiting--> BACKOFF --timer--> OPENING    (or OPENING at once)
    OPENING, OPEN --end, nobody waiting--> CLOSED
    OPENING, OPEN --idle, or every reader left--> CLOSED

Invariants:
1. Each range ends exactly once: delivered whole, failed, or cancelled by its reader.
2. Delivered bytes are gapless and never repeated, across any number of streams.
3. After a loss a range resumes at its first missing byte, under a new read id.
4. Events of any but the current stream generation change nothing.
5. A chunk for an unknown or cancelled read id is dropped and counted.
6. No more than one message is under way, of at most 100 ranges.
7. A range that fails fails alone.
8. Nothing is opened while nobody waits.
9. Between two backoffs without a byte, the streams opened are bounded in number (see `retry`),
   and so are those of all objects together (see `RetryBudget`).
10. Nothing is sent on a stream that is half-closed.
11. A range that gets nothing for two stall times while later ones get bytes is asked for again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import GenerationGone, StatusCode, StorageError
from gcsmux_fs.mux.actions import Action, Cancel, Moved, Open, Send, State, StreamCounters
from gcsmux_fs.mux.answers import Answers
from gcsmux_fs.mux.range_table import PendingRange, RangeTable
from gcsmux_fs.mux.resume_state import ResumeState
from gcsmux_fs.mux.retry import GiveUp, ReopenRecord, RetryPolicy, decide
from gcsmux_fs.storage.ports import StreamEnd

if TYPE_CHECKING:
    from random import Random

    from gcsmux_fs.model.retry_budget import RetryBudget
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.mux.range_table import Done
    from gcsmux_fs.storage.ports import BidiMessage, RangeRequest

__all__ = ["StreamCore"]


class StreamCore:
    """See the module's text."""

    __slots__ = (
        "_actions",
        "_answers",
        "_budget",
        "_budget_due",
        "_counters",
        "_half_closed",
        "_looked_at",
        "_policy",
        "_random",
        "_ranges",
        "_record",
        "_retry_at",
        "_route",
        "_sending",
        "_since",
        "key",
        "state",
        "stream",
    )

    def __init__(
        self,
        key: ObjectKey,
        policy: RetryPolicy,
        random: Random,
        counters: StreamCounters,
        budget: RetryBudget,
    ) -> None:
        self.key = key
        self.state = State.CLOSED
        self.stream = 0
        self._policy = policy
        self._random = random
        self._counters = counters
        self._budget = budget
        self._actions: list[Action] = []
        self._ranges = RangeTable()
        self._route = ResumeState()
        self._answers = Answers(
            key, self._ranges, self._route, policy.max_strikes, counters, self._actions
        )
        self._record = ReopenRecord()
        self._sending = False
        self._half_closed = False
        self._since = 0.0
        self._looked_at = 0.0
        self._retry_at = math.inf
        self._budget_due = math.inf

    def __repr__(self) -> str:
        return (
            f"<StreamCore {self.key} {self.state.name} stream {self.stream},"
            f" {self._ranges.on_wire} on the wire, {self._ranges.unsent} unsent>"
        )

    @property
    def waiting(self) -> int:
        """Ranges that have not ended."""
        return len(self._ranges)

    @property
    def trouble(self) -> str:
        """How the last stream ended, if that is why ranges still wait; else empty."""
        return self._record.trouble

    @property
    def has_call(self) -> bool:
        """Whether a stream exists right now."""
        return self.state is State.OPEN or self.state is State.OPENING

    @property
    def deadline(self) -> float:
        """When `on_timer` has something to do; infinity for never."""
        if self.state is State.OPEN:
            if not self.waiting:
                return self._since + self._policy.idle_seconds
            return min(self._since, self._looked_at) + self._policy.stall_seconds
        if self.state is State.OPENING:
            return self._since + self._policy.open_seconds
        return self._retry_at if self.state is State.BACKOFF else math.inf

    def take_actions(self) -> list[Action]:
        """Return what is to be done, in order, and forget it."""
        actions = self._actions.copy()
        self._actions.clear()
        return actions

    # -- readers

    def request(
        self,
        offset: int,
        length: int,
        done: Done,
        now: float,
        *,
        whole: bool = False,
        last: bool = False,
    ) -> PendingRange:
        """Ask for `length` bytes; `flush` sends it.

        `whole`: they are all that the object has; `last`: it has none after them, nor will have.

        Raises:
            ValueError: no byte is asked for; the service takes a length of 0 for "to the end".
        """
        if length < 1 or offset < 0:
            raise ValueError(f"no range: {length} bytes at {offset}")
        wanted = PendingRange(offset, length, done, whole=whole, last=last)
        if not self.waiting:
            self._since = self._looked_at = now
            if self.state is State.CLOSED:
                self._record.reset()
        self._ranges.add(wanted)
        self._route.want(offset + length)
        return wanted

    def cancel(self, wanted: PendingRange, now: float) -> None:
        """Forget a range whose reader has left; a range that has ended is left alone."""
        if not wanted.live:
            return
        self._counters.ranges_cancelled += 1
        if wanted.read_id:
            self._ranges.abandon(wanted)
        self._ranges.end(wanted)
        if self.waiting:
            return
        self._since = now
        if self.state is State.BACKOFF:
            self._budget.give_back(self._budget_due)
            self._move(State.CLOSED, "every reader has left")
        elif self._ranges.abandoned:
            # Bytes that nobody waits for would go on coming, perhaps many MiB of them.
            self._drop_call("every reader has left")

    def flush(self, now: float) -> None:
        """Send what waits to be sent, if the stream's state lets it."""
        if self._sending or self.state is State.BACKOFF or not self._ranges.unsent:
            return
        if self.state is State.CLOSED:
            self._open(now, "ranges asked for")
            return
        if self._route.outdated or self._half_closed:
            cause = "another size is known" if self._route.outdated else "more asked for"
            self._actions.append(Cancel())
            self._lose_call()
            self._counters.ranges_resumed += self._ranges.requeue_all()
            self._open(now, cause)
            return
        self._sending = True
        self._actions.append(Send(self._next_batch()))

    def close(self, error: StorageError) -> None:
        """End everything: waiting ranges fail with `error`, the stream is given up."""
        self._answers.fail_all(error)
        if self.has_call:
            self._drop_call("closing")
        elif self.state is State.BACKOFF:
            self._budget.give_back(self._budget_due)
            self._move(State.CLOSED, "closing")

    # -- the wire

    def on_sent(self, stream: int, now: float) -> None:
        """The message under way has gone."""
        if stream != self.stream or not self.has_call:
            self._counters.stale_events += 1
            return
        self._sending = False
        self.flush(now)

    def on_message(self, stream: int, message: BidiMessage, now: float) -> None:
        """A response has arrived."""
        if stream != self.stream or not self.has_call:
            self._counters.stale_events += 1
            return
        if self.state is State.OPENING:
            self._move(State.OPEN, "first response")
            self._since = self._looked_at = now
        found = message.metadata
        if found is not None and found.generation != self.key.generation:
            self._route.forget()
            self._answers.fail_all(
                GenerationGone(f"the server has {found.generation}", subject=str(self.key))
            )
            self._drop_call("another generation was served")
            return
        self._route.learn(message)
        for chunk in message.chunks:
            if self._answers.take(chunk):
                self._since = now
                self._record.reset()
        self.flush(now)

    def on_end(self, stream: int, end: StreamEnd, now: float) -> None:
        """The current stream is over."""
        if stream != self.stream or not self.has_call:
            self._counters.stale_events += 1
            return
        culprits_gone = self._answers.fail_listed(end)
        self._lose_call()
        if end.redirect is not None:
            self._counters.redirects += 1
            self._route.follow(end.redirect)
        if not self.waiting:
            self._move(State.CLOSED, f"ended while idle ({end.code.name})")
            return
        self._recover(end, now, culprits_gone=culprits_gone)

    def on_timer(self, now: float) -> None:
        """The time is `deadline` or later."""
        if now < self.deadline:
            return
        if self.state is State.BACKOFF:
            self._open(now, "backoff is over")
        elif not self.waiting:
            self._drop_call("idle")
        elif self.state is State.OPEN and now < self._since + self._policy.stall_seconds:
            self._looked_at = now
            self._answers.ask_again_for_silent()
            self.flush(now)
        else:
            what = "no first response" if self.state is State.OPENING else "no progress"
            self._actions.append(Cancel())
            self._lose_call()
            self._recover(StreamEnd(StatusCode.DEADLINE_EXCEEDED, what), now, culprits_gone=False)

    # -- inside

    def _recover(self, end: StreamEnd, now: float, *, culprits_gone: bool) -> None:
        """The stream is lost while ranges wait: resume them, now or later, or fail them."""
        self._counters.streams_failed += 1
        decision = decide(
            end,
            self._record,
            self._policy,
            key=self.key,
            had_handle=self._route.has_handle,
            culprits_gone=culprits_gone,
            now=now,
            random=self._random,
        )
        if isinstance(decision, GiveUp):
            self._route.forget()
            self._answers.fail_all(decision.error)
            self._move(State.CLOSED, f"given up ({decision.error})")
            return
        if not decision.keep_route:
            self._route.forget()
        self._counters.ranges_resumed += self._ranges.requeue_all()
        wait = self._budget.take(now)
        self._budget_due = now + wait
        delay = decision.delay + wait
        if delay > 0:
            self._retry_at = now + delay
            self._move(State.BACKOFF, f"{decision.cause}, retry in {delay:.3f} s")
        else:
            self._open(now, decision.cause)

    def _open(self, now: float, cause: str) -> None:
        if self.stream:
            self._counters.streams_reopened += 1
        self._counters.streams_opened += 1
        self.stream += 1
        self._since = now
        self._sending = True
        self._move(State.OPENING, cause)
        batch = self._next_batch()
        self._half_closed = self._ranges.asks_for_all
        spec = self._route.next_stream(self.key, half_close=self._half_closed)
        self._actions.append(Open(self.stream, spec, batch))

    def _next_batch(self) -> tuple[RangeRequest, ...]:
        batch = self._ranges.next_batch()
        self._counters.messages_sent += 1
        self._counters.ranges_sent += len(batch)
        return batch

    def _drop_call(self, cause: str) -> None:
        self._actions.append(Cancel())
        self._lose_call()
        self._move(State.CLOSED, cause)

    def _lose_call(self) -> None:
        self._sending = False
        self._ranges.forget_abandoned()

    def _move(self, after: State, cause: str) -> None:
        self._actions.append(Moved(self.state, after, self.stream, cause))
        self.state = after
