"""The directories of a cache: opens, creates and checks them; each error is one sentence."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from typing import TYPE_CHECKING

from gcsmux_fs.caching.real_cache_files import share_directory
from gcsmux_fs.model.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CacheDirectoryError",
    "CacheDiskError",
    "check_safety",
    "check_writable",
    "errors_of",
    "open_existing_folder",
    "open_folder",
]

_OPEN_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class CacheDirectoryError(ConfigError):
    """The directory cannot be used as a cache; the message is one sentence for the user.

    Only a change of the settings or of the directory helps.
    """


class CacheDiskError(CacheDirectoryError, TransientError):
    """The disk of the directory fails, is full, read-only or not mounted.

    A later attempt may succeed.
    """


def check_writable(path: str, parent: int | None = None) -> None:
    """Raise OSError if this user may not create files in a directory."""
    os.stat(path, dir_fd=parent)
    if not os.access(path, os.W_OK | os.X_OK, dir_fd=parent, effective_ids=True):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def open_folder(parent: int | None, name: str, shown: str, group: int | None) -> int:
    """Open a directory, and create it if it does not exist."""
    try:
        os.mkdir(name, 0o700 if group is None else 0o770, dir_fd=parent)
        is_new = True
    except FileExistsError:
        is_new = False
    descriptor = open_existing_folder(parent, name, shown)
    if is_new and group is not None:
        try:
            _give_to_group(descriptor, shown, group)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def open_existing_folder(parent: int | None, name: str, shown: str) -> int:
    """Open a directory. `shown` is its path in messages.

    Raises:
        CacheDirectoryError: it is a symbolic link, or not a directory.
    """
    try:
        return os.open(name, _OPEN_FLAGS, dir_fd=parent)
    except NotADirectoryError:
        kind = "a symbolic link" if _is_link(parent, name) else "not a directory"
        raise CacheDirectoryError(f"{shown} is {kind}: choose a directory as cache.") from None


def _give_to_group(descriptor: int, shown: str, group: int) -> None:
    """Share a new directory with a group.

    Raises:
        CacheDirectoryError: this user is not in the group, or a systemd unit forbids it.
    """
    try:
        if os.fstat(descriptor).st_gid != group:
            os.fchown(descriptor, -1, group)
        share_directory(descriptor)
    except PermissionError:
        raise CacheDirectoryError(
            f"{shown} cannot be shared with the group {group}: have root run"
            f" `install -d -m 2770 -g {group} {shlex.quote(shown)}`, and set UMask=0007 in the"
            " systemd unit."
        ) from None


def _is_link(parent: int | None, name: str) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def check_safety(
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
            f"all users can write to the cache directory {shown}: name a directory in it, such as"
            f" {shown}/gcsmux."
        )
    if status.st_mode & stat.S_IWGRP and group != status.st_gid:
        raise CacheDirectoryError(
            f"the group {status.st_gid} can write to the cache directory {shown}: run"
            f" `chmod g-w {shlex.quote(shown)}`, or share the cache with --cache-group"
            f" {status.st_gid}."
        )


@contextlib.contextmanager
def errors_of(path: str) -> Iterator[None]:
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
