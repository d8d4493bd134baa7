"""Makes messages as Cloud Storage publishes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gcsmux_fs.storage.ports import PulledMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUCKET", "attributes_of", "message_about", "payload_of"]

BUCKET = "bucket"


def attributes_of(
    event: str = "OBJECT_FINALIZE", name: str = "a/b", generation: object = 7, **more: str
) -> dict[str, str]:
    return {
        "notificationConfig": f"projects/_/buckets/{BUCKET}/notificationConfigs/3",
        "eventType": event,
        "payloadFormat": "JSON_API_V1",
        "bucketId": BUCKET,
        "objectId": name,
        "objectGeneration": str(generation),
        "eventTime": "2026-11-30T21:00:00.250000Z",
        **more,
    }


def payload_of(name: str = "a/b", generation: int = 7, **more: Any) -> bytes:
    """Return a payload; a field with the value None is left out."""
    resource = {
        "kind": "storage#object",
        "name": name,
        "bucket": BUCKET,
        "generation": str(generation),
        "metageneration": "1",
        "contentType": "text/plain",
        "timeCreated": "2026-11-30T21:00:00.123Z",
        "updated": "2026-11-30T21:00:00.123Z",
        "timeFinalized": "2026-11-30T21:00:00.123Z",
        "storageClass": "STANDARD",
        "size": "1048576",
        "crc32c": "yZRlqg==",
    }
    resource |= more
    return json.dumps({key: value for key, value in resource.items() if value is not None}).encode()


def message_about(
    name: str = "a/b",
    generation: int = 7,
    *,
    ack_id: str = "",
    publish_time: float = 1000.0,
    attributes: Mapping[str, str] | None = None,
    data: bytes | None = None,
) -> PulledMessage:
    return PulledMessage(
        ack_id or f"ack of {name}",
        payload_of(name, generation) if data is None else data,
        attributes_of(name=name, generation=generation) if attributes is None else attributes,
        publish_time,
    )
