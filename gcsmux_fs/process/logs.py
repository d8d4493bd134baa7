"""The text of log lines and messages, and the level of the log.

Object names may contain any characters, so every character that ends a line or controls a terminal
is escaped. Tokens and keys are replaced in every line, because the errors of libraries may contain
tokens and keys. For example, an error of google-auth quotes the answer of the token server.

`log_destinations` configures where the lines go, `log_formats` how they look.
"""

from __future__ import annotations

import logging
import re

__all__ = [
    "MOUNT_LOGGERS",
    "log_level",
    "printable",
    "redacted",
    "sentence",
    "set_log_level",
]

MOUNT_LOGGERS = ("gcsmux_fs", "pyfuse3")
"""The loggers to which the log level applies. Other libraries stay at WARNING, because their INFO
and DEBUG lines do not describe the mount."""

_SECRET = re.compile(
    r"""
    -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*-----|\Z)
    | \beyJ[\w-]{8,}(?:\.[\w-]*)+      # a JSON Web Token: an ID token or a signed assertion
    | \b(?:ya29\.[\w.-]{8,}|1//0[\w-]{20,})  # Google's access token or refresh token
    | \bAIza[\w-]{30,}                # an API key
    | (?P<scheme>\b(?i:bearer)[ ])[\w.~+/=-]+
    | (?P<address>://)[^\s/@]+:[^\s/@]+(?=@)  # a user name and a password in a URL
    | (?P<field>(?i:_token|_secret|private_key|signature|password)["']?\s*[:=]\s*)
      (?:(?P<quote>["'])(?:(?!(?P=quote)).)*|[^\s"'&,;}\]]+)
    """,
    re.VERBOSE | re.DOTALL,
)


def _hidden(match: re.Match[str]) -> str:
    kept = (match[name] or "" for name in ("scheme", "address", "field", "quote"))
    return "".join(kept) + "[secret]"


def redacted(text: str) -> str:
    """Return `text` with every apparent token, key or password replaced by `[secret]`."""
    return _SECRET.sub(_hidden, text)


def printable(text: str) -> str:
    """Return `text` on one line, with every unprintable character escaped."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def sentence(text: str) -> str:
    """Return `text` as one printable line without secrets that ends with `.` or `?`."""
    line = printable(redacted(text.strip()))
    return line if line.endswith("?") else line.rstrip(".") + "."


def set_log_level(level: str) -> None:
    """Set the log level of the mount to one of `LOG_LEVELS`. Any thread may call this at any time.

    Raises:
        ValueError: `level` is not a log level.
    """
    for name in MOUNT_LOGGERS:
        logging.getLogger(name).setLevel(level.upper())


def log_level() -> str:
    """Return the log level of the mount, one of `LOG_LEVELS`."""
    return logging.getLevelName(logging.getLogger(MOUNT_LOGGERS[0]).getEffectiveLevel()).lower()
