"""Tests that damaged ledgers cost neither bytes nor the bound of the size, and no exception."""

from __future__ import annotations

import functools
import os
import shutil
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.cache_folders import CacheDirectoryError
from gcsmux_fs.caching.chunk_format import ChunkId
from tests.support.sizes import KIB

from .damage import DAMAGES, files_below
from .mounts import Clock, MountedCache, chunk_bytes
from .objects import CachedObject, check_reads

if TYPE_CHECKING:
    from pathlib import Path

SIZE_BYTES = 336 * KIB
OLD = tuple(CachedObject(f"old {number}", 20_000) for number in range(15))
NEW = tuple(CachedObject(f"new {number}", 20_000) for number in range(5))
# The kinds of damage after which something stays that a mount cannot replace. Then the mount may
# report that the disk fails, and its tier is turned off.
PERMANENT = {
    *("symlink", "symlink_to_itself", "moved_symlink", "directory", "fifo", "socket", "device"),
    *("replace_directory", "link_directory"),
}
if os.geteuid():
    PERMANENT.add("forbid")  # root may use every file
# After these, two ledgers may be one file, and each overwrites the other.
SHARED = {"link", "rename"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with ledgers of all kinds."""
    root = tmp_path_factory.mktemp("filled") / "cache"
    clock = Clock()
    with MountedCache(root, SIZE_BYTES, clock) as mounted:
        for each in OLD:
            mounted.write_all(each)
            mounted.account.touch(ChunkId(each.identity, 0))
            mounted.keep_house(0.3)
        mounted.keep_house(12)
        mounted.write_all(OLD[0])
        mounted.account.flush()
    return root


@pytest.mark.parametrize("is_open", [False, True], ids=["opened_after", "opened_before"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_of_ledgers(filled: Path, memory_path: Path, kind: str, is_open: bool) -> None:
    random = Random(kind)
    names = [path.name for path in files_below(filled) if path.parent.name == "ledgers"]
    assert {"usage", "journal", "cleaner", "mount-00", "section-0-00"} <= set(names)
    for name in random.sample(names, 3):
        root = memory_path / name
        shutil.copytree(filled, root)
        ledgers = root / "gcsmux-cache-v1/ledgers"
        clock = Clock()
        mounted = MountedCache(root, SIZE_BYTES, clock)
        errors: list[OSError] = []
        if is_open:
            use(mounted, errors, OLD[:1])
        victim, other = ledgers / name, ledgers / random.choice(names)
        if victim.exists() and other.exists():
            DAMAGES[kind](victim, other, random)
        if not is_open:
            try:
                mounted = MountedCache(root, SIZE_BYTES, clock)
            except CacheDirectoryError:
                assert kind in PERMANENT
                continue
        use(mounted, errors, NEW)
        assert chunk_bytes(root) <= SIZE_BYTES * 1.05
        assert not errors or kind in PERMANENT, errors[0]
        if kind not in PERMANENT | SHARED:
            assert check_reads(mounted.store, NEW[-1]) == NEW[-1].size
        with suppress(OSError):
            mounted.close()
        shutil.rmtree(root)


def test_ledgers_of_a_terabyte(filled: Path, memory_path: Path) -> None:
    root = memory_path / "cache"
    shutil.copytree(filled, root)
    for path in files_below(root):
        if path.parent.name == "ledgers":
            os.truncate(path, 1 << 40)
    errors: list[OSError] = []
    with MountedCache(root, SIZE_BYTES, Clock()) as mounted:
        use(mounted, errors, NEW)
        assert not errors
        assert check_reads(mounted.store, NEW[-1]) == NEW[-1].size
    assert chunk_bytes(root) <= SIZE_BYTES * 1.05


def use(mounted: MountedCache, errors: list[OSError], objects: tuple[CachedObject, ...]) -> None:
    """Write and clean, and collect what the tier counts as errors of the disk."""
    for place, each in enumerate(objects, 1):
        wait = 12.0 if place == len(objects) else 0.5
        for step in (
            functools.partial(mounted.keep_house, wait, idle_seconds=wait / 4),
            functools.partial(mounted.write_all, each),
        ):
            try:
                step()
            except OSError as error:
                mounted.clock.now += 1
                errors.append(error)
        check_reads(mounted.store, each)
