"""What gRPC says of a handshake that failed, in words for who mistyped an endpoint or a flag."""

from __future__ import annotations

import re

__all__ = ["handshake_failure"]

_CERTIFICATE = re.compile(r"CERTIFICATE_VERIFY_FAILED: (?P<reason>[^:]+)")
_OTHER_NAME = "Hostname Verification Check failed"
# What plaintext looks like where TLS is expected.
_NO_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")
_NO_HANDSHAKE = "Tls handshake failed"
# A server that expects TLS hangs up on anything else, and says no more than that.
_HUNG_UP = ("Socket closed", "Connection reset", "Broken pipe")
_ROOTS = "name the roots to trust in GRPC_DEFAULT_SSL_ROOTS_FILE_PATH if it is yours"


def handshake_failure(message: str, *, plaintext: bool) -> str | None:
    """Return how the server failed to be trusted, to be put behind its name; None if it did not."""
    if plaintext:
        hung_up = any(words in message for words in _HUNG_UP)
        return "hangs up on plaintext: leave --plaintext out if it wants TLS" if hung_up else None
    if found := _CERTIFICATE.search(message):
        return f"shows a certificate that is not trusted ({found['reason'].strip()}): {_ROOTS}"
    if _OTHER_NAME in message:
        return "shows a certificate that is for another name: write the endpoint as it is there"
    if any(words in message for words in _NO_TLS):
        return "does not speak TLS: a local server without it takes --plaintext and --anonymous"
    return "breaks off the TLS handshake" if _NO_HANDSHAKE in message else None
