"""Unary methods that read, create and delete buckets, and that read and delete objects."""

from __future__ import annotations

import time
from bisect import bisect_left
from functools import partial
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from gcsmux_fs.emulator.buckets.listing_pages import (
    ListedName,
    Position,
    Query,
    list_page,
    listing_query,
)
from gcsmux_fs.emulator.buckets.object_names import bucket_of, check_bucket_name, check_object_name
from gcsmux_fs.emulator.buckets.placement import requested_placement
from gcsmux_fs.emulator.buckets.preconditions import (
    check_condition,
    check_generation,
    check_preconditions,
)
from gcsmux_fs.emulator.buckets.version_pages import list_bucket_versions
from gcsmux_fs.emulator.rpc_error import RpcError, invalid
from gcsmux_fs.emulator.service_limits import MAX_PAGE_ENTRIES
from gcsmux_fs.emulator.services.resources import (
    bucket_resource,
    mask_includes,
    object_resource,
    requested_mask,
)
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.field_mask_pb2 import FieldMask

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.store import BucketStore

__all__ = ["MetaService"]


class MetaService:
    """Answers calls about buckets and the metadata of objects."""

    def __init__(self, store: BucketStore, checksums: Checksums) -> None:
        self._store = store
        self._checksums = checksums

    async def get_bucket(self, request: pb.GetBucketRequest) -> pb.Bucket:
        """Answer GetBucket: return the metadata of a bucket."""
        resource = bucket_resource(self._store.bucket(bucket_of(request.name)))
        check_condition(request, "metageneration", resource.metageneration, StatusCode.ABORTED)
        return resource

    async def list_buckets(self, request: pb.ListBucketsRequest) -> pb.ListBucketsResponse:
        """Answer ListBuckets. All projects have the same buckets."""
        if request.page_size < 0:
            raise invalid(f"page_size is negative: {request.page_size}.")
        names = self._store.names()
        query = Query(prefix=request.prefix.removeprefix("projects/_/buckets/"))
        page = list_page(
            lambda start: (ListedName(name) for name in names[bisect_left(names, start) :]),
            query,
            Position.parse(request.page_token, query),
            min(request.page_size or MAX_PAGE_ENTRIES, MAX_PAGE_ENTRIES),
        )
        return pb.ListBucketsResponse(
            buckets=[bucket_resource(self._store.bucket(name)) for name in page.objects],
            next_page_token=page.following.token(query) if page.following else "",
        )

    async def create_bucket(self, request: pb.CreateBucketRequest) -> pb.Bucket:
        """Answer CreateBucket: create a folder, and store the placement of the bucket."""
        check_bucket_name(request.bucket_id)
        placement = requested_placement(request.bucket, self._store.default)
        return bucket_resource(self._store.create(request.bucket_id, placement))

    async def delete_bucket(self, request: pb.DeleteBucketRequest) -> Empty:
        """Answer DeleteBucket: remove a bucket without objects."""
        name = bucket_of(request.name)
        resource = bucket_resource(self._store.bucket(name))
        check_condition(
            request, "metageneration", resource.metageneration, StatusCode.FAILED_PRECONDITION
        )
        self._store.delete(name)
        return Empty()

    async def get_object(self, request: pb.GetObjectRequest) -> pb.Object:
        """Answer GetObject: return the metadata of an object. First compute a missing checksum."""
        mask = requested_mask(request)
        bucket = self._store.bucket(bucket_of(request.bucket))
        check_object_name(request.object)
        name, generation = request.object, request.generation
        if request.soft_deleted:
            stored = bucket.old_versions.find(name, generation, soft_deleted=True)
        else:
            stored = bucket.find_generation(name, generation)
        if stored is None:
            raise bucket.no_such_object(name)
        check_generation(stored, request.generation)
        check_preconditions(stored, request, StatusCode.ABORTED)
        crc = (
            await self._checksums.whole(stored, bucket)
            if mask_includes(mask, "checksums")
            else None
        )
        return object_resource(stored, crc, mask)

    async def list_objects(self, request: pb.ListObjectsRequest) -> pb.ListObjectsResponse:
        """Answer ListObjects: list live objects, all generations, or soft-deleted ones."""
        mask = requested_mask(request)
        bucket = self._store.bucket(bucket_of(request.parent))
        _check_listing(request)
        query = listing_query(request)
        if request.versions or request.soft_deleted:
            return self._list_versions(request, bucket, query, mask)
        page = list_page(
            partial(
                bucket.names_from,
                within=query.prefix,
                shallow=query.delimiter == "/" and not query.end,
                folders=request.include_folders_as_prefixes and bucket.placement.hierarchical,
            ),
            query,
            Position.parse(request.page_token, query),
            min(request.page_size or MAX_PAGE_ENTRIES, MAX_PAGE_ENTRIES),
        )
        listed = (bucket.find(name, listed=True) for name in page.objects)
        with_crc = mask_includes(mask, "checksums")
        return pb.ListObjectsResponse(
            objects=[
                object_resource(
                    stored,
                    self._checksums.cached_or_quick(stored, bucket) if with_crc else None,
                    mask,
                )
                for stored in listed
                if stored is not None
            ],
            prefixes=page.prefixes,
            next_page_token=page.following.token(query) if page.following else "",
        )

    def _list_versions(
        self, request: pb.ListObjectsRequest, bucket: Bucket, query: Query, mask: FieldMask | None
    ) -> pb.ListObjectsResponse:
        if request.versions and request.soft_deleted:
            raise invalid("versions and soft_deleted exclude each other.")
        if request.soft_deleted and not bucket.placement.soft_delete_seconds:
            raise invalid("soft_deleted requires a bucket with a soft delete policy.")
        bucket.old_versions.expire(time.time_ns())
        page = list_bucket_versions(
            bucket,
            query,
            request.page_token,
            min(request.page_size or MAX_PAGE_ENTRIES, MAX_PAGE_ENTRIES),
            soft_deleted=request.soft_deleted,
        )
        with_crc = mask_includes(mask, "checksums")
        return pb.ListObjectsResponse(
            objects=[
                object_resource(
                    stored,
                    self._checksums.cached_or_quick(stored, bucket) if with_crc else None,
                    mask,
                )
                for stored in page.versions
            ],
            prefixes=page.prefixes,
            next_page_token=page.token,
        )

    async def restore_object(self, request: pb.RestoreObjectRequest) -> pb.Object:
        """Answer RestoreObject: copy a soft-deleted generation to a new live generation."""
        bucket = self._store.bucket(bucket_of(request.bucket))
        check_object_name(request.object)
        check_preconditions(bucket.find(request.object), request)
        restored = bucket.restore(request.object, request.generation)
        if restored is None:
            raise bucket.no_such_object(request.object)
        return object_resource(restored, self._checksums.cached_or_quick(restored, bucket))

    async def delete_object(self, request: pb.DeleteObjectRequest) -> Empty:
        """Answer DeleteObject: delete an object, if the preconditions of the request hold."""
        bucket = self._store.bucket(bucket_of(request.bucket))
        check_object_name(request.object)
        stored = bucket.find_generation(request.object, request.generation)
        if stored is None:
            raise bucket.no_such_object(request.object)
        check_generation(stored, request.generation)
        check_preconditions(stored, request)
        bucket.delete(request.object, request.generation)
        return Empty()


def _check_listing(request: pb.ListObjectsRequest) -> None:
    """Check that a listing request has no invalid fields and no unsupported fields.

    Raises:
        RpcError: a field is not valid (INVALID_ARGUMENT) or not supported (UNIMPLEMENTED).
    """
    if request.page_size < 0:
        raise invalid(f"page_size is negative: {request.page_size}.")
    if request.include_folders_as_prefixes and request.delimiter != "/":
        raise invalid("include_folders_as_prefixes requires the delimiter '/'.")
    for name in ("match_glob", "filter"):
        if getattr(request, name):
            raise RpcError(StatusCode.UNIMPLEMENTED, f"The emulator does not support {name}.")
