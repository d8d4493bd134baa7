"""Tests of what a cache of a million granules costs a mount."""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from crc32c import crc32c

from gcsmux_fs.caching import real_cache_files
from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_format import (
    CHUNK_BYTES,
    GRANULE_BYTES,
    ChunkHeader,
    ChunkId,
    granule_slot,
)
from gcsmux_fs.caching.chunk_store import ChunkStore
from gcsmux_fs.caching.kernel_calls import openat2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsmux_fs.caching.cache_files import CacheFiles

CHUNKS = 3907
GRANULES = CHUNKS * (CHUNK_BYTES // GRANULE_BYTES)
SIZE = CHUNKS * CHUNK_BYTES
IDENTITY = bytes(16)

ZEROS_CRC = crc32c(bytes(GRANULE_BYTES))
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cache of a million granules of zeros, in sparse files, in memory if possible."""
    in_memory = os.access(SHARED_MEMORY, os.W_OK)
    folder = SHARED_MEMORY if in_memory else tmp_path_factory.mktemp("costs")
    with tempfile.TemporaryDirectory(dir=folder) as path:
        with open_cache_directory(path) as directory:
            for number in range(CHUNKS):
                create_chunk(directory.files, number)
        yield path


def create_chunk(files: CacheFiles, number: int) -> None:
    header = ChunkHeader(ChunkId(IDENTITY, number), SIZE)
    header.data[: len(header.prefix)] = header.prefix
    for first in (0, 128):
        slot = granule_slot(first)
        header.put(slot, header.encode(slot, [ZEROS_CRC] * 128))
    if number < 256:
        files.make_directory(header.chunk.path.rpartition("/")[0])
    descriptor = files.open(header.chunk.path, os.O_RDWR | os.O_CREAT)
    files.write(descriptor, bytes(header.data), 0)
    files.truncate(descriptor, 4096 + CHUNK_BYTES)
    files.close(descriptor)


def test_opening_reads_nothing_of_the_content(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def recording(real: Callable[..., Any], place: int) -> Callable[..., Any]:
        def record(*arguments: object, **keywords: object) -> Any:
            opened.append(str(arguments[place]))
            return real(*arguments, **keywords)

        return record

    for name in ("open", "scandir", "listdir"):
        monkeypatch.setattr(os, name, recording(getattr(os, name), 0))
    monkeypatch.setattr(real_cache_files, "openat2", recording(openat2, 1))
    with open_cache_directory(path) as directory:
        ChunkStore(directory.files).close()
    folders = {path, "gcsmux-cache-v1", "chunks", "ledgers", "names"}
    assert set(opened) <= folders | {".", "CACHEDIR.TAG"}
    assert folders < set(opened)


def test_the_memory_of_a_cache_in_use_is_bounded(path: str) -> None:
    descriptors_before = _descriptor_count()
    with open_cache_directory(path) as directory:
        store = ChunkStore(directory.files)
        numbers = list(range(CHUNKS))
        Random(1).shuffle(numbers)
        tracemalloc.start()
        try:
            for number in numbers:
                ((_, part),) = store.read(
                    IDENTITY, SIZE, number * CHUNK_BYTES + 7 * GRANULE_BYTES, GRANULE_BYTES
                )
                assert part.nbytes == GRANULE_BYTES
            used, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert store.statistics()["open"] + store.statistics()["unused"] <= 1024
        assert _descriptor_count() - descriptors_before < 1100
        store.close()
    # The promise is 100 bytes per granule. Only the open files need memory, 5 KiB each.
    assert used < 6 * GRANULES
    assert peak < 7 * GRANULES


def _descriptor_count() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
