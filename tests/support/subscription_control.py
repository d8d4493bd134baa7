"""Subscriptions to the changes of buckets in a process of the emulator."""

from __future__ import annotations

import abc
import json
from dataclasses import dataclass

__all__ = ["EventDelivery", "SubscriptionControl", "SubscriptionCounts"]


@dataclass(frozen=True)
class SubscriptionCounts:
    """The state of a subscription (see `gcsmux_fs.emulator.pubsub.pubsub_control`)."""

    waiting: int
    leased: int
    acked: int
    expired: int
    subscribers: int


@dataclass(frozen=True)
class EventDelivery:
    """One delivery of a message. `published` and `sent` are times of `time.time()`."""

    subscription: str
    message_id: str
    attributes: dict[str, str]
    published: float
    sent: float


class SubscriptionControl(abc.ABC):
    """Creates, watches and removes subscriptions of an emulator. `EmulatorProcess` inherits it."""

    bucket_name: str
    # The bucket of each subscription; "" stands for all buckets.
    _subscriptions: dict[str, str]

    @abc.abstractmethod
    def control(self, method: str, request: bytes) -> bytes:
        """Call a method of the emulator's control service, and return its response."""

    @property
    def subscription_options(self) -> list[str]:
        """The options with which the emulator creates the subscriptions at its start."""
        return [f"--changes={name}={bucket}" for name, bucket in self._subscriptions.items()]

    def forget_subscriptions(self, bucket: str, *, running: bool) -> None:
        """Remove the subscriptions of a bucket. `running`: the emulator has them, too."""
        for name, of in tuple(self._subscriptions.items()):
            if of == bucket:
                if running:
                    self.unsubscribe(name)
                self._subscriptions.pop(name, None)

    def subscribe(self, subscription: str = "", bucket: str | None = None) -> str:
        """Create a subscription that gets all changes of the bucket; return its name.

        A restarted process creates the subscription again, without its messages.

        `subscription` is projects/P/subscriptions/S; "" makes a name from the bucket's. `bucket`
        None is the current bucket, "" all buckets.
        """
        bucket = self.bucket_name if bucket is None else bucket
        name = subscription or f"projects/emulator-project/subscriptions/{bucket or 'all'}-changes"
        request = json.dumps({"subscription": name, "bucket": bucket})
        self.control("Subscribe", request.encode())
        self._subscriptions[name] = bucket
        return name

    def unsubscribe(self, name: str) -> None:
        """Remove a subscription, its topic and the notifications. Streams end with NOT_FOUND."""
        self.control("Unsubscribe", json.dumps({"subscription": name}).encode())
        del self._subscriptions[name]

    def subscription(self, name: str) -> SubscriptionCounts:
        """Return the numbers of messages and subscribers of a subscription."""
        return SubscriptionCounts(**json.loads(self.control("Subscriptions", b""))[name])

    def deliveries(self, subscription: str) -> list[EventDelivery]:
        """Return the last deliveries of messages to the subscribers of a subscription, in order."""
        request = json.dumps({"subscription": subscription})
        answer = json.loads(self.control("Deliveries", request.encode()))
        return [EventDelivery(**delivery) for delivery in answer]
