from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.changes.change_event import Change, ChangeKind, ForeignMessage, parse_change
from gcsmux_fs.model.values import ObjectInfo

from .messages import BUCKET, attributes_of, message_about, payload_of


def parsed(event: str = "OBJECT_FINALIZE", data: bytes = b"", **more: str) -> Change:
    attributes = attributes_of(event, **more)
    return parse_change(message_about(attributes=attributes, data=data), BUCKET)


def updated(**fields: object) -> Change:
    return parsed("OBJECT_METADATA_UPDATE", payload_of(**{"metageneration": "4"} | fields))  # type: ignore[arg-type]


def test_a_new_generation() -> None:
    change = parsed(data=payload_of(), overwroteGeneration="5")
    assert change.kind is ChangeKind.FINALIZE
    assert (change.name, change.generation, change.metageneration) == ("a/b", 7, 1)
    assert (change.overwrote, change.overwritten_by) == (5, 0)
    assert change.event_time == 1796072400.25
    assert change.publish_time == 1000.0
    assert change.info == ObjectInfo(
        name="a/b",
        generation=7,
        size=1048576,
        mtime_ns=1796072400_123_000_000,
        metageneration=1,
        crc32c=0xC99465AA,
        content_type="text/plain",
        storage_class="STANDARD",
    )
    assert change.info is change.info  # decoded once


@pytest.mark.parametrize("event", ["OBJECT_DELETE", "OBJECT_ARCHIVE"])
def test_a_generation_that_is_gone_has_no_description(event: str) -> None:
    change = parsed(event, payload_of(), overwrittenByGeneration="9")
    assert change.kind.value == event
    assert (change.overwrote, change.overwritten_by) == (0, 9)
    assert change.info is None
    assert change.metageneration == 0


def test_a_metadata_update_has_its_metageneration_and_description() -> None:
    change = updated(metadata={"k": "v"}, contentEncoding="gzip")
    assert change.metageneration == 4
    assert change.info is not None
    assert change.info.metageneration == 4
    assert change.info.metadata == {"k": "v"}
    assert change.info.content_encoding == "gzip"


def test_an_update_of_an_object_that_may_still_grow_has_no_description() -> None:
    change = updated(timeFinalized=None)
    assert change.metageneration == 4
    assert change.info is None


def test_notifications_without_payload() -> None:
    assert parsed(data=b"").info is None
    assert parsed("OBJECT_METADATA_UPDATE").metageneration == 0


def test_the_checksum_is_optional() -> None:
    info = parsed(data=payload_of(crc32c=None)).info
    assert info is not None
    assert info.crc32c is None


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "another"},
        {"generation": "8"},
        {"generation": "6"},
        {"metageneration": "0"},
        {"metageneration": None},
        {"size": "-1"},
        {"size": 5},
        {"size": None},
        {"size": "9223372036854775808"},
        {"updated": "yesterday"},
        {"updated": "2026-11-30T21:00:00.123"},
        {"updated": 5},
        {"updated": None},
        {"crc32c": "yZRlqg"},
        {"crc32c": "yZRlqtk="},
        {"crc32c": "yZQ="},
        {"crc32c": "yZRl qg=="},
        {"crc32c": 5},
        {"contentType": 5},
        {"contentEncoding": ["gzip"]},
        {"storageClass": None, "contentType": {}},
        {"metadata": {"k": 1}},
        {"metadata": ["k"]},
        {"metadata": "k"},
    ],
)
def test_a_malformed_description_is_none(fields: dict[str, object]) -> None:
    assert parsed(data=payload_of(**fields)).info is None  # type: ignore[arg-type]
    assert updated(**fields).info is None


