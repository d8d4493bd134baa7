"""Reads an access token from the text of a token file or from the output of a token command.

The text is the token alone, as `gcloud auth print-access-token` prints it, or a JSON object with
the token and its end. Tools spell the fields differently; the accepted spellings are those of
OAuth 2.0 token servers, gcloud, the IAM API and Kubernetes. Error messages never quote the text.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MAX_TOKEN_BYTES", "SuppliedToken", "TokenTextError", "parse_token"]

MAX_TOKEN_BYTES = 64 * 1024
"""Maximum size of the text. The longest access tokens of Google have 2 KiB; JSON around a token may
also hold an identity token and the settings of a tool."""

# Maximum length of the token itself. The service refuses calls with 16 KiB of headers.
_MAX_TOKEN_CHARACTERS = 12 * 1024

_TOKEN_FIELDS = ("access_token", "accessToken", "token")
_LIFETIME_FIELDS = ("expires_in", "expiresIn")
_END_FIELDS = (
    "expiry",
    "token_expiry",
    "expires_at",
    "expireTime",
    "expirationTimestamp",
    "expiration_time",
)
# `gcloud config config-helper` and the exec credentials of Kubernetes have the fields in a nested
# object.
_NESTED_FIELDS = ("credential", "status")

# A fraction of a second may have nine digits; Python reads six.
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


class TokenTextError(Exception):
    """The text holds no usable token; the message completes "it holds" or "it prints"."""


@dataclass(frozen=True, slots=True)
class SuppliedToken:
    """An access token, and its end in seconds since 1970; None if the end is unknown."""

    token: str = field(repr=False)
    expires_at: float | None = None


def parse_token(text: str, written_at: float) -> SuppliedToken:
    """Return the token in `text`.

    `written_at`: when the text was written, in seconds since 1970. A lifetime in the text counts
    from this time.

    Raises:
        TokenTextError: there is no token, or its end cannot be read.
    """
    text = text.strip()
    if not text:
        raise TokenTextError("nothing")
    if not text.startswith(("{", "[")):
        return SuppliedToken(_checked(text))
    try:
        fields = json.loads(text)
    except ValueError:
        raise TokenTextError("text that begins like JSON, but is not JSON") from None
    if not isinstance(fields, dict):
        raise TokenTextError("JSON that is not an object")
    for name in _NESTED_FIELDS:
        if isinstance(nested := fields.get(name), dict):
            fields = nested
    token = _first(fields, _TOKEN_FIELDS)
    if not isinstance(token, str) or not token:
        names = ", ".join(_TOKEN_FIELDS)
        raise TokenTextError(f"JSON without an access token (expected one of the fields {names})")
    lifetime = _first(fields, _LIFETIME_FIELDS)
    end = _first(fields, _END_FIELDS)
    if lifetime is not None:
        return SuppliedToken(_checked(token), written_at + _seconds(lifetime))
    return SuppliedToken(_checked(token), None if end is None else _end(end))


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if fields.get(name) not in (None, "")), None)


def _checked(token: str) -> str:
    """Return the token; raise TokenTextError if it cannot be sent in a header."""
    token = token.strip().removeprefix("Bearer ").strip()
    lines = len(token.splitlines())
    if lines != 1:
        raise TokenTextError(f"{lines} lines of text instead of one access token")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise TokenTextError("text with spaces or special characters instead of an access token")
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise TokenTextError(f"a text of {len(token)} characters instead of an access token")
    return token


def _seconds(lifetime: object) -> float:
    try:
        return float(lifetime)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TokenTextError("a token whose lifetime (expires_in) is not a number") from None


def _end(end: object) -> float:
    """Return the end of a token in seconds since 1970, from a number or an ISO 8601 time in UTC."""
    if isinstance(end, dict):
        # `gcloud auth print-access-token --format=json` prints {"datetime": "2026-01-02 03:04:05"}.
        end = end.get("datetime")
    if isinstance(end, int | float) and not isinstance(end, bool):
        return float(end)
    try:
        time = dt.datetime.fromisoformat(_NANOSECONDS.sub(r"\1", str(end)))
    except ValueError:
        raise TokenTextError("a token whose expiry is not an ISO 8601 time") from None
    return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp()
