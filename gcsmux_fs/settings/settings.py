"""Settings: what a user may say, how it is read, and the reasoned defaults.

Everything here is decided from its arguments alone. Each refusal is a `ConfigError` whose message
is one sentence: what is wrong, and what to write instead.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.defaults import (
    DEFAULT_ENDPOINT,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_METADATA_TTL_SECONDS,
    DEFAULT_NEGATIVE_TTL_SECONDS,
    DEFAULT_READ_AHEAD_BYTES,
    DEFAULT_READ_TIMEOUT_SECONDS,
)
from gcsmux_fs.settings.units import parse_duration, parse_size, show_size

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "EMULATOR_VARIABLE",
    "LOG_LEVELS",
    "ServiceAddress",
    "Settings",
    "empty_folder_remark",
    "parse_bucket",
    "parse_duration",
    "parse_endpoint",
    "parse_size",
    "read_ahead_for",
    "resolve_connection",
]

EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST_GRPC"

_MIB = 1024 * 1024

# The service sends messages of up to 2 MiB; with fewer than eight of them nothing overlaps.
_MIN_MEMORY_BYTES = 16 * _MIB
# Above this a window is a second's worth of the fastest network card: more hides nothing.
_MAX_READ_AHEAD_BYTES = 4096 * _MIB
# libfuse caps one READ at 1 MiB, so that sixteen of them are in flight; more gained nothing.
_MAX_KERNEL_READ_AHEAD_BYTES = 16 * _MIB
_MAX_READ_TIMEOUT_SECONDS = 3600.0
# What umask 022 gives, so that a copy made with its modes (`cp -a`) is writable by its owner.
_FILE_MODE = 0o644
_DIR_MODE = 0o755
# (uid_t) -1 means "leave unchanged" to the system calls, and is nobody's number.
_MAX_ID = 2**32 - 2
# The service's limit for the name of an object.
_MAX_PREFIX_BYTES = 1024

LOG_LEVELS = ("debug", "info", "warning", "error")

# Options of FUSE are ASCII here, a comma ends one and a backslash quotes.
_FSNAME_CHARACTERS = "".join(set(map(chr, range(0x20, 0x7F))) - set(",\\"))

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]+[a-z0-9]")
_ENDPOINT = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+):(?P<port>[0-9]{1,10})")


def parse_bucket(text: str, only_dir: str = "") -> tuple[str, str]:
    """Return bucket and prefix of `name`, `gs://name` or `gs://name/prefix`, below `only_dir`.

    The prefix is empty or ends with `/`. Both parts of it are taken literally otherwise, because
    the name of an object may begin with `/` and may hold `//`.
    """
    name, slash, prefix = text.removeprefix("gs://").partition("/")
    if "://" in text and not text.startswith("gs://"):
        raise ConfigError(f"{text!r} is not in Google Cloud Storage: write name, or gs://name.")
    if slash and not text.startswith("gs://"):
        meant = "gs://" + text.removeprefix("gs:").lstrip("/")
        raise ConfigError(f"{text!r} is not a bucket: write {meant}, or a bucket's name alone.")
    _check_bucket_name(name)
    for part in (prefix, only_dir):
        try:
            part.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{part!r} is not UTF-8, and names of objects always are.") from None
    joined = "".join(
        part if part.endswith("/") else part + "/" for part in (prefix, only_dir) if part
    )
    if len(joined.encode()) > _MAX_PREFIX_BYTES:
        raise ConfigError(
            f"the prefix has {len(joined.encode())} bytes, and names of objects have"
            f" {_MAX_PREFIX_BYTES} at most."
        )
    return name, joined


def empty_folder_remark(bucket: str, prefix: str, *, is_object: bool) -> str:
    """Return the remark about an empty folder, which may be a typing mistake.

    `is_object` tells whether the prefix, without its last slash, is the name of an object.
    """
    name = prefix.removesuffix("/")
    if is_object:
        folder = f"gs://{bucket}/{name.rpartition('/')[0]}".removesuffix("/")
        return (
            f"gs://{bucket}/{name} is an object, not a folder, and nothing is below it (yet): write"
            f" {folder} for the folder that it is in."
        )
    if prefix.startswith("/"):
        meant = f"gs://{bucket}/{name.lstrip('/')}".removesuffix("/")
        return (
            f"no object of gs://{bucket} has a name that begins with {prefix!r} (yet): write"
            f" {meant} if no slash in front of names was meant."
        )
    return f"there is nothing below gs://{bucket}/{name} (yet): is the name right?"


def _check_bucket_name(name: str) -> None:
    """Refuse what the service would never take for a bucket's name."""
    if not name:
        raise ConfigError("the bucket's name is empty: write name, gs://name or gs://name/prefix.")
    longest = 222 if "." in name else 63
    if not 3 <= len(name) <= longest or any(len(part) > 63 for part in name.split(".")):
        raise ConfigError(
            f"{name!r} is not a bucket's name: it has {len(name)} characters, and 3 to 63 are"
            " allowed (222 with dots, 63 between two of them)."
        )
    if not _BUCKET.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a bucket's name: only lower-case letters, digits, '-', '_' and '.'"
            " are allowed, with a letter or digit at both ends."
        )


