"""The methods of google.pubsub.v1.Publisher."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from gcsmux_fs.emulator.rpc_error import RpcError, invalid
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub

if TYPE_CHECKING:
    from gcsmux_fs.emulator.pubsub.topic_registry import TopicRegistry

__all__ = ["PublisherService"]

_MAX_MESSAGES = 1000
_MAX_BYTES = 10_000_000
_CHANGEABLE = ("labels", "message_retention_duration", "kms_key_name")


class PublisherService:
    """Answers calls about topics. Every list is one page."""

    def __init__(self, registry: TopicRegistry) -> None:
        self._registry = registry

    async def create_topic(self, request: pubsub.Topic) -> pubsub.Topic:
        """Answer CreateTopic."""
        return self._registry.create_topic(request).settings

    async def update_topic(self, request: pubsub.UpdateTopicRequest) -> pubsub.Topic:
        """Answer UpdateTopic."""
        settings = self._registry.topic(request.topic.name).settings
        for path in request.update_mask.paths:
            if path not in _CHANGEABLE:
                raise invalid(f"The setting {path!r} of a topic cannot be changed.")
            settings.ClearField(path)
        request.update_mask.MergeMessage(request.topic, settings)
        return settings

    async def publish(self, request: pubsub.PublishRequest) -> pubsub.PublishResponse:
        """Answer Publish: give each message an id, and give it to all subscriptions."""
        if not 1 <= len(request.messages) <= _MAX_MESSAGES:
            raise invalid(f"Publish takes 1 to {_MAX_MESSAGES} messages.")
        if request.ByteSize() > _MAX_BYTES:
            raise invalid(f"The request has more than {_MAX_BYTES} bytes.")
        for message in request.messages:
            if not (message.data or message.attributes):
                raise invalid("A message needs data or attributes.")
        accepted = self._registry.publish(request.topic, request.messages, time.time_ns())
        return pubsub.PublishResponse(message_ids=[message.message_id for message in accepted])

    async def get_topic(self, request: pubsub.GetTopicRequest) -> pubsub.Topic:
        """Answer GetTopic."""
        return self._registry.topic(request.topic).settings

    async def list_topics(self, request: pubsub.ListTopicsRequest) -> pubsub.ListTopicsResponse:
        """Answer ListTopics."""
        _check_page(request.page_token)
        return pubsub.ListTopicsResponse(topics=self._registry.topics(request.project))

    async def list_topic_subscriptions(
        self, request: pubsub.ListTopicSubscriptionsRequest
    ) -> pubsub.ListTopicSubscriptionsResponse:
        """Answer ListTopicSubscriptions."""
        _check_page(request.page_token)
        names = sorted(self._registry.topic(request.topic).subscriptions)
        return pubsub.ListTopicSubscriptionsResponse(subscriptions=names)

    async def delete_topic(self, request: pubsub.DeleteTopicRequest) -> Empty:
        """Answer DeleteTopic."""
        self._registry.delete_topic(request.topic)
        return Empty()


def _check_page(token: str) -> None:
    if token:
        raise RpcError(StatusCode.INVALID_ARGUMENT, "The page token was not issued by this server.")
