"""The types of settings: how users write a value, and how messages show it.

A value is written in the same way on the command line, in an environment variable and in quotes in
a TOML file. In a TOML file a flag is `true` or `false`, and a value of a type with `numbers` may
also be a number without quotes, which is read like the same digits in quotes.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.credential_options import parse_accounts, parse_command
from gcsmux_fs.settings.listen_address import parse_listen_address
from gcsmux_fs.settings.paths import absolute_path, parse_directory, readable_file
from gcsmux_fs.settings.permissions import parse_group, parse_mode, parse_user
from gcsmux_fs.settings.pubsub_address import parse_pubsub_endpoint
from gcsmux_fs.settings.rfc3339 import parse_time, show_time
from gcsmux_fs.settings.subscription_name import parse_subscription
from gcsmux_fs.settings.units import (
    parse_duration,
    parse_size,
    parse_size_or_auto,
    parse_ttl,
    show_duration,
    show_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "ACCOUNTS",
    "COMMAND",
    "CONFIG_FILE",
    "DIRECTORY",
    "DURATION",
    "FILE",
    "FLAG",
    "GROUP",
    "LISTEN_ADDRESS",
    "MODE",
    "MOUNTPOINT",
    "PROJECT",
    "PUBSUB_ENDPOINT",
    "READABLE_FILE",
    "SIZE",
    "SIZE_OR_AUTO",
    "SUBSCRIPTION",
    "TIME",
    "TTL",
    "USER",
    "WORDS",
    "ValueType",
    "choice",
    "join_words",
    "text",
]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class ValueType:
    """A type of settings.

    Attributes:
        metavar: the value in the help; "" for a flag, which takes no value on the command line.
        parse: converts a text into a value; raises ConfigError.
        example: a value as it is written in a TOML file.
        show: converts a value into a text from which `parse` returns the same value.
        none_text: the text for the value None; "" if None means that there is no value.
        numbers: whether a number of TOML is accepted, and read like the same digits in quotes.
        is_path: whether a relative path in a file is relative to the folder of that file.
        is_list: whether an array of TOML is accepted; its elements are joined by commas.
    """

    metavar: str
    parse: Callable[[str], Any]
    example: str
    show: Callable[[Any], str] = str
    none_text: str = ""
    numbers: bool = False
    is_path: bool = False
    is_list: bool = False

    @property
    def is_flag(self) -> bool:
        """Whether the values are True and False."""
        return not self.metavar


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ConfigError(f"{text!r} is not true or false: write true or false.")
    return word in _TRUE


def _project(text: str) -> str:
    """Return `text` if it is a project ID, a project number or ""; else raise ConfigError."""
    if text and not re.fullmatch(r"[A-Za-z0-9:.-]+", text):
        raise ConfigError(
            f"{text!r} is not a project: write a project ID or number, such as my-project-1."
        )
    return text


def _show_ttl(seconds: float) -> str:
    return "indefinite" if math.isinf(seconds) else show_duration(seconds)


def join_words(words: Iterable[str]) -> str:
    r"""Return words separated by commas. As in `-o`, `\,` is a comma of a word, and `\\` a `\`."""
    return ",".join(word.replace("\\", "\\\\").replace(",", "\\,") for word in words)


def text(metavar: str, example: str) -> ValueType:
    """Return a type whose values are texts without any rule."""
    return ValueType(metavar, str, f'"{example}"')


def choice(*words: str) -> ValueType:
    """Return a type whose values are these words; upper case is accepted."""

    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ConfigError(f"{text!r} is not one of {', '.join(words)}.")
        return word

    return ValueType("|".join(words), parse, f'"{words[0]}"')


FLAG = ValueType("", _flag, "true", lambda value: "true" if value else "false")
SIZE = ValueType("SIZE", parse_size, '"64MiB"', show_size, numbers=True)
SIZE_OR_AUTO = ValueType(
    "SIZE|auto",
    parse_size_or_auto,
    '"1MiB"',
    show_size,
    none_text="auto",
    numbers=True,
)
# A number other than 0 is refused by `parse_duration`, whose message names the missing unit.
DURATION = ValueType("DURATION", parse_duration, '"30s"', show_duration, numbers=True)
TTL = ValueType("DURATION|minimal|indefinite", parse_ttl, '"60s"', _show_ttl, numbers=True)
TIME = ValueType("TIME", parse_time, '"2026-11-30T12:00:00Z"', show_time)
USER = ValueType("USER", parse_user, '"nobody"', numbers=True)
GROUP = ValueType("GROUP", parse_group, '"nogroup"', numbers=True)
# TOML numbers are refused: the integers 644, 0o644 and 420 of TOML would be read as three different
# modes, although the first two look the same to a user.
MODE = ValueType("OCTAL", parse_mode, '"644"', lambda mode: f"{mode:o}")
LISTEN_ADDRESS = ValueType(
    "ADDRESS:PORT",
    parse_listen_address,
    '"127.0.0.1:9105"',
    lambda address: "" if address is None else str(address),
)
FILE = ValueType("FILE", absolute_path, '"/var/log/gcsmux.log"', is_path=True)
FREEZE_FILE = ValueType("FILE", absolute_path, '"/var/lib/gcsmux/run-7.names"', is_path=True)
MOUNTPOINT = ValueType("MOUNTPOINT", parse_directory, '"/mnt/my-bucket"', is_path=True)
DIRECTORY = ValueType("DIR", parse_directory, '"/var/cache/gcsmux"', is_path=True)
CONFIG_FILE = ValueType("[-]FILE", absolute_path, '"/etc/gcsmux/data.toml"')
READABLE_FILE = ValueType("FILE", readable_file, '"/etc/gcsmux/key.json"', is_path=True)
ACCOUNTS = ValueType(
    "EMAIL[,EMAIL]",
    parse_accounts,
    '"reader@my-project.iam.gserviceaccount.com"',
    ",".join,
    is_list=True,
)
COMMAND = ValueType("COMMAND", parse_command, '"gcloud auth print-access-token"', shlex.join)
PROJECT = ValueType("PROJECT", _project, '"my-project"', numbers=True)
SUBSCRIPTION = ValueType(
    "SUBSCRIPTION",
    parse_subscription,
    '"projects/my-project/subscriptions/my-mount"',
    lambda name: "" if name is None else str(name),
)
PUBSUB_ENDPOINT = ValueType(
    "HOST:PORT", parse_pubsub_endpoint, '"europe-west3-pubsub.googleapis.com:443"'
)
WORDS = ValueType("OPT[,OPT]", str, '["noexec", "nosuid"]', is_list=True)
