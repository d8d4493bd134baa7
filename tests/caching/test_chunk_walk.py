"""Tests of the walks over a cache: verify, count, remove."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_format import CHUNK_BYTES, GRANULE_BYTES, PAGE_BYTES, ChunkId
from gcsmux_fs.caching.chunk_store import ChunkStore
from gcsmux_fs.caching.chunk_walk import ChunkTotals, count_files, remove_files, verify_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.caching.cache_directory import CacheDirectory

IDENTITY = bytes(range(16))
SIZE = CHUNK_BYTES + PAGE_BYTES + 100
CONTENT = memoryview(Random(4).randbytes(SIZE))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[CacheDirectory]:
    """A cache of two chunks."""
    with open_cache_directory(str(tmp_path)) as opened:
        store = ChunkStore(opened.files)
        for offset in range(0, SIZE, PAGE_BYTES):
            store.write(IDENTITY, SIZE, offset, CONTENT[offset : offset + PAGE_BYTES])
        store.close()
        yield opened


def path_of(directory: CacheDirectory, number: int) -> Path:
    return Path(f"/proc/self/fd/{directory.fd}") / ChunkId(IDENTITY, number).path


def verify(directory: CacheDirectory) -> tuple[dict[str, str], ChunkTotals]:
    totals = ChunkTotals()
    found = {damage.path: damage.problem for damage in verify_chunks(directory.files, totals)}
    return found, totals


def test_a_sound_cache_has_no_damage(directory: CacheDirectory) -> None:
    found, totals = verify(directory)
    assert found == {}
    assert (totals.files, totals.verified_bytes) == (2, SIZE)
    counted = count_files(directory.files)
    assert (counted.files, counted.allocated_bytes) == (2, totals.allocated_bytes)
    assert counted.allocated_bytes >= SIZE


def test_bad_granules_are_dropped_and_the_others_stay(directory: CacheDirectory) -> None:
    for place in (0, 130, 255):
        with path_of(directory, 0).open("r+b") as file:
            file.seek(4096 + place * GRANULE_BYTES)
            file.write(b"damage")
    found, totals = verify(directory)
    assert found == {
        ChunkId(IDENTITY, 0).path: "has 3 granules of 16 KiB that do not agree with their CRC32C"
    }
    assert totals.bad_granules == 3
    assert totals.verified_bytes == SIZE - 3 * GRANULE_BYTES
    found, totals = verify(directory)
    assert found == {}
    assert totals.verified_bytes == SIZE - 3 * GRANULE_BYTES


def test_the_end_of_a_file_that_was_cut_off_is_dropped(directory: CacheDirectory) -> None:
    os.truncate(path_of(directory, 1), 4096 + PAGE_BYTES + 50)
    found, totals = verify(directory)
    assert list(found) == [ChunkId(IDENTITY, 1).path]
    assert totals.verified_bytes == CHUNK_BYTES + PAGE_BYTES


def test_files_that_are_no_chunks_are_removed(directory: CacheDirectory) -> None:
    chunk = path_of(directory, 0)
    moved = ChunkId(IDENTITY, 256)  # the same shard
    os.link(chunk, path_of(directory, 256))
    (chunk.parent / "notes.txt").write_text("text")
    os.mkfifo(chunk.parent / "fifo")
    (chunk.parent / "link").symlink_to("/etc/passwd")
    (chunk.parent / "folder").mkdir()
    with path_of(directory, 1).open("r+b") as file:
        file.write(b"damage")
    found, totals = verify(directory)
    shard = f"chunks/{moved.shard:02x}"
    assert found == {
        moved.path: "has the header of another chunk",
        f"{shard}/notes.txt": "has a name that no chunk has",
        f"{shard}/fifo": "is not a regular file",
        f"{shard}/link": "is not a regular file",
        f"{shard}/folder": "is not a regular file",
        ChunkId(IDENTITY, 1).path: "has a damaged header",
    }
    assert totals.bad_files == 6
    assert totals.verified_bytes == CHUNK_BYTES
    assert [path.name for path in chunk.parent.iterdir()] == [chunk.name]


def test_a_new_file_without_content_is_no_damage(directory: CacheDirectory) -> None:
    path_of(directory, 256).touch()
    assert verify(directory)[0] == {}
    assert path_of(directory, 256).exists()


def test_all_files_are_removed_and_mounts_go_on(directory: CacheDirectory) -> None:
    store = ChunkStore(directory.files)
    assert store.read(IDENTITY, SIZE, 0, 100_000)
    removed = remove_files(directory.files, "chunks")
    assert removed.files == 2
    assert removed.allocated_bytes >= SIZE
    assert count_files(directory.files).files == 0
    store.close_removed()
    store.write(IDENTITY, SIZE, 0, CONTENT[:GRANULE_BYTES])
    assert [(0, CONTENT[:GRANULE_BYTES])] == store.read(IDENTITY, SIZE, 0, SIZE)
    store.close()


def test_files_that_a_mount_removes_meanwhile_are_left_out(directory: CacheDirectory) -> None:
    totals = ChunkTotals()
    path_of(directory, 0).rename(path_of(directory, 0).with_name("x"))
    walk = verify_chunks(directory.files, totals)
    for number in (0, 1):
        path_of(directory, number).unlink(missing_ok=True)
    assert [damage.problem for damage in walk] == ["has a name that no chunk has"]
