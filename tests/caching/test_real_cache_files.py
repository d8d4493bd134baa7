"""Tests of the file operations of a cache on the file system of the tests."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching import real_cache_files
from gcsmux_fs.caching.real_cache_files import RealCacheFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["openat2", "without_openat2", "without_cachestat"])
def files(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RealCacheFiles]:
    """File operations in a directory with the folder `inside`, next to the folder `outside`."""
    if request.param == "without_openat2":
        monkeypatch.setattr(RealCacheFiles, "_find_openat2", lambda self: False)
    if request.param == "without_cachestat":
        monkeypatch.setattr(real_cache_files, "has_cachestat", lambda descriptor: False)
    (tmp_path / "cache/inside").mkdir(parents=True)
    (tmp_path / "cache/probe").write_text("text")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("private")
    descriptor = os.open(tmp_path / "cache", os.O_RDONLY | os.O_DIRECTORY)
    yield RealCacheFiles(descriptor, "probe")
    os.close(descriptor)


# The errors with which the kernel refuses to follow a link.
REFUSED = "Too many levels of symbolic links|Not a directory"


def create(files: RealCacheFiles, path: str, content: bytes = b"content") -> int:
    descriptor = files.open(path, os.O_RDWR | os.O_CREAT)
    files.write(descriptor, content, 0)
    return descriptor


def test_no_operation_follows_a_link(files: RealCacheFiles, tmp_path: Path) -> None:
    (tmp_path / "cache/link").symlink_to("../outside/file")
    (tmp_path / "cache/folder").symlink_to("../outside")
    for path in ("link", "folder/file", "folder/new"):
        for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT):
            with pytest.raises(OSError, match=REFUSED):
                files.open(path, flags)
        with pytest.raises(OSError, match=f"{REFUSED}|unavailable|^$"):
            files.open_cached(path)
    for operation in (files.path_status, files.remove, files.remove_directory):
        with pytest.raises(OSError, match=REFUSED):
            operation("folder/file")
    with pytest.raises(OSError, match=REFUSED):
        files.rename("probe", "folder/probe")
    with pytest.raises(OSError, match=REFUSED):
        files.make_directory("folder/new")
    with pytest.raises(OSError, match=REFUSED):
        list(files.names("folder"))
    status = files.path_status("link")
    assert status is not None
    assert not status.is_regular
    assert files.remove("link")
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["file"]


def test_only_the_user_may_read_new_files(files: RealCacheFiles, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.close(create(files, "inside/file"))
        files.make_directory("inside/folder")
    finally:
        os.umask(before)
    assert (tmp_path / "cache/inside/file").stat().st_mode & 0o7777 == 0o600
    assert (tmp_path / "cache/inside/folder").stat().st_mode & 0o7777 == 0o700


def test_a_fifo_does_not_block(files: RealCacheFiles, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cache/fifo")
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT):
        descriptor = files.open("fifo", flags)
        assert not files.status(descriptor).is_regular
        files.close(descriptor)


def test_reads_end_at_the_end_of_the_file(files: RealCacheFiles) -> None:
    descriptor = create(files, "file", b"0123456789")
    assert bytes(files.read(descriptor, 4, 3) or b"") == b"3456"
    assert bytes(files.read(descriptor, 4, 8) or b"") == b"89"
    assert bytes(files.read(descriptor, 4, 10) or b"") == b""
    assert files.read(descriptor, 4, 3).readonly
    if files.never_blocks:
        assert bytes(files.read_cached(descriptor, 4, 3) or b"") == b"3456"
        assert bytes(files.read_cached(descriptor, 4, 8) or b"") == b"89"
        assert bytes(files.read_cached(descriptor, 4, 10) or b"") == b""
    files.close(descriptor)


def test_a_name_that_the_kernel_does_not_know_is_not_looked_up(
    files: RealCacheFiles, tmp_path: Path
) -> None:
    with pytest.raises((BlockingIOError, FileNotFoundError)):
        files.open_cached("inside/absent")
    with pytest.raises((BlockingIOError, FileNotFoundError)):
        files.open_cached("absent/absent")
    if files.never_blocks:
        files.close(create(files, "inside/file"))
        descriptor = files.open_cached("inside/file")
        with pytest.raises(OSError, match="Bad file descriptor"):
            files.write(descriptor, b"x", 0)
        files.close(descriptor)


def test_bytes_that_are_not_in_memory_are_not_read(files: RealCacheFiles) -> None:
    if not files.never_blocks:
        pytest.skip("the kernel or the file system has no RWF_NOWAIT")
    descriptor = create(files, "file", bytes(1024 * 1024))
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    if files.read_cached(descriptor, 1024 * 1024, 0) is not None:
        pytest.skip("the file system keeps all files in memory")
    # A first attempt does not start to read: a disk that hangs would make the attempt wait.
    time.sleep(0.05)
    assert files.read_cached(descriptor, 1024 * 1024, 0) is None
    files.read(descriptor, 100, 0)
    assert bytes(files.read_cached(descriptor, 100, 0) or b"") == bytes(100)
    assert files.read_cached(descriptor, 1024 * 1024, 0) is None
    files.close(descriptor)


def test_one_process_locks_a_file(files: RealCacheFiles) -> None:
    first, second = create(files, "lock"), files.open("lock", os.O_RDWR)
    assert files.try_lock(first)
    assert not files.try_lock(second)
    files.unlock(first)
    assert files.try_lock(second)
    files.close(second)
    assert files.try_lock(first)
    files.close(first)


def test_absent_files_are_no_errors(files: RealCacheFiles) -> None:
    assert list(files.names("absent")) == []
    assert files.path_status("absent/absent") is None
    assert not files.remove("absent")
    assert not files.remove_directory("absent")
    files.make_directory("inside")
    files.close(create(files, "inside/file"))
    assert not files.remove_directory("inside")
    with pytest.raises(FileNotFoundError):
        files.open("absent", os.O_RDWR)


def test_a_removed_file_has_no_links_and_new_space_is_counted(files: RealCacheFiles) -> None:
    descriptor = create(files, "file", b"")
    before = files.status(descriptor)
    files.write(descriptor, bytes(8192), 1024 * 1024)
    after = files.status(descriptor)
    assert after.size_bytes == 1024 * 1024 + 8192
    assert 8192 <= after.allocated_bytes - before.allocated_bytes < 1024 * 1024
    files.rename("file", "inside/file")
    assert files.status(descriptor).links == 1
    assert list(files.names("inside")) == ["file"]
    files.remove("inside/file")
    assert files.status(descriptor).links == 0
    files.close(descriptor)
    assert files.free_bytes() > 0
