"""How a test server treats one call: the same plans are read by the fake and by the real one."""

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

#: Every object of the test servers holds these bytes.
CONTENT = Random(2).randbytes(256 * 1024)
GENERATION = 7


def key_of(name: str) -> ObjectKey:
    return ObjectKey("bucket", name, GENERATION)


@dataclass(frozen=True)
class Plan:
    """One call, from its opening to its end.

    Attributes:
        latency: seconds before the first response, and before the first byte of each message.
        refuse: the call ends like this, unanswered.
        hang: the call is never answered.
        cut_after: so many bytes of content are sent, then comes `cut_with`, or nothing if None.
        refused_ranges: ranges that begin here end the call, as the service does it.
        corrupt_chunks: so many chunks, from the first on, carry a wrong checksum.
        handle: the read handle of the first response.
        generation: the generation of the first response's metadata; 0 leaves metadata out.
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
    """One chunk to be sent."""

    read_id: int
    offset: int
    content: bytes
    range_end: bool


def pieces(asked: RangeRequest, chunk_bytes: int) -> Iterator[Piece]:
    """Cut the answer to one range into chunks."""
    stop = min(asked.offset + asked.length, len(CONTENT))
    for start in range(asked.offset, stop, chunk_bytes):
        last = min(start + chunk_bytes, stop)
        yield Piece(asked.read_id, start, CONTENT[start:last], last == stop)
