"""Responses that carry content, taken apart into pieces and put together again."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.injection.tampering import Piece
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

__all__ = ["BidiCarrier", "Carrier", "ReadCarrier"]


class Carrier(abc.ABC):
    """The responses of one call."""

    @abc.abstractmethod
    def unpack(self, raw: bytes) -> tuple[Message, list[Piece]]:
        """Return what a response says besides its content, and its content."""

    @abc.abstractmethod
    def pack(self, rest: Message | None, pieces: Sequence[Piece]) -> list[bytes]:
        """Return responses that carry the pieces, the first of them the `rest` as well."""


class BidiCarrier(Carrier):
    """BidiReadObject: a response holds any number of pieces."""

    def unpack(self, raw: bytes) -> tuple[Message, list[Piece]]:
        """Take a response apart."""
        response = pb.BidiReadObjectResponse.FromString(raw)
        pieces = [
            Piece(
                data.read_range.read_id,
                data.read_range.read_offset,
                data.checksummed_data.content,
                data.checksummed_data.crc32c,
                data.range_end,
            )
            for data in response.object_data_ranges
        ]
        response.ClearField("object_data_ranges")
        return response, pieces

    def pack(self, rest: Message | None, pieces: Sequence[Piece]) -> list[bytes]:
        """Put all into one response."""
        carried = pb.BidiReadObjectResponse(
            object_data_ranges=[
                pb.ObjectRangeData(
                    checksummed_data=_checksummed(piece),
                    read_range=pb.ReadRange(
                        read_offset=piece.offset,
                        read_length=len(piece.content),
                        read_id=piece.read_id,
                    ),
                    range_end=piece.last,
                )
                for piece in pieces
            ]
        )
        # Messages that are concatenated merge.
        return [(b"" if rest is None else rest.SerializeToString()) + carried.SerializeToString()]


class ReadCarrier(Carrier):
    """ReadObject: a response holds one piece, and nothing tells its place or the last one."""

    def __init__(self) -> None:
        self._position = 0
        self._end: int | None = None

    def unpack(self, raw: bytes) -> tuple[Message, list[Piece]]:
        """Take a response apart."""
        response = pb.ReadObjectResponse.FromString(raw)
        if self._end is None:
            shown = response.content_range
            self._position = shown.start
            self._end = shown.end if response.HasField("content_range") else response.metadata.size
        data = response.checksummed_data
        offset = self._position
        self._position += len(data.content)
        piece = Piece(0, offset, data.content, data.crc32c, self._position == self._end)
        response.ClearField("checksummed_data")
        return response, [piece]

    def pack(self, rest: Message | None, pieces: Sequence[Piece]) -> list[bytes]:
        """Put each piece into a response of its own."""
        carried = [
            pb.ReadObjectResponse(checksummed_data=_checksummed(piece)).SerializeToString()
            for piece in pieces
        ]
        if rest is not None:
            carried[:1] = [rest.SerializeToString() + b"".join(carried[:1])]
        return carried


def _checksummed(piece: Piece) -> pb.ChecksummedData:
    return pb.ChecksummedData(content=piece.content, crc32c=piece.crc32c)
