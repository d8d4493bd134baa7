"""Parses the messages that Cloud Storage publishes about the changes of a bucket; sans-IO.

The attributes of a message say what happened to which generation of which object. The payload, if
the notifications have one (JSON_API_V1), describes the object after the change. Every user who may
publish to the topic can forge both, so every field is checked. Fields:
https://cloud.google.com/storage/docs/pubsub-notifications.
"""

from __future__ import annotations

import binascii
import datetime as dt
import enum
import json
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from gcsmux_fs.model.values import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.storage.ports import PulledMessage

__all__ = ["Change", "ChangeKind", "ForeignMessage", "parse_change"]

# A longer payload counts as none, because undecoded payloads wait in memory. One of an object with
# little custom metadata has 1.5 KB.
_MAX_PAYLOAD_BYTES = 16 * 1024
_MAX_INT64 = (1 << 63) - 1
_MAX_INT64_DIGITS = 19
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_NO_METADATA: Mapping[str, str] = MappingProxyType({})


class ChangeKind(enum.Enum):
    """What happened to a generation of an object."""

    #: The generation was created: by an upload, a copy, a compose, a rewrite or a restore.
    FINALIZE = "OBJECT_FINALIZE"
    #: The metadata of the generation changed.
    METADATA_UPDATE = "OBJECT_METADATA_UPDATE"
    #: The generation was deleted or overwritten.
    DELETE = "OBJECT_DELETE"
    #: The generation became noncurrent, in a bucket with versions: it was deleted or overwritten.
    ARCHIVE = "OBJECT_ARCHIVE"

    __hash__ = object.__hash__


_KINDS: Final = {kind.value: kind for kind in ChangeKind}


class ForeignMessage(Exception):
    """A message is not about a change of the bucket; the text says why."""


class Change:
    """One change of one generation of an object.

    Attributes:
        kind: what happened.
        name: the full name of the object.
        generation: the generation to which it happened.
        metageneration: the metageneration after the change; 0 if unknown.
        event_time: when it happened, in seconds since 1970; 0 if unknown.
        publish_time: when the message was published, in seconds since 1970.
        overwrote: the generation that a new generation replaced; 0 for none.
        overwritten_by: the generation that replaced this generation; 0 for none.
    """

    __slots__ = (
        *("_info", "_payload", "event_time", "generation", "kind", "metageneration"),
        *("name", "overwritten_by", "overwrote", "publish_time"),
    )

    def __init__(
        self,
        kind: ChangeKind,
        name: str,
        generation: int,
        metageneration: int = 0,
        event_time: float = 0.0,
        publish_time: float = 0.0,
        overwrote: int = 0,
        overwritten_by: int = 0,
        info: ObjectInfo | None = None,
        payload: bytes = b"",
    ) -> None:
        self.kind = kind
        self.name = name
        self.generation = generation
        self.metageneration = metageneration
        self.event_time = event_time
        self.publish_time = publish_time
        self.overwrote = overwrote
        self.overwritten_by = overwritten_by
        self._info = info
        self._payload = payload

    def __repr__(self) -> str:
        return (
            f"<Change {self.kind.value} {self.name!r}#{self.generation}.{self.metageneration}"
            f" overwrote={self.overwrote} overwritten_by={self.overwritten_by}>"
        )

    @property
    def info(self) -> ObjectInfo | None:
        """The object after the change, if the message says all that a listing says.

        It is None for a generation that is gone. The payload is decoded when it is needed, because
        most changes of a large bucket are about names that no program has used.
        """
        if self._payload:
            payload, self._payload = self._payload, b""
            self._info = _info_in(payload, self)
        return self._info


def parse_change(message: PulledMessage, bucket: str) -> Change:
    """Return the change of `bucket` that a message describes.

    Raises:
        ForeignMessage: the message is about something else.
    """
    # Protobuf's mappings have a default for each missing key, so `get` is used here.
    attribute = message.attributes.get
    kind = _KINDS.get(attribute("eventType", ""))
    name = attribute("objectId", "")
    generation = _number(attribute("objectGeneration"))
    if attribute("bucketId") != bucket or kind is None or not name or not generation:
        raise ForeignMessage(_reason(message, bucket))
    metageneration = 0
    payload = message.data if len(message.data) <= _MAX_PAYLOAD_BYTES else b""
    if kind is ChangeKind.FINALIZE:
        metageneration = 1
    elif kind is ChangeKind.METADATA_UPDATE:
        # Without the metageneration, the order of two updates would be unknown.
        metageneration = _number(_resource_in(payload, name, generation).get("metageneration"))
    else:
        payload = b""
    return Change(
        kind,
        name,
        generation,
        metageneration,
        _seconds(attribute("eventTime", "")),
        message.publish_time,
        _number(attribute("overwroteGeneration")),
        _number(attribute("overwrittenByGeneration")),
        payload=payload,
    )


