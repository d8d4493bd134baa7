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

from gcsmux_fs.caching.chunk_format import FORMAT_VERSION
from gcsmux_fs.caching.real_cache_files import RealCacheFiles
from gcsmux_fs.model.errors import ConfigError, TransientError
from gcsmux_fs.settings.permissions import parse_group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = [
    "CacheDirectory",
    "CacheDirectoryError",
    "CacheDiskError",
    "open_cache_directory",
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

_OPEN_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class CacheDirectoryError(ConfigError):
    """The directory cannot be used as a cache; the message is one sentence for the user.

    Only a change of the settings or of the directory helps.
    """


class CacheDiskError(CacheDirectoryError, TransientError):
    """The disk of the directory fails, is full, read-only or not mounted.

    A later attempt may succeed.
    """


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


def open_cache_directory(path: str, *, group: str = "") -> CacheDirectory:
    """Open the directory of a cache, and create it if it does not exist.

    Its parent must exist, because the parent may be the mount point of a disk that is not mounted.
    The call may block, if the disk does not answer. `group` is a name or an ID.

    Raises:
        CacheDirectoryError: the directory is not safe, not writable or not a directory, or there is
            no such group.
        CacheDiskError: the disk fails, is full, read-only or not mounted.
    """
    group_id = parse_group(group) if group else None
    with _errors_of(path):
        top = _open_folder(None, path, path, group_id)
    try:
        with _errors_of(path):
            _check_safety(os.fstat(top), path, group_id, trusted_owners={os.geteuid(), 0})
            return CacheDirectory(path, _open_version(top, path, group_id), group_id)
    finally:
        os.close(top)


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
    descriptor = _open_folder(top, _VERSION_DIRECTORY, shown, group)
    try:
        status = os.fstat(descriptor)
        _check_safety(status, shown, group, trusted_owners={os.geteuid()})
        if group is not None and not status.st_mode & stat.S_IWGRP:
            raise CacheDirectoryError(
                f"the cache in {shown} was created for one user: remove this directory to share"
                " the cache with --cache-group."
            )
        _write_tag(descriptor, group)
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=descriptor, effective_ids=True):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        for name in _FOLDERS:
            folder = f"{shown}/{name}"
            inner = _open_folder(descriptor, name, folder, group)
            try:
                _check_safety(os.fstat(inner), folder, group, trusted_owners={os.geteuid()})
            finally:
                os.close(inner)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_folder(parent: int | None, name: str, shown: str, group: int | None) -> int:
    """Open a directory, and create it if it does not exist."""
    mode = 0o700 if group is None else 0o2770
    try:
        os.mkdir(name, mode, dir_fd=parent)
        is_new = True
    except FileExistsError:
        is_new = False
    try:
        descriptor = os.open(name, _OPEN_FLAGS, dir_fd=parent)
    except NotADirectoryError:
        kind = "a symbolic link" if _is_link(parent, name) else "not a directory"
        raise CacheDirectoryError(f"{shown} is {kind}: choose a directory as cache.") from None
    if is_new and group is not None:
        try:
            os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _is_link(parent: int | None, name: str) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _check_safety(
    status: os.stat_result, shown: str, group: int | None, *, trusted_owners: set[int]
) -> None:
    """Refuse a directory that other users than those of the cache can change."""
    if group is None and status.st_uid not in trusted_owners:
        raise CacheDirectoryError(
            f"the cache directory {shown} belongs to user {status.st_uid}, who could change cached"
            " files: choose a directory of your own, or share it with --cache-group."
        )
    if status.st_mode & stat.S_IWOTH:
        raise CacheDirectoryError(
            f"other users can write to the cache directory {shown}: run chmod o-w {shown}."
        )
    if status.st_mode & stat.S_IWGRP and group != status.st_gid:
        raise CacheDirectoryError(
            f"the group {status.st_gid} can write to the cache directory {shown}: run chmod g-w"
            f" {shown}, or share the cache with --cache-group {status.st_gid}."
        )


def _write_tag(directory: int, group: int | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(_TAG, flags, 0o600 if group is None else 0o660, dir_fd=directory)
    except PermissionError:
        return  # another user of the group has written the file
    try:
        if os.fstat(descriptor).st_size != len(_TAG_CONTENT):
            os.write(descriptor, _TAG_CONTENT)
            if group is not None:
                os.fchmod(descriptor, 0o660)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _errors_of(path: str) -> Iterator[None]:
    """Turn errors of the system into one sentence for the user."""
    try:
        yield
    except FileNotFoundError:
        raise CacheDiskError(
            f"the parent directory of the cache directory {path} does not exist: create it, or"
            " mount its disk."
        ) from None
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise CacheDirectoryError(
                f"the cache directory {path} is not writable: change its owner or choose another"
                " directory."
            ) from None
        if error.errno in {errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}:
            raise CacheDirectoryError(
                f"the cache directory {path} cannot be opened ({error.strerror}): choose another"
                " directory."
            ) from None
        raise CacheDiskError(
            f"the disk of the cache directory {path} fails ({error.strerror}): check the disk."
        ) from None
