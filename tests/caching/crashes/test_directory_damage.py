"""Tests that a cache opens at once, or is refused in a sentence, whatever is in its directory."""

from __future__ import annotations

import os
import shutil
from random import Random
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.cache_directory import open_cache_directory
from gcsmux_fs.caching.cache_folders import CacheDirectoryError

from .damage import DAMAGES
from .objects import CachedObject, check_reads, read_everything, write_everything
from .stores import MountedStore

if TYPE_CHECKING:
    from pathlib import Path

OBJECT = CachedObject("a", 20_000)
VERSION = "gcsmux-cache-v1"
# The damages of a file after which the cache is still usable.
HARMLESS = DAMAGES.keys() - {
    *("symlink", "symlink_to_itself", "moved_symlink", "directory", "fifo", "socket", "device"),
    *("replace_directory", "link_directory"),
}


def filled(root: Path, group: int | None) -> Path:
    with MountedStore(root, group=group) as mounted:
        write_everything(mounted.store, OBJECT)
    return root


@pytest.mark.parametrize("is_shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_of_the_tag(memory_path: Path, kind: str, is_shared: bool) -> None:
    group = os.getegid() if is_shared else None
    root = filled(memory_path / "cache", group)
    tag = root / VERSION / "CACHEDIR.TAG"
    other = root / VERSION / "other"
    other.write_bytes(b"other")
    DAMAGES[kind](tag, other, Random(kind))
    if kind not in HARMLESS:
        with pytest.raises(CacheDirectoryError, match=r" is (not|a symbolic)"):
            open_cache_directory(str(root), group=group)
        return
    with MountedStore(root, group=group) as mounted:
        assert check_reads(mounted.store, OBJECT) in {0, OBJECT.size}
        write_everything(mounted.store, OBJECT)
        read_everything(mounted.store, OBJECT)


@pytest.mark.parametrize("folder", ["", VERSION, f"{VERSION}/chunks", f"{VERSION}/ledgers"])
@pytest.mark.parametrize(
    "kind", ["symlink", "symlink_to_itself", "moved_symlink", "fifo", "socket", "device", "remove"]
)
def test_a_folder_of_another_type_is_refused(memory_path: Path, folder: str, kind: str) -> None:
    root = filled(memory_path / "cache", None)
    other = memory_path / "other"
    other.mkdir()
    shutil.rmtree(root / folder)
    (root / folder).write_bytes(b"")
    DAMAGES[kind](root / folder, other, Random(kind))
    if kind == "remove":
        with MountedStore(root) as mounted:
            write_everything(mounted.store, OBJECT)
            read_everything(mounted.store, OBJECT)
        return
    with pytest.raises(CacheDirectoryError, match=r"\.$"):
        open_cache_directory(str(root))
    assert not list(other.iterdir())


def test_a_cache_of_another_version_is_neither_read_nor_changed(memory_path: Path) -> None:
    root = filled(memory_path / "cache", None)
    (root / VERSION).rename(root / "gcsmux-cache-v2")
    before = sorted(root.rglob("*"))
    with MountedStore(root) as mounted:
        assert check_reads(mounted.store, OBJECT) == 0
        write_everything(mounted.store, OBJECT)
    assert set(before) <= set(root.rglob("*"))
