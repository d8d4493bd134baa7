"""All settings of one mount, checked against their ranges."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.bucket_address import bucket_address
from gcsmux_fs.settings.cache_options import (
    CacheOptions,
    cache_options,
    check_cache_options,
)
from gcsmux_fs.settings.defaults import (
    DEFAULT_DIR_MODE,
    DEFAULT_DIRECT_PATH,
    DEFAULT_ENDPOINT,
    DEFAULT_FILE_MODE,
    DEFAULT_LOG_DESTINATION,
    DEFAULT_LOG_FORMAT,
    DEFAULT_LOG_LEVEL,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_METADATA_TTL_SECONDS,
    DEFAULT_NEGATIVE_TTL_SECONDS,
    DEFAULT_PUBSUB_ENDPOINT,
    DEFAULT_READ_AHEAD_BYTES,
    DEFAULT_READ_TIMEOUT_SECONDS,
)
from gcsmux_fs.settings.history_options import check_history_options
from gcsmux_fs.settings.pubsub_address import pubsub_address
from gcsmux_fs.settings.units import show_size

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.settings.listen_address import ListenAddress
    from gcsmux_fs.settings.service_address import ServiceAddress
    from gcsmux_fs.settings.setting import EffectiveSetting
    from gcsmux_fs.settings.subscription_name import SubscriptionName

__all__ = ["Settings"]

_MIB = 1024 * 1024

# Minimum of --memory: the size of eight messages of the service, which have up to 2 MiB each.
# Several reads can run at the same time only if at least eight messages fit into the memory.
_MIN_MEMORY_BYTES = 16 * _MIB
# Maximum of --read-ahead. The fastest network card receives 4 GiB in about a second, and the
# latency of the service is shorter than a second. So a window above 4 GiB does not increase the
# throughput.
_MAX_READ_AHEAD_BYTES = 4096 * _MIB
# Maximum of --kernel-read-ahead. libfuse limits one READ to 1 MiB, so a window of 16 MiB keeps 16
# READs in flight. In measurements, windows above 16 MiB were not faster.
_MAX_KERNEL_READ_AHEAD_BYTES = 16 * _MIB
_MIN_READ_TIMEOUT_SECONDS = 1.0
_MAX_READ_TIMEOUT_SECONDS = 3600.0
_MAX_START_TIMEOUT_SECONDS = 86400.0
# The largest user or group ID. The next number, 2^32 - 1, is not an ID: system calls read it as
# (uid_t) -1, which means "leave the owner unchanged".
_MAX_ID = 2**32 - 2

# The characters that stay unchanged in the mount option fsname: ASCII characters, except for the
# comma, which ends an option, and the backslash, which quotes the next character.
_FSNAME_CHARACTERS = "".join(set(map(chr, range(0x20, 0x7F))) - set(",\\"))


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a mount. `settings.defaults` gives the reason of each default.

    Attributes:
        mountpoint: an absolute path.
        prefix: the mounted folder of the bucket; empty, or ends with `/`.
        written_source: the bucket as the user wrote it. The mount table shows the same text,
            because mount(8) compares this text with fstab to find out whether a line is mounted.
        token_command: the words of the command; empty for none.
        impersonate_service_account: the chain of service accounts; the mount uses the rights of
            the last one.
        metadata_ttl_seconds: with `math.inf`, names and attributes are valid for ever.
        changes: the subscription that tells the changes of the bucket; None for none.
        pubsub_endpoint: HOST:PORT, or http://HOST:PORT without TLS; see `pubsub`.
        as_of_ns: show the bucket as it was at this time, in nanoseconds since 1970; None for now.
        freeze, freeze_file: see `is_frozen`.
        read_ahead_bytes: the readahead of one reader; 0 turns readahead off.
        kernel_read_ahead_bytes: the kernel's own readahead window; 0 keeps its default, 128 KiB.
            With None, the mount chooses the window of each file if it may (see
            `filesystem/window_policy.py`). Only root can change the window.
        cache_dir: the directory of the cache on disk; None for no such cache.
        cache_size_bytes, cache_min_free_bytes, cache_group: see `CacheOptions`.
        cache_listings: whether listings are kept in `cache_dir`, too.
        offline: whether kept names are shown while the service cannot be reached.
        control_directory: whether the root has the directory .gcsmux with metrics and settings.
        start_timeout_seconds: how long a start waits for a service that cannot be reached; 0 for
            one attempt.
        clear: remove a dead mount at the mount point instead of mounting.
        posix: whether to show the owners and modes that other tools stored with the objects.
        fuse_options: mount options that are passed to libfuse unchanged.
        effective: the rows of `gcsmux config show`: each setting with its value and its origin.

    Raises:
        ConfigError: a value is out of its range.
    """

    bucket: str
    mountpoint: Path
    prefix: str = ""
    written_source: str = ""
    endpoint: str = DEFAULT_ENDPOINT
    plaintext: bool = False
    anonymous: bool = False
    key_file: Path | None = None
    token_file: Path | None = None
    token_command: tuple[str, ...] = ()
    impersonate_service_account: tuple[str, ...] = ()
    ca_file: Path | None = None
    billing_project: str = ""
    direct_path: str = DEFAULT_DIRECT_PATH
    metadata_ttl_seconds: float = DEFAULT_METADATA_TTL_SECONDS
    negative_ttl_seconds: float = DEFAULT_NEGATIVE_TTL_SECONDS
    changes: SubscriptionName | None = None
    pubsub_endpoint: str = DEFAULT_PUBSUB_ENDPOINT
    as_of_ns: int | None = None
    freeze: bool = False
    freeze_file: Path | None = None
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    read_ahead_bytes: int = DEFAULT_READ_AHEAD_BYTES
    read_timeout_seconds: float = DEFAULT_READ_TIMEOUT_SECONDS
    kernel_read_ahead_bytes: int | None = None
    cache_dir: Path | None = None
    cache_size_bytes: int | None = None
    cache_min_free_bytes: int | None = None
    cache_listings: bool = False
    offline: bool = False
    cache_group: int | None = None
    uid: int = field(default_factory=os.getuid)
    gid: int = field(default_factory=os.getgid)
    file_mode: int = DEFAULT_FILE_MODE
    dir_mode: int = DEFAULT_DIR_MODE
    posix: bool = False
    control_directory: bool = False
    allow_other: bool = False
    fuse_options: tuple[str, ...] = ()
    log_file: Path | None = None
    log_level: str = DEFAULT_LOG_LEVEL
    log_format: str = DEFAULT_LOG_FORMAT
    log_to: str = DEFAULT_LOG_DESTINATION
    metrics_listen: ListenAddress | None = None
    start_timeout_seconds: float = 0.0
    foreground: bool = False
    clear: bool = False
    effective: tuple[EffectiveSetting, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_size("--memory", self.memory_bytes, _MIN_MEMORY_BYTES, 2**63 - 1)
        _check_size("--read-ahead", self.read_ahead_bytes, 0, _MAX_READ_AHEAD_BYTES)
        if self.kernel_read_ahead_bytes is not None:
            _check_size(
                "--kernel-read-ahead", self.kernel_read_ahead_bytes, 0, _MAX_KERNEL_READ_AHEAD_BYTES
            )
        if self.read_ahead_bytes > self.memory_bytes:
            raise ConfigError(
                f"--read-ahead {show_size(self.read_ahead_bytes)} is larger than --memory"
                f" {show_size(self.memory_bytes)}: lower the first or raise the second."
            )
        timeout = self.read_timeout_seconds
        if not _MIN_READ_TIMEOUT_SECONDS <= timeout <= _MAX_READ_TIMEOUT_SECONDS:
            raise ConfigError("--read-timeout is out of range: write a duration from 1s to 1h.")
        if self.start_timeout_seconds > _MAX_START_TIMEOUT_SECONDS:
            raise ConfigError("--start-timeout is out of range: write a duration up to 1d.")
        for option, number in (("--uid", self.uid), ("--gid", self.gid)):
            if not 0 <= number <= _MAX_ID:
                raise ConfigError(
                    f"{option} {number} is out of range: write a number from 0 to {_MAX_ID}."
                )
        if self.log_file is not None and self.log_file.is_relative_to(self.mountpoint):
            raise ConfigError(
                f"--log-file {self.log_file} is inside the mount point: name a file elsewhere."
            )
        if self.log_file is not None and self.log_to != DEFAULT_LOG_DESTINATION:
            raise ConfigError(
                "--log-file and --log-to name two destinations of the log: leave one of them out."
            )
        if self.log_to == "stderr" and not self.foreground:
            raise ConfigError(
                "--log-to stderr needs --foreground, because a mount in the background has no"
                " stderr: name a file with --log-file."
            )
        check_cache_options(
            self.cache, self.mountpoint, listings=self.cache_listings, offline=self.offline
        )
        check_history_options(
            as_of=self.as_of_ns is not None,
            freeze=self.freeze,
            freeze_file=self.freeze_file,
            mountpoint=self.mountpoint,
            changes=self.changes is not None,
            cache_listings=self.cache_listings,
        )

    @property
    def cache(self) -> CacheOptions | None:
        """The cache on disk, or None if there is none."""
        return cache_options(lambda field: getattr(self, field))

    @property
    def is_frozen(self) -> bool:
        """Whether the first answer about each name is kept.

        An earlier time implies it, because the service may remove old generations at any time.
        """
        return self.freeze or self.freeze_file is not None or self.as_of_ns is not None

    @property
    def pubsub(self) -> ServiceAddress:
        """How to connect to Pub/Sub."""
        return pubsub_address(self.pubsub_endpoint, anonymous=self.anonymous)

    @property
    def source(self) -> str:
        """The address of the mounted bucket or folder: `gs://bucket` or `gs://bucket/prefix`."""
        return bucket_address(self.bucket, self.prefix)

    @property
    def fsname(self) -> str:
        """The source in the mount table; characters that FUSE forbids are percent-encoded."""
        return quote(self.written_source or self.source, safe=_FSNAME_CHARACTERS)


def _check_size(option: str, size: int, smallest: int, largest: int) -> None:
    if size < smallest:
        raise ConfigError(
            f"{option} {show_size(size)} is too small: write at least {show_size(smallest)}."
        )
    if size > largest:
        raise ConfigError(
            f"{option} {show_size(size)} is too large: write at most {show_size(largest)}."
        )
