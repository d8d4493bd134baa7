"""The methods UpdateObject, MoveObject, RewriteObject and ComposeObject."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.copying import concatenate, parse_rewrite_token, rewrite_token
from gcsmux_fs.emulator.buckets.object_attributes import attributes_from_resource
from gcsmux_fs.emulator.buckets.object_names import bucket_of, check_object_name
from gcsmux_fs.emulator.buckets.placement import ZONE
from gcsmux_fs.emulator.buckets.preconditions import (
    check_condition,
    check_generation,
    check_preconditions,
)
from gcsmux_fs.emulator.rpc_error import RpcError, invalid
from gcsmux_fs.emulator.service_limits import MAX_COMPOSED_OBJECTS, REWRITE_QUANTUM_BYTES
from gcsmux_fs.emulator.services.resources import object_resource
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.field_mask_pb2 import FieldMask

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes
    from gcsmux_fs.emulator.buckets.objects import Content, StoredObject
    from gcsmux_fs.emulator.buckets.store import BucketStore

__all__ = ["ChangeService"]

_ALL_FIELDS = "*"
_METADATA = "metadata"
_TEXT_FIELDS = (
    "content_type",
    "content_encoding",
    "content_disposition",
    "content_language",
    "cache_control",
)


class ChangeService:
    """Changes, renames and copies existing objects."""

    def __init__(self, store: BucketStore, checksums: Checksums) -> None:
        self._store = store
        self._checksums = checksums

    async def update_object(self, request: pb.UpdateObjectRequest) -> pb.Object:
        """Answer UpdateObject. The object gets a new metageneration and keeps its generation."""
        resource = request.object
        bucket = self._store.bucket(bucket_of(resource.bucket))
        stored = _find(bucket, resource.name, resource.generation)
        check_preconditions(stored, request)
        attributes = _updated_attributes(stored.attributes, resource, request.update_mask)
        return self._resource(bucket.update(stored, attributes))

    async def move_object(self, request: pb.MoveObjectRequest) -> pb.Object:
        """Answer MoveObject: rename an object within its bucket, atomically."""
        bucket = self._store.bucket(bucket_of(request.bucket))
        name = request.destination_object
        check_object_name(name)
        source = _find(bucket, request.source_object)
        if name == source.name:
            raise invalid(f"The source and the destination have the same name: {name!r}.")
        _check_source(source, request)
        check_preconditions(bucket.find(name), request)
        crc = self._checksums.cached(source)
        moved = bucket.move(source, name)
        if crc is not None:
            self._checksums.note(moved, crc)
        return self._resource(moved)

    async def rewrite_object(self, request: pb.RewriteObjectRequest) -> pb.RewriteResponse:
        """Answer RewriteObject. `max_bytes_rewritten_per_call` can make several calls necessary."""
        bucket = self._store.bucket(
            bucket_of(request.destination_bucket or request.destination.bucket)
        )
        name = request.destination_name or request.destination.name
        check_object_name(name)
        source_bucket = self._store.bucket(bucket_of(request.source_bucket))
        _check_not_zonal(source_bucket, "rewritten")
        _check_not_zonal(bucket, "rewritten")
        source = _find(source_bucket, request.source_object, request.source_generation)
        _check_source(source, request)
        check_preconditions(bucket.find(name), request)
        rewritten, token = _progress(request, source, f"{source} as gs://{bucket.name}/{name!r}")
        response = pb.RewriteResponse(
            total_bytes_rewritten=rewritten, object_size=source.size, rewrite_token=token
        )
        if not token:
            attributes = _rewritten_attributes(source.attributes, request.destination, name)
            with source_bucket.open(source.name, generation=source.generation) as content:
                stored = await self._copy(bucket, name, [content], attributes, request)
            response.done = True
            response.resource.CopyFrom(self._resource(stored))
        return response

    async def compose_object(self, request: pb.ComposeObjectRequest) -> pb.Object:
        """Answer ComposeObject: concatenate objects of a bucket to one object of this bucket."""
        destination = request.destination
        name = destination.name
        bucket = self._store.bucket(bucket_of(destination.bucket))
        check_object_name(name)
        _check_not_zonal(bucket, "composed")
        count = len(request.source_objects)
        if not 1 <= count <= MAX_COMPOSED_OBJECTS:
            raise invalid(
                f"ComposeObject takes 1 to {MAX_COMPOSED_OBJECTS} source objects, not {count}."
            )
        check_preconditions(bucket.find(name), request)
        with ExitStack() as opened:
            contents = []
            for source_object in request.source_objects:
                source = _find(bucket, source_object.name, source_object.generation)
                check_preconditions(source, source_object.object_preconditions)
                content = bucket.open(source.name, generation=source.generation)
                contents.append(opened.enter_context(content))
            attributes = attributes_from_resource(destination, name)
            components = sum(content.object.components or 1 for content in contents)
            stored = await self._copy(bucket, name, contents, attributes, request, components)
        if request.delete_source_objects:
            for content in contents:
                _delete_source(bucket, content.object, keep=stored)
        return self._resource(stored)

    async def _copy(
        self,
        bucket: Bucket,
        name: str,
        contents: Sequence[Content],
        attributes: ObjectAttributes,
        request: pb.RewriteObjectRequest | pb.ComposeObjectRequest,
        components: int = 0,
    ) -> StoredObject:
        """Copy the contents to a new object. Check the preconditions again after the copy."""
        for content in contents:
            if not content.object.finalized:
                raise RpcError(
                    StatusCode.FAILED_PRECONDITION, f"{content.object} is not finalized."
                )
        incoming = bucket.incoming()
        try:
            crc = await concatenate(contents, incoming)
            checksums = request.object_checksums
            if checksums.HasField("crc32c") and checksums.crc32c != crc:
                raise invalid("The object does not match the crc32c in object_checksums.")
            check_preconditions(bucket.find(name), request)
            stored = bucket.publish(name, incoming, attributes, components=components)
        finally:
            incoming.unlink(missing_ok=True)
        self._checksums.note(stored, crc)
        return stored

    def _resource(self, stored: StoredObject) -> pb.Object:
        return object_resource(stored, self._checksums.cached(stored))


def _find(bucket: Bucket, name: str, generation: int = 0) -> StoredObject:
    """Return an object. The object must have `generation`, unless `generation` is 0."""
    check_object_name(name)
    stored = bucket.find_generation(name, generation)
    if stored is None:
        raise bucket.no_such_object(name)
    check_generation(stored, generation)
    return stored


def _check_source(
    source: StoredObject, request: pb.MoveObjectRequest | pb.RewriteObjectRequest
) -> None:
    """Check the preconditions that a request sets for its source object."""
    code = StatusCode.FAILED_PRECONDITION
    check_condition(request, "source_generation", source.generation, code)
    check_condition(request, "source_metageneration", source.metageneration, code)


def _check_not_zonal(bucket: Bucket, participle: str) -> None:
    """Raise RpcError for a zonal bucket, because its objects cannot be rewritten or composed."""
    if bucket.placement.location_type == ZONE:
        raise RpcError(
            StatusCode.FAILED_PRECONDITION,
            f"Objects in a zonal bucket cannot be {participle}: {bucket.name!r}.",
        )


def _progress(
    request: pb.RewriteObjectRequest, source: StoredObject, rewrite: str
) -> tuple[int, str]:
    """Return how many bytes are rewritten when this call ends, and a rewrite token.

    The token is empty if the rewrite is then complete.
    """
    limit = request.max_bytes_rewritten_per_call
    if limit < 0 or limit % REWRITE_QUANTUM_BYTES:
        raise invalid(
            f"max_bytes_rewritten_per_call is {limit}, which is not a multiple of"
            f" {REWRITE_QUANTUM_BYTES}."
        )
    before = parse_rewrite_token(request.rewrite_token, rewrite)
    rewritten = min(source.size, before + limit) if limit else source.size
    return rewritten, rewrite_token(rewritten, rewrite) if rewritten < source.size else ""


def _rewritten_attributes(
    old: ObjectAttributes, destination: pb.Object, name: str
) -> ObjectAttributes:
    """Return the attributes in the request, or the source's attributes if the request sets none."""
    if destination.metadata or any(getattr(destination, field) for field in _TEXT_FIELDS):
        return attributes_from_resource(destination, name)
    return replace(old, storage_class=destination.storage_class or old.storage_class)


