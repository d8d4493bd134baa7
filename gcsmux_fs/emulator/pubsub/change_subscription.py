"""Sets up and removes what a mount needs: a topic, notifications and a subscription."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.pubsub.policy_service import service_agent
from gcsmux_fs.emulator.rpc_error import RpcError, invalid
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.emulator.pubsub.configured_notifications import ConfiguredNotifications
    from gcsmux_fs.emulator.pubsub.topic_registry import TopicRegistry

__all__ = ["remove_subscription", "set_up_subscription"]

_SUBSCRIPTIONS = "/subscriptions/"
_TOPICS = "/topics/"


def set_up_subscription(
    registry: TopicRegistry, configs: ConfiguredNotifications, subscription: str, bucket: str
) -> None:
    """Create a subscription that receives all changes of a bucket (ALL_BUCKETS: of all buckets).

    The topic gets the name of the subscription. What exists already stays.

    Raises:
        RpcError: the name is not `projects/P/subscriptions/S` (INVALID_ARGUMENT).
    """
    if subscription.count(_SUBSCRIPTIONS) != 1:
        raise invalid(
            f"Not a valid name: {subscription!r}. Use projects/PROJECT/subscriptions/NAME."
        )
    topic = subscription.replace(_SUBSCRIPTIONS, _TOPICS)
    with _existing_stays():
        created = registry.create_topic(pubsub.Topic(name=topic))
        created.policy.bindings.add(
            role="roles/pubsub.publisher", members=[f"serviceAccount:{service_agent()}"]
        )
    with _existing_stays():
        registry.create_subscription(pubsub.Subscription(name=subscription, topic=topic))
    if not any(config.topic == topic for config in configs.of(bucket)):
        configs.create(bucket, topic)


def remove_subscription(
    registry: TopicRegistry, configs: ConfiguredNotifications, subscription: str
) -> None:
    """Remove what `set_up_subscription` has created. What does not exist is left out."""
    topic = subscription.replace(_SUBSCRIPTIONS, _TOPICS)
    configs.delete_of_topic(topic)
    with suppress(RpcError):
        registry.delete_subscription(subscription)
    with suppress(RpcError):
        registry.delete_topic(topic)


@contextmanager
def _existing_stays() -> Iterator[None]:
    try:
        yield
    except RpcError as error:
        if error.code is not StatusCode.ALREADY_EXISTS:
            raise
