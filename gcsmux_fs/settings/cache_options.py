"""The settings of the cache on disk: their values, and the rules between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.units import show_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

__all__ = ["CacheOptions", "cache_options", "check_cache_options", "default_min_free"]

# Minimum of --cache-size. The cache keeps new content in a tenth of its space until the content is
# used again, and a tenth must have room for one chunk of 4 MiB.
_MIN_CACHE_BYTES = 64 * 1024 * 1024

# The default of --cache-min-free as a fraction of the disk. Kubernetes evicts pods when less than
# 15 % of the disk with its images are free, and the cache must stay away from this limit.
_FREE_PERCENT = 20


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Where the cache on disk is, and how large it may become.

    Attributes:
        directory: an absolute path.
        size_bytes: the limit for all mounts together; None if only the free space limits it.
        min_free_bytes: the space that the cache leaves free; None for `default_min_free`.
        group: the ID of the group whose users share the directory; None for a private one.
    """

    directory: Path
    size_bytes: int | None = None
    min_free_bytes: int | None = None
    group: int | None = None

    def __post_init__(self) -> None:
        if self.directory.parent == self.directory:
            raise ConfigError(
                f"--cache-dir {self.directory} is the root of the file system: name a directory of"
                " its own, such as /var/cache/gcsmux."
            )
        if self.size_bytes is not None and self.size_bytes < _MIN_CACHE_BYTES:
            raise ConfigError(
                f"--cache-size {show_size(self.size_bytes)} is too small: write at least"
                f" {show_size(_MIN_CACHE_BYTES)}, or leave --cache-dir out to turn the cache off."
            )


def cache_options(value: Callable[[str], Any]) -> CacheOptions | None:
    """Return the cache that settings describe; `value` returns a setting by its field.

    Raises:
        ConfigError: a value is out of its range, or an option needs --cache-dir.
    """
    directory, size_bytes = value("cache_dir"), value("cache_size_bytes")
    min_free_bytes, group = value("cache_min_free_bytes"), value("cache_group")
    if directory is not None:
        return CacheOptions(directory, size_bytes, min_free_bytes, group)
    given = {
        "--cache-size": size_bytes is not None,
        "--cache-min-free": min_free_bytes is not None,
        "--cache-listings": value("cache_listings"),
        "--cache-group": group is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise ConfigError(f"{option} needs a cache: name its directory with --cache-dir.")
    return None


def check_cache_options(
    cache: CacheOptions | None, mountpoint: Path, *, listings: bool, offline: bool
) -> None:
    """Raise ConfigError if the settings of the cache contradict each other or the mount point.

    The paths are compared as texts, because a system call on a dead mount point may hang.
    """
    if offline and not listings:
        raise ConfigError(
            "--offline shows the names that --cache-listings has kept: add --cache-listings."
        )
    if cache is None:
        return
    if cache.directory.is_relative_to(mountpoint):
        raise ConfigError(
            f"--cache-dir {cache.directory} is inside the mount point: name a directory elsewhere."
        )
    if mountpoint.is_relative_to(cache.directory):
        raise ConfigError(
            f"the mount point is inside --cache-dir {cache.directory}: name a directory elsewhere."
        )


def default_min_free(disk_bytes: int) -> int:
    """Return the space in bytes that the cache leaves free on a disk of this size by default."""
    return disk_bytes * _FREE_PERCENT // 100
