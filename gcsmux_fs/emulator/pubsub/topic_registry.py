"""All topics and subscriptions of the emulator."""

from __future__ import annotations

import itertools
import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.pubsub.attribute_filter import AttributeFilter, parse_filter
from gcsmux_fs.emulator.pubsub.published_message import PublishedMessage, stamped
from gcsmux_fs.emulator.pubsub.subscription_queue import SubscriptionQueue
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "ACK_SECONDS",
    "DEFAULT_ACK_SECONDS",
    "DELETED_TOPIC",
    "StoredSubscription",
    "StoredTopic",
    "TopicRegistry",
]

# The `topic` of a subscription whose topic has been deleted.
DELETED_TOPIC = "_deleted-topic_"
DEFAULT_ACK_SECONDS = 10
# The acknowledgement deadlines that subscriptions and streams may ask for, in seconds.
ACK_SECONDS = range(10, 601)
_DEFAULT_RETENTION_SECONDS = 7 * 24 * 3600
_RETENTION_SECONDS = range(600, 31 * 24 * 3600 + 1)
_DEFAULT_TTL_SECONDS = 31 * 24 * 3600
_NAME = re.compile(r"projects/[^/]+/(topics|subscriptions)/(?!goog)[A-Za-z][\w.~+%-]{2,254}")
# The first message id. The ids of the service have about 16 digits.
_FIRST_MESSAGE_ID = 1_000_000_000_000_000


