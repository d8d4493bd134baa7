"""Tests of the chunk files on a real disk: what is read is what was written, or nothing."""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import TYPE_CHECKING

import crc32c
import pytest

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_format import (
    CHUNK_BYTES,
    GRANULE_BYTES,
    HEADER_BYTES,
    PAGE_BYTES,
    ChunkId,
)
from gcsmux_fs.caching.chunk_store import ChunkStore, Presence, Written
from gcsmux_fs.caching.object_check import ObjectVerdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsmux_fs.caching.cache_directory import CacheDirectory

IDENTITY = bytes(range(16))
SIZE = 2 * CHUNK_BYTES + PAGE_BYTES + 5 * GRANULE_BYTES + 123
CONTENT = memoryview(random.Random(1).randbytes(SIZE))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[CacheDirectory]:
    with open_cache_directory(str(tmp_path)) as opened:
        yield opened


@pytest.fixture
def store(directory: CacheDirectory) -> Iterator[ChunkStore]:
    opened = ChunkStore(directory.files)
    yield opened
    opened.close()


def write_all(store: ChunkStore) -> None:
    for offset in range(0, SIZE, PAGE_BYTES):
        store.write(IDENTITY, SIZE, offset, CONTENT[offset : offset + PAGE_BYTES])


def file_of(directory: CacheDirectory, number: int) -> Path:
    return Path(f"/proc/self/fd/{directory.fd}") / ChunkId(IDENTITY, number).path


