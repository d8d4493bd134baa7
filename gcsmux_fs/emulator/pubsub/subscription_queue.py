"""The messages of one subscription: which are waiting, leased, or acknowledged.

A message is *leased* when it has been sent to a subscriber that has not acknowledged it yet. If the
lease ends, the message waits again. Times of leases are in seconds of any clock. Publish times are
in seconds since 1970.

Invariants:
1. A message leaves the queue only by an acknowledgement of a lease that has not ended, by `seek`,
   or because it is older than the retention.
2. `holder.messages` and `holder.size` are the sums over the leases of the holder.
3. After `seek`, no older ack id has an effect.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.emulator.pubsub.published_message import PublishedMessage

__all__ = ["LeaseHolder", "MessageLease", "QueuedMessage", "SubscriptionQueue"]

# The ack ids of the service are opaque and have about 180 characters. Subscribers send them back,
# so their length is a part of the cost of a message.
_ACK_ID_SUFFIX = "-" + "gcsmux" * 28


@dataclass(slots=True, eq=False)
class LeaseHolder:
    """A subscriber's flow control: its limits (0: no limit), and what it has not acknowledged."""

    max_messages: int = 0
    max_size: int = 0
    messages: int = 0
    size: int = 0

    @property
    def has_room(self) -> bool:
        """Whether the subscriber may get one more message."""
        return (self.max_messages <= 0 or self.messages < self.max_messages) and (
            self.max_size <= 0 or self.size < self.max_size
        )


@dataclass(slots=True, eq=False)
class QueuedMessage:
    """A message of the queue.

    - `attempts`: how often it has been taken.
    - `behind`: it waits until so many other messages have been taken, or until `due`.
    """

    message: PublishedMessage
    due: float = 0.0
    attempts: int = 0
    behind: int = 0


@dataclass(slots=True, eq=False)
class MessageLease:
    """A delivery that is not acknowledged yet."""

    ack_id: str
    queued: QueuedMessage
    holder: LeaseHolder
    deadline: float


