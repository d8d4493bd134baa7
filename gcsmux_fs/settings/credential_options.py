"""The settings that choose the credentials: their values, and the rules between them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.paths import absolute_path

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CREDENTIAL_SETTINGS",
    "check_credential_options",
    "parse_accounts",
    "parse_command",
]

_SOURCES = ("key_file", "token_file", "token_command")

CREDENTIAL_SETTINGS = (*_SOURCES, "impersonate_service_account")
"""The settings that choose credentials. Each excludes anonymous access."""

_EMAIL = re.compile(r"[^@\s,/:]+@[^@\s,/:]+")


def parse_accounts(text: str) -> tuple[str, ...]:
    """Return the e-mail addresses in a text, separated by commas; none for an empty text.

    Raises:
        ConfigError: a part is not an e-mail address.
    """
    emails = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    for email in emails:
        if not _EMAIL.fullmatch(email):
            raise ConfigError(
                f"{email!r} is not the e-mail address of a service account: write"
                " NAME@PROJECT.iam.gserviceaccount.com."
            )
    return emails


def parse_command(text: str) -> tuple[str, ...]:
    """Return the words of a command, split as a shell splits them; none for an empty text.

    The path of a program becomes absolute, because a mount in the background changes to `/`.

    Raises:
        ConfigError: a quote is not closed.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(
            f"the command cannot be split into words ({str(error).lower()}): close each quote."
        ) from None
    if words and "/" in words[0]:
        words[0] = str(absolute_path(words[0]))
    return tuple(words)


def check_credential_options(
    value: Callable[[str], object], *, plaintext: bool, anonymous: bool
) -> None:
    """Raise ConfigError if the settings contradict each other; `value` returns a setting by name.

    `plaintext` and `anonymous` are the values that have an effect, also those that an emulator
    implies.
    """
    sources = [_option(name) for name in _SOURCES if value(name)]
    if len(sources) > 1:
        raise ConfigError(
            f"{sources[0]} and {sources[1]} exclude each other: leave one of them out."
        )
    if anonymous and not plaintext and value("billing_project"):
        raise ConfigError(
            "--billing-project needs credentials, because the service bills no anonymous requests:"
            " leave --anonymous out."
        )
    if value("direct_path") == "off":
        return
    if plaintext or anonymous:
        raise ConfigError(
            "--direct-path needs TLS and credentials: leave --plaintext, --anonymous and the"
            " emulator's variable out."
        )
    if value("ca_file"):
        raise ConfigError(
            "--direct-path and --ca-file exclude each other, because DirectPath trusts only"
            " Google's certificates: leave one of them out."
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
