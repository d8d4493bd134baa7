"""Whether the mount receives changes in time, and how long answers are valid; sans-IO.

Theory of operation

While the feed is healthy, the mount receives each change within `LAG_BOUND_SECONDS`. So an answer
is valid until the mount receives a change. The state says whether the feed is healthy::

    STARTING     the feed was not open yet
    CATCHING_UP  the feed is open, but changes arrive late, or it has just been opened
    HEALTHY      the feed is open, and messages come in time
    INTERRUPTED  the feed is not open; it opens again
    LOST         the feed is not open, and opening it again fails until an administrator acts

1. In `HEALTHY`, an answer is valid for ever if its request was sent after the feed was first open.
2. In any other state, the TTL of such an answer begins when the request was sent, or when the feed
   was last healthy, whichever is later. If the stream has ended, this is the time of its last sign,
   because the connection may have been dead since then. A change that was published meanwhile is
   not lost: it is delivered when the feed is open again. So such answers are valid for ever again
   in `HEALTHY`.
3. A *gap* is a time whose changes are never delivered. An answer to a request of the time before
   the end of a gap is not valid.
4. An answer to a request of the time before the feed was first opened has its TTL.
5. A TTL of 0 means that the service is asked always.
6. In a bucket with folders (hierarchical namespace), an answer always has its TTL, because no
   notification is sent when a folder is created, renamed or deleted.
7. If changes are not announced, the feed counts as lost until its stream is opened again.
8. While another mount receives from the same subscription, some changes do not arrive, so the feed
   counts as lost.
9. An interruption that is shorter than `GRACE_SECONDS` does not change the state.

All times are times of the mount's clock in seconds, except where they are named `wall`.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

__all__ = [
    "GRACE_SECONDS",
    "LAG_BOUND_SECONDS",
    "SETTLING_SECONDS",
    "START_SECONDS",
    "Freshness",
    "FreshnessState",
    "StateChange",
]

LAG_BOUND_SECONDS = 10.0
"""Maximum age of a message of a healthy feed. Pub/Sub delivers within a second, and retries the
delivery of a message after some seconds. The clocks of this machine and of Pub/Sub may differ, too.
"""

GRACE_SECONDS = 5.0
"""An interruption of this length does not matter: opening a feed again takes less than a second.
During this time, names may be older than the promise by as much."""

SETTLING_SECONDS = 2.0
"""How long no late message comes before the feed counts as up to date. Pub/Sub sends waiting
messages without a pause."""

START_SECONDS = 10.0
"""How long the start of the feed may take before it counts as interrupted."""


class FreshnessState(enum.Enum):
    """Whether the mount receives changes in time. The values are shown to people."""

    STARTING = "starting"
    CATCHING_UP = "catching up"
    HEALTHY = "healthy"
    INTERRUPTED = "interrupted"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class StateChange:
    """The feed has come into a state; `why` is a reason for people, or empty.

    If `ends_promise` is true, the kernel may hold names for longer than they are valid now. If
    `is_gap` is true, a gap has ended, and the state is the same as before.
    """

    state: FreshnessState
    why: str
    ends_promise: bool
    is_gap: bool = False


class Freshness:
    """The state of the feed, and the validity of answers.

    The methods whose names begin with `on_` are described in `FeedWatcher` (see `change_feed`).

    Args:
        now: the time.
        is_complete: whether there is a notification for each change of a name (rule 6).
    """

    def __init__(self, now: float, *, is_complete: bool = True) -> None:
        #: Whether there is a notification for each change of a name.
        self.is_complete = is_complete
        self.state = FreshnessState.STARTING
        #: Why the feed is in this state, for people; may be empty.
        self.why = ""
        #: Since when the feed is in this state.
        self.since = now
        #: The age of the oldest of the messages that came last, in seconds.
        self.lag_seconds = 0.0
        self._trusted_from = math.inf
        self._gap_end = -math.inf
        self._unhealthy_since = -math.inf
        self._heard_at = -math.inf
        self._open_since: float | None = None
        self._broken_since: float | None = None
        self._broken_why = ""
        self._is_shared = False
        self._last_sign = -math.inf
        self._late_at = -math.inf
        self._moves: list[StateChange] = []

    def __repr__(self) -> str:
        return f"<Freshness {self.state.value} {self.why!r} since {self.since}>"

    # -- answers

    def valid_until(self, asked_at: float, ttl_seconds: float) -> float:
        """Return until when an answer is valid. Its request was sent at the time `asked_at`."""
        if asked_at >= self._trusted_from and ttl_seconds:
            if not self.is_complete:
                return asked_at + ttl_seconds
            if self.state is FreshnessState.HEALTHY:
                return math.inf
            return max(asked_at, self._unhealthy_since) + ttl_seconds
        return asked_at if asked_at < self._gap_end else asked_at + ttl_seconds

    def covers_all(self, now: float, ttl_seconds: float) -> bool:
        """Return whether each valid answer of now is valid because of the feed."""
        return (
            self.state is FreshnessState.HEALTHY
            and self.is_complete
            and now >= self._trusted_from + ttl_seconds
        )

    # -- events of the feed

    def on_open(self, now: float) -> None:
        """Record that the service has answered on a new stream."""
        self._open_since = self._heard_at = now
        self._trusted_from = min(self._trusted_from, now)
        if self.state is not FreshnessState.HEALTHY and not self._is_shared:
            self._move(FreshnessState.CATCHING_UP, "the feed has just been opened", now)

    def on_messages(self, oldest: float, now: float, wall: float) -> None:
        """Record the earliest time of the new changes that have been applied, by the wall clock."""
        self._heard_at = now
        self.lag_seconds = max(0.0, wall - oldest)
        if self.lag_seconds <= LAG_BOUND_SECONDS:
            return
        self._late_at = now
        if self.state is FreshnessState.HEALTHY:
            why = f"changes arrive {self.lag_seconds:.0f} s late"
            self._move(FreshnessState.CATCHING_UP, why, now)

    def on_quiet(self, now: float) -> None:
        """Record that the service has no more messages, and that all messages were applied."""
        self._heard_at = now
        self.lag_seconds = 0.0
        if self._open_since is not None:
            self._settle(now)

    def on_interrupted(self, now: float, why: str) -> None:
        """Record that the stream has ended, and that another one is being opened."""
        self._break(now, why)
        if self.state is not FreshnessState.LOST:
            self._interrupt_after_grace(now)

    def on_lost(self, now: float, why: str) -> None:
        """Record that the service refuses the stream."""
        self._break(now, why)
        self._move(FreshnessState.LOST, why, now)

    def on_unannounced(self, now: float, why: str) -> None:
        """Record that changes are not announced, although the feed seems to be healthy."""
        self.on_gap(now)
        self.on_lost(now, why)

    def on_shared(self, now: float, why: str) -> None:
        """Record that another mount takes messages of the subscription, or, if not `why`, none."""
        self._is_shared = bool(why)
        self.on_gap(now)
        if why:
            self._move(FreshnessState.LOST, why, now)
        elif self._open_since is not None:
            self._move(FreshnessState.CATCHING_UP, "the subscription is this mount's alone", now)
        else:
            self._move(FreshnessState.INTERRUPTED, self._broken_why, now)

    def on_gap(self, now: float) -> None:
        """Record that changes of the time before `now` are never delivered."""
        if self._trusted_from == math.inf:
            return
        self._trusted_from = self._gap_end = now
        self._moves.append(StateChange(self.state, self.why, ends_promise=True, is_gap=True))

    # -- time

    @property
    def deadline(self) -> float:
        """When `on_timer` must be called next; infinity if it need not be called."""
        if self._open_since is not None:
            is_settling = self.state is FreshnessState.CATCHING_UP or self._broken_since is not None
            settled_at = max(self._open_since, self._late_at) + SETTLING_SECONDS
            return settled_at if is_settling else math.inf
        if self.state in (FreshnessState.HEALTHY, FreshnessState.CATCHING_UP):
            assert self._broken_since is not None
            return self._broken_since + GRACE_SECONDS
        return self.since + START_SECONDS if self.state is FreshnessState.STARTING else math.inf

    def on_timer(self, now: float) -> None:
        """Change the state if its time is over."""
        if now < self.deadline:
            return
        if self._open_since is not None:
            self._settle(now)
        elif self.state is FreshnessState.STARTING:
            self._move(FreshnessState.INTERRUPTED, "the service has not answered yet", now)
        else:
            self._interrupt_after_grace(now)

    def take_changes(self) -> list[StateChange]:
        """Return the changes of the state since the last call."""
        moves, self._moves = self._moves, []
        return moves

    # -- states

    def _settle(self, now: float) -> None:
        self._broken_since = None
        if self.state is FreshnessState.CATCHING_UP:
            self._move(FreshnessState.HEALTHY, "", now)

    def _break(self, now: float, why: str) -> None:
        self._open_since = None
        self._broken_why = why
        if self._broken_since is None:
            self._broken_since, self._last_sign = now, self._heard_at

    def _interrupt_after_grace(self, now: float) -> None:
        assert self._broken_since is not None
        has_grace = self.state in (FreshnessState.HEALTHY, FreshnessState.CATCHING_UP)
        if has_grace and now < self._broken_since + GRACE_SECONDS:
            return
        self._move(FreshnessState.INTERRUPTED, self._broken_why, now)

    def _move(self, state: FreshnessState, why: str, now: float) -> None:
        if state is self.state:
            self.why = why
            return
        ends_promise = self.state is FreshnessState.HEALTHY
        if ends_promise:
            self._unhealthy_since = now if self._broken_since is None else self._last_sign
        self.state, self.why, self.since = state, why, now
        self._moves.append(StateChange(state, why, ends_promise))
