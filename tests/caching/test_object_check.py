"""Tests of the comparison of whole objects with the checksum of the service."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from crc32c import crc32c

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_format import (
    CHUNK_BYTES,
    GRANULE_BYTES,
    PAGE_BYTES,
    ChunkHeader,
    ChunkId,
    granule_slot,
)
from gcsmux_fs.caching.chunk_store import ChunkStore
from gcsmux_fs.caching.object_check import ObjectVerdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.caching.cache_directory import CacheDirectory

IDENTITY = bytes(range(16))
SIZE = CHUNK_BYTES + 3 * GRANULE_BYTES + 5
CONTENT = memoryview(Random(3).randbytes(SIZE))
CRC = crc32c(CONTENT)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[CacheDirectory]:
    with open_cache_directory(str(tmp_path)) as opened:
        yield opened


def write(store: ChunkStore, start: int, end: int) -> bool:
    return store.write(IDENTITY, SIZE, start, CONTENT[start : min(end, SIZE)]).complete


def write_all(store: ChunkStore) -> None:
    for start in range(0, SIZE, PAGE_BYTES):
        write(store, start, start + PAGE_BYTES)


def test_a_write_reports_when_its_chunk_is_complete(directory: CacheDirectory) -> None:
    store = ChunkStore(directory.files)
    assert not write(store, 0, PAGE_BYTES)
    assert not write(store, PAGE_BYTES + GRANULE_BYTES, CHUNK_BYTES)
    assert store.check_object(IDENTITY, SIZE, CRC) is ObjectVerdict.INCOMPLETE
    assert write(store, PAGE_BYTES, PAGE_BYTES + GRANULE_BYTES)
    assert store.check_object(IDENTITY, SIZE, CRC) is ObjectVerdict.INCOMPLETE
    assert write(store, CHUNK_BYTES, SIZE)
    assert store.check_object(IDENTITY, SIZE, CRC) is ObjectVerdict.SAME
    # The object is compared once.
    assert not write(store, CHUNK_BYTES, SIZE)
    store.close()


def test_a_chunk_that_is_written_again_is_compared_again(directory: CacheDirectory) -> None:
    store = ChunkStore(directory.files)
    write_all(store)
    assert store.check_object(IDENTITY, SIZE, CRC) is ObjectVerdict.SAME
    path = Path(f"/proc/self/fd/{directory.fd}") / ChunkId(IDENTITY, 0).path
    with path.open("r+b") as file:
        file.seek(4096 + GRANULE_BYTES)
        file.write(b"damage")
    store.read(IDENTITY, SIZE, 0, PAGE_BYTES)
    # An error outside of the cache: the granule arrives with other bytes than before.
    other = bytes(CONTENT[GRANULE_BYTES + 1 : 2 * GRANULE_BYTES + 1])
    assert store.write(IDENTITY, SIZE, GRANULE_BYTES, memoryview(other)).complete
    assert store.check_object(IDENTITY, SIZE, CRC) is ObjectVerdict.DIFFERENT
    assert store.read(IDENTITY, SIZE, 0, SIZE) == []
    store.close()


def test_a_chunk_that_was_evicted_and_fetched_again_is_compared_again(
    directory: CacheDirectory,
) -> None:
    store = ChunkStore(directory.files)
    write_all(store)
    assert store.check_object(IDENTITY, SIZE, CRC) is ObjectVerdict.SAME
    store.remove(ChunkId(IDENTITY, 1))
    assert store.check_object(IDENTITY, SIZE, CRC) is ObjectVerdict.INCOMPLETE
    other = bytearray(CONTENT[CHUNK_BYTES:])
    other[0] ^= 1
    assert store.write(IDENTITY, SIZE, CHUNK_BYTES, memoryview(other)).complete
    assert store.check_object(IDENTITY, SIZE, CRC) is ObjectVerdict.DIFFERENT
    store.close()


class CountingFiles:
    """File operations that count the opened files."""

    def __init__(self, directory: CacheDirectory) -> None:
        self._files = directory.files
        self.opened = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._files, name)

    def open(self, path: str, flags: int) -> int:
        self.opened += 1
        return self._files.open(path, flags)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_checks_after_each_chunk_open_few_files(directory: CacheDirectory, order: str) -> None:
    chunks = 60
    size = chunks * CHUNK_BYTES
    files = CountingFiles(directory)
    store = ChunkStore(files, open_files=4)  # type: ignore[arg-type]
    numbers = list(range(chunks))
    if order == "descending":
        numbers.reverse()
    elif order == "shuffled":
        Random(1).shuffle(numbers)
    for number in numbers:
        header = ChunkHeader(ChunkId(IDENTITY, number), size)
        directory.files.make_directory(f"chunks/{header.chunk.shard:02x}")
        descriptor = directory.files.open(header.chunk.path, 0o102)
        for first in (0, 128):
            entries = header.encode(granule_slot(first), [0] * 128)
            header.put(granule_slot(first), entries)
        header.data[: len(header.prefix)] = header.prefix
        directory.files.write(descriptor, bytes(header.data), 0)
        directory.files.close(descriptor)
        verdict = store.check_object(IDENTITY, size, 1)
        assert (verdict is ObjectVerdict.INCOMPLETE) == (number != numbers[-1])
    assert files.opened < 4 * chunks
    store.close()