def _reason(message: PulledMessage, bucket: str) -> str:
    """Return why a message is foreign."""
    attributes = message.attributes
    for required in ("eventType", "bucketId", "objectId", "objectGeneration"):
        if required not in attributes:
            return f"it has no attribute {required}"
    if attributes["bucketId"] != bucket:
        return "it is about another bucket"
    if attributes["eventType"] not in _KINDS:
        return "its eventType is unknown"
    return "its objectId or objectGeneration is malformed"


def _resource_in(payload: bytes, name: str, generation: int) -> Mapping[str, Any]:
    """Return the fields of a payload; none if it is empty, malformed or about something else."""
    try:
        resource = json.loads(payload.decode()) if payload else None
    except (ValueError, RecursionError):
        return {}
    if (
        type(resource) is not dict
        or resource.get("name") != name
        or _number(resource.get("generation")) != generation
    ):
        return {}
    return resource


def _info_in(payload: bytes, change: Change) -> ObjectInfo | None:
    return _object_info(_resource_in(payload, change.name, change.generation), change)


def _object_info(resource: Mapping[str, Any], change: Change) -> ObjectInfo | None:
    """Return the description of an object in a payload; None if it is incomplete or malformed."""
    # A finalized generation does not grow. A payload without this field may describe an object that
    # can still be appended to.
    if change.kind is not ChangeKind.FINALIZE and "timeFinalized" not in resource:
        return None
    size = resource.get("size")
    metageneration = _number(resource.get("metageneration"))
    if not metageneration or (size != "0" and not _number(size)):
        return None
    try:
        # `intern` makes equal texts one object in memory. It raises TypeError for anything else.
        updated = dt.datetime.fromisoformat(resource["updated"])
        metadata = resource.get("metadata")
        return ObjectInfo(
            name=change.name,
            generation=change.generation,
            size=_number(size),
            mtime_ns=_nanoseconds(updated),
            metageneration=metageneration,
            crc32c=_checksum(resource.get("crc32c")),
            content_type=_shared(resource.get("contentType", "")),
            content_encoding=_shared(resource.get("contentEncoding", "")),
            storage_class=_shared(resource.get("storageClass", "")),
            metadata=_texts(metadata) if metadata else _NO_METADATA,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def _nanoseconds(moment: dt.datetime) -> int:
    """Return a time in nanoseconds since 1970.

    Raises:
        ValueError: 64 bits are too few for it.
    """
    nanoseconds = (moment - _EPOCH) // _MICROSECOND * 1000
    if abs(nanoseconds) > _MAX_INT64:
        raise ValueError("the time is not between 1677 and 2262")
    return nanoseconds


def _checksum(text: str | None) -> int | None:
    """Return a CRC32C from its text, the base64 of its big-endian bytes.

    Raises:
        ValueError, TypeError: the text is malformed.
    """
    if text is None:
        return None
    data = binascii.a2b_base64(text, strict_mode=True)  # binascii.Error is a ValueError
    if len(data) != 4:
        raise ValueError("malformed crc32c")
    return int.from_bytes(data, "big")


def _shared(text: object) -> str:
    """Return a text that occurs in many objects, as one object in memory."""
    return sys.intern(_text(text))


def _texts(metadata: Mapping[str, str]) -> dict[str, str]:
    return {_text(key): _text(text) for key, text in metadata.items()}


def _text(text: object) -> str:
    """Return a text that UTF-8 can encode; JSON can have others.

    Raises:
        ValueError, TypeError: it is none.
    """
    if type(text) is not str:
        raise TypeError("not a text")
    if not text.isascii():
        text.encode()  # UnicodeEncodeError is a ValueError
    return text


def _number(text: object) -> int:
    """Return a decimal number of at most 64 bits; 0 for anything else."""
    if type(text) is not str or not text.isdecimal() or not text.isascii():
        return 0
    number = int(text) if len(text) <= _MAX_INT64_DIGITS else 0
    return number if number <= _MAX_INT64 else 0


def _seconds(text: str) -> float:
    """Return a time in RFC 3339 in seconds since 1970; 0 if the text is anything else."""
    try:
        moment = dt.datetime.fromisoformat(text)
        return (moment - _EPOCH).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
