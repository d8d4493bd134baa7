"""Objects and buckets as messages, field masks, and preconditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from gcsmux_fs.emulator.buckets.listing_pages import Query
from gcsmux_fs.emulator.rpc_error import RpcError, invalid
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.field_mask_pb2 import FieldMask

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.objects import StoredObject

__all__ = [
    "Preconditions",
    "bucket_resource",
    "check_condition",
    "check_generation",
    "check_preconditions",
    "listing_query",
    "object_resource",
    "requested_mask",
    "timestamp",
    "wants",
]

_PROJECT = "projects/gcsmux-emulator"
_NS_PER_SECOND = 1_000_000_000
_ALL_FIELDS = "*"


def wants(mask: FieldMask | None, field: str) -> bool:
    """Tell whether a read mask (None: everything) lets a field through."""
    return mask is None or any(path in (_ALL_FIELDS, field) for path in mask.paths)


def object_resource(of: StoredObject, crc: int | None, mask: FieldMask | None = None) -> pb.Object:
    """Return the object's message, with the fields of `mask` only."""
    attributes = of.attributes
    time = timestamp(of.time_ns)
    message = pb.Object(
        name=of.name,
        bucket=f"projects/_/buckets/{of.bucket}",
        generation=of.generation,
        metageneration=of.metageneration,
        storage_class=attributes.storage_class,
        size=of.size,
        content_encoding=attributes.content_encoding,
        content_disposition=attributes.content_disposition,
        cache_control=attributes.cache_control,
        content_language=attributes.content_language,
        content_type=attributes.content_type,
        create_time=time,
        component_count=of.components,
        update_time=timestamp(of.updated_ns) if of.updated_ns else time,
        metadata=attributes.metadata,
        etag=_etag(of.generation, of.metageneration),
        finalize_time=time if of.finalized else None,
        checksums=None if crc is None else pb.ObjectChecksums(crc32c=crc),
    )
    return message if mask is None or _ALL_FIELDS in mask.paths else _only(message, mask)


def _only(message: pb.Object, mask: FieldMask) -> pb.Object:
    kept = pb.Object()
    mask.MergeMessage(message, kept)
    return kept


def requested_mask(request: Maskable) -> FieldMask | None:
    """Return the read mask of a request, if it has one.

    Raises:
        RpcError: the mask names no field of an object (INVALID_ARGUMENT).
    """
    if not request.HasField("read_mask"):
        return None
    for path in request.read_mask.paths:
        if path != _ALL_FIELDS and path.split(".")[0] not in pb.Object.DESCRIPTOR.fields_by_name:
            raise invalid(f"No such field in the read mask: {path!r}")
    return request.read_mask


def listing_query(request: pb.ListObjectsRequest) -> Query:
    """Return what a request lists, page after page."""
    return Query(
        prefix=request.prefix,
        delimiter=request.delimiter,
        start=request.lexicographic_start,
        end=request.lexicographic_end,
        trailing_delimiter=request.include_trailing_delimiter,
    )


def bucket_resource(bucket: Bucket) -> pb.Bucket:
    """Return the bucket's message."""
    status = bucket.folder.stat()
    place = bucket.placement
    return pb.Bucket(
        name=f"projects/_/buckets/{bucket.name}",
        bucket_id=bucket.name,
        project=_PROJECT,
        metageneration=1,
        location=place.location,
        location_type=place.location_type,
        storage_class=place.storage_class,
        create_time=timestamp(status.st_ctime_ns),
        update_time=timestamp(status.st_ctime_ns),
        etag=_etag(1, 1),
        custom_placement_config=pb.Bucket.CustomPlacementConfig(data_locations=place.data_locations)
        if place.data_locations
        else None,
        hierarchical_namespace=pb.Bucket.HierarchicalNamespace(enabled=place.hierarchical),
    )


def timestamp(time_ns: int) -> Timestamp:
    """Return an instant, in nanoseconds since 1970, as a message."""
    seconds, nanos = divmod(time_ns, _NS_PER_SECOND)
    return Timestamp(seconds=seconds, nanos=nanos)


def _etag(generation: int, metageneration: int) -> str:
    return f"{generation:x}-{metageneration:x}"


class Maskable(Protocol):
    """A request with a read mask."""

    @property
    def read_mask(self) -> FieldMask:
        """The mask, empty if there is none."""

    def HasField(self, field_name: Literal["read_mask"], /) -> bool:  # noqa: N802
        """Tell whether there is a mask."""


class Preconditions(Protocol):
    """A request with some of the conditions `if_[meta]generation_[not_]match`."""

    def HasField(self, field_name: str, /) -> bool:  # noqa: N802
        """Tell whether a condition was given."""


def check_generation(found: StoredObject, generation: int) -> None:
    """Refuse a request for a generation that is not the one that is there (0: any)."""
    if generation and generation != found.generation:
        raise RpcError(
            StatusCode.NOT_FOUND, f"No such object: {found}: generation {generation} is gone"
        )


def check_preconditions(
    found: StoredObject | None,
    conditions: Preconditions,
    not_match_code: StatusCode = StatusCode.FAILED_PRECONDITION,
) -> None:
    """Refuse a request whose conditions do not hold; a missing object has generation 0.

    A read that finds the generation it said it has already ends with ABORTED, as the service's
    own test server does; that is gRPC's word for HTTP's 304.
    """
    generation = 0 if found is None else found.generation
    metageneration = 0 if found is None else found.metageneration
    check_condition(conditions, "generation", generation, not_match_code)
    check_condition(conditions, "metageneration", metageneration, not_match_code)


def check_condition(
    conditions: Preconditions, field: str, actual: int, not_match_code: StatusCode
) -> None:
    """Refuse a request whose two conditions on one number do not hold."""
    wanted, unwanted = f"if_{field}_match", f"if_{field}_not_match"
    if _has(conditions, wanted) and getattr(conditions, wanted) != actual:
        raise RpcError(
            StatusCode.FAILED_PRECONDITION,
            f"{wanted}={getattr(conditions, wanted)} does not hold: it is {actual}",
        )
    if _has(conditions, unwanted) and getattr(conditions, unwanted) == actual:
        raise RpcError(not_match_code, f"{unwanted}={actual} does not hold")


def _has(conditions: Preconditions, field: str) -> bool:
    # Not every request can have every condition.
    return hasattr(conditions, field) and conditions.HasField(field)