def assert_read(store: ChunkStore, missing: tuple[int, ...] = ()) -> None:
    """Assert that everything is read but some granules, numbered from the object's beginning."""
    expected = [granule for granule in range(-(-SIZE // GRANULE_BYTES)) if granule not in missing]
    found: list[int] = []
    for offset, part in store.read(IDENTITY, SIZE, 0, SIZE):
        assert part == CONTENT[offset : offset + len(part)]
        assert part.readonly
        found += range(offset // GRANULE_BYTES, -(-(offset + len(part)) // GRANULE_BYTES))
    assert found == expected


def test_what_was_written_is_read(store: ChunkStore) -> None:
    assert store.read(IDENTITY, SIZE, 0, SIZE) == []
    write_all(store)
    assert_read(store)


def test_a_second_store_reads_the_same_bytes(directory: CacheDirectory, store: ChunkStore) -> None:
    write_all(store)
    assert_read(ChunkStore(directory.files))


def test_bytes_in_memory_are_read_without_blocking(store: ChunkStore) -> None:
    write_all(store)
    # Long ranges are written past the page cache; a read brings them into memory.
    assert_read(store)
    last = SIZE - SIZE % PAGE_BYTES
    assert store.read_now(IDENTITY, SIZE, 0, PAGE_BYTES) == CONTENT[:PAGE_BYTES]
    assert store.read_now(IDENTITY, SIZE, last, SIZE - last) == CONTENT[last:]


def test_a_damaged_granule_is_dropped_once_and_can_be_written_again(
    directory: CacheDirectory, store: ChunkStore
) -> None:
    write_all(store)
    with file_of(directory, 1).open("r+b") as file:
        file.seek(4096 + 3 * GRANULE_BYTES + 7)
        file.write(b"damage")
    start = CHUNK_BYTES + 3 * GRANULE_BYTES
    damaged = start // GRANULE_BYTES
    assert store.read_now(IDENTITY, SIZE, CHUNK_BYTES, PAGE_BYTES) is Presence.UNKNOWN
    assert_read(store, missing=(damaged,))
    assert_read(store, missing=(damaged,))
    assert store.counters.disk_cache_mismatches == 1
    store.write(IDENTITY, SIZE, start, CONTENT[start : start + GRANULE_BYTES])
    assert_read(store)


def test_the_whole_object_is_compared_once(directory: CacheDirectory, store: ChunkStore) -> None:
    write_all(store)
    crc = crc32c.crc32c(CONTENT)
    assert store.check_object(IDENTITY, SIZE, crc) is ObjectVerdict.SAME
    # Another mount knows the result, so it does not compare again.
    assert ChunkStore(directory.files).check_object(IDENTITY, SIZE, crc ^ 1) is ObjectVerdict.SAME


def test_an_object_with_another_crc_is_removed(store: ChunkStore) -> None:
    write_all(store)
    crc = crc32c.crc32c(CONTENT) ^ 1
    assert store.check_object(IDENTITY, SIZE, crc) is ObjectVerdict.DIFFERENT
    assert store.read(IDENTITY, SIZE, 0, SIZE) == []
    assert store.counters.disk_cache_objects_dropped == 1


def test_a_removed_chunk_gets_no_more_writes(directory: CacheDirectory, store: ChunkStore) -> None:
    write_all(store)
    file_of(directory, 0).unlink()
    store.write(IDENTITY, SIZE, 0, CONTENT[:PAGE_BYTES])
    other = ChunkStore(directory.files)
    ((offset, part),) = other.read(IDENTITY, SIZE, 0, CHUNK_BYTES)
    assert (offset, len(part)) == (0, PAGE_BYTES)


class FailingFiles:
    """File operations that fail for content or headers, or that lose the file during a write."""

    def __init__(self, directory: CacheDirectory) -> None:
        self._files = directory.files
        self.read_error = 0
        self.header_error = 0
        self.removes_during_writes = False
        self.before_header: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> object:
        return getattr(self._files, name)

    def read(self, descriptor: int, length: int, offset: int) -> memoryview:
        if self.read_error and offset:
            raise OSError(self.read_error, "cannot be read")
        return self._files.read(descriptor, length, offset)

    def write(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        if offset < HEADER_BYTES:
            self.before_header()
            if self.header_error:
                raise OSError(self.header_error, "cannot be written")
        self._files.write(descriptor, content, offset)
        if self.removes_during_writes:
            self._files.remove(ChunkId(IDENTITY, 0).path)


def test_a_chunk_that_the_disk_cannot_read_is_removed(directory: CacheDirectory) -> None:
    files = FailingFiles(directory)
    store = ChunkStore(files)  # type: ignore[arg-type]
    write_all(store)
    files.read_error = errno.EIO
    with pytest.raises(OSError, match="cannot be read"):
        store.read(IDENTITY, SIZE, 0, PAGE_BYTES)
    # No later read fails.
    assert store.read(IDENTITY, SIZE, 0, PAGE_BYTES) == []
    files.read_error = errno.ETIMEDOUT
    with pytest.raises(OSError, match="cannot be read"):
        store.read(IDENTITY, SIZE, CHUNK_BYTES, PAGE_BYTES)
    files.read_error = 0
    assert len(store.read(IDENTITY, SIZE, CHUNK_BYTES, PAGE_BYTES)) == 1
    store.close()


def test_a_header_that_could_not_be_written_is_written_again(directory: CacheDirectory) -> None:
    files = FailingFiles(directory)
    store = ChunkStore(files)  # type: ignore[arg-type]
    files.header_error = errno.ENOSPC
    with pytest.raises(OSError, match="cannot be written"):
        store.write(IDENTITY, SIZE, 0, CONTENT[:PAGE_BYTES])
    assert store.read(IDENTITY, SIZE, 0, PAGE_BYTES) == []
    files.header_error = 0
    store.write(IDENTITY, SIZE, PAGE_BYTES, CONTENT[PAGE_BYTES : 2 * PAGE_BYTES])
    store.close()
    other = ChunkStore(directory.files)
    ((offset, part),) = other.read(IDENTITY, SIZE, 0, CHUNK_BYTES)
    assert (offset, len(part)) == (PAGE_BYTES, PAGE_BYTES)
    other.close()


def test_two_mounts_write_the_first_pieces_of_a_chunk_at_the_same_time(
    directory: CacheDirectory,
) -> None:
    files = FailingFiles(directory)
    first = ChunkStore(files)  # type: ignore[arg-type]
    second = ChunkStore(directory.files)

    def write_other_piece() -> None:
        files.before_header = lambda: None
        second.write(IDENTITY, SIZE, 0, CONTENT[:PAGE_BYTES])

    files.before_header = write_other_piece
    first.write(IDENTITY, SIZE, PAGE_BYTES, CONTENT[PAGE_BYTES : 2 * PAGE_BYTES])
    third = ChunkStore(directory.files)
    parts = third.read(IDENTITY, SIZE, 0, 2 * PAGE_BYTES)
    assert sum(len(part) for _, part in parts) == 2 * PAGE_BYTES
    for store in (first, second, third):
        store.close()


def test_a_write_into_a_file_that_is_evicted_meanwhile_adds_nothing(
    directory: CacheDirectory,
) -> None:
    files = FailingFiles(directory)
    files.removes_during_writes = True
    store = ChunkStore(files)  # type: ignore[arg-type]
    assert store.write(IDENTITY, SIZE, 0, CONTENT[:PAGE_BYTES]) == Written(0, 0, complete=False)
    store.close()
