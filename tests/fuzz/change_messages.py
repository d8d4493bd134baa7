"""Fuzz target: messages about changes. Every account that may publish can forge them."""

from __future__ import annotations

import json
from typing import Any

from gcsmux_fs.changes.change_event import ForeignMessage, parse_change
from gcsmux_fs.storage.ports import PulledMessage

from .source import Source

__all__ = ["change_message"]

_ATTRIBUTES = (
    *("eventType", "objectId", "objectGeneration", "bucketId", "eventTime"),
    *("overwroteGeneration", "overwrittenByGeneration"),
)
_FIELDS = (
    *("name", "generation", "metageneration", "size", "updated", "crc32c", "metadata"),
    *("contentType", "contentEncoding", "storageClass", "timeFinalized"),
)
_VALUES = (
    *("OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE", "OBJECT_DELETE", "bucket", "a/b", "7", "0"),
    *("9223372036854775807", "9223372036854775808", "-1", "2026-11-30T21:00:00.123456Z", "²"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59", "AAAAAA==", "AAAA", ""),
)


def change_message(data: bytes) -> None:
    """Parse an arbitrary message; every number in the result must have at most 64 bits."""
    source = Source(data)
    attributes = {
        "eventType": "OBJECT_FINALIZE",
        "objectId": "a/b",
        "objectGeneration": "7",
        "bucketId": "bucket",
    }
    resource: dict[str, Any] = {"name": "a/b", "generation": "7", "metageneration": "1"}
    for _ in range(source.number() % 16):
        if source.flag():
            attributes[source.choice(_ATTRIBUTES)] = _text(source)
        else:
            resource[source.choice(_FIELDS)] = _value(source)
    is_json = not source.flag()
    payload = json.dumps(resource).encode() if is_json else source.rest()
    try:
        change = parse_change(PulledMessage("ack", payload, attributes, 0.0), "bucket")
    except ForeignMessage:
        return
    assert change.name == attributes["objectId"]
    assert attributes["bucketId"] == "bucket"
    numbers = [change.generation, change.metageneration, change.overwrote, change.overwritten_by]
    info = change.info
    if info is not None:
        assert (info.name, info.generation) == (change.name, change.generation)
        assert info.crc32c is None or 0 <= info.crc32c < 2**32
        assert all(isinstance(text, str) for text in info.metadata.values())
        numbers += [info.size, info.metageneration]
    assert all(0 <= number < 2**63 for number in numbers)


def _text(source: Source) -> str:
    return source.text() if source.flag() else source.choice(_VALUES)


def _value(source: Source) -> object:
    kind = source.number() % 8
    if kind < 5:
        return _text(source)
    return (source.number(), None, {_text(source): _text(source) or 3})[kind - 5]