def parse_endpoint(text: str) -> str:
    """Return `text` as HOST:PORT, the host of an IPv6 address in brackets."""
    match = _ENDPOINT.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is not an endpoint: write HOST:PORT, such as localhost:9000.")
    if not 1 <= int(match["port"]) <= 65535:
        raise ConfigError(f"{text!r} has port {match['port']}, and ports go from 1 to 65535.")
    host = match["host"]
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise ConfigError(f"{host} in {text!r} is not an IPv6 address.") from None
    return f"{host}:{int(match['port'])}"


def _is_loopback(endpoint: str) -> bool:
    """Tell whether what is sent to `endpoint` stays on this machine."""
    host = endpoint.rpartition(":")[0].strip("[]").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where the service is and how it is spoken to."""

    endpoint: str = DEFAULT_ENDPOINT
    plaintext: bool = False
    anonymous: bool = False


def resolve_connection(
    endpoint: str | None,
    *,
    plaintext: bool,
    anonymous: bool,
    with_key: bool,
    emulator: str,
) -> ServiceAddress:
    """Return the connection that the flags and the emulator's variable ask for together.

    A flag wins over the variable: with an endpoint of its own the variable says nothing, and a
    key file ends its anonymity. `emulator` is the value of STORAGE_EMULATOR_HOST_GRPC, or empty.
    """
    if anonymous and with_key:
        raise ConfigError("--anonymous and --key-file exclude each other: leave one of them out.")
    if endpoint is None and emulator:
        try:
            target = parse_endpoint(emulator.removeprefix("http://").removesuffix("/"))
        except ConfigError as error:
            raise ConfigError(f"{EMULATOR_VARIABLE}: {error}") from None
        if not plaintext and not _is_loopback(target):
            raise ConfigError(
                f"{EMULATOR_VARIABLE} names {target}, which is another machine: add --plaintext"
                " if everybody on the way may read along."
            )
        resolved = ServiceAddress(target, plaintext=True, anonymous=not with_key)
    else:
        target = DEFAULT_ENDPOINT if endpoint is None else parse_endpoint(endpoint)
        resolved = ServiceAddress(target, plaintext=plaintext, anonymous=anonymous)
    if resolved.plaintext and not resolved.anonymous:
        raise ConfigError(
            "credentials are never sent in plaintext: add --anonymous, or leave --key-file out."
            if with_key
            else "credentials are never sent in plaintext: add --anonymous, or leave --plaintext"
            " out."
        )
    return resolved


def read_ahead_for(memory_bytes: int) -> int:
    """Return the default read-ahead of one file: a quarter of the memory at most."""
    return min(DEFAULT_READ_AHEAD_BYTES, memory_bytes // 4)


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a mount is told; the constructor refuses what is out of range.

    The reason of each default stands beside its constant above. `prefix` is empty or ends with
    `/`; `mountpoint` is absolute; a time to live of `math.inf` never ends. `read_ahead_bytes` of
    zero turns reading ahead off, `kernel_read_ahead_bytes` of zero leaves the kernel's 128 KiB:
    a larger window suits long sequential reads and harms page faults of mmap, and needs root.
    `posix` shows owners and modes that other tools have stored with an object.
    `fuse_options` are handed to libfuse as they are. `written_source` is the bucket as the user
    wrote it: mount(8) finds a line of fstab mounted only if the mount table repeats it.
    """

    bucket: str
    mountpoint: Path
    prefix: str = ""
    written_source: str = ""
    endpoint: str = DEFAULT_ENDPOINT
    plaintext: bool = False
    anonymous: bool = False
    key_file: Path | None = None
    billing_project: str = ""
    metadata_ttl_seconds: float = DEFAULT_METADATA_TTL_SECONDS
    negative_ttl_seconds: float = DEFAULT_NEGATIVE_TTL_SECONDS
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    read_ahead_bytes: int = DEFAULT_READ_AHEAD_BYTES
    read_timeout_seconds: float = DEFAULT_READ_TIMEOUT_SECONDS
    kernel_read_ahead_bytes: int = 0
    uid: int = field(default_factory=os.getuid)
    gid: int = field(default_factory=os.getgid)
    file_mode: int = _FILE_MODE
    dir_mode: int = _DIR_MODE
    posix: bool = False
    allow_other: bool = False
    fuse_options: tuple[str, ...] = ()
    log_file: Path | None = None
    log_level: str = "info"
    foreground: bool = False

    def __post_init__(self) -> None:
        _check_size("--memory", self.memory_bytes, _MIN_MEMORY_BYTES, 2**63 - 1)
        _check_size("--read-ahead", self.read_ahead_bytes, 0, _MAX_READ_AHEAD_BYTES)
        _check_size(
            "--kernel-read-ahead", self.kernel_read_ahead_bytes, 0, _MAX_KERNEL_READ_AHEAD_BYTES
        )
        if self.read_ahead_bytes > self.memory_bytes:
            raise ConfigError(
                f"--read-ahead {show_size(self.read_ahead_bytes)} does not fit into --memory"
                f" {show_size(self.memory_bytes)}: lower the first or raise the second."
            )
        if not 1 <= self.read_timeout_seconds <= _MAX_READ_TIMEOUT_SECONDS:
            raise ConfigError("--read-timeout is out of range: it goes from 1s to 1h.")
        for option, number in (("--uid", self.uid), ("--gid", self.gid)):
            if not 0 <= number <= _MAX_ID:
                raise ConfigError(f"{option} {number} is out of range: 0 to {_MAX_ID}.")

        if self.log_file is not None and self.log_file.is_relative_to(self.mountpoint):
            raise ConfigError(
                f"--log-file {self.log_file} would be written into the mount itself: name another."
            )

    @property
    def source(self) -> str:
        """What is mounted, as the log calls it: `gs://bucket` or `gs://bucket/prefix`."""
        whole = f"gs://{self.bucket}/{self.prefix}"
        # A slash too many belongs to the names of objects, and read again it would be lost.
        return whole if whole.endswith("//") else whole.removesuffix("/")

    @property
    def fsname(self) -> str:
        """What the mount table shows as the device; what FUSE cannot take is percent-encoded."""
        return quote(self.written_source or self.source, safe=_FSNAME_CHARACTERS)


def _check_size(option: str, size: int, least: int, most: int) -> None:
    if size < least:
        raise ConfigError(f"{option} {show_size(size)} is too small: {show_size(least)} at least.")
    if size > most:
        raise ConfigError(f"{option} {show_size(size)} is too large: {show_size(most)} at most.")