def _updated_attributes(
    old: ObjectAttributes, resource: pb.Object, mask: FieldMask
) -> ObjectAttributes:
    """Return `old` after an update: the fields in `mask` get the values of `resource`."""
    if not mask.paths:
        raise invalid("The update_mask is missing.")
    texts: dict[str, str] = {}
    metadata = dict(old.metadata)
    for path in (*_TEXT_FIELDS, _METADATA) if _ALL_FIELDS in mask.paths else mask.paths:
        field, _, key = path.partition(".")
        if path in _TEXT_FIELDS:
            texts[path] = getattr(resource, path)
        elif path == _METADATA:
            metadata = dict(resource.metadata)
        elif field == _METADATA:
            metadata.pop(key, None)
            if key in resource.metadata:
                metadata[key] = resource.metadata[key]
        elif field in pb.Object.DESCRIPTOR.fields_by_name:
            raise invalid(f"UpdateObject cannot change the field {path!r}.")
        else:
            raise RpcError(
                StatusCode.UNIMPLEMENTED, f"The emulator does not support the field {path!r}."
            )
    return replace(old, metadata=metadata, **texts)


def _delete_source(bucket: Bucket, source: StoredObject, *, keep: StoredObject) -> None:
    """Delete a source object of ComposeObject, unless it was replaced or is the object `keep`."""
    current = bucket.find(source.name)
    if (
        current is not None
        and current.generation == source.generation
        and current.name != keep.name
    ):
        bucket.delete(current.name)
