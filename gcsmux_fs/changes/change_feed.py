"""Receives the changes of a bucket from a Pub/Sub subscription, and has them applied.

Theory of operation. `PullCore` decides. This module opens and cancels the calls, passes their
events to the core, and applies the received messages in slices. Between two slices, other tasks of
the mount run, so that many changes do not delay the requests of the kernel.

Invariant: no failure of the feed ends `run`, because a mount is useful without a feed.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from typing import TYPE_CHECKING, Protocol

import trio

from gcsmux_fs.changes.change_event import ForeignMessage, parse_change
from gcsmux_fs.changes.pull_actions import (
    FeedCounters,
    NoteGap,
    NoteQuiet,
    OpenPull,
    PullMoved,
    PullPolicy,
    SendOrder,
    StopPull,
)
from gcsmux_fs.changes.pull_core import PullCore
from gcsmux_fs.changes.pull_states import PullEvent
from gcsmux_fs.model.errors import StatusCode, StorageError
from gcsmux_fs.storage.call_driver import ActionLoop, NumberedListener
from gcsmux_fs.storage.ports import PullSpec, StreamEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from gcsmux_fs.changes.change_event import Change
    from gcsmux_fs.changes.pull_actions import PullAction
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.storage.ports import PullCall, PulledMessage, PullTransport

__all__ = ["ChangeFeed", "FeedWatcher"]

log = logging.getLogger(__name__)

# Time for which messages are applied without a pause. A READ waits at most for as long. A pause
# costs as much as two messages: shorter slices would cost more than they save.
_SLICE_SECONDS = 0.001

# Number of messages of the first slice and of the largest slice. To parse and apply a message takes
# 5 to 50 microseconds: the more, the more the mount knows about its name.
_FIRST_SLICE = 16
_MAX_SLICE = 128

# Older messages do not matter to a mount that starts without known names. The clock of this machine
# may be fast by this time, without a message of the mount's lifetime being skipped.
_CLOCK_ERROR_SECONDS = 600.0

# Difference of two clocks, one of which stands still while the machine is suspended, from which on
# the connection counts as dead.
_SUSPENDED_SECONDS = 2.0


class FeedWatcher(Protocol):
    """Observes the state of the feed. `now` is the time of trio's clock."""

    def on_open(self, now: float) -> None:
        """The service has answered on a new stream. Delayed messages may still follow."""

    def on_messages(self, oldest: float, now: float, wall: float) -> None:
        """Messages have been applied.

        `oldest` is the earliest time at which one of their changes was made or published, without
        changes that were known already; infinity if all were known. `wall` is the time now. Both
        are in seconds since 1970.
        """

    def on_quiet(self, now: float) -> None:
        """The service has answered a keep-alive, and all received messages have been applied."""

    def on_interrupted(self, now: float, why: str) -> None:
        """The stream has ended, and another one is being opened. No message is lost."""

    def on_lost(self, now: float, why: str) -> None:
        """The service refuses the stream. The stream is tried again every minute.

        `why` is one sentence for the user.
        """

    def on_gap(self, now: float) -> None:
        """Messages may be missing: what was asked before now may be outdated."""


