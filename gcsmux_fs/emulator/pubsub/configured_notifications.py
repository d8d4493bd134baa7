"""The notification configurations of buckets: which changes are published to which topic."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.object_events import ObjectEventType
from gcsmux_fs.emulator.rpc_error import invalid, not_found
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsmux_fs.emulator.buckets.object_events import ObjectEvent

__all__ = [
    "ALL_BUCKETS",
    "ConfiguredNotification",
    "ConfiguredNotifications",
    "notification_attributes",
]

# The bucket of configurations that apply to every bucket, which only the emulator has.
ALL_BUCKETS = ""
JSON_PAYLOAD = "JSON_API_V1"
NO_PAYLOAD = "NONE"
# Limits of the service.
_MAX_CONFIGS = 100
_MAX_CONFIGS_PER_TYPE = 10
_MAX_ATTRIBUTES = 5
_MAX_KEY_BYTES = 256
_MAX_VALUE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class ConfiguredNotification:
    """One configuration. `topic` is `projects/P/topics/T`. No event types select all types.

    Raises:
        RpcError: a value is not valid (INVALID_ARGUMENT).
    """

    id: str
    bucket: str
    topic: str
    payload_format: str = JSON_PAYLOAD
    event_types: tuple[str, ...] = ()
    object_name_prefix: str = ""
    custom_attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.payload_format not in (JSON_PAYLOAD, NO_PAYLOAD):
            raise invalid(f"Invalid payload format: {self.payload_format!r}.")
        for name in self.event_types:
            if name not in list(ObjectEventType):
                raise invalid(f"Invalid event type: {name!r}.")
        if len(self.custom_attributes) > _MAX_ATTRIBUTES:
            raise invalid(f"There are more than {_MAX_ATTRIBUTES} custom attributes.")
        for key, value in self.custom_attributes.items():
            if len(key.encode()) > _MAX_KEY_BYTES or len(value.encode()) > _MAX_VALUE_BYTES:
                raise invalid(f"The custom attribute {key!r} is too long.")

    def selects(self, event: ObjectEvent) -> bool:
        """Return whether the configuration publishes an event of its bucket."""
        return (
            not self.event_types or event.type in self.event_types
        ) and event.stored.name.startswith(self.object_name_prefix)


class ConfiguredNotifications:
    """The configurations of all buckets.

    The functions in `listeners` are called with the bucket of each new configuration.
    """

    def __init__(self) -> None:
        self.listeners: list[Callable[[str], None]] = []
        self._configs: dict[str, dict[str, ConfiguredNotification]] = {}
        self._numbers: dict[str, itertools.count[int]] = {}

    def create(
        self,
        bucket: str,
        topic: str,
        *,
        payload_format: str = JSON_PAYLOAD,
        event_types: tuple[str, ...] = (),
        object_name_prefix: str = "",
        custom_attributes: Mapping[str, str] | None = None,
    ) -> ConfiguredNotification:
        """Add a configuration to a bucket.

        Raises:
            RpcError: a value is not valid, or the bucket has too many configurations
                (INVALID_ARGUMENT).
        """
        configs = self._configs.setdefault(bucket, {})
        if len(configs) >= _MAX_CONFIGS:
            raise invalid(f"The bucket has {_MAX_CONFIGS} notification configurations.")
        wanted = set(event_types or ObjectEventType)
        for name in wanted:
            same = [c for c in configs.values() if name in (c.event_types or ObjectEventType)]
            if len(same) >= _MAX_CONFIGS_PER_TYPE:
                raise invalid(f"The bucket has {len(same)} notification configurations for {name}.")
        number = self._numbers.setdefault(bucket, itertools.count(1))
        config = ConfiguredNotification(
            str(next(number)),
            bucket,
            topic,
            payload_format,
            event_types,
            object_name_prefix,
            dict(custom_attributes or {}),
        )
        configs[config.id] = config
        for listener in self.listeners:
            listener(bucket)
        return config

    def any_of(self, bucket: str) -> bool:
        """Return whether a configuration applies to the bucket."""
        return bool(self._configs.get(bucket) or self._configs.get(ALL_BUCKETS))

    def of(self, bucket: str) -> list[ConfiguredNotification]:
        """Return the configurations of a bucket."""
        return list(self._configs.get(bucket, {}).values())

    def get(self, bucket: str, config_id: str) -> ConfiguredNotification:
        """Return a configuration.

        Raises:
            RpcError: there is no such configuration (NOT_FOUND).
        """
        config = self._configs.get(bucket, {}).get(config_id)
        if config is None:
            raise not_found(f"Notification configuration {config_id!r} not found.")
        return config

    def delete(self, bucket: str, config_id: str) -> None:
        """Remove a configuration.

        Raises:
            RpcError: there is no such configuration (NOT_FOUND).
        """
        self.get(bucket, config_id)
        del self._configs[bucket][config_id]

    def delete_of_topic(self, topic: str) -> None:
        """Remove the configurations of a topic from all buckets."""
        for configs in self._configs.values():
            for config in tuple(configs.values()):
                if config.topic == topic:
                    del configs[config.id]

    def selecting(self, event: ObjectEvent) -> list[ConfiguredNotification]:
        """Return the configurations that publish an event."""
        configs = (*self.of(event.stored.bucket), *self.of(ALL_BUCKETS))
        return [config for config in configs if config.selects(event)]


def notification_attributes(
    event: ObjectEvent, config: ConfiguredNotification, event_time: str
) -> dict[str, str]:
    """Return the attributes of the message about an event."""
    stored = event.stored
    attributes = {
        **config.custom_attributes,
        "notificationConfig": f"projects/_/buckets/{stored.bucket}/notificationConfigs/{config.id}",
        "eventType": str(event.type),
        "payloadFormat": config.payload_format,
        "bucketId": stored.bucket,
        "objectId": stored.name,
        "objectGeneration": str(stored.generation),
        "eventTime": event_time,
    }
    if event.overwrote:
        attributes["overwroteGeneration"] = str(event.overwrote)
    if event.overwritten_by:
        attributes["overwrittenByGeneration"] = str(event.overwritten_by)
    return attributes


def notification_message(
    event: ObjectEvent, config: ConfiguredNotification, event_time: str, payload: bytes
) -> pubsub.PubsubMessage:
    """Return the message about an event. `payload` is the resource of the object."""
    return pubsub.PubsubMessage(
        attributes=notification_attributes(event, config, event_time),
        data=payload if config.payload_format == JSON_PAYLOAD else b"",
    )
