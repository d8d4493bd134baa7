"""Plans that say how ReadObject calls are answered, by the fake and by the real server.

Every object holds the bytes `CONTENT` of `tests.mux.plans`.
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
    """The plan of one call.

    Attributes:
        chunk_bytes: size of the content of one response.
        cut_after: number of responses before the call ends early; None for all responses.
        end: the status of the call.
        hang: whether the call stays open after its responses.
        corrupt: index of the response that has a wrong checksum; -1 for none.
        ignores_range: whether the server ignores the range and sends the object from its beginning.
        generation: the generation in the metadata of the first response; 0 omits the metadata.
        with_content_range: whether the first response has a ContentRange.
        shifted_by: number of bytes between the requested offset and the start of the answer.
    """

    chunk_bytes: int = 64 * 1024
    cut_after: int | None = None
    end: StreamEnd = field(default=StreamEnd(StatusCode.OK))
    hang: bool = False
    corrupt: int = -1
    ignores_range: bool = False
    generation: int = GENERATION
    with_content_range: bool = True
    shifted_by: int = 0


def answers(plan: Answer, request: pb.ReadObjectRequest) -> Iterator[bytes]:
    """Yield the serialized responses of one call."""
    start, stop = request.read_offset, request.read_offset + request.read_limit
    if plan.ignores_range:
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
            if plan.with_content_range:
                response.content_range.start = start
                response.content_range.end = stop
                response.content_range.complete_length = len(CONTENT)
        yield response.SerializeToString()
