"""Judges whether a mount can show what its settings ask for; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.bucket_address import bucket_address
from gcsmux_fs.settings.rfc3339 import show_time
from gcsmux_fs.settings.units import show_duration

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.history.freeze_format import FreezeHeader, FrozenState
    from gcsmux_fs.model.object_versions import BucketRetention

__all__ = ["as_of_warning", "check_frozen_state"]


def as_of_warning(
    bucket: str, retention: BucketRetention | None, *, lists_soft_deleted: bool
) -> str:
    """Return one sentence about what --as-of may not show; empty for a bucket with versioning.

    `retention` is None if the caller may not read the settings of the bucket.
    """
    source = f"gs://{bucket}"
    if retention is None:
        return (
            f"these credentials may not read whether {source} keeps old generations"
            " (storage.buckets.get): if it has no object versioning, what was overwritten or"
            " deleted after the time of --as-of is missing or cannot be read."
        )
    if retention.versioning:
        return ""
    if lists_soft_deleted and retention.soft_delete_seconds:
        days = show_duration(retention.soft_delete_seconds)
        return (
            f"{source} has no object versioning: what was overwritten or deleted after the time of"
            f" --as-of is shown for {days}, but cannot be read before it is restored, and is then"
            " missing."
        )
    return (
        f"{source} has no object versioning: --as-of shows only the objects of that time that"
        " still exist; what was overwritten or deleted since is missing."
    )


def check_frozen_state(path: Path, state: FrozenState, wanted: FreezeHeader) -> None:
    """Raise ConfigError if a file has no names of the wanted mount.

    A file of a whole bucket serves a mount of one of its folders. A complete file may leave out the
    time, because the service is no longer asked.
    """
    header = state.header
    if header.bucket != wanted.bucket or not wanted.prefix.startswith(header.prefix):
        raise ConfigError(
            f"--freeze-file {path} has the names of {bucket_address(header.bucket, header.prefix)}:"
            " mount this, or name another file."
        )
    if header.as_of_ns == wanted.as_of_ns or (state.is_complete and wanted.as_of_ns is None):
        return
    if header.as_of_ns is None:
        raise ConfigError(f"--freeze-file {path} was written without --as-of: leave it out.")
    raise ConfigError(
        f"--freeze-file {path} was written with --as-of {show_time(header.as_of_ns)}: write the"
        " same time, or name another file."
    )
