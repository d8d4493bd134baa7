"""The methods of the control service for Pub/Sub. Requests and responses are JSON.

- `/gcsmux.emulator.Control/Subscribe`: `{"subscription": "projects/P/subscriptions/S", "bucket":
  "B"}` creates a topic, a notification configuration of the bucket and a subscription. Without
  `bucket`, the subscription receives the changes of all buckets. The response is `{}`.
- `/gcsmux.emulator.Control/Unsubscribe`: `{"subscription": "projects/P/subscriptions/S"}` removes
  what Subscribe has created. The response is `{}`.
- `/gcsmux.emulator.Control/Subscriptions` returns, for each subscription, the number of `waiting`
  and `leased` messages, of `acked` messages, of `expired` leases, and of connected `subscribers`.
- `/gcsmux.emulator.Control/Deliveries` returns the last deliveries: `subscription`, `message_id`,
  `attributes`, `published` and `sent`. The times are in seconds since 1970. `sent` is the time at
  which the message left the emulator. The request may be `{"subscription": "..."}`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.pubsub.change_subscription import (
    remove_subscription,
    set_up_subscription,
)
from gcsmux_fs.emulator.rpc_error import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.emulator.pubsub.configured_notifications import ConfiguredNotifications
    from gcsmux_fs.emulator.pubsub.delivery_log import DeliveryLog
    from gcsmux_fs.emulator.pubsub.topic_registry import TopicRegistry

__all__ = ["PubsubControl"]


class PubsubControl:
    """Answers the methods of the control service for Pub/Sub."""

    def __init__(
        self, registry: TopicRegistry, configs: ConfiguredNotifications, log: DeliveryLog
    ) -> None:
        self._registry = registry
        self._configs = configs
        self._log = log

    async def subscribe(self, request: bytes) -> bytes:
        """Answer the method Subscribe.

        Raises:
            RpcError: the request is malformed, or the name is not valid (INVALID_ARGUMENT).
        """
        members = _members(request, ("subscription", "bucket"))
        set_up_subscription(
            self._registry,
            self._configs,
            members.get("subscription", ""),
            members.get("bucket", ""),
        )
        return b"{}"

    async def unsubscribe(self, request: bytes) -> bytes:
        """Answer the method Unsubscribe.

        Raises:
            RpcError: the request is malformed (INVALID_ARGUMENT).
        """
        members = _members(request, ("subscription",))
        remove_subscription(self._registry, self._configs, members.get("subscription", ""))
        return b"{}"

    async def subscriptions(self, request: bytes) -> bytes:
        """Answer the method Subscriptions.

        Raises:
            RpcError: the request is not empty (INVALID_ARGUMENT).
        """
        _members(request, ())
        found = {}
        for settings in self._registry.subscriptions():
            stored = self._registry.subscription(settings.name)
            queue = stored.queue
            found[settings.name] = {
                "waiting": queue.waiting,
                "leased": queue.leased,
                "acked": queue.acked,
                "expired": queue.expired,
                "subscribers": stored.subscribers,
            }
        return json.dumps(found).encode()

    async def deliveries(self, request: bytes) -> bytes:
        """Answer the method Deliveries.

        Raises:
            RpcError: the request is malformed (INVALID_ARGUMENT).
        """
        members = _members(request, ("subscription",))
        return self._log.to_json(members.get("subscription", ""))


def _members(request: bytes, names: tuple[str, ...]) -> Mapping[str, str]:
    try:
        members = json.loads(request or b"{}")
    except ValueError:
        members = None
    if not isinstance(members, dict) or not all(
        name in names and isinstance(value, str) for name, value in members.items()
    ):
        raise invalid(f"The request must be a JSON object with these texts: {names}.")
    return members
