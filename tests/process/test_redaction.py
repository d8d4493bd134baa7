"""Tests that secrets are replaced in log lines and messages, and other text is not changed."""

from __future__ import annotations

import pytest

from gcsmux_fs.process.logs import redacted, sentence

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJyZWFkZXIifQ.c2lnbmF0dXJl-_"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"bad assertion {JWT}, sorry", "bad assertion [secret], sorry"),
        ("token ya29.c.b0Aaekm1K-x_y", "token [secret]"),
        ("renewing 1//0gdF3-xYz_1234567890abcdefg failed", "renewing [secret] failed"),
        ("authorization: Bearer abc.def/+=", "authorization: Bearer [secret]"),
        (f"key {PEM} is odd", "key [secret] is odd"),
        (PEM.removesuffix("-----END PRIVATE KEY-----"), "[secret]"),
        ("{'id_token': 'x y', 'expires_in': 1}", "{'id_token': '[secret]', 'expires_in': 1}"),
        ('{"refresh_token": "x"}', '{"refresh_token": "[secret]"}'),
        ('{"access_token":"x","a":"b"}', '{"access_token":"[secret]","a":"b"}'),
        ("?access_token=x&alt=json", "?access_token=[secret]&alt=json"),
        ("authorization: bearer abc", "authorization: bearer [secret]"),
        ("/o?X-Goog-Signature=dead&X-Goog-Date=1", "/o?X-Goog-Signature=[secret]&X-Goog-Date=1"),
        ('{"client_secret": "x"}', '{"client_secret": "[secret]"}'),
        ('{"private_key":"x y', '{"private_key":"[secret]'),
        (f"key=AIza{'x' * 35}", "key=[secret]"),
        ("proxy http://user:x@host:80 says", "proxy http://[secret]@host:80 says"),
    ],
)
def test_a_secret_is_replaced(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "gs://my-bucket/'models/key.json'#1700000000000000 [0, 262144): not found",
        "invalid_grant: Invalid JWT Signature.",
        "ipv4:127.0.0.1:443: Failed to connect to remote host: Connection refused",
        "gs://my-bucket/'eyjafjallajokull.txt'#1 [0, 10): not found",
        "'token_uri' is missing; gs://my-bucket/'1//checkpoints' is no secret",
    ],
)
def test_text_without_a_secret_stays_unchanged(text: str) -> None:
    assert redacted(text) == text


def test_a_key_on_several_lines_is_replaced_in_a_sentence() -> None:
    assert sentence(f"it holds {PEM}") == "it holds [secret]."
