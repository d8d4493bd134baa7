"""Tests of `handshake_failure`: what the user is told after a failed TLS handshake."""

from __future__ import annotations

import pytest

from gcsmux_fs.storage.tls_errors import handshake_failure


@pytest.mark.parametrize(
    ("message", "plaintext", "expected"),
    [
        ("CERTIFICATE_VERIFY_FAILED: self signed certificate: OK", False, "(self signed cert"),
        ("Hostname Verification Check failed.", False, "another name"),
        ("OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid", False, "does not speak TLS"),
        ("Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: other", False, "breaks off"),
        ("UNAVAILABLE: ipv4:127.0.0.1:443: Socket closed", True, "closes plaintext connections"),
    ],
)
def test_a_failed_handshake_is_described_in_words(
    message: str, plaintext: bool, expected: str
) -> None:
    description = handshake_failure(message, plaintext=plaintext)
    assert description is not None
    assert expected in description


@pytest.mark.parametrize("plaintext", [False, True])
def test_a_refused_connection_is_not_a_failed_handshake(plaintext: bool) -> None:
    assert handshake_failure("Connection refused", plaintext=plaintext) is None
