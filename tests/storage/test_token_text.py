"""Tests of the texts from which access tokens are read."""

from __future__ import annotations

import json

import pytest

from gcsmux_fs.storage.token_text import TokenTextError, parse_token

WRITTEN = 1_000_000.0
END = 1767323045.0  # 2026-01-02T03:04:05Z


@pytest.mark.parametrize(
    ("text", "expires_at"),
    [
        ("secret", None),
        ("  secret\n", None),
        ("Bearer secret\n", None),
        ('{"access_token": "secret", "expires_in": 60, "token_type": "Bearer"}', WRITTEN + 60),
        ('{"access_token": "secret", "expires_in": "60"}', WRITTEN + 60),
        ('{"token": "secret", "expiry": "2026-01-02T03:04:05Z"}', END),
        ('{"token": "secret", "expiry": "2026-01-02T03:04:05.123456789Z"}', END + 0.123456),
        ('{"token": "secret", "expiry": {"datetime": "2026-01-02 03:04:05"}}', END),
        ('{"accessToken": "secret", "expireTime": "2026-01-02T04:04:05+01:00"}', END),
        ('{"token": "secret", "expiration_time": 1767323045}', END),
        ('{"token": "secret"}', None),
        ('{"credential": {"access_token": "secret", "token_expiry": "2026-01-02T03:04:05Z"}}', END),
        (
            '{"status": {"token": "secret", "expirationTimestamp": "2026-01-02T03:04:05Z"}}',
            END,
        ),
    ],
)
def test_tokens_of_many_tools_are_read(text: str, expires_at: float | None) -> None:
    supplied = parse_token(text, WRITTEN)
    assert supplied.token == "secret"
    assert supplied.expires_at == expires_at
    assert "secret" not in repr(supplied)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing"),
        ("<html>\nsecret\n</html>", "3 lines of text instead of one access token"),
        ("secret words", "spaces or special characters"),
        ("s\x00ecret", "spaces or special characters"),
        ("s" * 20_000, "20000 characters"),
        ("{secret", "is not JSON"),
        ('["secret"]', "not an object"),
        ('{"id": "secret"}', "without an access token"),
        ('{"token": 7}', "without an access token"),
        ('{"token": "a\\nsecret"}', "2 lines"),
        ('{"token": "secret", "expires_in": "soon"}', "lifetime"),
        ('{"token": "secret", "expiry": "soon"}', "not an ISO 8601 time"),
        (json.dumps({"token": "secret", "expiry": ["secret"]}), "not an ISO 8601 time"),
    ],
)
def test_a_text_without_a_token_is_described_but_not_quoted(text: str, reason: str) -> None:
    with pytest.raises(TokenTextError, match=reason) as caught:
        parse_token(text, WRITTEN)
    assert "secret" not in str(caught.value)
