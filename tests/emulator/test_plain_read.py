from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import crc32c
import pytest
from google.api_core import exceptions

from tests.support.sizes import MIB

from .clients import BUCKET, Clients, serve

if TYPE_CHECKING:
    from pathlib import Path


async def read(clients: Clients, **request: object) -> list[Any]:
    stream = await clients.generated.read_object({"bucket": BUCKET, **request})
    return [response async for response in stream]


def test_a_whole_object_is_sent_in_chunks_with_checksums(served: Path, bucket: Path) -> None:
    data = random.Random(5).randbytes(5 * MIB)
    (bucket / "f").write_bytes(data)

    async def scenario(clients: Clients) -> None:
        responses = await read(clients, object_="f")
        chunks = [response.checksummed_data for response in responses]
        assert [len(chunk.content) for chunk in chunks] == [2 * MIB, 2 * MIB, MIB]
        assert data == b"".join(chunk.content for chunk in chunks)
        assert all(chunk.crc32c == crc32c.crc32c(chunk.content) for chunk in chunks)
        first, *others = responses
        assert crc32c.crc32c(data) == first.object_checksums.crc32c
        assert (first.metadata.name, first.metadata.size) == ("f", 5 * MIB)
        assert not first.content_range
        assert not any(response.metadata for response in others)

    serve(served, scenario)


@pytest.mark.parametrize(
    ("offset", "limit", "start", "end"),
    [(2, 3, 2, 5), (4, 0, 4, 10), (-3, 0, 7, 10), (-3, 1, 7, 8), (8, 99, 8, 10), (10, 0, 10, 10)],
)
def test_a_response_to_a_range_contains_its_content_range(
    served: Path, bucket: Path, offset: int, limit: int, start: int, end: int
) -> None:
    (bucket / "f").write_bytes(b"0123456789")

    async def scenario(clients: Clients) -> None:
        (response,) = await read(clients, object_="f", read_offset=offset, read_limit=limit)
        assert b"0123456789"[start:end] == response.checksummed_data.content
        where = response.content_range
        assert (start, end, 10) == (where.start, where.end, where.complete_length)

    serve(served, scenario)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"read_limit": -1}, exceptions.InvalidArgument),
        ({"read_offset": 11}, exceptions.OutOfRange),
        ({"generation": 5}, exceptions.NotFound),
        ({"object_": "g"}, exceptions.NotFound),
        ({"object_": ""}, exceptions.InvalidArgument),
        ({"bucket": "projects/_/buckets/none"}, exceptions.NotFound),
        ({"if_generation_match": 5}, exceptions.FailedPrecondition),
    ],
)
def test_invalid_reads_end_with_the_right_status(
    served: Path, bucket: Path, request_: dict[str, object], error: type[Exception]
) -> None:
    (bucket / "f").write_bytes(b"0123456789")

    async def scenario(clients: Clients) -> None:
        with pytest.raises(error):
            await read(clients, **{"object_": "f", **request_})

    serve(served, scenario)


def test_an_empty_object_is_sent_as_one_empty_message(served: Path, bucket: Path) -> None:
    (bucket / "f").touch()

    async def scenario(clients: Clients) -> None:
        (response,) = await read(clients, object_="f")
        assert (response.checksummed_data.content, response.metadata.size) == (b"", 0)

    serve(served, scenario)
