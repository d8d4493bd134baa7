"""Many events of a bucket, encoded before they are needed, so that sending them takes little time.

    requests = prepare_events(subscription, [finalized("my-bucket", "a", generation) ...])
    publish_events(emulator.endpoint, requests, per_second=10_000)

The emulator delivers the events like its own, although its buckets have not changed.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import grpc

from gcsmux_fs.emulator.buckets.object_attributes import default_attributes
from gcsmux_fs.emulator.buckets.object_events import ObjectEvent, ObjectEventType
from gcsmux_fs.emulator.buckets.objects import StoredObject
from gcsmux_fs.emulator.pubsub.configured_notifications import (
    ConfiguredNotification,
    notification_message,
)
from gcsmux_fs.emulator.pubsub.object_payload import object_payload, rfc3339
from gcsmux_fs.storage.pb import pubsub_pb2 as pubsub

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["EVENTS_PER_REQUEST", "deleted", "finalized", "prepare_events", "publish_events"]

# At 10,000 events per second, a request is sent every 5 ms.
EVENTS_PER_REQUEST = 50
_CALL_SECONDS = 20


def finalized(
    bucket: str, name: str, generation: int, *, size: int = 1000, overwrote: int = 0
) -> ObjectEvent:
    """Return the event of a new object, which may replace the generation `overwrote`."""
    stored = _stored(bucket, name, generation, size)
    return ObjectEvent(ObjectEventType.FINALIZE, stored, overwrote=overwrote)


def deleted(bucket: str, name: str, generation: int, *, overwritten_by: int = 0) -> ObjectEvent:
    """Return the event of a generation that has been deleted or replaced."""
    stored = _stored(bucket, name, generation, 1000)
    return ObjectEvent(ObjectEventType.DELETE, stored, overwritten_by=overwritten_by)


def prepare_events(subscription: str, events: Iterable[ObjectEvent]) -> list[bytes]:
    """Return encoded requests of Publish, each with `EVENTS_PER_REQUEST` events.

    `subscription` is a name that `EmulatorProcess.subscribe` has returned.
    """
    topic = subscription.replace("/subscriptions/", "/topics/")
    now = rfc3339(time.time_ns())
    waiting = iter(events)
    requests = []
    while batch := list(itertools.islice(waiting, EVENTS_PER_REQUEST)):
        messages = [
            notification_message(
                event,
                ConfiguredNotification("1", event.stored.bucket, topic),
                now,
                object_payload(event.stored, 0),
            )
            for event in batch
        ]
        requests.append(pubsub.PublishRequest(topic=topic, messages=messages).SerializeToString())
    return requests


def publish_events(endpoint: str, requests: Sequence[bytes], per_second: float = 0) -> float:
    """Publish prepared events; return how many events per second have been published.

    `per_second`: 0 publishes as fast as possible. If the emulator is slower, all events are
    published nevertheless.
    """
    with grpc.insecure_channel(endpoint) as channel:
        publish: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/google.pubsub.v1.Publisher/Publish"
        )
        start = time.monotonic()
        for number, request in enumerate(requests):
            if per_second:
                due = start + number * EVENTS_PER_REQUEST / per_second
                time.sleep(max(0.0, due - time.monotonic()))
            publish(request, timeout=_CALL_SECONDS)
        return len(requests) * EVENTS_PER_REQUEST / (time.monotonic() - start)


def _stored(bucket: str, name: str, generation: int, size: int) -> StoredObject:
    return StoredObject(
        bucket=bucket,
        name=name,
        generation=generation,
        size=size,
        time_ns=generation * 1000,
        attributes=default_attributes(name),
        path="",
        identity=None,
    )
