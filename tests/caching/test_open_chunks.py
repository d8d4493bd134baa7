"""Tests of the files that a chunk store keeps open."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_format import CHUNK_BYTES, GRANULE_BYTES, ChunkId
from gcsmux_fs.caching.chunk_store import ChunkStore, Presence, open_files_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.caching.cache_directory import CacheDirectory

IDENTITY = bytes(16)
CHUNKS = 40
SIZE = CHUNKS * CHUNK_BYTES
GRANULE = memoryview(Random(1).randbytes(GRANULE_BYTES))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[CacheDirectory]:
    with open_cache_directory(str(tmp_path)) as opened:
        yield opened


def open_descriptors(directory: CacheDirectory) -> list[str]:
    """Return the paths of the chunk files that this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if "/chunks/" in target and target.startswith(directory.path):
            found.append(target)
    return found


def test_the_number_of_open_files_is_bounded(directory: CacheDirectory) -> None:
    store = ChunkStore(directory.files, open_files=8)
    for number in range(CHUNKS):
        store.write(IDENTITY, SIZE, number * CHUNK_BYTES, GRANULE)
        assert len(open_descriptors(directory)) <= 9
    for number in range(CHUNKS):
        offset = number * CHUNK_BYTES
        # The thread that never blocks does not close files. Another thread closes them.
        found = store.read_now(IDENTITY, SIZE, offset, GRANULE_BYTES)
        assert found == GRANULE or found is Presence.UNKNOWN
        assert len(open_descriptors(directory)) <= 9
        assert store.read(IDENTITY, SIZE, offset, GRANULE_BYTES) == [(offset, GRANULE)]
    store.close()
    assert open_descriptors(directory) == []


def test_the_limit_leaves_descriptors_for_the_rest_of_the_mount() -> None:
    assert 1 <= open_files_limit() <= 1024


def test_files_are_closed_when_the_process_has_too_many(directory: CacheDirectory) -> None:
    store = ChunkStore(directory.files)
    for number in range(CHUNKS):
        store.write(IDENTITY, SIZE, number * CHUNK_BYTES, GRANULE)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(directory.fd), before[1]))
    try:
        store.write(bytes([1] * 16), SIZE, 0, GRANULE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(open_descriptors(directory)) == 1
    store.close()


def test_a_removed_file_frees_its_space_and_is_replaced(directory: CacheDirectory) -> None:
    freed = []
    store = ChunkStore(directory.files, removed=lambda chunk, size: freed.append((chunk, size)))
    other_mount = ChunkStore(directory.files)
    written = store.write(IDENTITY, SIZE, 0, GRANULE)
    assert written.added_bytes == written.allocated_bytes >= GRANULE_BYTES
    assert other_mount.read(IDENTITY, SIZE, 0, GRANULE_BYTES) == [(0, GRANULE)]
    assert store.remove(ChunkId(IDENTITY, 0)) == written.allocated_bytes
    assert freed == [(ChunkId(IDENTITY, 0), written.allocated_bytes)]
    # The other mount still reads the removed file, until it notices.
    assert other_mount.read(IDENTITY, SIZE, 0, GRANULE_BYTES) == [(0, GRANULE)]
    other_mount.close_removed()
    store.close_removed()
    assert open_descriptors(directory) == []
    assert other_mount.read(IDENTITY, SIZE, 0, GRANULE_BYTES) == []
    other_mount.close()


def test_a_mount_sees_what_another_mount_writes_later(directory: CacheDirectory) -> None:
    store, other = ChunkStore(directory.files), ChunkStore(directory.files)
    store.write(IDENTITY, SIZE, 0, GRANULE)
    assert other.read(IDENTITY, SIZE, 0, 3 * GRANULE_BYTES) == [(0, GRANULE)]
    store.write(IDENTITY, SIZE, GRANULE_BYTES, GRANULE)
    if directory.files.never_blocks:
        assert other.read_now(IDENTITY, SIZE, GRANULE_BYTES, GRANULE_BYTES) == GRANULE
        assert other.read_now(IDENTITY, SIZE, 2 * GRANULE_BYTES, GRANULE_BYTES) is Presence.ABSENT
    store.write(IDENTITY, SIZE, 2 * GRANULE_BYTES, GRANULE)
    assert [offset for offset, _ in other.read(IDENTITY, SIZE, 0, 3 * GRANULE_BYTES)] == [0]
    # The file was removed and written again, while the other mount has the old file open.
    store.remove(ChunkId(IDENTITY, 0))
    store.write(IDENTITY, SIZE, 7 * GRANULE_BYTES, GRANULE)
    expected = [(7 * GRANULE_BYTES, GRANULE)]
    assert other.read(IDENTITY, SIZE, 7 * GRANULE_BYTES, GRANULE_BYTES) == expected
    store.close()
    other.close()


def test_threads_of_two_mounts_read_write_and_remove_the_same_chunks(
    directory: CacheDirectory,
) -> None:
    size = 3 * CHUNK_BYTES - 100
    content = memoryview(Random(2).randbytes(size))
    stores = [ChunkStore(directory.files, open_files=4) for _ in range(2)]
    wrong: list[object] = []
    served = []

    def use(store: ChunkStore, random: Random) -> None:
        for _ in range(300):
            offset = random.randrange(0, size, GRANULE_BYTES)
            page_end = offset - offset % (2 * 1024 * 1024) + 2 * 1024 * 1024
            end = min(offset + random.choice([1, 4, 128]) * GRANULE_BYTES, size, page_end)
            choice = random.random()
            if choice < 0.3:
                store.write(IDENTITY, size, offset, content[offset:end])
            elif choice < 0.32:
                store.remove(ChunkId(IDENTITY, offset // CHUNK_BYTES))
            elif choice < 0.34:
                store.close_removed()
            elif choice < 0.6:
                found = store.read_now(IDENTITY, size, offset, end - offset)
                if not isinstance(found, Presence) and found != content[offset:end]:
                    wrong.append((offset, end))
            else:
                for start, part in store.read(IDENTITY, size, offset, end - offset):
                    served.append(len(part))
                    if part != content[start : start + len(part)]:
                        wrong.append((start, len(part)))

    def run(store: ChunkStore, seed: int) -> None:
        try:
            use(store, Random(seed))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(stores[seed % 2], seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert wrong == []
    assert served
    assert sum(store.counters.disk_cache_mismatches for store in stores) == 0
    assert open_descriptors(directory) == []


def test_a_file_stays_open_while_a_thread_uses_it(directory: CacheDirectory) -> None:
    store = ChunkStore(directory.files, open_files=1)
    store.write(IDENTITY, SIZE, 0, GRANULE)
    inodes: set[int] = set()

    class Files:
        """File operations that close other files during a read."""

        def __getattr__(self, name: str) -> object:
            return getattr(directory.files, name)

        def read(self, descriptor: int, length: int, offset: int) -> memoryview:
            if offset:
                evicting.write(IDENTITY, SIZE, CHUNK_BYTES, GRANULE)
                evicting.write(IDENTITY, SIZE, 2 * CHUNK_BYTES, GRANULE)
                inodes.add(os.fstat(descriptor).st_ino)
            return directory.files.read(descriptor, length, offset)

    evicting = ChunkStore(Files(), open_files=1)  # type: ignore[arg-type]
    assert evicting.read(IDENTITY, SIZE, 0, GRANULE_BYTES) == [(0, GRANULE)]
    status = os.stat(ChunkId(IDENTITY, 0).path, dir_fd=directory.fd)
    assert inodes == {status.st_ino}
    evicting.close()
    store.close()
