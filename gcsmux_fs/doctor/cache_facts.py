"""Collects facts about the directory of --cache-dir and about its disk."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.caching.cache_directory import CacheDirectoryError, check_cache_directory
from gcsmux_fs.fuse.mountinfo import covering_mount, mount_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.settings.cache_options import CacheOptions

__all__ = ["CacheFacts", "DiskSpeed", "look_at_cache"]

# How much is written and read to measure a disk. A disk that the doctor does not call slow needs
# less than a second.
_SAMPLE_BYTES = 32 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DiskSpeed:
    """How fast a new file was written to the disk and read from it, in bytes per second.

    `without_waiting`: whether the file system answers reads from memory without waiting for a disk
    (RWF_NOWAIT).
    """

    write_rate: float
    read_rate: float
    without_waiting: bool


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """The facts about a cache directory.

    Attributes:
        directory: the path of --cache-dir.
        refusal: why a mount would not use the directory, as a sentence with the remedy; or "".
        fstype: the type of the file system, such as `ext4`; "" if unknown.
        disk_bytes: the size of the disk.
        free_bytes: how much of it this user may still write.
        speed: None if nothing could be measured.
        speed_error: why nothing could be measured, or "".
    """

    directory: str
    refusal: str = ""
    fstype: str = ""
    disk_bytes: int = 0
    free_bytes: int = 0
    speed: DiskSpeed | None = None
    speed_error: str = ""


def look_at_cache(options: CacheOptions) -> CacheFacts:
    """Collect the facts; the calls may block. A directory that does not exist is not created."""
    directory = options.directory
    try:
        check_cache_directory(str(directory), group=options.group)
    except CacheDirectoryError as error:
        return CacheFacts(os.fspath(directory), str(error))
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    status = os.statvfs(existing)
    disk_bytes, free_bytes = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
    mount = covering_mount(mount_table(), os.path.realpath(existing))
    speed, reason = None, ""
    if free_bytes < 2 * _SAMPLE_BYTES:
        reason = "the disk is full"
    else:
        try:
            speed = _measure(existing)
        except OSError as error:
            reason = error.strerror or str(error)
    return CacheFacts(
        os.fspath(directory),
        "",
        mount.fstype if mount else "",
        disk_bytes,
        free_bytes,
        speed,
        speed_error=reason,
    )


def _measure(directory: Path) -> DiskSpeed:
    """Write a file without a name, and read it from the disk."""
    piece = os.urandom(_PIECE_BYTES)
    with _nameless_file(directory) as file:
        begin = time.perf_counter()
        for _ in range(_SAMPLE_BYTES // _PIECE_BYTES):
            os.write(file, piece)
        os.fdatasync(file)
        written = time.perf_counter()
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        begin_read = time.perf_counter()
        for offset in range(0, _SAMPLE_BYTES, _PIECE_BYTES):
            os.pread(file, _PIECE_BYTES, offset)
        end = time.perf_counter()
        return DiskSpeed(
            _SAMPLE_BYTES / (written - begin),
            _SAMPLE_BYTES / (end - begin_read),
            _reads_without_waiting(file),
        )


def _reads_without_waiting(file: int) -> bool:
    try:
        os.preadv(file, [bytearray(1)], 0, os.RWF_NOWAIT)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return True


@contextlib.contextmanager
def _nameless_file(directory: Path) -> Iterator[int]:
    """Open a new file that ends with its descriptor, also if this process is killed."""
    try:
        file = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        # Some file systems, such as NFS, have no O_TMPFILE.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            raise
        file, name = tempfile.mkstemp(dir=directory)
        Path(name).unlink()
    try:
        yield file
    finally:
        os.close(file)
