"""Publishes the changes of objects to the topics that the notification configurations name."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.object_events import ObjectEventType
from gcsmux_fs.emulator.pubsub.configured_notifications import notification_message
from gcsmux_fs.emulator.pubsub.object_payload import object_payload, rfc3339
from gcsmux_fs.emulator.rpc_error import RpcError

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.object_events import ObjectEvent
    from gcsmux_fs.emulator.buckets.store import BucketStore
    from gcsmux_fs.emulator.pubsub.configured_notifications import (
        ConfiguredNotification,
        ConfiguredNotifications,
    )
    from gcsmux_fs.emulator.pubsub.topic_registry import TopicRegistry

__all__ = ["ObjectNotifier"]


class ObjectNotifier:
    """Publishes a message for each change and each configuration that selects it."""

    def __init__(
        self,
        store: BucketStore,
        checksums: Checksums,
        configs: ConfiguredNotifications,
        registry: TopicRegistry,
    ) -> None:
        self._store = store
        self._checksums = checksums
        self._configs = configs
        self._registry = registry
        store.listeners.append(self._changed)

    def _changed(self, event: ObjectEvent) -> None:
        configs = self._configs.selecting(event)
        if configs:
            # The checksum of a new object is known only after the call that has announced it.
            loop = asyncio.get_running_loop()
            loop.call_soon(self._publish, event, configs, time.time_ns())

    def _publish(
        self, event: ObjectEvent, configs: list[ConfiguredNotification], now_ns: int
    ) -> None:
        stored = event.stored
        if event.type is ObjectEventType.ARCHIVE:
            stored = replace(stored, ended_ns=now_ns)
        payload = object_payload(stored, self._crc(event))
        for config in configs:
            message = notification_message(event, config, rfc3339(now_ns), payload)
            # The service drops the events of a topic that has been deleted.
            with suppress(RpcError):
                self._registry.publish(config.topic, [message], time.time_ns())

    def _crc(self, event: ObjectEvent) -> int | None:
        if event.type in (ObjectEventType.DELETE, ObjectEventType.ARCHIVE):
            return self._checksums.cached(event.stored)
        try:
            bucket = self._store.bucket(event.stored.bucket)
        except RpcError:
            return None
        return self._checksums.cached_or_quick(event.stored, bucket)
