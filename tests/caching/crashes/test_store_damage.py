"""Tests that a chunk store serves right bytes, or none, whatever happens to its files."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.chunk_format import ChunkId
from gcsmux_fs.caching.real_cache_files import RealCacheFiles
from tests.support.sizes import KIB

from .damage import DAMAGES, files_below
from .objects import CachedObject, check_reads, read_everything, write_everything
from .stores import MountedStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OBJECTS = (
    CachedObject("a", 20_000),
    CachedObject("b", 20_000),
    CachedObject("b", 20_000, generation=2),
    CachedObject("c", 100 * KIB),
)
# The kinds of damage after which a file or a directory stays that the cache does not replace.
PERMANENT = {"directory", "replace_directory", "link_directory"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that contains all of `OBJECTS`."""
    root = tmp_path_factory.mktemp("filled") / "cache"
    with MountedStore(root) as mounted:
        for each in OBJECTS:
            write_everything(mounted.store, each)
            read_everything(mounted.store, each)
    return root


def chunk_paths(objects: Sequence[CachedObject]) -> list[str]:
    return [f"gcsmux-cache-v1/{ChunkId(each.identity, 0).path}" for each in objects]


def copy_of(filled: Path, target: Path) -> Path:
    shutil.copytree(filled, target, symlinks=True)
    return target


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("is_open", [False, True], ids=["opened_after", "opened_before"])
def test_damage_of_chunks(filled: Path, memory_path: Path, kind: str, is_open: bool) -> None:
    random = Random(kind)
    for number in range(3):
        root = copy_of(filled, memory_path / str(number))
        with MountedStore(root) as mounted:
            if is_open:
                for each in OBJECTS:
                    read_everything(mounted.store, each)
            chunks = [path for path in files_below(root) if "chunks" in path.parts]
            if number:
                victim, other = random.sample(chunks, 2)
            else:  # the same object in two generations
                victim, other = (root / each for each in chunk_paths(OBJECTS[1:3]))
            DAMAGES[kind](victim, other, random)
            for each in OBJECTS:
                check_reads(mounted.store, each)
            if kind not in PERMANENT:
                for each in OBJECTS:
                    write_everything(mounted.store, each)
                for each in OBJECTS:
                    read_everything(mounted.store, each)
        with MountedStore(root) as mounted:
            for each in OBJECTS:
                check_reads(mounted.store, each)


def test_a_damaged_granule_is_counted_once_and_written_again(memory_path: Path) -> None:
    (damaged,) = OBJECTS[:1]
    with MountedStore(memory_path / "cache") as mounted:
        write_everything(mounted.store, damaged)
    (file,) = (path for path in files_below(memory_path) if "chunks" in path.parts)
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(bytes([damaged.content[-1] ^ 1]))
    with MountedStore(memory_path / "cache") as mounted:
        for _ in range(3):
            assert check_reads(mounted.store, damaged) == 16 * KIB
        assert mounted.store.counters.disk_cache_mismatches == 1
        write_everything(mounted.store, damaged)
        read_everything(mounted.store, damaged)
        assert mounted.store.counters.disk_cache_mismatches == 1


def test_removed_files_are_closed_while_no_file_is_open(memory_path: Path) -> None:
    with MountedStore(memory_path / "cache") as mounted:
        mounted.store.close_removed()
        write_everything(mounted.store, OBJECTS[0])
        mounted.store.drop_object(OBJECTS[0].identity, OBJECTS[0].size)
        mounted.store.close_removed()
        assert mounted.store.statistics() == {"open": 0, "unused": 0}


@pytest.mark.parametrize("has_openat2", [True, False])
def test_links_are_not_followed(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch, has_openat2: bool
) -> None:
    if not has_openat2:
        monkeypatch.setattr(RealCacheFiles, "_find_openat2", lambda _: False)
    by_file, by_folder = OBJECTS[0], OBJECTS[3]
    root, outside = memory_path / "cache", memory_path / "outside"
    with MountedStore(root) as mounted:
        for each in (by_file, by_folder):
            write_everything(mounted.store, each)
    outside.mkdir()
    file, inner = (root / each for each in chunk_paths((by_file, by_folder)))
    file.rename(outside / "file")
    file.symlink_to(outside / "file")
    inner.parent.rename(outside / "folder")
    inner.parent.symlink_to(outside / "folder")
    before = {path: path.read_bytes() for path in files_below(outside)}
    with MountedStore(root) as mounted:
        for each in (by_file, by_folder):
            assert check_reads(mounted.store, each) == 0
            with suppress(OSError):
                write_everything(mounted.store, each)
        # The link is replaced by a file, a link instead of a folder stays.
        assert check_reads(mounted.store, by_file) == by_file.size
        assert check_reads(mounted.store, by_folder) == 0
    assert {path: path.read_bytes() for path in files_below(outside)} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_other_users_are_not_read(memory_path: Path) -> None:
    given_away = OBJECTS[0]
    root = memory_path / "cache"
    with MountedStore(root) as mounted:
        write_everything(mounted.store, given_away)
    (file,) = (root / each for each in chunk_paths([given_away]))
    os.chown(file, 65534, 65534)
    with MountedStore(root) as mounted:
        assert check_reads(mounted.store, given_away) == 0
        write_everything(mounted.store, given_away)
        read_everything(mounted.store, given_away)
    assert file.stat().st_uid == 0
