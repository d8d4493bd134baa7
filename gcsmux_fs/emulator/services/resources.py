"""Converts objects and buckets to protobuf messages, and applies read masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gcsmux_fs.emulator.rpc_error import invalid
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.field_mask_pb2 import FieldMask

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.objects import StoredObject

__all__ = [
    "Maskable",
    "bucket_resource",
    "mask_includes",
    "object_resource",
    "requested_mask",
    "timestamp",
]

_PROJECT = "projects/gcsmux-emulator"
_NS_PER_SECOND = 1_000_000_000
_ALL_FIELDS = "*"


class Maskable(Protocol):
    """A request that has the field `read_mask`."""

    @property
    def read_mask(self) -> FieldMask:
        """The mask; empty if the request sets no mask."""

    def HasField(self, field_name: Literal["read_mask"], /) -> bool:  # noqa: N802
        """Return whether the request sets a mask."""


def requested_mask(request: Maskable) -> FieldMask | None:
    """Return the read mask of a request; None if the request sets no mask.

    Raises:
        RpcError: the mask names an unknown field (INVALID_ARGUMENT).
    """
    if not request.HasField("read_mask"):
        return None
    for path in request.read_mask.paths:
        if path != _ALL_FIELDS and path.split(".")[0] not in pb.Object.DESCRIPTOR.fields_by_name:
            raise invalid(f"The read_mask names an unknown field: {path!r}.")
    return request.read_mask


def mask_includes(mask: FieldMask | None, field: str) -> bool:
    """Return whether a read mask includes a field; None includes all fields."""
    return mask is None or any(path in (_ALL_FIELDS, field) for path in mask.paths)


def object_resource(
    stored: StoredObject, crc: int | None, mask: FieldMask | None = None
) -> pb.Object:
    """Return the protobuf message of an object, with the fields that `mask` includes."""
    attributes = stored.attributes
    time = timestamp(stored.time_ns)
    message = pb.Object(
        name=stored.name,
        bucket=f"projects/_/buckets/{stored.bucket}",
        generation=stored.generation,
        metageneration=stored.metageneration,
        storage_class=attributes.storage_class,
        size=stored.size,
        content_encoding=attributes.content_encoding,
        content_disposition=attributes.content_disposition,
        cache_control=attributes.cache_control,
        content_language=attributes.content_language,
        content_type=attributes.content_type,
        create_time=time,
        component_count=stored.components,
        update_time=timestamp(stored.updated_ns) if stored.updated_ns else time,
        metadata=attributes.metadata,
        etag=_etag(stored.generation, stored.metageneration),
        finalize_time=time if stored.finalized else None,
        delete_time=_time_or_none(stored.ended_ns),
        soft_delete_time=_time_or_none(stored.soft_deleted_ns),
        hard_delete_time=_time_or_none(stored.hard_delete_ns),
        checksums=None if crc is None else pb.ObjectChecksums(crc32c=crc),
    )
    return message if mask is None or _ALL_FIELDS in mask.paths else _masked(message, mask)


def _time_or_none(time_ns: int) -> Timestamp | None:
    return timestamp(time_ns) if time_ns else None


def _masked(message: pb.Object, mask: FieldMask) -> pb.Object:
    masked = pb.Object()
    mask.MergeMessage(message, masked)
    return masked


def bucket_resource(bucket: Bucket) -> pb.Bucket:
    """Return the protobuf message of a bucket."""
    status = bucket.folder.stat()
    placement = bucket.placement
    return pb.Bucket(
        name=f"projects/_/buckets/{bucket.name}",
        bucket_id=bucket.name,
        project=_PROJECT,
        metageneration=1,
        location=placement.location,
        location_type=placement.location_type,
        storage_class=placement.storage_class,
        create_time=timestamp(status.st_ctime_ns),
        update_time=timestamp(status.st_ctime_ns),
        etag=_etag(1, 1),
        custom_placement_config=pb.Bucket.CustomPlacementConfig(
            data_locations=placement.data_locations
        )
        if placement.data_locations
        else None,
        hierarchical_namespace=pb.Bucket.HierarchicalNamespace(enabled=placement.hierarchical),
        versioning=pb.Bucket.Versioning(enabled=placement.versioning),
        soft_delete_policy=pb.Bucket.SoftDeletePolicy(
            retention_duration=Duration(seconds=int(placement.soft_delete_seconds))
        ),
    )


def timestamp(time_ns: int) -> Timestamp:
    """Return a time in nanoseconds since 1970 as a protobuf Timestamp."""
    seconds, nanos = divmod(time_ns, _NS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=nanos)


def _etag(generation: int, metageneration: int) -> str:
    return f"{generation:x}-{metageneration:x}"
