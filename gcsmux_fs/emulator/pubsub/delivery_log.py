"""The last deliveries of messages, so that a test knows when a message has left the emulator."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.emulator.pubsub.published_message import MessageReceipt

__all__ = ["DeliveryLog"]

# Number of deliveries that the log keeps: ten seconds at the rate of the benchmark. They take about
# 100 MB of memory.
_MAX_DELIVERIES = 100_000


class DeliveryLog:
    """The last deliveries, and the number of all deliveries."""

    def __init__(self) -> None:
        self._last: deque[MessageReceipt] = deque(maxlen=_MAX_DELIVERIES)
        self.sent = 0

    def note(self, receipts: Sequence[MessageReceipt]) -> None:
        """Store deliveries that are being sent."""
        self._last.extend(receipts)
        self.sent += len(receipts)

    def to_json(self, subscription: str = "") -> bytes:
        """Return the last deliveries of a subscription, or of all, as a JSON list."""
        return json.dumps(
            [
                {
                    "subscription": receipt.subscription,
                    "message_id": receipt.message_id,
                    "attributes": dict(receipt.attributes),
                    "published": receipt.publish_time,
                    "sent": receipt.sent_time,
                }
                for receipt in self._last
                if subscription in ("", receipt.subscription)
            ]
        ).encode()
