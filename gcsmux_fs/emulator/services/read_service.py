"""The methods BidiReadObject and ReadObject.

Each call opens one generation of an object and sends chunks of its content. BidiReadObject sends
any number of ranges, requested while the call runs (see `BidiStream`). ReadObject sends one range.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.buckets.byte_ranges import resolve_range, split_range
from gcsmux_fs.emulator.buckets.object_handles import ObjectHandle
from gcsmux_fs.emulator.buckets.object_names import bucket_of, check_object_name
from gcsmux_fs.emulator.buckets.preconditions import check_generation, check_preconditions
from gcsmux_fs.emulator.injection.faulty_call import current_call
from gcsmux_fs.emulator.rpc_error import invalid
from gcsmux_fs.emulator.service_limits import MAX_CHUNK_BYTES
from gcsmux_fs.emulator.services.bidi_stream import BidiStream
from gcsmux_fs.emulator.services.content_messages import (
    ContentChunk,
    encode_bidi_response,
    encode_read_response,
)
from gcsmux_fs.emulator.services.resources import mask_includes, object_resource, requested_mask
from gcsmux_fs.emulator.shaping import BandwidthLimiter, sleep_until
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from google.protobuf.field_mask_pb2 import FieldMask

    from gcsmux_fs.emulator.buckets.bucket import Bucket
    from gcsmux_fs.emulator.buckets.checksums import Checksums
    from gcsmux_fs.emulator.buckets.objects import Content, StoredObject
    from gcsmux_fs.emulator.buckets.store import BucketStore
    from gcsmux_fs.emulator.call_counters import CallCounters
    from gcsmux_fs.emulator.injection.fault_orders import FaultOrders
    from gcsmux_fs.emulator.injection.response_sender import Send
    from gcsmux_fs.emulator.services.range_schedule import Slice
    from gcsmux_fs.emulator.shaping import Shape
    from gcsmux_fs.model.values import ByteRange

__all__ = ["ReadService"]


class ReadService:
    """Sends the content of objects."""

    def __init__(
        self,
        store: BucketStore,
        checksums: Checksums,
        shape: Shape,
        orders: FaultOrders,
        counters: CallCounters,
    ) -> None:
        self._store = store
        self._checksums = checksums
        self._shape = shape
        self._orders = orders
        self._counters = counters
        # All streams can share this buffer, because there is no await between filling the buffer
        # and encoding its content. A single buffer stays in the processor's cache.
        self._buffer = memoryview(bytearray(MAX_CHUNK_BYTES))

    async def bidi_read_object(
        self, requests: AsyncIterator[pb.BidiReadObjectRequest], send: Send
    ) -> None:
        """Answer BidiReadObject: send the ranges that the messages of the client request."""
        first = await anext(requests, None)
        if first is None or not first.HasField("read_object_spec"):
            raise invalid("The first message must contain a read_object_spec.")
        spec = first.read_object_spec
        due = self._shape.due(asyncio.get_running_loop().time())
        bucket = self._store.bucket(bucket_of(spec.bucket))
        mask = requested_mask(spec)
        with self._open(bucket, spec) as content:
            stream = BidiStream(
                content.size,
                self._shape,
                self._orders,
                self._counters,
                partial(self._encode_slices, content),
            )
            stream.add(first, due)
            receiving = asyncio.create_task(stream.receive(requests))
            self._counters.streams_open += 1
            try:
                # Encode the response before waiting for `due`, so that the encoding adds no
                # latency.
                response = self._first_bidi_response(content, bucket, mask)
                await sleep_until(due)
                await send(response)
                await stream.send_ranges(send)
            finally:
                self._counters.streams_open -= 1
                receiving.cancel()
                with suppress(asyncio.CancelledError):
                    await receiving

    async def read_object(self, requests: AsyncIterator[pb.ReadObjectRequest], send: Send) -> None:
        """Answer ReadObject: send one range of an object."""
        request = await anext(requests, None)
        if request is None:
            raise invalid("The request is missing.")
        due = self._shape.due(asyncio.get_running_loop().time())
        if request.read_limit < 0:
            raise invalid(f"read_limit is negative: {request.read_limit}.")
        bucket = self._store.bucket(bucket_of(request.bucket))
        check_object_name(request.object)
        with bucket.open(request.object, generation=request.generation) as content:
            stored = content.object
            check_generation(stored, request.generation)
            check_preconditions(stored, request, StatusCode.ABORTED)
            byte_range = resolve_range(request.read_offset, request.read_limit, stored.size)
            self._counters.ranges += 1
            self._counters.bytes_asked += byte_range.length
            other_fields = await self._first_read_fields(stored, bucket, request, byte_range)
            shape = current_call(self._orders).shaped(self._shape)
            limiter = BandwidthLimiter(shape)
            clock = asyncio.get_running_loop().time
            await sleep_until(due)
            for part in split_range(byte_range, shape.slice_bytes):
                await sleep_until(limiter.free_at(clock()))
                buffer = self._buffer[: part.length]
                content.read_into(buffer, part.offset)
                crc = self._checksums.chunk(stored, part.offset, buffer)
                message = encode_read_response(buffer, crc, other_fields)
                limiter.occupy(clock(), part.length)
                self._counters.bytes_sent += part.length
                await send(message)
                other_fields = b""

    async def _first_read_fields(
        self,
        stored: StoredObject,
        bucket: Bucket,
        request: pb.ReadObjectRequest,
        byte_range: ByteRange,
    ) -> bytes:
        """Return the encoded first response of ReadObject, without its content."""
        mask = requested_mask(request)
        covers_object = byte_range.length == stored.size
        crc = (
            await self._checksums.whole(stored, bucket)
            if covers_object
            else self._checksums.cached(stored)
        )
        fields = pb.ReadObjectResponse(
            object_checksums=None if crc is None else pb.ObjectChecksums(crc32c=crc),
            metadata=object_resource(stored, crc, mask),
        )
        if request.read_offset or request.read_limit:
            fields.content_range.start = byte_range.offset
            fields.content_range.end = byte_range.end
            fields.content_range.complete_length = stored.size
        return fields.SerializeToString()

    def _open(self, bucket: Bucket, spec: pb.BidiReadObjectSpec) -> Content:
        """Open the generation that `spec` or its read handle names, and check the preconditions.

        A read handle from another server is ignored, as in the service on connections without
        DirectPath.
        """
        check_object_name(spec.object)
        generation = spec.generation
        handle = ObjectHandle.parse(spec.read_handle.handle)
        if handle is not None:
            if (handle.bucket, handle.name) != (bucket.name, spec.object):
                raise invalid("The read handle names another object.")
            if generation and generation != handle.generation:
                raise invalid("The read handle names another generation.")
            generation = handle.generation
        content = bucket.open(spec.object, generation=generation)
        try:
            check_generation(content.object, generation)
            check_preconditions(content.object, spec, StatusCode.ABORTED)
        except BaseException:
            content.close()
            raise
        return content

    def _first_bidi_response(
        self, content: Content, bucket: Bucket, mask: FieldMask | None
    ) -> bytes:
        """Return the first response of a stream: the object's metadata and a new read handle."""
        stored = content.object
        crc = (
            self._checksums.cached_or_quick(stored, bucket)
            if mask_includes(mask, "checksums")
            else None
        )
        handle = ObjectHandle(stored.bucket, stored.name, stored.generation).seal()
        return pb.BidiReadObjectResponse(
            metadata=object_resource(stored, crc, mask),
            read_handle=pb.BidiReadHandle(handle=handle),
        ).SerializeToString()

    def _encode_slices(self, content: Content, slices: Sequence[Slice]) -> bytes:
        """Read the content of the slices, and return a message with this content."""
        chunks: list[ContentChunk] = []
        used = 0
        for place in slices:
            buffer = self._buffer[used : used + place.length]
            content.read_into(buffer, place.offset)
            crc = self._checksums.chunk(content.object, place.offset, buffer)
            chunks.append(ContentChunk(place, buffer, crc))
            used += place.length
        return encode_bidi_response(chunks)
