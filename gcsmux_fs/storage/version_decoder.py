"""Decodes the pages of a listing of generations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.object_versions import BucketRetention, ObjectVersion, VersionPage
from gcsmux_fs.storage.codec import decode_object, nanoseconds

if TYPE_CHECKING:
    from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = ["decode_retention", "decode_versions"]


def decode_versions(message: pb.ListObjectsResponse) -> VersionPage:
    """Return one page of a listing with `versions` or `soft_deleted`."""
    return VersionPage(
        tuple(_version(entry) for entry in message.objects),
        tuple(message.prefixes),
        message.next_page_token,
    )


def decode_retention(message: pb.Bucket) -> BucketRetention:
    """Return which old generations a bucket keeps."""
    return BucketRetention(
        message.versioning.enabled,
        message.soft_delete_policy.retention_duration.ToMilliseconds() / 1000,
    )


def _version(entry: pb.Object) -> ObjectVersion:
    """Decode one generation.

    A generation that was noncurrent before it was soft-deleted has both times. It ended at the
    earlier one.
    """
    ends = [
        nanoseconds(getattr(entry, field))
        for field in ("delete_time", "soft_delete_time")
        if entry.HasField(field)
    ]
    return ObjectVersion(
        decode_object(entry),
        nanoseconds(entry.create_time),
        min(ends) if ends else None,
        entry.HasField("soft_delete_time"),
    )
