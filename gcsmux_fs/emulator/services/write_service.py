"""The methods WriteObject and BidiWriteObject, and the methods for resumable uploads.

Received bytes are written to a file at once, so the request's field `flush` has no effect.
Resumable uploads end when the emulator stops. Appendable objects survive a restart.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, TypeVar

from gcsmux_fs.emulator.buckets.object_attributes import attributes_from_resource
from gcsmux_fs.emulator.buckets.object_handles import ObjectHandle
from gcsmux_fs.emulator.buckets.object_names import bucket_of, check_object_name
from gcsmux_fs.emulator.buckets.preconditions import check_condition, check_preconditions
from gcsmux_fs.emulator.buckets.uploads import AppendableObject, Incoming, Upload
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found
from gcsmux_fs.emulator.service_limits import WRITE_QUANTUM_BYTES
from gcsmux_fs.emulator.services.delayed_sender import DelayedSender
from gcsmux_fs.emulator.services.resources import object_resource
from gcsmux_fs.emulator.shaping import sleep_until
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.object_attributes import ObjectAttributes
    from gcsmux_fs.emulator.buckets.objects import StoredObject
    from gcsmux_fs.emulator.buckets.store import BucketStore
    from gcsmux_fs.emulator.injection.response_sender import Send
    from gcsmux_fs.emulator.shaping import Shape

__all__ = ["WriteService"]

_RequestT = TypeVar("_RequestT", pb.WriteObjectRequest, pb.BidiWriteObjectRequest)


class WriteService:
    """Receives the content of objects."""

    def __init__(self, store: BucketStore, checksums: Checksums, shape: Shape) -> None:
        self._store = store
        self._checksums = checksums
        self._shape = shape
        self._resumable: dict[str, Upload] = {}
        self._appendable: dict[tuple[str, str], AppendableObject] = {}

    async def start_resumable_write(
        self, request: pb.StartResumableWriteRequest
    ) -> pb.StartResumableWriteResponse:
        """Answer StartResumableWrite: begin an upload, and return its upload_id."""
        upload = self._new_upload(request.write_object_spec)
        upload_id = f"projects/_/buckets/{upload.bucket.name}/uploads/{uuid.uuid4().hex}"
        self._resumable[upload_id] = upload
        return pb.StartResumableWriteResponse(upload_id=upload_id)

    async def query_write_status(
        self, request: pb.QueryWriteStatusRequest
    ) -> pb.QueryWriteStatusResponse:
        """Answer QueryWriteStatus: return the received size, or the object of a finished upload."""
        upload = self._upload(request.upload_id)
        if upload.finished is None:
            return pb.QueryWriteStatusResponse(persisted_size=upload.size)
        return pb.QueryWriteStatusResponse(resource=self._resource(upload.finished))

    async def cancel_resumable_write(
        self, request: pb.CancelResumableWriteRequest
    ) -> pb.CancelResumableWriteResponse:
        """Answer CancelResumableWrite: discard the upload."""
        upload = self._upload(request.upload_id)
        del self._resumable[request.upload_id]
        upload.claim()
        upload.discard()
        return pb.CancelResumableWriteResponse()

    async def write_object(
        self, requests: AsyncIterator[pb.WriteObjectRequest], send: Send
    ) -> None:
        """Answer WriteObject: receive an upload, and send one response at the end."""
        first = await _first(requests)
        upload = self._upload_of(first)
        ticket = upload.claim()
        resumable = first.HasField("upload_id")
        try:
            request: pb.WriteObjectRequest | None = first
            finished: StoredObject | None = None
            while request is not None:
                if request is not first and request.WhichOneof("first_message"):
                    raise invalid("Only the first message may contain a spec or an upload_id.")
                content = request.checksummed_data.content
                if not request.finish_write and len(content) % WRITE_QUANTUM_BYTES:
                    raise invalid(
                        f"A message before the last has {len(content)} bytes of content, which is"
                        f" not a multiple of {WRITE_QUANTUM_BYTES}."
                    )
                upload.receive(ticket, request.write_offset, request.checksummed_data)
                if request.finish_write:
                    finished = upload.finish(ticket, _object_checksums(request, first))
                    break
                request = await anext(requests, None)
        finally:
            if not resumable:
                upload.discard()
        if finished is not None:
            response = pb.WriteObjectResponse(resource=self._resource(finished))
        elif resumable:
            response = pb.WriteObjectResponse(persisted_size=upload.size)
        else:
            raise invalid("The stream ended before a message with finish_write.")
        await sleep_until(self._due())
        await send(response.SerializeToString())

    async def bidi_write_object(
        self, requests: AsyncIterator[pb.BidiWriteObjectRequest], send: Send
    ) -> None:
        """Answer BidiWriteObject: receive the content of an upload or an appendable object."""
        first = await _first(requests)
        incoming = self._incoming_of(first)
        ticket = incoming.claim()
        try:
            async with DelayedSender(send) as sender:
                request: pb.BidiWriteObjectRequest | None = first
                while request is not None:
                    if request is not first and request.WhichOneof("first_message"):
                        raise invalid("Only the first message may contain a spec or an upload_id.")
                    response = self._receive(incoming, ticket, request, first)
                    if response is not None:
                        sender.put(self._due(), response.SerializeToString())
                    request = await anext(requests, None)
                if incoming.finished is None:
                    if isinstance(incoming, Upload) and not first.HasField("upload_id"):
                        raise invalid("The stream ended before a message with finish_write.")
                    sender.put(self._due(), _persisted(incoming).SerializeToString())
        finally:
            if isinstance(incoming, Upload) and not first.HasField("upload_id"):
                incoming.discard()

    def _receive(
        self,
        incoming: Incoming,
        ticket: int,
        request: pb.BidiWriteObjectRequest,
        first: pb.BidiWriteObjectRequest,
    ) -> pb.BidiWriteObjectResponse | None:
        """Receive one message. Return its response; None if the message needs no response."""
        incoming.receive(ticket, request.write_offset, request.checksummed_data)
        if request.finish_write:
            finished = incoming.finish(ticket, _object_checksums(request, first))
            return pb.BidiWriteObjectResponse(resource=self._resource(finished))
        if request is first and isinstance(incoming, AppendableObject):
            return self._first_appendable_response(incoming)
        return _persisted(incoming) if request.state_lookup else None

    def _first_appendable_response(
        self, appendable: AppendableObject
    ) -> pb.BidiWriteObjectResponse:
        """Return the first response for an appendable object: its metadata and a write handle."""
        handle = ObjectHandle(appendable.bucket.name, appendable.name, appendable.generation)
        return pb.BidiWriteObjectResponse(
            resource=self._resource(appendable.current()),
            write_handle=pb.BidiWriteHandle(handle=handle.seal()),
        )

    def _upload_of(self, first: pb.WriteObjectRequest | pb.BidiWriteObjectRequest) -> Upload:
        """Return the upload that the first message of a stream continues or starts."""
        kind = first.WhichOneof("first_message")
        if kind == "upload_id":
            return self._upload(first.upload_id)
        if kind == "write_object_spec":
            return self._new_upload(first.write_object_spec)
        raise invalid("The first message must contain a write_object_spec or an upload_id.")

    def _incoming_of(self, first: pb.BidiWriteObjectRequest) -> Incoming:
        """Return the upload or appendable object that the first message continues or starts."""
        if first.HasField("append_object_spec"):
            return self._resume_appendable(first.append_object_spec)
        if first.write_object_spec.appendable:
            return self._begin_appendable(first.write_object_spec)
        return self._upload_of(first)

    def _new_upload(self, spec: pb.WriteObjectSpec) -> Upload:
        bucket, attributes = self._destination(spec)
        return Upload(bucket, spec, attributes, self._checksums)

    def _begin_appendable(self, spec: pb.WriteObjectSpec) -> AppendableObject:
        bucket, attributes = self._destination(spec)
        name = spec.resource.name
        check_preconditions(bucket.find(name), spec)
        empty = bucket.incoming()
        empty.touch()
        stored = bucket.begin_appendable(name, empty, attributes)
        appendable = AppendableObject(bucket, stored, self._checksums)
        self._appendable[bucket.name, name] = appendable
        return appendable

    def _resume_appendable(self, spec: pb.AppendObjectSpec) -> AppendableObject:
        bucket = self._store.bucket(bucket_of(spec.bucket))
        check_object_name(spec.object)
        stored = bucket.find(spec.object)
        if stored is None or stored.generation != spec.generation:
            raise not_found(f"No such object: {spec.object!r}, generation {spec.generation}.")
        if spec.HasField("write_handle") and spec.write_handle.handle:
            if ObjectHandle.unseal(spec.write_handle.handle) != ObjectHandle(
                bucket.name, stored.name, stored.generation
            ):
                raise invalid("The write handle names another object or generation.")
        else:
            check_condition(
                spec, "metageneration", stored.metageneration, StatusCode.FAILED_PRECONDITION
            )
        if stored.finalized:
            raise RpcError(StatusCode.FAILED_PRECONDITION, f"{stored} is finalized.")
        appendable = self._appendable.get((bucket.name, stored.name))
        if appendable is None or appendable.generation != stored.generation:
            appendable = AppendableObject(bucket, stored, self._checksums)
            self._appendable[bucket.name, stored.name] = appendable
        return appendable

    def _destination(self, spec: pb.WriteObjectSpec) -> tuple[Bucket, ObjectAttributes]:
        """Return the bucket and the attributes of the object to write."""
        resource = spec.resource
        bucket = self._store.bucket(bucket_of(resource.bucket))
        check_object_name(resource.name)
        return bucket, attributes_from_resource(resource, resource.name)

    def _upload(self, upload_id: str) -> Upload:
        try:
            return self._resumable[upload_id]
        except KeyError:
            raise not_found(f"No such upload: {upload_id!r}.") from None

    def _resource(self, stored: StoredObject) -> pb.Object:
        return object_resource(stored, self._checksums.cached(stored))

    def _due(self) -> float:
        return self._shape.due(asyncio.get_running_loop().time())


async def _first(requests: AsyncIterator[_RequestT]) -> _RequestT:
    first = await anext(requests, None)
    if first is None:
        raise invalid("The first message is missing.")
    return first


def _object_checksums(request: _RequestT, first: _RequestT) -> pb.ObjectChecksums:
    """Return the checksums of the whole object, which are in the last or in the first message."""
    source = request if request.HasField("object_checksums") else first
    return source.object_checksums


def _persisted(incoming: Incoming) -> pb.BidiWriteObjectResponse:
    return pb.BidiWriteObjectResponse(persisted_size=incoming.size)
