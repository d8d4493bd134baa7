"""WriteObject, BidiWriteObject and the calls around resumable uploads.

Every byte received counts as persisted at once, so that `flush` has nothing to do. Resumable
uploads live as long as the emulator runs; appendable objects survive a restart.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, TypeVar

from gcsmux_fs.emulator.buckets.bucket import attributes_of_file
from gcsmux_fs.emulator.buckets.object_names import bucket_of, check_object_name
from gcsmux_fs.emulator.buckets.uploads import Appending, Incoming, Upload, attributes_of
from gcsmux_fs.emulator.rpc_error import RpcError, invalid, not_found
from gcsmux_fs.emulator.services.delayed_sender import DelayedSender
from gcsmux_fs.emulator.services.handles import Handle
from gcsmux_fs.emulator.services.resources import (
    check_condition,
    check_preconditions,
    object_resource,
)
from gcsmux_fs.emulator.shaping import sleep_until
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.objects import Attributes, StoredObject
    from gcsmux_fs.emulator.buckets.store import Store
    from gcsmux_fs.emulator.services.rpc import Send
    from gcsmux_fs.emulator.shaping import Shape

__all__ = ["WriteService"]

# What WriteObject's messages must be a multiple of, unless they finish the object.
_QUANTUM_BYTES = 256 * 1024
_RequestT = TypeVar("_RequestT", pb.WriteObjectRequest, pb.BidiWriteObjectRequest)


class WriteService:
    """Takes content in."""

    def __init__(self, store: Store, checksums: Checksums, shape: Shape) -> None:
        self._store = store
        self._checksums = checksums
        self._shape = shape
        self._resumable: dict[str, Upload] = {}
        self._appending: dict[tuple[str, str], Appending] = {}

    async def start_resumable_write(
        self, request: pb.StartResumableWriteRequest
    ) -> pb.StartResumableWriteResponse:
        """Answer StartResumableWrite."""
        upload = self._new_upload(request.write_object_spec)
        upload_id = f"projects/_/buckets/{upload.bucket.name}/uploads/{uuid.uuid4().hex}"
        self._resumable[upload_id] = upload
        return pb.StartResumableWriteResponse(upload_id=upload_id)

    async def query_write_status(
        self, request: pb.QueryWriteStatusRequest
    ) -> pb.QueryWriteStatusResponse:
        """Answer QueryWriteStatus."""
        upload = self._upload(request.upload_id)
        if upload.finished is None:
            return pb.QueryWriteStatusResponse(persisted_size=upload.size)
        return pb.QueryWriteStatusResponse(resource=self._resource(upload.finished))

    async def cancel_resumable_write(
        self, request: pb.CancelResumableWriteRequest
    ) -> pb.CancelResumableWriteResponse:
        """Answer CancelResumableWrite."""
        upload = self._upload(request.upload_id)
        del self._resumable[request.upload_id]
        upload.claim()
        upload.discard()
        return pb.CancelResumableWriteResponse()

    async def write_object(
        self, requests: AsyncIterator[pb.WriteObjectRequest], send: Send
    ) -> None:
        """Answer WriteObject."""
        first = await _first(requests)
        upload = self._open_upload(first)
        ticket = upload.claim()
        resumable = first.HasField("upload_id")
        try:
            request: pb.WriteObjectRequest | None = first
            finished: StoredObject | None = None
            while request is not None:
                if request is not first and request.WhichOneof("first_message"):
                    raise invalid("Only the first message may say what is written")
                content = request.checksummed_data.content
                if not request.finish_write and len(content) % _QUANTUM_BYTES:
                    raise invalid(f"{len(content)} bytes are not a multiple of {_QUANTUM_BYTES}")
                upload.receive(ticket, request.write_offset, request.checksummed_data)
                if request.finish_write:
                    finished = upload.finish(ticket, _claimed(request, first))
                    break
                request = await anext(requests, None)
        finally:
            if not resumable:
                upload.discard()
        if finished is not None:
            answer = pb.WriteObjectResponse(resource=self._resource(finished))
        elif resumable:
            answer = pb.WriteObjectResponse(persisted_size=upload.size)
        else:
            raise invalid("The messages ended before one had finish_write")
        await sleep_until(self._due())
        await send(answer.SerializeToString())

    async def bidi_write_object(
        self, requests: AsyncIterator[pb.BidiWriteObjectRequest], send: Send
    ) -> None:
        """Answer BidiWriteObject."""
        first = await _first(requests)
        incoming = self._open_incoming(first)
        ticket = incoming.claim()
        try:
            async with DelayedSender(send) as outbox:
                request: pb.BidiWriteObjectRequest | None = first
                while request is not None:
                    if request is not first and request.WhichOneof("first_message"):
                        raise invalid("Only the first message may say what is written")
                    answer = self._take_in(incoming, ticket, request, first)
                    if answer is not None:
                        outbox.put(self._due(), answer.SerializeToString())
                    request = await anext(requests, None)
                if incoming.finished is None:
                    if isinstance(incoming, Upload) and not first.HasField("upload_id"):
                        raise invalid("The messages ended before one had finish_write")
                    outbox.put(self._due(), _persisted(incoming).SerializeToString())
        finally:
            if isinstance(incoming, Upload) and not first.HasField("upload_id"):
                incoming.discard()

    def _take_in(
        self,
        incoming: Incoming,
        ticket: int,
        request: pb.BidiWriteObjectRequest,
        first: pb.BidiWriteObjectRequest,
    ) -> pb.BidiWriteObjectResponse | None:
        """Take one message in; return the answer, if it asks for one."""
        incoming.receive(ticket, request.write_offset, request.checksummed_data)
        if request.finish_write:
            finished = incoming.finish(ticket, _claimed(request, first))
            return pb.BidiWriteObjectResponse(resource=self._resource(finished))
        if request is first and isinstance(incoming, Appending):
            return self._opening(incoming)
        return _persisted(incoming) if request.state_lookup else None

    def _opening(self, appending: Appending) -> pb.BidiWriteObjectResponse:
        """Return the first answer on an appendable object: what it is, and a handle to it."""
        handle = Handle(appending.bucket.name, appending.name, appending.generation).seal()
        return pb.BidiWriteObjectResponse(
            resource=self._resource(appending.current()),
            write_handle=pb.BidiWriteHandle(handle=handle),
        )

    def _open_upload(self, first: pb.WriteObjectRequest | pb.BidiWriteObjectRequest) -> Upload:
        kind = first.WhichOneof("first_message")
        if kind == "upload_id":
            return self._upload(first.upload_id)
        if kind == "write_object_spec":
            return self._new_upload(first.write_object_spec)
        raise invalid("The first message must say what is written")

    def _open_incoming(self, first: pb.BidiWriteObjectRequest) -> Incoming:
        if first.HasField("append_object_spec"):
            return self._resume_appending(first.append_object_spec)
        if first.write_object_spec.appendable:
            return self._begin_appending(first.write_object_spec)
        return self._open_upload(first)

    def _new_upload(self, spec: pb.WriteObjectSpec) -> Upload:
        bucket, attributes = self._written(spec)
        return Upload(bucket, spec, attributes, self._checksums)

    def _begin_appending(self, spec: pb.WriteObjectSpec) -> Appending:
        bucket, attributes = self._written(spec)
        name = spec.resource.name
        check_preconditions(bucket.find(name), spec)
        empty = bucket.incoming()
        empty.touch()
        grown = bucket.begin_appendable(name, empty, attributes)
        appending = Appending(bucket, grown, self._checksums)
        self._appending[bucket.name, name] = appending
        return appending

    def _resume_appending(self, spec: pb.AppendObjectSpec) -> Appending:
        bucket = self._store.bucket(bucket_of(spec.bucket))
        check_object_name(spec.object)
        grown = bucket.find(spec.object)
        if grown is None or grown.generation != spec.generation:
            raise not_found(f"No generation {spec.generation} of {spec.object!r}")
        if spec.HasField("write_handle") and spec.write_handle.handle:
            if Handle.unseal(spec.write_handle.handle) != Handle(
                bucket.name, grown.name, grown.generation
            ):
                raise invalid("The write handle is of another object")
        else:
            check_condition(
                spec, "metageneration", grown.metageneration, StatusCode.FAILED_PRECONDITION
            )
        if grown.finalized:
            raise RpcError(StatusCode.FAILED_PRECONDITION, f"{grown} is finalized")
        known = self._appending.get((bucket.name, grown.name))
        if known is None or known.generation != grown.generation:
            known = Appending(bucket, grown, self._checksums)
            self._appending[bucket.name, grown.name] = known
        return known

    def _written(self, spec: pb.WriteObjectSpec) -> tuple[Bucket, Attributes]:
        """Return where and as what the object is to be written."""
        resource = spec.resource
        bucket = self._store.bucket(bucket_of(resource.bucket))
        check_object_name(resource.name)
        return bucket, attributes_of(resource, attributes_of_file(resource.name))

    def _upload(self, upload_id: str) -> Upload:
        try:
            return self._resumable[upload_id]
        except KeyError:
            raise not_found(f"No such upload: {upload_id!r}") from None

    def _resource(self, of: StoredObject) -> pb.Object:
        return object_resource(of, self._checksums.known(of))

    def _due(self) -> float:
        return self._shape.due(asyncio.get_running_loop().time())


async def _first(requests: AsyncIterator[_RequestT]) -> _RequestT:
    first = await anext(requests, None)
    if first is None:
        raise invalid("The first message is missing")
    return first


def _claimed(request: _RequestT, first: _RequestT) -> pb.ObjectChecksums:
    """Return the checksums given for the whole object, in its last message or in its first."""
    given = request if request.HasField("object_checksums") else first
    return given.object_checksums


def _persisted(incoming: Incoming) -> pb.BidiWriteObjectResponse:
    return pb.BidiWriteObjectResponse(persisted_size=incoming.size)
