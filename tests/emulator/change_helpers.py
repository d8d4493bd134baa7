"""Conditions of requests, and helper functions, for tests that change or copy objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.cloud.storage.asyncio.async_appendable_object_writer import AsyncAppendableObjectWriter

from .clients import BUCKET

if TYPE_CHECKING:
    from .clients import Clients

__all__ = ["SOURCE_CONDITIONS", "TARGET_CONDITIONS", "begin_appendable", "content", "with_own"]

# Conditions of a request for the source object. Each condition is false for the objects in the
# tests. "own" stands for the generation of the source object.
SOURCE_CONDITIONS = [
    {"if_source_generation_match": 5},
    {"if_source_generation_not_match": "own"},
    {"if_source_metageneration_match": 2},
    {"if_source_metageneration_not_match": 1},
]
TARGET_CONDITIONS = [
    {"if_generation_match": 0},
    {"if_generation_match": 5},
    {"if_metageneration_match": 2},
]


def with_own(conditions: dict[str, Any], generation: int) -> dict[str, Any]:
    """Return the conditions after each value "own" has been replaced by `generation`."""
    return {key: generation if value == "own" else value for key, value in conditions.items()}


async def content(clients: Clients, name: str) -> bytes:
    stream = await clients.generated.read_object({"bucket": BUCKET, "object_": name})
    return b"".join([response.checksummed_data.content async for response in stream])


async def begin_appendable(clients: Clients, name: str) -> AsyncAppendableObjectWriter:
    """Create an appendable object and write 4 bytes; return its writer, which is still open."""
    writer = AsyncAppendableObjectWriter(clients.google, "b", name)
    await writer.open()
    await writer.append(b"data")
    await writer.flush()
    return writer
