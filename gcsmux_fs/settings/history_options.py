"""Rules between the settings for an earlier or a fixed state of the bucket and other settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_history_options"]


def check_history_options(
    *,
    as_of: bool,
    freeze: bool,
    freeze_file: Path | None,
    mountpoint: Path,
    changes: bool,
    cache_listings: bool,
) -> None:
    """Raise ConfigError if settings contradict each other.

    `as_of` and `freeze` are true if the setting is given. The paths are compared as texts, because
    a system call on a dead mount point may hang.
    """
    option = "--as-of" if as_of else "--freeze-file" if freeze_file is not None else "--freeze"
    if not (as_of or freeze or freeze_file is not None):
        return
    if changes:
        raise ConfigError(
            f"--changes shows each change of the bucket, and {option} shows none: leave one of them"
            " out."
        )
    if cache_listings:
        raise ConfigError(
            f"--cache-listings keeps the newest names of the bucket, and {option} shows other"
            " names: leave one of them out."
        )
    if freeze_file is not None and freeze_file.is_relative_to(mountpoint):
        raise ConfigError(
            f"--freeze-file {freeze_file} is inside the mount point: name a file elsewhere."
        )
