"""The settings of one engine, and how the storage options of fsspec become settings."""

from __future__ import annotations

import inspect
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.cache_options import CacheOptions
from gcsmux_fs.settings.credential_options import (
    check_credential_options,
    parse_accounts,
    parse_command,
)
from gcsmux_fs.settings.defaults import (
    DEFAULT_ENDPOINT,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_METADATA_TTL_SECONDS,
    DEFAULT_NEGATIVE_TTL_SECONDS,
    DEFAULT_READ_TIMEOUT_SECONDS,
    default_read_ahead,
)
from gcsmux_fs.settings.paths import parse_directory
from gcsmux_fs.settings.permissions import parse_group
from gcsmux_fs.settings.service_address import EMULATOR_VARIABLE, resolve_service_address
from gcsmux_fs.settings.similar_names import closest_name
from gcsmux_fs.settings.units import parse_duration, parse_size, show_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["AccessSettings", "check_option_names", "settings_from_options"]

_MIB = 1024 * 1024
# The same minimum as that of the mount's option --memory: eight messages of 2 MiB.
_MIN_MEMORY_BYTES = 16 * _MIB
_ANONYMOUS_TOKEN = "anon"
_DEFAULT_TOKEN = "google_default"
_OPTION = re.compile(r"--([a-z][a-z-]*)")


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """The settings of one engine; file systems with equal settings share the engine.

    The fields have the meaning of the mount's settings (see `settings.Settings`).
    """

    endpoint: str = DEFAULT_ENDPOINT
    plaintext: bool = False
    anonymous: bool = False
    key_file: Path | None = None
    token_file: Path | None = None
    token_command: tuple[str, ...] = ()
    impersonate: tuple[str, ...] = ()
    ca_file: Path | None = None
    billing_project: str = ""
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    read_ahead_bytes: int = default_read_ahead(DEFAULT_MEMORY_BYTES)
    read_timeout_seconds: float = DEFAULT_READ_TIMEOUT_SECONDS
    metadata_ttl_seconds: float = DEFAULT_METADATA_TTL_SECONDS
    negative_ttl_seconds: float = DEFAULT_NEGATIVE_TTL_SECONDS
    cache: CacheOptions | None = None


def check_option_names(names: Iterable[str]) -> None:
    """Raise TypeError with the most similar name if one of the names is no storage option."""
    known = set(inspect.signature(settings_from_options).parameters) - {"environment"}
    for name in names:
        if name not in known:
            guess = closest_name(name, known)
            options = ", ".join(sorted(known))
            hint = f"did you mean {guess}?" if guess else f"the options are {options}."
            raise TypeError(f"unknown option {name} of gcsmux://: {hint}")


def settings_from_options(
    *,
    endpoint: str | None = None,
    plaintext: bool = False,
    anonymous: bool = False,
    token: str | os.PathLike[str] | None = None,
    key_file: str | os.PathLike[str] | None = None,
    token_file: str | os.PathLike[str] | None = None,
    token_command: str = "",
    impersonate_service_account: str = "",
    ca_file: str | os.PathLike[str] | None = None,
    project: str | None = None,
    requester_pays: bool | str = False,
    memory: int | str = DEFAULT_MEMORY_BYTES,
    read_ahead: int | str | None = None,
    read_timeout: float | str = DEFAULT_READ_TIMEOUT_SECONDS,
    metadata_ttl: float | str = DEFAULT_METADATA_TTL_SECONDS,
    negative_ttl: float | str = DEFAULT_NEGATIVE_TTL_SECONDS,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    cache_min_free: int | str | None = None,
    cache_group: int | str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> AccessSettings:
    """Return the settings that the storage options and `environment` give (see docs/FSSPEC.md).

    Raises:
        ValueError: an option is out of its range, or options contradict each other.
    """
    if token == _ANONYMOUS_TOKEN:
        anonymous = True
    elif token not in (None, _DEFAULT_TOKEN):
        if key_file is not None:
            raise ValueError("token and key_file both name a key: leave one of them out.")
        key_file = token
    memory_bytes = _size(memory)
    ahead = default_read_ahead(memory_bytes) if read_ahead is None else _size(read_ahead)
    if memory_bytes < _MIN_MEMORY_BYTES:
        raise ValueError(
            f"memory {show_size(memory_bytes)} is too small: write at least"
            f" {show_size(_MIN_MEMORY_BYTES)}."
        )
    if not 0 <= ahead <= memory_bytes:
        raise ValueError(
            f"read_ahead {show_size(ahead)} is larger than memory {show_size(memory_bytes)}: lower"
            " the first or raise the second."
        )
    timeout = _seconds(read_timeout)
    if not 1 <= timeout <= 3600:
        raise ValueError("read_timeout is out of range: write a duration from 1 s to 3600 s.")
    if requester_pays is True and not project:
        raise ValueError("requester_pays needs the project that pays: add project.")
    credentials = {
        "key_file": key_file,
        "token_file": token_file,
        "token_command": token_command,
        "impersonate_service_account": impersonate_service_account,
    }
    payer = requester_pays if isinstance(requester_pays, str) else (project or "")
    try:
        address = resolve_service_address(
            endpoint,
            plaintext=plaintext,
            anonymous=anonymous,
            given=[name for name, value in credentials.items() if value],
            emulator=environment.get(EMULATOR_VARIABLE, ""),
        )
        values = {**credentials, "billing_project": requester_pays, "direct_path": "off"}
        check_credential_options(
            values.get, plaintext=address.plaintext, anonymous=address.anonymous
        )
        return AccessSettings(
            address.endpoint,
            address.plaintext,
            address.anonymous,
            _path(key_file),
            _path(token_file),
            parse_command(token_command),
            parse_accounts(impersonate_service_account),
            _path(ca_file),
            payer if requester_pays else "",
            memory_bytes,
            ahead,
            timeout,
            _seconds(metadata_ttl),
            _seconds(negative_ttl),
            _cache(cache_dir, cache_size, cache_min_free, cache_group),
        )
    except ConfigError as error:
        raise ValueError(_with_option_names(str(error))) from None


def _cache(
    directory: str | os.PathLike[str] | None,
    size: int | str | None,
    min_free: int | str | None,
    group: int | str | None,
) -> CacheOptions | None:
    if directory is None:
        needing = {"cache_size": size, "cache_min_free": min_free, "cache_group": group}
        for name, value in needing.items():
            if value is not None:
                raise ValueError(f"{name} needs a cache: name its directory with cache_dir.")
        return None
    return CacheOptions(
        parse_directory(os.fspath(directory)),
        None if size is None else _size(size),
        None if min_free is None else _size(min_free),
        None if group is None else parse_group(str(group)),
    )


def _path(path: str | os.PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _size(size: int | str) -> int:
    try:
        return parse_size(size) if isinstance(size, str) else int(size)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _seconds(duration: float | str) -> float:
    try:
        return parse_duration(duration) if isinstance(duration, str) else float(duration)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _with_option_names(sentence: str) -> str:
    """Return a message about command-line options with the names of the storage options."""
    return _OPTION.sub(lambda option: option[1].replace("-", "_"), sentence)