@dataclass(slots=True)
class SubscriptionQueue:
    """The messages of one subscription. Messages older than `retention_seconds` are dropped."""

    retention_seconds: float
    retain_acked: bool = False
    acked: int = 0
    expired: int = 0
    _waiting: deque[QueuedMessage] = field(default_factory=deque)
    _later: list[tuple[float, int, QueuedMessage]] = field(default_factory=list)
    _held: list[QueuedMessage] = field(default_factory=list)
    _leases: dict[str, MessageLease] = field(default_factory=dict)
    _deadlines: list[tuple[float, str]] = field(default_factory=list)
    _kept: deque[PublishedMessage] = field(default_factory=deque)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def waiting(self) -> int:
        """Number of messages that no subscriber has."""
        return len(self._waiting) + len(self._later) + len(self._held)

    @property
    def leased(self) -> int:
        """Number of messages that a subscriber has and has not acknowledged."""
        return len(self._leases)

    def add(self, message: PublishedMessage) -> None:
        """Add a new message."""
        self._waiting.append(QueuedMessage(message))

    def take(self, now: float, holder: LeaseHolder, ack_seconds: float) -> MessageLease | None:
        """Lease the next message to `holder`; return None if there is none or no room for it."""
        self._release_due(now)
        if not self._waiting or not holder.has_room:
            return None
        queued = self._waiting.popleft()
        queued.attempts += 1
        lease = MessageLease(
            f"{next(self._numbers):x}{_ACK_ID_SUFFIX}", queued, holder, now + ack_seconds
        )
        self._leases[lease.ack_id] = lease
        heapq.heappush(self._deadlines, (lease.deadline, lease.ack_id))
        holder.messages += 1
        holder.size += queued.message.size
        return lease

    def passed(self) -> None:
        """Count a delivered message for the messages that are held back until others have gone."""
        for queued in tuple(self._held):
            queued.behind -= 1
            if queued.behind <= 0:
                self._held.remove(queued)
                self._waiting.appendleft(queued)

    def acknowledge(self, ack_id: str) -> bool:
        """End the lease and remove its message. Return False if there is no such lease."""
        lease = self._end_lease(ack_id)
        if lease is None:
            return False
        self.acked += 1
        if self.retain_acked:
            self._kept.append(lease.queued.message)
        return True

    def extend(self, ack_id: str, now: float, seconds: float) -> bool:
        """Make a lease end in `seconds`; 0 ends it now. Return False if there is no such lease."""
        lease = self._leases.get(ack_id)
        if lease is None:
            return False
        if seconds <= 0:
            self._end_lease(ack_id)
            self._waiting.append(lease.queued)
        else:
            lease.deadline = now + seconds
            heapq.heappush(self._deadlines, (lease.deadline, ack_id))
        return True

    def put_back(self, lease: MessageLease, due: float = 0.0, behind: int = 0) -> None:
        """Take back a message that has not been sent.

        It waits until `due` (0: it is the next one) or until `behind` other messages have gone.
        """
        queued = lease.queued
        self._end_lease(lease.ack_id)
        queued.due, queued.behind = due, behind
        if behind:
            self._held.append(queued)
        elif due:
            heapq.heappush(self._later, (due, next(self._numbers), queued))
        else:
            queued.attempts -= 1
            self._waiting.appendleft(queued)

    def repeat(self, message: PublishedMessage, due: float) -> None:
        """Deliver a message once more at `due`, even if it is acknowledged before."""
        again = QueuedMessage(message, due, attempts=1)
        heapq.heappush(self._later, (due, next(self._numbers), again))

    def next_due(self) -> float | None:
        """Return when a message will wait again without further calls; None: never."""
        self._forget_ended()
        times = [queued.due for queued in self._held]
        if self._later:
            times.append(self._later[0][0])
        if self._deadlines:
            times.append(self._deadlines[0][0])
        return min(times, default=None)

    def seek(self, published: float) -> None:
        """Acknowledge all messages published before `published`, and no later message.

        Acknowledged messages that are retained and were published later are delivered again.
        """
        messages = {id(queued.message): queued.message for queued in self._unacknowledged()}
        messages |= {id(message): message for message in self._kept}
        for lease in tuple(self._leases.values()):
            self._end_lease(lease.ack_id)
        ordered = sorted(messages.values(), key=lambda message: message.publish_time)
        self._later.clear()
        self._held.clear()
        self._kept = deque(message for message in ordered if message.publish_time < published)
        if not self.retain_acked:
            self._kept.clear()
        self._waiting = deque(
            QueuedMessage(message) for message in ordered if message.publish_time >= published
        )

    def drop_older(self, oldest: float) -> None:
        """Drop messages published before `oldest`, which is the time of the retention."""
        while self._waiting and self._waiting[0].message.publish_time < oldest:
            self._waiting.popleft()
        while self._kept and self._kept[0].publish_time < oldest:
            self._kept.popleft()

    def _unacknowledged(self) -> Iterator[QueuedMessage]:
        yield from self._waiting
        yield from self._held
        yield from (queued for _, _, queued in self._later)
        yield from (lease.queued for lease in self._leases.values())

    def _release_due(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, ack_id = heapq.heappop(self._deadlines)
            lease = self._leases.get(ack_id)
            if lease is not None and lease.deadline == deadline:
                self.expired += 1
                self._end_lease(ack_id)
                self._waiting.append(lease.queued)
        while self._later and self._later[0][0] <= now:
            self._waiting.append(heapq.heappop(self._later)[2])
        for queued in tuple(self._held):
            if queued.due <= now:
                self._held.remove(queued)
                self._waiting.append(queued)

    def _forget_ended(self) -> None:
        """Drop the deadlines of leases that have ended or been extended."""
        while self._deadlines:
            deadline, ack_id = self._deadlines[0]
            lease = self._leases.get(ack_id)
            if lease is not None and lease.deadline == deadline:
                return
            heapq.heappop(self._deadlines)

    def _end_lease(self, ack_id: str) -> MessageLease | None:
        lease = self._leases.pop(ack_id, None)
        if lease is not None:
            lease.holder.messages -= 1
            lease.holder.size -= lease.queued.message.size
        return lease
