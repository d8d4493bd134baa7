"""Sentences for users about failed connections, derived from gRPC's error messages."""

from __future__ import annotations

import re

__all__ = ["handshake_failure"]

_CERTIFICATE = re.compile(r"CERTIFICATE_VERIFY_FAILED: (?P<reason>[^:]+)")
_OTHER_NAME = "Hostname Verification Check failed"
# Parts of the TLS error message if the server sends plaintext.
_NO_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")
_NO_HANDSHAKE = "Tls handshake failed"
# Parts of the error message if the server closed the connection. A server that expects TLS closes a
# plaintext connection without a message of its own.
_CLOSED = ("Socket closed", "Connection reset", "Broken pipe")
_ROOTS = (
    "if the server is yours, or a proxy inspects TLS, name the file of its certificate authority"
    " with --ca-file"
)


def handshake_failure(message: str, *, plaintext: bool) -> str | None:
    """Return why a connection failed, as the rest of a sentence that begins with the endpoint.

    Args:
        message: gRPC's error message.
        plaintext: whether the connection was made without TLS.

    Returns:
        None if the message does not report a failed TLS handshake or a closed plaintext connection.
    """
    if plaintext:
        if not any(words in message for words in _CLOSED):
            return None
        return "closes plaintext connections: remove --plaintext if the server expects TLS"
    if match := _CERTIFICATE.search(message):
        return f"shows a certificate that is not trusted ({match['reason'].strip()}): {_ROOTS}"
    if _OTHER_NAME in message:
        return (
            "shows a certificate that is for another name: use the name in the certificate as the"
            " endpoint"
        )
    if any(words in message for words in _NO_TLS):
        return "does not speak TLS: add --plaintext and --anonymous for a local server without TLS"
    return "breaks off the TLS handshake" if _NO_HANDSHAKE in message else None
