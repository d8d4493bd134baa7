"""UpdateObject, MoveObject, RewriteObject and ComposeObject."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.bucket import attributes_of_file
from gcsmux_fs.emulator.buckets.copying import concatenate, parse_rewrite_token, rewrite_token
from gcsmux_fs.emulator.buckets.object_names import bucket_of, check_object_name
from gcsmux_fs.emulator.buckets.placement import ZONE
from gcsmux_fs.emulator.buckets.uploads import attributes_of
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found
from gcsmux_fs.emulator.services.resources import (
    check_condition,
    check_generation,
    check_preconditions,
    object_resource,
)
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.field_mask_pb2 import FieldMask

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.objects import Attributes, Content, StoredObject
    from gcsmux_fs.emulator.buckets.store import Store

__all__ = ["ChangeService"]

# The service's limits.
_MAX_COMPOSED = 32
_REWRITE_QUANTUM_BYTES = 1024 * 1024

_ALL_FIELDS = "*"
_METADATA = "metadata"
_TEXTS = (
    "content_type",
    "content_encoding",
    "content_disposition",
    "content_language",
    "cache_control",
)


class ChangeService:
    """Changes the objects that are there when a call arrives."""

    def __init__(self, store: Store, checksums: Checksums) -> None:
        self._store = store
        self._checksums = checksums

    async def update_object(self, request: pb.UpdateObjectRequest) -> pb.Object:
        """Answer UpdateObject: another metageneration of the same generation."""
        wanted = request.object
        bucket = self._store.bucket(bucket_of(wanted.bucket))
        found = _find(bucket, wanted.name, wanted.generation)
        check_preconditions(found, request)
        attributes = _updated(found.attributes, wanted, request.update_mask)
        return self._resource(bucket.update(found, attributes))

    async def move_object(self, request: pb.MoveObjectRequest) -> pb.Object:
        """Answer MoveObject, which is atomic, and within one bucket."""
        bucket = self._store.bucket(bucket_of(request.bucket))
        name = request.destination_object
        check_object_name(name)
        source = _find(bucket, request.source_object)
        if name == source.name:
            raise invalid(f"The object has that name already: {name!r}")
        _check_source(source, request)
        check_preconditions(bucket.find(name), request)
        crc = self._checksums.known(source)
        moved = bucket.move(source, name)
        if crc is not None:
            self._checksums.note(moved, crc)
        return self._resource(moved)

    async def rewrite_object(self, request: pb.RewriteObjectRequest) -> pb.RewriteResponse:
        """Answer RewriteObject; only `max_bytes_rewritten_per_call` makes it take several calls."""
        bucket = self._store.bucket(
            bucket_of(request.destination_bucket or request.destination.bucket)
        )
        name = request.destination_name or request.destination.name
        check_object_name(name)
        from_bucket = self._store.bucket(bucket_of(request.source_bucket))
        for one in (from_bucket, bucket):
            _refuse_zonal(one, "rewritten")
        source = _find(from_bucket, request.source_object, request.source_generation)
        _check_source(source, request)
        check_preconditions(bucket.find(name), request)
        rewritten, token = _progress(request, source, f"{source} as gs://{bucket.name}/{name!r}")
        answer = pb.RewriteResponse(
            total_bytes_rewritten=rewritten, object_size=source.size, rewrite_token=token
        )
        if not token:
            attributes = _rewritten(source.attributes, request.destination, name)
            with from_bucket.open(source.name) as content:
                made = await self._make(bucket, name, [content], attributes, request)
            answer.done = True
            answer.resource.CopyFrom(self._resource(made))
        return answer

    async def compose_object(self, request: pb.ComposeObjectRequest) -> pb.Object:
        """Answer ComposeObject."""
        wanted = request.destination
        bucket = self._store.bucket(bucket_of(wanted.bucket))
        check_object_name(wanted.name)
        _refuse_zonal(bucket, "composed")
        count = len(request.source_objects)
        if not 1 <= count <= _MAX_COMPOSED:
            raise invalid(f"An object is composed of 1 to {_MAX_COMPOSED} others, not of {count}")
        check_preconditions(bucket.find(wanted.name), request)
        with ExitStack() as opened:
            contents = []
            for one in request.source_objects:
                source = _find(bucket, one.name, one.generation)
                check_preconditions(source, one.object_preconditions)
                contents.append(opened.enter_context(bucket.open(source.name)))
            attributes = attributes_of(wanted, attributes_of_file(wanted.name))
            components = sum(content.object.components or 1 for content in contents)
            made = await self._make(bucket, wanted.name, contents, attributes, request, components)
        if request.delete_source_objects:
            for content in contents:
                _delete(bucket, content.object, keep=made)
        return self._resource(made)

    async def _make(
        self,
        bucket: Bucket,
        name: str,
        contents: Sequence[Content],
        attributes: Attributes,
        request: pb.RewriteObjectRequest | pb.ComposeObjectRequest,
        components: int = 0,
    ) -> StoredObject:
        """Make an object of others' content, if the request's conditions still hold then."""
        for content in contents:
            if not content.object.finalized:
                raise RpcError(StatusCode.FAILED_PRECONDITION, f"{content.object} is not finalized")
        incoming = bucket.incoming()
        try:
            crc = await concatenate(contents, incoming)
            claimed = request.object_checksums
            if claimed.HasField("crc32c") and claimed.crc32c != crc:
                raise invalid("The object does not match the crc32c given for it")
            check_preconditions(bucket.find(name), request)
            made = bucket.publish(name, incoming, attributes, components=components)
        finally:
            incoming.unlink(missing_ok=True)
        self._checksums.note(made, crc)
        return made

    def _resource(self, of: StoredObject) -> pb.Object:
        return object_resource(of, self._checksums.known(of))


def _find(bucket: Bucket, name: str, generation: int = 0) -> StoredObject:
    """Return the object that a request names, of that generation if it is not 0."""
    check_object_name(name)
    found = bucket.find(name)
    if found is None:
        raise not_found(f"No such object: gs://{bucket.name}/{name!r}")
    check_generation(found, generation)
    return found


def _check_source(
    source: StoredObject, request: pb.MoveObjectRequest | pb.RewriteObjectRequest
) -> None:
    """Refuse a request whose conditions on its source do not hold."""
    refused = StatusCode.FAILED_PRECONDITION
    check_condition(request, "source_generation", source.generation, refused)
    check_condition(request, "source_metageneration", source.metageneration, refused)


def _refuse_zonal(bucket: Bucket, what: str) -> None:
    """Refuse what the service does not do in zonal buckets."""
    if bucket.placement.location_type == ZONE:
        raise RpcError(
            StatusCode.FAILED_PRECONDITION,
            f"Objects of a zonal bucket cannot be {what}: {bucket.name!r}",
        )


def _progress(request: pb.RewriteObjectRequest, source: StoredObject, what: str) -> tuple[int, str]:
    """Return how many bytes are rewritten after this call, and a token if that is not all."""
    limit = request.max_bytes_rewritten_per_call
    if limit < 0 or limit % _REWRITE_QUANTUM_BYTES:
        raise invalid(f"{limit} bytes per call are not a multiple of {_REWRITE_QUANTUM_BYTES}")
    before = parse_rewrite_token(request.rewrite_token, what)
    rewritten = min(source.size, before + limit) if limit else source.size
    return rewritten, rewrite_token(rewritten, what) if rewritten < source.size else ""


def _rewritten(old: Attributes, wanted: pb.Object, name: str) -> Attributes:
    """Return the attributes of a copy: those of the request, or else those of the source."""
    if wanted.metadata or any(getattr(wanted, field) for field in _TEXTS):
        return attributes_of(wanted, attributes_of_file(name))
    return replace(old, storage_class=wanted.storage_class or old.storage_class)


def _updated(old: Attributes, wanted: pb.Object, mask: FieldMask) -> Attributes:
    """Return the attributes of an object after an update of the fields in `mask`."""
    if not mask.paths:
        raise invalid("The update_mask is missing")
    texts: dict[str, str] = {}
    metadata = dict(old.metadata)
    for path in (*_TEXTS, _METADATA) if _ALL_FIELDS in mask.paths else mask.paths:
        field, _, key = path.partition(".")
        if path in _TEXTS:
            texts[path] = getattr(wanted, path)
        elif path == _METADATA:
            metadata = dict(wanted.metadata)
        elif field == _METADATA:
            metadata.pop(key, None)
            if key in wanted.metadata:
                metadata[key] = wanted.metadata[key]
        elif field in pb.Object.DESCRIPTOR.fields_by_name:
            raise invalid(f"A field of an object that cannot be updated: {path!r}")
        else:
            raise RpcError(StatusCode.UNIMPLEMENTED, f"The emulator keeps no {path!r} of objects")
    return replace(old, metadata=metadata, **texts)


def _delete(bucket: Bucket, source: StoredObject, *, keep: StoredObject) -> None:
    """Delete an object that another was composed of, if it is still the one that it was."""
    found = bucket.find(source.name)
    if found is not None and found.generation == source.generation and found.name != keep.name:
        bucket.delete(found.name)
