"""Plans: how a test server (the fake transport or the real server) behaves in a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.storage.ports import StreamEnd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gcsmux_fs.storage.ports import RangeRequest

__all__ = ["CONTENT", "GENERATION", "Piece", "Plan", "key_of", "pieces"]

#: The content of every object of the test servers.
CONTENT = Random(2).randbytes(256 * 1024)
GENERATION = 7


def key_of(name: str) -> ObjectKey:
    return ObjectKey("bucket", name, GENERATION)


@dataclass(frozen=True)
class Plan:
    """What the server does in one call.

    Attributes:
        latency: seconds before the first response, and before the first byte of each message.
        refuse: the status with which the server ends the call, without a response.
        hang: the server never responds.
        cut_after: number of content bytes after which the server ends the call; None for no limit.
        cut_with: the status with which the server ends the call after `cut_after` bytes. None means
            that the server sends nothing more and leaves the call open.
        chunk_bytes: largest size of a chunk.
        refused_ranges: the codes with which the server refuses ranges, by the offset of the range.
            The first refused range ends the call.
        corrupt_chunks: the first `corrupt_chunks` chunks of the call have a wrong checksum.
        handle: the read handle of the first response.
        generation: the generation in the metadata of the first response; 0 means no metadata.
    """

    latency: float = 0.0
    refuse: StreamEnd | None = None
    hang: bool = False
    cut_after: int | None = None
    cut_with: StreamEnd | None = field(default=StreamEnd(StatusCode.UNAVAILABLE, "cut"))
    chunk_bytes: int = 64 * 1024
    refused_ranges: Mapping[int, StatusCode] = field(default_factory=dict)
    corrupt_chunks: int = 0
    handle: bytes = b"handle"
    generation: int = GENERATION


@dataclass(frozen=True)
class Piece:
    """One chunk to send."""

    read_id: int
    offset: int
    content: bytes
    range_end: bool


def pieces(request: RangeRequest, chunk_bytes: int) -> Iterator[Piece]:
    """Cut the answer to one range into chunks."""
    stop = min(request.offset + request.length, len(CONTENT))
    for start in range(request.offset, stop, chunk_bytes):
        last = min(start + chunk_bytes, stop)
        yield Piece(request.read_id, start, CONTENT[start:last], last == stop)
