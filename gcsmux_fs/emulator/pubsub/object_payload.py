"""The payload of a notification: the JSON API resource of an object."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from gcsmux_fs.emulator.protobuf_wire import varint

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.objects import StoredObject

__all__ = ["object_payload", "rfc3339"]

_NS_PER_SECOND = 1_000_000_000
_SERVICE = "https://www.googleapis.com"
# Tags of the two varint fields in the protobuf message that an etag encodes.
_ETAG_GENERATION = b"\x08"
_ETAG_METAGENERATION = b"\x10"


def object_payload(stored: StoredObject, crc: int | None) -> bytes:
    """Return the resource of an object as JSON, in the order and form of the service."""
    bucket, name = stored.bucket, quote(stored.name, safe="")
    attributes = stored.attributes
    created = rfc3339(stored.time_ns, "milliseconds")
    link = f"storage/v1/b/{bucket}/o/{name}"
    resource = {
        "kind": "storage#object",
        "id": f"{bucket}/{stored.name}/{stored.generation}",
        "selfLink": f"{_SERVICE}/{link}",
        "name": stored.name,
        "bucket": bucket,
        "generation": str(stored.generation),
        "metageneration": str(stored.metageneration),
        "contentType": attributes.content_type,
        "timeCreated": created,
        "updated": rfc3339(stored.updated_ns or stored.time_ns, "milliseconds"),
        "timeDeleted": rfc3339(stored.ended_ns, "milliseconds") if stored.ended_ns else "",
        "storageClass": attributes.storage_class,
        "timeStorageClassUpdated": created,
        "size": str(stored.size),
        "mediaLink": f"{_SERVICE}/download/{link}?generation={stored.generation}&alt=media",
        "contentEncoding": attributes.content_encoding,
        "contentDisposition": attributes.content_disposition,
        "contentLanguage": attributes.content_language,
        "cacheControl": attributes.cache_control,
        "metadata": dict(attributes.metadata),
        "componentCount": stored.components,
        "crc32c": "" if crc is None else base64.b64encode(crc.to_bytes(4, "big")).decode(),
        "etag": _etag(stored),
        "timeFinalized": created if stored.finalized else "",
    }
    # The service leaves out fields without a value. json.dumps with `indent` is ten times slower.
    lines = ",\n".join(
        f'  "{key}": {json.dumps(value)}' for key, value in resource.items() if value
    )
    return f"{{\n{lines}\n}}\n".encode()


def rfc3339(time_ns: int, precision: str = "microseconds") -> str:
    """Return a time in nanoseconds since 1970 as text, in UTC."""
    time = datetime.fromtimestamp(time_ns // _NS_PER_SECOND, UTC).replace(
        microsecond=time_ns % _NS_PER_SECOND // 1000
    )
    return time.isoformat(timespec=precision).removesuffix("+00:00") + "Z"


def _etag(stored: StoredObject) -> str:
    message = (
        _ETAG_GENERATION
        + varint(stored.generation)
        + _ETAG_METAGENERATION
        + varint(stored.metageneration)
    )
    return base64.b64encode(message).decode()