class ChangeFeed:
    """Receives messages, and hands them to `apply` as changes.

    Args:
        transport: opens the calls on the subscription.
        subscription: the full name of the subscription, for the log.
        bucket: the bucket whose changes are applied.
        apply: applies changes, in the order of their arrival; called in the trio thread. Returns
            the changes that were not known before.
        watcher: observes the state of the feed.
        random: source of jitter.
        is_cold: whether no name is known from before the start, so that older changes do not
            matter.
        policy: the limits and times of the stream.
        wall: returns the time in seconds since 1970.
    """

    def __init__(
        self,
        transport: PullTransport,
        subscription: str,
        bucket: str,
        *,
        apply: Callable[[Sequence[Change]], Sequence[Change]],
        watcher: FeedWatcher,
        random: Random,
        is_cold: bool,
        policy: PullPolicy | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.counters = FeedCounters()
        self._transport = transport
        self._subscription = subscription
        self._bucket = bucket
        self._apply = apply
        self._watcher = watcher
        self._wall = wall
        self._skip_before = wall() - _CLOCK_ERROR_SECONDS if is_cold else 0.0
        policy = policy or PullPolicy()
        self._core = PullCore(policy, random, self.counters, skip_before=self._skip_before)
        self._spec = PullSpec(
            policy.ack_deadline, policy.max_messages, policy.max_bytes, uuid.uuid4().hex
        )
        self._call: PullCall | None = None
        self._loop = ActionLoop()
        # Set when the deadline of the core becomes earlier than the watched one.
        self._changed = trio.Event()
        self._watched_deadline = math.inf
        # Set when messages wait to be applied.
        self._arrived = trio.Event()
        self._foreign_reasons: set[str] = set()
        self._clock_drift = _suspended_time()

    def __repr__(self) -> str:
        return f"<ChangeFeed {self._subscription}: {self._core!r}>"

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the counters of the feed, and `changes_queued`."""
        registry.fields(self.counters)
        registry.gauge(
            "changes_queued",
            "messages",
            "Messages that have been received and wait to be applied.",
            lambda: self._core.queued,
        )

    async def run(self) -> None:
        """Receive changes until cancelled."""
        try:
            self._core.start(trio.current_time())
            self._act()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._apply_messages)
                if self._skip_before:
                    nursery.start_soon(self._skip_backlog)
                await self._watch_deadlines()
        finally:
            self._core.close()
            self._act()

    # -- the tasks

    async def _skip_backlog(self) -> None:
        """Let the service forget the messages from before the start.

        If the service refuses, the core acknowledges these messages unread. The core does so in any
        case, because the effect of a seek may come late.
        """
        try:
            await self._transport.seek(self._skip_before)
        except StorageError as error:
            log.debug("%s: no seek to the present: %s", self._subscription, error)

    async def _watch_deadlines(self) -> None:
        while True:
            self._changed = trio.Event()
            self._watched_deadline = self._core.deadline
            with trio.move_on_at(self._watched_deadline):
                await self._changed.wait()
            self._notice_suspension()
            self._core.on_timer(trio.current_time())
            self._act()

    async def _apply_messages(self) -> None:
        size = _FIRST_SLICE
        while True:
            self._arrived = trio.Event()
            while messages := self._core.take_messages(size, begin := trio.current_time()):
                self._act()
                self._apply_slice(messages)
                size = _next_size(len(messages), trio.current_time() - begin)
                await trio.lowlevel.checkpoint()
            await self._arrived.wait()

    def _apply_slice(self, messages: Sequence[PulledMessage]) -> None:
        changes = []
        for message in messages:
            try:
                changes.append(parse_change(message, self._bucket))
            except ForeignMessage as error:
                self._note_foreign(str(error))
        news: Sequence[Change] = ()
        try:
            news = self._apply(changes)
        except Exception:
            log.exception("%s: changes could not be applied", self._subscription)
            self._note_gap()
        # Cloud Storage may publish a change late, too.
        times = [min(each.publish_time, each.event_time or math.inf) for each in news]
        oldest = min(times, default=math.inf)
        self._watcher.on_messages(oldest, trio.current_time(), self._wall())

    def _note_foreign(self, why: str) -> None:
        self.counters.changes_foreign += 1
        if why not in self._foreign_reasons:
            self._foreign_reasons.add(why)
            log.warning(
                "%s: ignoring messages that are not about a change of gs://%s: %s; check that the"
                " topic of the subscription gets the notifications of this bucket and no others",
                self._subscription,
                self._bucket,
                why,
            )

    def _note_gap(self) -> None:
        self.counters.changes_gaps += 1
        self._watcher.on_gap(trio.current_time())

    def _notice_suspension(self) -> None:
        drift = _suspended_time()
        suspended, self._clock_drift = drift - self._clock_drift, drift
        if suspended >= _SUSPENDED_SECONDS:
            self._core.on_suspended(suspended, trio.current_time())

    # -- the actions of the core

    def _act(self) -> None:
        if self._loop.run(self._core.take_actions, self._carry_out):
            if self._core.queued:
                self._arrived.set()
            if self._core.deadline < self._watched_deadline:
                self._changed.set()

    def _carry_out(self, action: PullAction) -> None:
        match action:
            case OpenPull() | SendOrder():
                self._transmit(action)
            case StopPull():
                self._cancel_call()
            case PullMoved():
                self._report_move(action)
            case NoteGap():
                self._note_gap()
            case NoteQuiet():
                self._watcher.on_quiet(trio.current_time())

    def _transmit(self, action: OpenPull | SendOrder) -> None:
        try:
            if isinstance(action, OpenPull):
                self._call = None
                listener = NumberedListener(self._core, action.stream, trio.current_time, self._act)
                self._call = self._transport.open(self._spec, listener)
            else:
                assert self._call is not None  # the core sends only while a call exists
                self._call.send(action.order)
        except Exception as error:
            log.exception("%s: the transport failed", self._subscription)
            self._cancel_call()
            end = StreamEnd(StatusCode.INTERNAL, f"the transport failed: {error}")
            self._core.on_end(self._core.stream, end, trio.current_time())

    def _cancel_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _report_move(self, move: PullMoved) -> None:
        log.debug(
            "%s: stream %d: %s -> %s: %s%s",
            self._subscription,
            move.stream,
            move.before.name,
            move.after.name,
            move.event.value,
            f" ({move.detail})" if move.detail else "",
        )
        now = trio.current_time()
        match move.event:
            case PullEvent.ANSWERED:
                self._watcher.on_open(now)
            case PullEvent.RETRIED | PullEvent.DELAYED:
                self._watcher.on_interrupted(now, move.detail)
            case PullEvent.REFUSED:
                self._watcher.on_lost(now, f"{self._subscription}: {move.detail}")


def _next_size(size: int, seconds: float) -> int:
    """Return the number of messages of the next slice, after `size` messages took `seconds`."""
    if seconds <= 0.0:
        return _MAX_SLICE
    return max(1, min(_MAX_SLICE, int(size * _SLICE_SECONDS / seconds)))


def _suspended_time() -> float:
    """Return for how long the machine has been suspended since it was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
