"""Keeps the messages that wait to be applied, and what to send to the service; sans-IO.

A message is acknowledged when it is taken for applying, because applying it twice has no effect,
and because the caches that a lost change would have changed end with this process. A message that
waits is not acknowledged: so the service, which limits the unacknowledged messages, stops when
messages arrive faster than they are applied. The deadline of waiting messages is extended halfway.
Otherwise the service would deliver them again.

Ids stay valid on later streams, so nothing is forgotten when a stream ends.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from gcsmux_fs.storage.ports import PullOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.changes.pull_actions import PullPolicy
    from gcsmux_fs.storage.ports import PulledMessage

__all__ = ["MAX_ORDER_BYTES", "MAX_ORDER_IDS", "DeliveryLedger"]

MAX_ORDER_BYTES = 400_000
"""Maximum size of the ids in one message to the service, which refuses requests of more than 512
KiB (https://cloud.google.com/pubsub/quotas#resource_limits)."""

MAX_ORDER_IDS = 1000
"""Maximum number of ids in one message to the service. Real ids have about 200 bytes."""

_ID_OVERHEAD_BYTES = 8  # tags and lengths of an id, and its deadline


class DeliveryLedger:
    """The waiting messages, and the ids to acknowledge and to extend."""

    __slots__ = ("_acks", "_acks_since", "_extended_at", "_extending", "_policy", "_waiting")

    def __init__(self, policy: PullPolicy) -> None:
        self._policy = policy
        # The waiting messages, with the time of their arrival.
        self._waiting: deque[tuple[float, PulledMessage]] = deque()
        # The ids to acknowledge, and since when the first of them waits.
        self._acks: deque[str] = deque()
        self._acks_since = math.inf
        # The ids whose deadline is to be extended, and the time of the latest extension.
        self._extending: deque[str] = deque()
        self._extended_at = -math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return (
            f"<DeliveryLedger: {len(self._waiting)} messages wait,"
            f" {len(self._acks)} to acknowledge, {len(self._extending)} to extend>"
        )

    @property
    def due(self) -> float:
        """Time at which `next_order` has an order; infinity for never."""
        due = math.inf
        if self._extending:
            return -math.inf
        if self._acks:
            full = len(self._acks) >= MAX_ORDER_IDS
            due = -math.inf if full else self._acks_since + self._policy.ack_delay
        return min(due, self._extension_due)

    @property
    def _extension_due(self) -> float:
        if not self._waiting:
            return math.inf
        leased_at = max(self._waiting[0][0], self._extended_at)
        return leased_at + self._policy.ack_deadline / 2

    def add(self, messages: Sequence[PulledMessage], now: float) -> None:
        """Add messages that have arrived."""
        self._waiting.extend((now, message) for message in messages)

    def acknowledge(self, ack_ids: Sequence[str], now: float) -> None:
        """Acknowledge messages that need not be applied."""
        if ack_ids and not self._acks:
            self._acks_since = now
        self._acks.extend(ack_ids)

    def take(self, most: int, now: float) -> list[PulledMessage]:
        """Return up to `most` messages in the order of their arrival, and acknowledge them."""
        waiting = self._waiting
        taken = [waiting.popleft()[1] for _ in range(min(most, len(waiting)))]
        self.acknowledge([message.ack_id for message in taken], now)
        return taken

    def next_order(self, now: float) -> PullOrder | None:
        """Return the next message to the service; None if nothing is due."""
        if now < self.due:
            return None
        if now >= self._extension_due:
            self._extending.extend(message.ack_id for _, message in self._waiting)
            self._extended_at = now
        room = _Room()
        extended = room.fill(self._extending)
        acks = room.fill(self._acks)
        self._acks_since = now if self._acks else math.inf
        return PullOrder(acks, extended, self._policy.ack_deadline if extended else 0)


class _Room:
    """The room for ids in one message."""

    __slots__ = ("_bytes", "_ids")

    def __init__(self) -> None:
        self._ids = MAX_ORDER_IDS
        self._bytes = MAX_ORDER_BYTES

    def fill(self, ids: deque[str]) -> tuple[str, ...]:
        """Take as many ids as there is room for."""
        taken = []
        while ids and self._ids:
            size = len(ids[0].encode()) + _ID_OVERHEAD_BYTES
            if size > self._bytes and self._ids < MAX_ORDER_IDS:
                break
            self._ids -= 1
            self._bytes -= size
            taken.append(ids.popleft())
        return tuple(taken)
