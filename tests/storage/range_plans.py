"""How a test server treats one ReadObject call: the same plans are read by the fake and the real.

Every object holds the bytes of `tests.mux.plans`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crc32c import crc32c

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.ports import StreamEnd
from tests.mux.plans import CONTENT, GENERATION

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Answer", "answers"]


@dataclass(frozen=True)
class Answer:
    """One call, from its first response to its end.

    Attributes:
        chunk_bytes: content of one response.
        cut_after: so many responses are sent, then comes `end`.
        end: how the call ends, then, or after all bytes.
        hang: after the responses that are sent nothing comes any more.
        corrupt: this response, counted from 0, carries a wrong checksum.
        whole: the server takes no notice of the range and sends the object from its beginning.
        generation: of the first response's metadata; 0 leaves metadata out.
        with_place: the first response tells where it begins.
        shifted_by: so many bytes further on than asked for.
    """

    chunk_bytes: int = 64 * 1024
    cut_after: int | None = None
    end: StreamEnd = field(default=StreamEnd(StatusCode.OK))
    hang: bool = False
    corrupt: int = -1
    whole: bool = False
    generation: int = GENERATION
    with_place: bool = True
    shifted_by: int = 0


def answers(plan: Answer, request: pb.ReadObjectRequest) -> Iterator[bytes]:
    """Yield the responses of one call."""
    start, stop = request.read_offset, request.read_offset + request.read_limit
    if plan.whole:
        start, stop = 0, len(CONTENT)
    start, stop = start + plan.shifted_by, min(stop, len(CONTENT))
    for number, offset in enumerate(range(start, stop, plan.chunk_bytes)):
        if number == plan.cut_after:
            return
        content = CONTENT[offset : min(offset + plan.chunk_bytes, stop)]
        response = pb.ReadObjectResponse()
        response.checksummed_data.content = content
        response.checksummed_data.crc32c = crc32c(content) ^ (number == plan.corrupt)
        if number == 0:
            if plan.generation:
                response.metadata.generation = plan.generation
                response.metadata.size = len(CONTENT)
            if plan.with_place:
                response.content_range.start = start
                response.content_range.end = stop
                response.content_range.complete_length = len(CONTENT)
        yield response.SerializeToString()
