"""Unary calls that look at buckets and objects, and those that make or remove them."""

from __future__ import annotations

from bisect import bisect_left
from functools import partial
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from gcsmux_fs.emulator.buckets.listing_pages import (
    MAX_PAGE_ENTRIES,
    ListedName,
    Position,
    Query,
    list_page,
)
from gcsmux_fs.emulator.buckets.object_names import bucket_of, check_bucket_name, check_object_name
from gcsmux_fs.emulator.buckets.placement import placement_of
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found
from gcsmux_fs.emulator.services.resources import (
    bucket_resource,
    check_condition,
    check_generation,
    check_preconditions,
    listing_query,
    object_resource,
    requested_mask,
    wants,
)
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.store import Store

__all__ = ["MetaService"]


class MetaService:
    """Answers from what is in the folder at that moment."""

    def __init__(self, store: Store, checksums: Checksums) -> None:
        self._store = store
        self._checksums = checksums

    async def get_bucket(self, request: pb.GetBucketRequest) -> pb.Bucket:
        """Answer GetBucket."""
        bucket = bucket_resource(self._store.bucket(bucket_of(request.name)))
        check_condition(request, "metageneration", bucket.metageneration, StatusCode.ABORTED)
        return bucket

    async def list_buckets(self, request: pb.ListBucketsRequest) -> pb.ListBucketsResponse:
        """Answer ListBuckets, for any project."""
        if request.page_size < 0:
            raise invalid(f"page_size is negative: {request.page_size}")
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
        """Answer CreateBucket: a new folder, and a note of its location."""
        check_bucket_name(request.bucket_id)
        place = placement_of(request.bucket, self._store.default)
        return bucket_resource(self._store.create(request.bucket_id, place))

    async def delete_bucket(self, request: pb.DeleteBucketRequest) -> Empty:
        """Answer DeleteBucket."""
        name = bucket_of(request.name)
        bucket = bucket_resource(self._store.bucket(name))
        check_condition(
            request, "metageneration", bucket.metageneration, StatusCode.FAILED_PRECONDITION
        )
        self._store.delete(name)
        return Empty()

    async def get_object(self, request: pb.GetObjectRequest) -> pb.Object:
        """Answer GetObject."""
        mask = requested_mask(request)
        bucket = self._store.bucket(bucket_of(request.bucket))
        check_object_name(request.object)
        found = bucket.find(request.object)
        if found is None or request.soft_deleted:
            raise not_found(f"No such object: gs://{bucket.name}/{request.object!r}")
        check_generation(found, request.generation)
        check_preconditions(found, request, StatusCode.ABORTED)
        crc = await self._checksums.whole(found, bucket) if wants(mask, "checksums") else None
        return object_resource(found, crc, mask)

    async def list_objects(self, request: pb.ListObjectsRequest) -> pb.ListObjectsResponse:
        """Answer ListObjects; versions and soft-deleted objects do not exist here."""
        mask = requested_mask(request)
        bucket = self._store.bucket(bucket_of(request.parent))
        _check_listing(request)
        if request.soft_deleted:
            return pb.ListObjectsResponse()
        query = listing_query(request)
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
        shown = (bucket.find(name, listed=True) for name in page.objects)
        show_crc = wants(mask, "checksums")
        return pb.ListObjectsResponse(
            objects=[
                object_resource(
                    found, self._checksums.cheap(found, bucket) if show_crc else None, mask
                )
                for found in shown
                if found is not None
            ],
            prefixes=page.prefixes,
            next_page_token=page.following.token(query) if page.following else "",
        )

    async def delete_object(self, request: pb.DeleteObjectRequest) -> Empty:
        """Answer DeleteObject."""
        bucket = self._store.bucket(bucket_of(request.bucket))
        check_object_name(request.object)
        found = bucket.find(request.object)
        if found is None:
            raise not_found(f"No such object: gs://{bucket.name}/{request.object!r}")
        check_generation(found, request.generation)
        check_preconditions(found, request)
        bucket.delete(request.object)
        return Empty()


def _check_listing(request: pb.ListObjectsRequest) -> None:
    """Refuse what is malformed, and what would be answered wrongly if it were overlooked."""
    if request.page_size < 0:
        raise invalid(f"page_size is negative: {request.page_size}")
    if request.include_folders_as_prefixes and request.delimiter != "/":
        raise invalid("include_folders_as_prefixes needs the delimiter '/'")
    for name in ("match_glob", "filter"):
        if getattr(request, name):
            raise RpcError(StatusCode.UNIMPLEMENTED, f"The emulator has no {name}")
