"""Decodes responses into chunks of content, and encodes chunks into responses."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.injection.response_faults import ResponseChunk
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

__all__ = ["BidiResponseCodec", "ReadResponseCodec", "ResponseCodec"]


class ResponseCodec(abc.ABC):
    """Decodes and encodes the responses of one call, in order."""

    @abc.abstractmethod
    def decode(self, raw: bytes) -> tuple[Message, list[ResponseChunk]]:
        """Return the response without its content, and its chunks of content."""

    @abc.abstractmethod
    def encode(self, rest: Message | None, chunks: Sequence[ResponseChunk]) -> list[bytes]:
        """Return encoded responses with the chunks. The first one also has the fields of `rest`."""


class BidiResponseCodec(ResponseCodec):
    """The codec for BidiReadObject, where one response holds any number of chunks."""

    def decode(self, raw: bytes) -> tuple[Message, list[ResponseChunk]]:
        """Return the response without its content, and its chunks of content."""
        response = pb.BidiReadObjectResponse.FromString(raw)
        chunks = [
            ResponseChunk(
                data.read_range.read_id,
                data.read_range.read_offset,
                data.checksummed_data.content,
                data.checksummed_data.crc32c,
                data.range_end,
            )
            for data in response.object_data_ranges
        ]
        response.ClearField("object_data_ranges")
        return response, chunks

    def encode(self, rest: Message | None, chunks: Sequence[ResponseChunk]) -> list[bytes]:
        """Return one response with all chunks."""
        response = pb.BidiReadObjectResponse(
            object_data_ranges=[
                pb.ObjectRangeData(
                    checksummed_data=_checksummed(chunk),
                    read_range=pb.ReadRange(
                        read_offset=chunk.offset,
                        read_length=len(chunk.content),
                        read_id=chunk.read_id,
                    ),
                    range_end=chunk.last,
                )
                for chunk in chunks
            ]
        )
        # Concatenated protobuf messages merge into one message.
        return [(b"" if rest is None else rest.SerializeToString()) + response.SerializeToString()]


class ReadResponseCodec(ResponseCodec):
    """The codec for ReadObject, where a response holds one chunk without offset or range_end."""

    def __init__(self) -> None:
        self._position = 0
        self._end: int | None = None

    def decode(self, raw: bytes) -> tuple[Message, list[ResponseChunk]]:
        """Return the response without its content, and its chunk."""
        response = pb.ReadObjectResponse.FromString(raw)
        if self._end is None:
            content_range = response.content_range
            self._position = content_range.start
            self._end = (
                content_range.end if response.HasField("content_range") else response.metadata.size
            )
        data = response.checksummed_data
        offset = self._position
        self._position += len(data.content)
        chunk = ResponseChunk(0, offset, data.content, data.crc32c, self._position == self._end)
        response.ClearField("checksummed_data")
        return response, [chunk]

    def encode(self, rest: Message | None, chunks: Sequence[ResponseChunk]) -> list[bytes]:
        """Return one response per chunk."""
        responses = [
            pb.ReadObjectResponse(checksummed_data=_checksummed(chunk)).SerializeToString()
            for chunk in chunks
        ]
        if rest is not None:
            responses[:1] = [rest.SerializeToString() + b"".join(responses[:1])]
        return responses


def _checksummed(chunk: ResponseChunk) -> pb.ChecksummedData:
    return pb.ChecksummedData(content=chunk.content, crc32c=chunk.crc32c)
