"""BidiReadObject and ReadObject.

Both open a generation and send chunks of it: one for as many ranges as its client asks for, while
it sends (see `BidiStream`), the other for one range.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.object_names import bucket_of, check_object_name
from gcsmux_fs.emulator.injection.faulty_call import current_call
from gcsmux_fs.emulator.rpc_error import invalid
from gcsmux_fs.emulator.services.bidi_stream import BidiStream
from gcsmux_fs.emulator.services.content_messages import (
    ContentChunk,
    encode_bidi_response,
    encode_read_response,
)
from gcsmux_fs.emulator.services.handles import Handle
from gcsmux_fs.emulator.services.range_schedule import MAX_CHUNK_BYTES, Slice, cut, resolve_range
from gcsmux_fs.emulator.services.resources import (
    check_generation,
    check_preconditions,
    object_resource,
    requested_mask,
    wants,
)
from gcsmux_fs.emulator.shaping import Line, sleep_until
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from google.protobuf.field_mask_pb2 import FieldMask

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.objects import Content, StoredObject
    from gcsmux_fs.emulator.buckets.store import Store
    from gcsmux_fs.emulator.control import Control
    from gcsmux_fs.emulator.services.rpc import Send
    from gcsmux_fs.emulator.shaping import Shape
    from gcsmux_fs.model.values import ByteRange

__all__ = ["ReadService"]


class ReadService:
    """Sends content."""

    def __init__(self, store: Store, checksums: Checksums, shape: Shape, control: Control) -> None:
        self._store = store
        self._checksums = checksums
        self._shape = shape
        self._control = control
        # Read into and encoded from between two awaits, hence one for all streams; being always
        # the same, it stays in the processor's cache.
        self._buffer = memoryview(bytearray(MAX_CHUNK_BYTES))

    async def bidi_read_object(
        self, requests: AsyncIterator[pb.BidiReadObjectRequest], send: Send
    ) -> None:
        """Answer BidiReadObject."""
        first = await anext(requests, None)
        if first is None or not first.HasField("read_object_spec"):
            raise invalid("The first message must hold a read_object_spec")
        spec = first.read_object_spec
        due = self._shape.due(asyncio.get_running_loop().time())
        bucket = self._store.bucket(bucket_of(spec.bucket))
        mask = requested_mask(spec)
        with self._open(bucket, spec) as content:
            stream = BidiStream(
                content.size, self._shape, self._control, partial(self._chunks, content)
            )
            stream.add(first, due)
            taking = asyncio.create_task(stream.take_in(requests))
            counters = self._control.counters
            counters.streams_open += 1
            try:
                # Made ready meanwhile, so that the latency is what was asked for.
                opening = self._opening(content, bucket, mask)
                await sleep_until(due)
                await send(opening)
                await stream.send_out(send)
            finally:
                counters.streams_open -= 1
                taking.cancel()
                with suppress(asyncio.CancelledError):
                    await taking

    async def read_object(self, requests: AsyncIterator[pb.ReadObjectRequest], send: Send) -> None:
        """Answer ReadObject."""
        request = await anext(requests, None)
        if request is None:
            raise invalid("The request is missing")
        due = self._shape.due(asyncio.get_running_loop().time())
        if request.read_limit < 0:
            raise invalid(f"read_limit is negative: {request.read_limit}")
        bucket = self._store.bucket(bucket_of(request.bucket))
        check_object_name(request.object)
        with bucket.open(request.object) as content:
            found = content.object
            check_generation(found, request.generation)
            check_preconditions(found, request, StatusCode.ABORTED)
            wanted = resolve_range(request.read_offset, request.read_limit, found.size)
            self._control.counters.ranges += 1
            self._control.counters.bytes_asked += wanted.length
            others = await self._opening_of_read(found, bucket, request, wanted)
            shape = current_call(self._control).shaped(self._shape)
            line = Line(shape)
            clock = asyncio.get_running_loop().time
            await sleep_until(due)
            for piece in cut(wanted, shape.slice_bytes):
                await sleep_until(line.free_at(clock()))
                part = self._buffer[: piece.length]
                content.read_into(part, piece.offset)
                crc = self._checksums.chunk(found, piece.offset, part)
                message = encode_read_response(part, crc, others)
                line.occupy(clock(), piece.length)
                self._control.counters.bytes_sent += piece.length
                await send(message)
                others = b""

    async def _opening_of_read(
        self, found: StoredObject, bucket: Bucket, request: pb.ReadObjectRequest, wanted: ByteRange
    ) -> bytes:
        """Return what the first message of a ReadObject holds besides content."""
        mask = requested_mask(request)
        whole = wanted.length == found.size
        crc = await self._checksums.whole(found, bucket) if whole else self._checksums.known(found)
        opening = pb.ReadObjectResponse(
            object_checksums=None if crc is None else pb.ObjectChecksums(crc32c=crc),
            metadata=object_resource(found, crc, mask),
        )
        if request.read_offset or request.read_limit:
            opening.content_range.start = wanted.offset
            opening.content_range.end = wanted.end
            opening.content_range.complete_length = found.size
        return opening.SerializeToString()

    def _open(self, bucket: Bucket, spec: pb.BidiReadObjectSpec) -> Content:
        """Open what a spec names, with its handle and its conditions honoured.

        A handle that this server has not made is ignored, as the service does it on the cloud path.
        """
        check_object_name(spec.object)
        generation = spec.generation
        handle = Handle.known(spec.read_handle.handle)
        if handle is not None:
            if (handle.bucket, handle.name) != (bucket.name, spec.object):
                raise invalid("The read handle is of another object")
            if generation and generation != handle.generation:
                raise invalid("The read handle is of another generation")
            generation = handle.generation
        content = bucket.open(spec.object)
        try:
            check_generation(content.object, generation)
            check_preconditions(content.object, spec, StatusCode.ABORTED)
        except BaseException:
            content.close()
            raise
        return content

    def _opening(self, content: Content, bucket: Bucket, mask: FieldMask | None) -> bytes:
        """Return the first message of a stream: what the object is, and a new handle."""
        found = content.object
        crc = self._checksums.cheap(found, bucket) if wants(mask, "checksums") else None
        handle = Handle(found.bucket, found.name, found.generation).seal()
        return pb.BidiReadObjectResponse(
            metadata=object_resource(found, crc, mask),
            read_handle=pb.BidiReadHandle(handle=handle),
        ).SerializeToString()

    def _chunks(self, content: Content, slices: Sequence[Slice]) -> bytes:
        """Read slices and return the message that carries them."""
        chunks: list[ContentChunk] = []
        used = 0
        for place in slices:
            part = self._buffer[used : used + place.length]
            content.read_into(part, place.offset)
            crc = self._checksums.chunk(content.object, place.offset, part)
            chunks.append(ContentChunk(place, part, crc))
            used += place.length
        return encode_bidi_response(chunks)