@pytest.mark.parametrize(
    "fields",
    [
        # A column of a table has 64 bits. If only some columns of a row were added, the table would
        # show the values of other objects.
        {"updated": "9999-12-31T23:59:59Z"},
        {"updated": "0001-01-01T00:00:00Z"},
        {"contentType": "\ud800"},
        {"metadata": {"\udfff": "v"}},
        {"metadata": {"k": "\ud800"}},
        {"metadata": {"k": "v" * 20_000}},
    ],
)
def test_a_forged_description_that_no_table_or_reply_can_hold_is_none(
    fields: dict[str, object],
) -> None:
    assert parsed(data=payload_of(**fields)).info is None  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"{", b"[]", b"7", b'"x"', b"null", b"\xff", b"[" * 100_000])
def test_a_payload_that_is_no_description(data: bytes) -> None:
    change = parsed(data=data)
    assert change.info is None
    assert change.metageneration == 1
    assert parsed("OBJECT_METADATA_UPDATE", data).metageneration == 0


@pytest.mark.parametrize("missing", ["eventType", "bucketId", "objectId", "objectGeneration"])
def test_a_message_without_an_attribute_is_foreign(missing: str) -> None:
    attributes = attributes_of()
    del attributes[missing]
    with pytest.raises(ForeignMessage, match=f"no attribute {missing}"):
        parse_change(message_about(attributes=attributes), BUCKET)


@pytest.mark.parametrize(
    ("attribute", "text", "why"),
    [
        ("bucketId", "bucket2", "another bucket"),
        ("bucketId", "a-bucket", "another bucket"),
        ("eventType", "OBJECT_RENAME", "eventType is unknown"),
        ("objectId", "", "malformed"),
        ("objectGeneration", "", "malformed"),
        ("objectGeneration", "0", "malformed"),
        ("objectGeneration", "-7", "malformed"),
        ("objectGeneration", " 7", "malformed"),
        ("objectGeneration", "1_000", "malformed"),
        ("objectGeneration", "\u0667", "malformed"),
        ("objectGeneration", "9223372036854775808", "malformed"),
        ("objectGeneration", "1" * 20, "malformed"),
    ],
)
def test_a_foreign_message(attribute: str, text: str, why: str) -> None:
    attributes = attributes_of() | {attribute: text}
    with pytest.raises(ForeignMessage, match=why):
        parse_change(message_about(attributes=attributes), BUCKET)


def test_the_largest_generation() -> None:
    attributes = attributes_of(generation=2**63 - 1)
    change = parse_change(message_about(attributes=attributes), BUCKET)
    assert change.generation == 2**63 - 1


@pytest.mark.parametrize("text", ["", "noon", "2026-11-30T21:00:00"])
def test_an_unknown_time_is_zero(text: str) -> None:
    assert parsed(eventTime=text).event_time == 0.0


def test_the_defaults_of_a_change() -> None:
    change = Change(ChangeKind.DELETE, "a", 7)
    assert (change.metageneration, change.event_time, change.publish_time) == (0, 0.0, 0.0)
    assert (change.overwrote, change.overwritten_by, change.info) == (0, 0, None)
    assert repr(change) == "<Change OBJECT_DELETE 'a'#7.0 overwrote=0 overwritten_by=0>"


TEXTS = st.text(max_size=8) | st.sampled_from(["7", "a/b", BUCKET, "OBJECT_DELETE", "1" * 30])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(attributes_of(overwroteGeneration=""))), TEXTS))
def test_no_attribute_breaks_the_parser(attributes: dict[str, str]) -> None:
    try:
        change = parse_change(
            message_about(attributes=attributes_of() | attributes, data=payload_of()), BUCKET
        )
    except ForeignMessage:
        return
    assert change.info is None or change.info.generation == change.generation
    assert 0 < change.generation < 2**63


@given(st.sampled_from(sorted(json.loads(payload_of()))), JSON)
def test_no_payload_breaks_the_parser(field: str, value: object) -> None:
    message = message_about()
    for data in (payload_of(**{field: value}), json.dumps(value).encode()):  # type: ignore[arg-type]
        info = parse_change(message._replace(data=data), BUCKET).info
        assert info is None or (info.name, info.generation) == ("a/b", 7)
