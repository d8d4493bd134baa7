"""Says what cannot be known about an earlier state of a bucket; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.settings.units import show_duration

if TYPE_CHECKING:
    from gcsmux_fs.model.object_versions import BucketRetention

__all__ = ["as_of_warning"]


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
