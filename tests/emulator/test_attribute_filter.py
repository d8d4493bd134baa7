"""Tests of the filters of subscriptions."""

from __future__ import annotations

import pytest

from gcsmux_fs.emulator.pubsub.attribute_filter import parse_filter
from gcsmux_fs.emulator.rpc_error import RpcError

MESSAGE = {"eventType": "OBJECT_DELETE", "objectId": "logs/a", "empty": ""}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ('attributes.eventType = "OBJECT_DELETE"', True),
        ('attributes.eventType="OBJECT_FINALIZE"', False),
        ('attributes.eventType != "OBJECT_FINALIZE"', True),
        ('attributes.missing != "x"', False),
        ("attributes:eventType", True),
        ("attributes:missing", False),
        ('attributes:"empty"', True),
        ('hasPrefix(attributes.objectId, "logs/")', True),
        ('NOT hasPrefix(attributes.objectId, "logs/")', False),
        ("-attributes:missing", True),
        ('attributes.eventType = "x" OR attributes:objectId', True),
        ('attributes.eventType = "x" AND attributes:objectId', False),
        ('attributes:objectId AND (attributes:missing OR attributes.empty = "")', True),
    ],
)
def test_a_filter_selects_by_attributes(text: str, selected: bool) -> None:
    parsed = parse_filter(text)
    assert parsed is not None
    assert parsed(MESSAGE) is selected


def test_an_empty_filter_selects_all_messages() -> None:
    assert parse_filter(" ") is None


@pytest.mark.parametrize(
    "text",
    [
        "eventType",
        "attributes.eventType",
        "attributes.eventType = x",
        "attributes:a AND attributes:b OR attributes:c",
        "(attributes:a",
        'hasPrefix(attributes.a "b")',
        "attributes:a attributes:b",
        "attributes:a ?",
    ],
)
def test_a_text_that_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(RpcError, match="Not a valid filter"):
        parse_filter(text)
