"""Writes a cache of a million extents without reading them from a server.

The content of the object `wide` is zeros, so each chunk file has a header and a hole.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import crc32c
import grpc

from benchmarks.objects import WIDE
from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_format import (
    CHUNK_BYTES,
    GRANULE_BYTES,
    HEADER_BYTES,
    PAGE_BYTES,
    ChunkHeader,
    ChunkId,
    granule_slot,
    identity_of,
    page_slot,
)
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.settings.service_address import service_of
from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.emulator_process import EmulatorProcess

__all__ = ["EXTENTS", "EXTENT_CHUNKS", "make_extents", "write_zeros"]

EXTENT_CHUNKS = 3_907
EXTENTS = EXTENT_CHUNKS * (CHUNK_BYTES // GRANULE_BYTES)  # 1,000,192


def _object(emulator: EmulatorProcess, bucket: str, name: str) -> tuple[int, int]:
    """Return the generation and the size of an object."""
    request = pb.GetObjectRequest(bucket=f"projects/_/buckets/{bucket}", object=name)
    with grpc.insecure_channel(emulator.endpoint) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/google.storage.v2.Storage/GetObject"
        )
        found = pb.Object.FromString(call(request.SerializeToString(), timeout=10))
    return found.generation, found.size


def make_extents(cache: Path, emulator: EmulatorProcess, bucket: str) -> None:
    """Write the chunk files of the first `EXTENTS` extents of the object `wide`."""
    generation, size = _object(emulator, bucket, WIDE)
    service = service_of(emulator.endpoint)
    identity = identity_of(ObjectKey(bucket, WIDE, generation), size, service)
    write_zeros(cache, identity, size, EXTENT_CHUNKS)


def write_zeros(cache: Path, identity: bytes, size: int, count: int) -> None:
    """Write the first chunk files of an object of zeros, each with a full chunk."""
    directory = open_cache_directory(str(cache))
    zeros = {length: crc32c.crc32c(bytes(length)) for length in (GRANULE_BYTES, PAGE_BYTES)}
    for number in range(count):
        chunk = ChunkId(identity, number)
        header = ChunkHeader(chunk, size)
        header.data[: len(header.prefix)] = header.prefix
        for granule in range(header.granules):
            slot = granule_slot(granule)
            header.put(slot, header.encode(slot, [zeros[GRANULE_BYTES]]))
        for page in range(header.pages):
            slot = page_slot(page)
            header.put(slot, header.encode(slot, [zeros[PAGE_BYTES]]))
        with suppress(FileExistsError):
            os.mkdir(os.path.dirname(chunk.path), 0o700, dir_fd=directory.fd)
        descriptor = os.open(chunk.path, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=directory.fd)
        os.write(descriptor, header.data)
        os.ftruncate(descriptor, HEADER_BYTES + CHUNK_BYTES)
        os.close(descriptor)
    directory.close()
