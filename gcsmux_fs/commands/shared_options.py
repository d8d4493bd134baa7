"""Click options that several commands have, and the parsers of their values."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gcsmux_fs.commands.click_command import parsed_by
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.defaults import (
    DEFAULT_ENDPOINT,
    DEFAULT_LOG_DESTINATION,
    DEFAULT_LOG_FORMAT,
    DEFAULT_LOG_LEVEL,
)
from gcsmux_fs.settings.service_address import EMULATOR_VARIABLE, resolve_service_address
from gcsmux_fs.settings.settings import LOG_DESTINATIONS, LOG_FORMATS, LOG_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.settings.service_address import ServiceAddress

__all__ = [
    "LOG_OPTIONS",
    "SERVICE_OPTIONS",
    "absolute_path",
    "log_options",
    "service_address",
    "service_options",
]

_Decorated = TypeVar("_Decorated", bound="Callable[..., object]")

SERVICE_OPTIONS = ("endpoint", "plaintext", "anonymous", "key_file", "billing_project")
"""The names of the parameters that `service_options` adds, in the order of `--help`."""

LOG_OPTIONS = ("log_file", "log_to", "log_format", "log_level")
"""The names of the parameters that `log_options` adds, in the order of `--help`."""


def absolute_path(text: str) -> Path:
    """Return `text` as an absolute path, without following symbolic links.

    Raises:
        ConfigError: the path is relative, and the current directory does not exist.
    """
    try:
        return Path(text).absolute()
    except OSError as error:
        raise ConfigError(
            f"{text!r} is relative to the current directory, which no longer exists"
            f" ({error.strerror}): write an absolute path."
        ) from None


def _readable_file(text: str) -> Path:
    path = absolute_path(text)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigError(f"{text!r} cannot be read: {error.strerror}.") from None
    return path


def _project(text: str) -> str:
    """Return `text` if it is a project ID, a project number or ""; else raise ConfigError."""
    if text and not re.fullmatch(r"[A-Za-z0-9:.-]+", text):
        raise ConfigError(
            f"{text!r} is not a project: write a project ID or number, such as my-project-1."
        )
    return text


def service_options(command: _Decorated) -> _Decorated:
    """Add the options `SERVICE_OPTIONS`: the address of the service, and the credentials."""
    for option in (
        click.option(
            "--endpoint",
            metavar="HOST:PORT",
            help=f"The address of the service.  [default: {DEFAULT_ENDPOINT}, Google's public"
            " endpoint]",
        ),
        click.option(
            "--plaintext",
            is_flag=True,
            help="Connect without TLS. Requires --anonymous, because credentials are never sent in"
            " plaintext.",
        ),
        click.option(
            "--anonymous",
            is_flag=True,
            help="Send no credentials: for public buckets and emulators. Without this option,"
            " Application Default Credentials are used, as in Google's own tools.",
        ),
        click.option(
            "--key-file",
            metavar="FILE",
            callback=parsed_by(_readable_file),
            help="Use the credentials in this file (a service account's JSON key) instead of"
            " Application Default Credentials.",
        ),
        click.option(
            "--billing-project",
            metavar="PROJECT",
            default="",
            callback=parsed_by(_project),
            help="The project that is billed for requests to a requester-pays bucket.",
        ),
    ):
        command = option(command)
    return command


def service_address(
    endpoint: str | None, *, plaintext: bool, anonymous: bool, key_file: Path | None
) -> ServiceAddress:
    """Return the address of the service that the options and the environment variable give.

    Raises:
        ConfigError: the options contradict each other, or the environment variable is wrong.
    """
    return resolve_service_address(
        endpoint,
        plaintext=plaintext,
        anonymous=anonymous,
        with_key=key_file is not None,
        emulator=os.environ.get(EMULATOR_VARIABLE, ""),
    )


def log_options(command: _Decorated) -> _Decorated:
    """Add the options `LOG_OPTIONS`: which lines are logged, where, and in which format."""
    for option in (
        click.option(
            "--log-file",
            metavar="FILE",
            callback=parsed_by(absolute_path),
            help="Append the log to this file instead.",
        ),
        click.option(
            "--log-to",
            metavar="|".join(LOG_DESTINATIONS),
            default=DEFAULT_LOG_DESTINATION,
            show_default=True,
            type=click.Choice(LOG_DESTINATIONS, case_sensitive=False),
            help="Where the log goes. auto is stderr in the foreground, otherwise the journal, or"
            " syslog on a machine without a journal.",
        ),
        click.option(
            "--log-format",
            metavar="|".join(LOG_FORMATS),
            default=DEFAULT_LOG_FORMAT,
            show_default=True,
            type=click.Choice(LOG_FORMATS, case_sensitive=False),
            help="json writes one object per line, with the keys of Google Cloud Logging. The"
            " journal always gets text, with priority and fields.",
        ),
        click.option(
            "--log-level",
            metavar="|".join(LOG_LEVELS),
            default=DEFAULT_LOG_LEVEL,
            show_default=True,
            type=click.Choice(LOG_LEVELS, case_sensitive=False),
            help="info logs mounting, unmounting and failures; debug also logs each stream and"
            " request.",
        ),
    ):
        command = option(command)
    return command
