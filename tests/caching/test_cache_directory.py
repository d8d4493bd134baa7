"""Tests of the directory of a cache: what is refused, with which sentence, and what is created."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.cache_directory import (
    CacheDirectoryError,
    check_cache_directory,
    open_cache_directory,
    open_existing_cache,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def as_file(path: Path) -> None:
    path.write_text("")


def as_link(path: Path) -> None:
    path.with_name("elsewhere").mkdir()
    path.symlink_to("elsewhere")


def as_directory(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        path.chmod(mode)

    return make


def as_link_below(path: Path) -> None:
    as_directory(0o700)(path)
    as_link(path / "gcsmux-cache-v1")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (as_file, r"{} is not a directory: "),
        (as_link, r"{} is a symbolic link: "),
        (as_link_below, r"{}/gcsmux-cache-v1 is a symbolic link: "),
        (
            as_directory(0o777),
            r"all users can write to the cache directory {}: name a directory in it, such as {}/",
        ),
        (as_directory(0o770), r"the group \d+ can write to the cache directory {}: run `chmod g-w"),
    ],
)
def test_a_directory_that_others_can_change_is_refused_with_the_remedy(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    path = tmp_path / "cache"
    make(path)
    expected = sentence.format(*[re.escape(str(path))] * 2)
    with pytest.raises(CacheDirectoryError, match=expected):
        check_cache_directory(str(path))
    with pytest.raises(CacheDirectoryError, match=expected):
        open_cache_directory(str(path))


def test_a_check_creates_nothing_and_a_cache_is_private(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    check_cache_directory(str(path))
    assert not path.exists()
    with pytest.raises(CacheDirectoryError, match=r"parent directory .* does not exist"):
        check_cache_directory(str(path / "below"))
    with pytest.raises(CacheDirectoryError, match="does not exist: write the path that mounts"):
        open_existing_cache(str(path))
    open_cache_directory(str(path)).close()
    check_cache_directory(str(path))
    made = [path, *path.rglob("*")]
    assert {each.stat().st_mode & 0o7777 for each in made if each.is_dir()} == {0o700}
    assert {each.stat().st_mode & 0o7777 for each in made if each.is_file()} == {0o600}


def test_files_of_a_user_are_no_cache(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("text")
    with pytest.raises(CacheDirectoryError, match="contains no cache"):
        open_existing_cache(str(tmp_path))


@pytest.mark.parametrize("umask", [0o077, 0o007])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories to any group")
def test_the_group_of_a_cache_may_write_everywhere(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "cache"
    before = os.umask(umask)
    try:
        with open_cache_directory(str(path), group=4711) as cache:
            cache.files.make_directory("chunks/00")
            cache.files.close(cache.files.open("chunks/00/file", os.O_RDWR | os.O_CREAT))
    finally:
        os.umask(before)
    made = [path, *path.rglob("*")]
    assert {each.stat().st_gid for each in made} == {4711}
    assert {each.stat().st_mode & 0o7777 for each in made if each.is_dir()} == {0o2770}
    assert {each.stat().st_mode & 0o7777 for each in made if each.is_file()} == {0o660}
    check_cache_directory(str(path), group=4711)
    with open_existing_cache(str(path)) as cache:
        assert cache.group == 4711
    with pytest.raises(CacheDirectoryError, match="the group 4711 can write"):
        check_cache_directory(str(path))