@dataclass(slots=True, eq=False)
class StoredSubscription:
    """A subscription: its settings, its messages, and the subscribers that wait for messages."""

    settings: pubsub.Subscription
    queue: SubscriptionQueue
    filter: AttributeFilter | None
    exists: bool = True
    policy: pubsub.Policy = field(default_factory=pubsub.Policy)
    _wake: deque[Callable[[], None]] = field(default_factory=deque)

    @property
    def subscribers(self) -> int:
        """Number of subscribers that are connected."""
        return len(self._wake)

    def connect(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever there may be messages to take, or the subscription is deleted."""
        self._wake.append(wake)

    def disconnect(self, wake: Callable[[], None]) -> None:
        """Do not call `wake` again."""
        self._wake.remove(wake)

    def wake(self) -> None:
        """Wake all subscribers."""
        for wake in self._wake:
            wake()

    def offer(self) -> None:
        """Wake all subscribers, each time another one first, so that they share new messages."""
        self._wake.rotate()
        self.wake()


@dataclass(slots=True, eq=False)
class StoredTopic:
    """A topic: its settings, and its subscriptions by name."""

    settings: pubsub.Topic
    subscriptions: dict[str, StoredSubscription] = field(default_factory=dict)
    policy: pubsub.Policy = field(default_factory=pubsub.Policy)


class TopicRegistry:
    """The topics and subscriptions of all projects."""

    def __init__(self) -> None:
        self._topics: dict[str, StoredTopic] = {}
        self._subscriptions: dict[str, StoredSubscription] = {}
        self._message_ids = itertools.count(_FIRST_MESSAGE_ID)
        self.published = 0

    # -- topics

    def create_topic(self, settings: pubsub.Topic) -> StoredTopic:
        """Create a topic.

        Raises:
            RpcError: the name is not valid (INVALID_ARGUMENT), or is used (ALREADY_EXISTS).
        """
        _check_name(settings.name, "topics")
        if settings.name in self._topics:
            raise _exists(settings.name)
        topic = self._topics[settings.name] = StoredTopic(settings)
        return topic

    def topic(self, name: str) -> StoredTopic:
        """Return a topic.

        Raises:
            RpcError: there is no such topic (NOT_FOUND).
        """
        topic = self._topics.get(name)
        if topic is None:
            raise _missing(name)
        return topic

    def topics(self, project: str) -> list[pubsub.Topic]:
        """Return the topics of a project, sorted by name."""
        return [self._topics[name].settings for name in _of_project(self._topics, project)]

    def delete_topic(self, name: str) -> None:
        """Delete a topic. Its subscriptions stay, and get no more messages.

        Raises:
            RpcError: there is no such topic (NOT_FOUND).
        """
        for subscription in self.topic(name).subscriptions.values():
            subscription.settings.topic = DELETED_TOPIC
        del self._topics[name]

    def publish(
        self, name: str, messages: Iterable[pubsub.PubsubMessage], now_ns: int
    ) -> list[PublishedMessage]:
        """Give messages to the subscriptions of a topic. `now_ns`: nanoseconds since 1970.

        Raises:
            RpcError: there is no such topic (NOT_FOUND).
        """
        topic = self.topic(name)
        accepted = [stamped(message, str(next(self._message_ids)), now_ns) for message in messages]
        self.published += len(accepted)
        for subscription in topic.subscriptions.values():
            selects = subscription.filter
            for message in accepted:
                if selects is None or selects(message.attributes):
                    subscription.queue.add(message)
            subscription.offer()
        return accepted

    # -- subscriptions

    def create_subscription(self, settings: pubsub.Subscription) -> StoredSubscription:
        """Create a subscription. It gets the messages published from now on.

        Raises:
            RpcError: a setting is not valid (INVALID_ARGUMENT), or the name is used
                (ALREADY_EXISTS), or the topic does not exist (NOT_FOUND).
        """
        _check_name(settings.name, "subscriptions")
        if settings.name in self._subscriptions:
            raise _exists(settings.name)
        topic = self.topic(settings.topic)
        _complete(settings)
        subscription = StoredSubscription(
            settings,
            SubscriptionQueue(
                settings.message_retention_duration.seconds, settings.retain_acked_messages
            ),
            parse_filter(settings.filter),
        )
        self._subscriptions[settings.name] = topic.subscriptions[settings.name] = subscription
        return subscription

    def update_subscription(self, changed: pubsub.Subscription, paths: Iterable[str]) -> None:
        """Replace the settings that `paths` names.

        Raises:
            RpcError: a setting cannot be changed (INVALID_ARGUMENT), or there is no such
                subscription (NOT_FOUND).
        """
        subscription = self.subscription(changed.name)
        updated = pubsub.Subscription()
        updated.CopyFrom(subscription.settings)
        for path in paths:
            if path not in _CHANGEABLE:
                raise invalid(f"The setting {path!r} of a subscription cannot be changed.")
            updated.ClearField(path)
            source = pubsub.Subscription()
            source.CopyFrom(changed)
            for other in source.DESCRIPTOR.fields:
                if other.name != path:
                    source.ClearField(other.name)
            updated.MergeFrom(source)
        _complete(updated)
        subscription.settings.CopyFrom(updated)
        subscription.queue.retention_seconds = updated.message_retention_duration.seconds
        subscription.queue.retain_acked = updated.retain_acked_messages

    def subscription(self, name: str) -> StoredSubscription:
        """Return a subscription.

        Raises:
            RpcError: there is no such subscription (NOT_FOUND).
        """
        subscription = self._subscriptions.get(name)
        if subscription is None:
            raise _missing(name)
        return subscription

    def subscriptions(self, project: str = "") -> list[pubsub.Subscription]:
        """Return the subscriptions of a project, or of all projects, sorted by name."""
        names = _of_project(self._subscriptions, project)
        return [self._subscriptions[name].settings for name in names]

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription and its messages. Its streams end with NOT_FOUND.

        Raises:
            RpcError: there is no such subscription (NOT_FOUND).
        """
        subscription = self.subscription(name)
        del self._subscriptions[name]
        topic = self._topics.get(subscription.settings.topic)
        if topic is not None:
            del topic.subscriptions[name]
        subscription.exists = False
        subscription.wake()

    def detach(self, name: str) -> None:
        """Detach a subscription from its topic, and drop its messages.

        Raises:
            RpcError: there is no such subscription (NOT_FOUND).
        """
        subscription = self.subscription(name)
        topic = self._topics.get(subscription.settings.topic)
        if topic is not None:
            topic.subscriptions.pop(name, None)
        subscription.settings.detached = True
        subscription.queue.drop_older(float("inf"))
        subscription.wake()


_CHANGEABLE = (
    "push_config",
    "ack_deadline_seconds",
    "retain_acked_messages",
    "message_retention_duration",
    "labels",
    "expiration_policy",
    "dead_letter_policy",
    "retry_policy",
    "enable_exactly_once_delivery",
)


def _complete(settings: pubsub.Subscription) -> None:
    """Check the settings, and fill in defaults."""
    if settings.push_config.push_endpoint:
        raise RpcError(StatusCode.UNIMPLEMENTED, "The emulator does not push messages.")
    settings.ack_deadline_seconds = settings.ack_deadline_seconds or DEFAULT_ACK_SECONDS
    if settings.ack_deadline_seconds not in ACK_SECONDS:
        raise invalid(f"ack_deadline_seconds is {settings.ack_deadline_seconds}: use 10 to 600.")
    if not settings.HasField("message_retention_duration"):
        settings.message_retention_duration.seconds = _DEFAULT_RETENTION_SECONDS
    if settings.message_retention_duration.seconds not in _RETENTION_SECONDS:
        raise invalid("message_retention_duration must be between 10 minutes and 31 days.")
    if not settings.HasField("expiration_policy"):
        settings.expiration_policy.ttl.seconds = _DEFAULT_TTL_SECONDS
    settings.state = pubsub.Subscription.ACTIVE


def _of_project(names: Iterable[str], project: str) -> list[str]:
    prefix = project.rstrip("/") + "/" if project else ""
    return sorted(name for name in names if name.startswith(prefix))


def _check_name(name: str, collection: str) -> None:
    match = _NAME.fullmatch(name)
    if match is None or match[1] != collection:
        raise invalid(f"Not a valid name: {name!r}. Use projects/PROJECT/{collection}/NAME.")


def _exists(name: str) -> RpcError:
    return RpcError(
        StatusCode.ALREADY_EXISTS,
        f"Resource already exists in the project (resource={_last(name)}).",
    )


def _missing(name: str) -> RpcError:
    return not_found(f"Resource not found (resource={_last(name)}).")


def _last(name: str) -> str:
    return name.rpartition("/")[2]
