"""Sends the responses of one stream, and causes faults in and between these responses.

A response with content is decoded into chunks. The faults at the injection point `chunk` are
applied to each chunk. The resulting chunks are sent together in one response, unless a fault
happens between two chunks. A stream that a fault ends after N bytes has thus sent exactly N bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import (
    ChunkEndsEarly,
    Delay,
    Delete,
    EmptyMessage,
    InjectionPoint,
    Malformed,
    Overwrite,
    Padded,
)
from gcsmux_fs.emulator.injection.response_codec import BidiResponseCodec, ReadResponseCodec
from gcsmux_fs.emulator.injection.response_faults import apply_to_bytes, apply_to_chunk
from gcsmux_fs.emulator.service_limits import MAX_CHUNK_BYTES

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from gcsmux_fs.emulator.call_counters import CallCounters
    from gcsmux_fs.emulator.faults import Fault
    from gcsmux_fs.emulator.injection.faulty_call import FaultyCall
    from gcsmux_fs.emulator.injection.response_codec import ResponseCodec
    from gcsmux_fs.emulator.injection.response_faults import ResponseChunk

__all__ = ["ResponseSender", "Send"]

# A function that sends one encoded message on a stream.
Send = Callable[[bytes], Awaitable[None]]

_CODECS: dict[str, type[BidiResponseCodec | ReadResponseCodec]] = {
    "BidiReadObject": BidiResponseCodec,
    "ReadObject": ReadResponseCodec,
}


class ResponseSender:
    """Applies faults to the messages of a call. The function `forward` sends the results."""

    def __init__(self, call: FaultyCall, counters: CallCounters, forward: Send) -> None:
        self._call = call
        self._counters = counters
        self._forward = forward
        self._first_sent = False
        codec_type = _CODECS.get(call.method)
        self._codec: ResponseCodec | None = None if codec_type is None else codec_type()
        # Read ids of ranges that a fault has ended early. The rest of these ranges is not sent.
        self._ended: set[int] = set()
        # The next response: its fields other than content, its chunks, and the faults to apply to
        # its encoded bytes.
        self._rest: Message | None = None
        self._chunks: list[ResponseChunk] = []
        self._byte_faults: list[Fault] = []
        # Number of content bytes that `bytes_sent` of the counters includes but that have not been
        # sent yet.
        self._unsent = 0

    async def send(self, message: bytes) -> None:
        """Apply the faults of the active rules to a message, and send the result.

        Raises:
            RpcError: a fault ends the call with an error.
            CallEndedOk: a fault ends the call with OK.
        """
        first, self._first_sent = not self._first_sent, True
        if not self._ended and not self._call.orders.armed:
            await self._forward(message)
            return
        plan = self._call.plan
        if not self._ended and (plan is None or not plan.sees_content):
            await self._forward(message)
            return
        answer_faults = plan.at(InjectionPoint.ANSWER) if plan is not None and first else []
        if self._codec is None:
            await self._forward(apply_to_bytes(message, answer_faults))
            return
        self._rest, chunks = self._codec.decode(message)
        for fault in answer_faults:
            self._call.change_response(self._rest, fault)
        self._byte_faults = answer_faults
        self._unsent = sum(len(chunk.content) for chunk in chunks)
        try:
            for chunk in chunks:
                await self._send_chunk(chunk)
            await self._flush()
            # If the call sends no content, the rules with `after_bytes` 0 fire here.
            await self._call.reached(0)
        finally:
            self._counters.bytes_sent -= self._unsent

    async def _send_chunk(self, chunk: ResponseChunk) -> None:
        """Send a chunk. If a fault is due in the middle of the chunk, send the chunk in parts."""
        plan = self._call.plan
        while plan is not None and (room := plan.room()) is not None and room < len(chunk.content):
            part, chunk = chunk.split(room)
            if room:
                await self._gather_with_faults(part)
            await self._flush()
            self._unsent -= room
            await self._call.reached(room)
            plan = self._call.plan
        await self._gather_with_faults(chunk)
        size = len(chunk.content)
        self._unsent -= size
        if plan is not None and plan.room() == size:
            await self._flush()
        await self._call.reached(size)

    async def _gather_with_faults(self, chunk: ResponseChunk) -> None:
        """Apply the faults of a chunk, and add the resulting chunks to the next response."""
        if chunk.read_id in self._ended:
            if chunk.last:
                self._ended.discard(chunk.read_id)
            return
        plan = self._call.plan
        faults = (
            [] if plan is None else plan.chunk(chunk.offset, len(chunk.content), last=chunk.last)
        )
        chunks = [chunk]
        byte_faults: list[Fault] = []
        for fault in faults:
            match fault:
                case Malformed() | Padded():
                    byte_faults.append(fault)
                case EmptyMessage():
                    await self._flush()
                    await self._forward(b"")
                case Delay() | Overwrite() | Delete():
                    await self._flush()
                    await self._call.act([fault])
                case _:
                    chunks = [new for old in chunks for new in apply_to_chunk(old, fault)]
                    if isinstance(fault, ChunkEndsEarly) and not (fault.rest or chunk.last):
                        self._ended.add(chunk.read_id)
        if byte_faults:
            await self._flush()
            self._byte_faults = byte_faults
        for new in chunks:
            await self._gather(new)
        if byte_faults:
            await self._flush()

    async def _gather(self, chunk: ResponseChunk) -> None:
        """Add a chunk to the next response. If it would be too long, send the response first."""
        gathered_bytes = sum(len(gathered.content) for gathered in self._chunks)
        if gathered_bytes and gathered_bytes + len(chunk.content) > MAX_CHUNK_BYTES:
            await self._flush()
        self._chunks.append(chunk)

    async def _flush(self) -> None:
        """Send the next response, if it is not empty."""
        rest, chunks, byte_faults = self._rest, self._chunks, self._byte_faults
        if self._codec is None or not (chunks or (rest is not None and rest.ByteSize())):
            return
        self._rest, self._chunks, self._byte_faults = None, [], []
        for message in self._codec.encode(rest, chunks):
            await self._forward(apply_to_bytes(message, byte_faults))
