"""What looks like a secret is not told, and what does not is."""

from __future__ import annotations

import pytest

from gcsmux_fs.process.logs import redacted, sentence
from gcsmux_fs.storage.tls_errors import handshake_failure

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
def test_a_secret_is_left_out(text: str, shown: str) -> None:
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
def test_all_else_is_told_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_a_key_on_several_lines_is_left_out_of_a_sentence() -> None:
    assert sentence(f"it holds {PEM}") == "it holds [secret]."


@pytest.mark.parametrize(
    ("message", "plaintext", "said"),
    [
        ("CERTIFICATE_VERIFY_FAILED: self signed certificate: OK", False, "(self signed cert"),
        ("Hostname Verification Check failed.", False, "another name"),
        ("OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid", False, "does not speak TLS"),
        ("Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: other", False, "breaks off"),
        ("UNAVAILABLE: ipv4:127.0.0.1:443: Socket closed", True, "closes plaintext connections"),
    ],
)
def test_a_failed_handshake_is_told_in_words(message: str, plaintext: bool, said: str) -> None:
    found = handshake_failure(message, plaintext=plaintext)
    assert found is not None
    assert said in found


@pytest.mark.parametrize("plaintext", [False, True])
def test_a_server_that_is_not_there_is_no_failed_handshake(plaintext: bool) -> None:
    assert handshake_failure("Connection refused", plaintext=plaintext) is None
