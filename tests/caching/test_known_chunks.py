"""Tests of what a mount knows about missing chunks without asking the disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.chunk_format import CHUNK_BYTES, GRANULE_BYTES, ChunkId
from gcsmux_fs.caching.chunk_store import ChunkStore
from gcsmux_fs.caching.known_chunks import KnownChunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.caching.cache_directory import CacheDirectory

SIZE = 1024 * CHUNK_BYTES
GRANULE = memoryview(bytes(GRANULE_BYTES))


class CountingFiles:
    """The file operations of a directory. Counts the files that are opened and listed."""

    def __init__(self, directory: CacheDirectory) -> None:
        self._files = directory.files
        self.opened = 0
        self.listed = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._files, name)

    def open(self, path: str, flags: int) -> int:
        self.opened += 1
        return self._files.open(path, flags)

    def names(self, path: str) -> Iterator[str]:
        self.listed += 1
        return self._files.names(path)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[CacheDirectory]:
    with open_cache_directory(str(tmp_path)) as opened:
        if not opened.files.never_blocks:
            pytest.skip("the file system of the test has no reads that never block")
        yield opened


@pytest.fixture
def files(directory: CacheDirectory) -> CountingFiles:
    return CountingFiles(directory)


@pytest.fixture
def store(files: CountingFiles) -> Iterator[ChunkStore]:
    opened = ChunkStore(files)  # type: ignore[arg-type]
    yield opened
    opened.close()


def skip_with_coarse_times(directory: CacheDirectory) -> None:
    """Skip a test of changes that follow each other within 4 ms."""
    folder = Path(f"/proc/self/fd/{directory.fd}/chunks")
    times = set()
    for number in range(10):
        (folder / f"test-{number}").touch()
        times.add(folder.stat().st_mtime)
    if len(times) < 10:
        pytest.skip("the kernel is older than Linux 6.13, and has coarse times of files")


def identity(number: int) -> bytes:
    """Return an identity whose first chunk is in the first directory."""
    return number.to_bytes(16, "big")


def write(store: ChunkStore, number: int, chunk: int = 0) -> None:
    store.write(identity(number), SIZE, chunk * CHUNK_BYTES, GRANULE)


def is_absent(store: ChunkStore, number: int, chunk: int = 0) -> bool:
    return store.is_absent_now(identity(number), SIZE, chunk * CHUNK_BYTES, CHUNK_BYTES // 2)


def read(store: ChunkStore, number: int, chunk: int = 0) -> bool:
    return bool(store.read(identity(number), SIZE, chunk * CHUNK_BYTES, GRANULE_BYTES))


def test_an_empty_cache_is_asked_once(files: CountingFiles, store: ChunkStore) -> None:
    assert not read(store, 1)
    assert all(is_absent(store, 1, chunk) for chunk in range(300))
    for chunk in range(300):
        write(store, 1, chunk)
        assert not is_absent(store, 1, chunk)
    assert files.opened == 300 + 256  # An attempt creates the directory.


def test_the_own_changes_of_a_mount_cause_no_further_question(
    files: CountingFiles, store: ChunkStore
) -> None:
    write(store, 1)
    assert not read(store, 2)
    write(store, 3)
    assert is_absent(store, 2)
    store.close_removed()
    store.remove(ChunkId(identity(1), 0))
    assert is_absent(store, 1)
    assert is_absent(store, 2)
    assert read(store, 3)
    assert files.listed == 1


def test_a_mount_sees_the_files_of_another_mount_at_once(
    directory: CacheDirectory, store: ChunkStore
) -> None:
    skip_with_coarse_times(directory)
    other = ChunkStore(directory.files)
    write(store, 1)
    for number in range(2, 40):
        assert not read(store, number)
        write(other, number)
        assert not is_absent(store, number)
        assert read(store, number)
    other.close()


def test_what_is_written_into_an_open_chunk_is_seen(
    directory: CacheDirectory, store: ChunkStore
) -> None:
    other = ChunkStore(directory.files)
    half = CHUNK_BYTES // 2
    write(store, 1)
    assert store.is_absent_now(identity(1), SIZE, half, half)
    other.write(identity(1), SIZE, half, GRANULE)
    assert not store.is_absent_now(identity(1), SIZE, half, half)
    other.close()


def test_a_directory_that_others_change_is_listed_seldom(
    directory: CacheDirectory, files: CountingFiles, store: ChunkStore
) -> None:
    other = ChunkStore(directory.files)
    for number in range(320):
        write(other, number)
    for number in range(1000, 1100):
        write(other, number)
        assert not read(store, number + 1000)
    # The first miss lists, and then one of 10 to 13 misses.
    assert 8 <= files.listed <= 11
    other.close()


def test_a_replaced_directory_is_asked_again(directory: CacheDirectory, store: ChunkStore) -> None:
    assert not read(store, 1)
    write(store, 2)
    assert not read(store, 1)
    shutil.rmtree(Path(f"/proc/self/fd/{directory.fd}/chunks"))
    other = ChunkStore(directory.files)
    write(other, 1)
    store.close()
    assert not is_absent(store, 1)
    assert read(store, 1)
    other.close()


def test_something_else_in_the_place_of_a_directory_is_no_knowledge(
    directory: CacheDirectory,
) -> None:
    chunks = Path(f"/proc/self/fd/{directory.fd}/chunks")
    (chunks / "00").write_text("not a directory")
    (chunks / "01").symlink_to("/")
    known = KnownChunks(directory.files)
    for number in range(2):
        chunk = ChunkId(identity(0), number)
        assert not known.is_absent(chunk)
        assert not known.is_absent_now(chunk)


@pytest.mark.parametrize("seed", range(3))
def test_an_existing_chunk_is_never_absent(directory: CacheDirectory, seed: int) -> None:
    skip_with_coarse_times(directory)
    random = Random(seed)
    stores = [ChunkStore(directory.files, open_files=4) for _ in range(2)]
    existing: set[int] = set()
    known = 0
    for _ in range(400):
        number, store = random.randrange(30), random.choice(stores)
        choice = random.random()
        if choice < 0.2:
            write(store, number)
            existing.add(number)
        elif choice < 0.4:
            store.known.remove(ChunkId(identity(number), 0))
            existing.discard(number)
        elif choice < 0.7:
            for each in stores:
                each.close_removed()
            assert read(store, number) == (number in existing)
        elif is_absent(store, number):
            assert number not in existing
            known += 1
    assert known
    for store in stores:
        store.close()
