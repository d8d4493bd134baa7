"""Opens the directory of a cache, creates what is missing, and refuses unsafe directories.

Everything is below one subdirectory, whose name contains the version of the format:

    DIR/gcsmux-cache-v1/CACHEDIR.TAG   marks a cache for backup programs
                        chunks/        content of objects, in 256 directories (`chunk_format`)
                        ledgers/       what the cleaners know
                        names/         listings

So other versions never read this content, and a version removes only directories of this name.
Nothing is read here, so a cache of any size opens at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.caching.cache_folders import (
    CacheDirectoryError,
    CacheDiskError,
    check_safety,
    check_writable,
    errors_of,
    open_existing_folder,
    open_folder,
)
from gcsmux_fs.caching.chunk_format import FORMAT_VERSION
from gcsmux_fs.caching.real_cache_files import RealCacheFiles

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "CacheDirectory",
    "CacheDirectoryError",
    "CacheDiskError",
    "check_cache_directory",
    "open_cache_directory",
    "open_existing_cache",
    "other_versions",
]

_PREFIX = "gcsmux-cache-v"
_VERSION_DIRECTORY = f"{_PREFIX}{FORMAT_VERSION}"
_FOLDERS = ("chunks", "ledgers", "names")

# The file by which programs for backups recognise a cache (https://bford.info/cachedir/).
_TAG = "CACHEDIR.TAG"
_TAG_CONTENT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Written by gcsmux; safe to delete.\n"
)

# The remedies in messages of `open_existing_cache`.
_NAME_CACHE = "write the path that mounts have as --cache-dir"
_OTHER_USER = "run the command as the user who mounts, or as root"


class _NoCacheError(CacheDirectoryError):
    """A directory contains no cache."""


class CacheDirectory:
    """An open directory of a cache, of one format version.

    Attributes:
        path: the directory that the user chose.
        group: ID of the group whose members share the cache; None for a cache of one user.
        fd: descriptor of the subdirectory of the version.
        files: the file operations below this subdirectory.
    """

    def __init__(self, path: str, fd: int, group: int | None) -> None:
        self.path = path
        self.fd = fd
        self.group = group
        self.files = RealCacheFiles(fd, _TAG, shared=group is not None)

    @property
    def owner(self) -> int | None:
        """ID of the user who owns all files; None if several users share the cache."""
        return os.geteuid() if self.group is None else None

    def is_in_place(self) -> bool:
        """Return whether the path still leads to this directory. May block.

        Raises:
            OSError: the disk fails.
        """
        try:
            there = Path(self.path, _VERSION_DIRECTORY).lstat()
            for name in _FOLDERS:
                os.stat(name, dir_fd=self.fd)
        except FileNotFoundError:
            return False
        here = os.fstat(self.fd)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def reopen(self) -> None:
        """Use the directory that the path leads to now, and create it if it does not exist.

        The number of the descriptor stays the same. Files that are open stay open.

        Raises:
            CacheDirectoryError: the directory cannot be used; this one stays in use.
        """
        with open_cache_directory(self.path, group=self.group) as there:
            self.files.replace_directory(there.fd)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def __enter__(self) -> CacheDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_cache_directory(path: str, *, group: int | None = None) -> CacheDirectory:
    """Open the directory of a cache, and create it if it does not exist.

    Its parent must exist, because the parent may be the mount point of a disk that is not mounted.
    The call may block, if the disk does not answer.

    Raises:
        CacheDirectoryError: the directory is not safe, not writable or not a directory.
        CacheDiskError: the disk fails, is full, read-only or not mounted.
    """
    with errors_of(path):
        top = open_folder(None, path, path, group)
    try:
        with errors_of(path):
            check_safety(os.fstat(top), path, group, trusted_owners={os.geteuid(), 0})
            return CacheDirectory(path, _open_version(top, path, group), group)
    finally:
        os.close(top)


def check_cache_directory(path: str, *, group: int | None = None) -> None:
    """Check whether `open_cache_directory` would succeed. Nothing is created. The call may block.

    Raises:
        CacheDirectoryError, CacheDiskError: see `open_cache_directory`.
    """
    with errors_of(path):
        if not os.path.lexists(path):
            check_writable(str(Path(path).parent))
            return
        top = open_existing_folder(None, path, path)
        try:
            check_safety(os.fstat(top), path, group, trusted_owners={os.geteuid(), 0})
            check_writable(".", top)
        finally:
            os.close(top)
    with contextlib.suppress(_NoCacheError), open_existing_cache(path) as cache:
        shown = f"{path}/{_VERSION_DIRECTORY}"
        _check_version(os.fstat(cache.fd), shown, group)


def open_existing_cache(path: str) -> CacheDirectory:
    """Open a cache for an examination. Nothing is created. The call may block.

    The group is that of the cache. Root may open the cache of every user.

    Raises:
        CacheDirectoryError: there is no cache, or this user may not read it.
        CacheDiskError: the disk fails.
    """
    with errors_of(path):
        try:
            top = open_existing_folder(None, path, path)
        except FileNotFoundError:
            raise _NoCacheError(f"{path} does not exist: {_NAME_CACHE}.") from None
        except PermissionError:
            raise CacheDirectoryError(f"{path} cannot be read: {_OTHER_USER}.") from None
        try:
            shown = f"{path}/{_VERSION_DIRECTORY}"
            descriptor = open_existing_folder(top, _VERSION_DIRECTORY, shown)
        except FileNotFoundError:
            raise _NoCacheError(
                f"{path} contains no cache of this version: {_NAME_CACHE}."
            ) from None
        except PermissionError:
            raise CacheDirectoryError(f"{path} cannot be read: {_OTHER_USER}.") from None
        finally:
            os.close(top)
    status = os.fstat(descriptor)
    group = status.st_gid if status.st_mode & stat.S_IWGRP else None
    return CacheDirectory(path, descriptor, group)


def other_versions(path: str) -> list[str]:
    """Return the names of the subdirectories that other versions of the format have written.

    Raises:
        OSError: the directory cannot be read.
    """
    return sorted(
        name
        for name in (entry.name for entry in Path(path).iterdir())
        if name.startswith(_PREFIX)
        and name[len(_PREFIX) :].isdigit()
        and name != _VERSION_DIRECTORY
    )


def _open_version(top: int, path: str, group: int | None) -> int:
    shown = f"{path}/{_VERSION_DIRECTORY}"
    descriptor = open_folder(top, _VERSION_DIRECTORY, shown, group)
    try:
        _check_version(os.fstat(descriptor), shown, group)
        _write_tag(descriptor, shown, group)
        check_writable(".", descriptor)
        for name in _FOLDERS:
            folder = f"{shown}/{name}"
            inner = open_folder(descriptor, name, folder, group)
            try:
                check_safety(os.fstat(inner), folder, group, trusted_owners={os.geteuid()})
            finally:
                os.close(inner)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_version(status: os.stat_result, shown: str, group: int | None) -> None:
    """Check the subdirectory of the version, in which only mounts write."""
    check_safety(status, shown, group, trusted_owners={os.geteuid()})
    if group is not None and not status.st_mode & stat.S_IWGRP:
        raise CacheDirectoryError(
            f"the cache in {shown} was created for one user: remove this directory to share the"
            " cache with --cache-group."
        )


def _write_tag(directory: int, shown: str, group: int | None) -> None:
    # O_NONBLOCK: the open of a FIFO does not wait for a reader.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    foreign = CacheDirectoryError(f"{shown}/{_TAG} is not a regular file: remove it.")
    try:
        descriptor = os.open(_TAG, flags, 0o600 if group is None else 0o660, dir_fd=directory)
    except PermissionError:
        return  # another user of the group has written the file
    except OSError as error:
        if error.errno in {errno.EISDIR, errno.ELOOP, errno.ENODEV, errno.ENXIO}:
            raise foreign from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise foreign
        if status.st_size != len(_TAG_CONTENT):
            os.write(descriptor, _TAG_CONTENT)
            if group is not None:
                os.fchmod(descriptor, 0o660)
    finally:
        os.close(descriptor)
