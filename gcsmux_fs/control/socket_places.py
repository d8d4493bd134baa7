"""Where the control sockets are, and who may own them.

A socket is named by the device number of its mount, such as `0-57.sock`. The number identifies a
mounted file system until it is unmounted, in all mount namespaces, and /proc/self/mountinfo shows
the number without a look at the mount. So the length and the bytes of the mount point do not
matter, and two mounts on one mount point have two sockets.

The socket is in the runtime directory of the process: the RUNTIME_DIRECTORY of systemd, or
/run/gcsmux for root, or $XDG_RUNTIME_DIR/gcsmux for a user, or else /tmp/gcsmux-UID. The directory
belongs to the user of the process and no other user may write to it. A client that finds a
directory of another user ignores it.

Directories are opened without following a symbolic link, and files are named relative to the opened
directory. The name /proc/self/fd/N also keeps the address below 108 bytes, the limit of sun_path
(unix(7)).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = [
    "BoundSocket",
    "connected",
    "open_directory",
    "places_of",
    "runtime_directory",
    "socket_name",
]

_ROOT_DIRECTORY = Path("/run/gcsmux")
_USER_DIRECTORIES = Path("/run/user")
_FALLBACK_DIRECTORY = Path("/tmp")
_NAME = "gcsmux"
_SUFFIX = ".sock"

# Number of clients that may wait to be accepted. The clients of a stopped process stay in this
# queue until the process continues, and only a client in the queue can name that process.
_BACKLOG = 1024

# Age in seconds from which on a socket without its final name is the rest of a killed process. A
# socket gets its final name within milliseconds.
_UNFINISHED_SECONDS = 60.0


def socket_name(device: tuple[int, int]) -> str:
    """Return the file name of the socket of the mount with this device number (major, minor)."""
    return f"{device[0]}-{device[1]}{_SUFFIX}"


def runtime_directory(environment: Mapping[str, str], user: int) -> Path:
    """Return the directory in which a mount process of `user` makes its control socket."""
    given = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if Path(given).is_absolute():
        return Path(given)
    if user == 0:
        return _ROOT_DIRECTORY
    base = environment.get("XDG_RUNTIME_DIR", "")
    if Path(base).is_absolute():
        return Path(base) / _NAME
    return _FALLBACK_DIRECTORY / f"{_NAME}-{user}"


def places_of(environment: Mapping[str, str], owner: int) -> list[Path]:
    """Return the directories that may hold the control socket of a mount of the user `owner`.

    These are the directories that `runtime_directory` can return for `owner`, and the directories
    that systemd makes below /run/gcsmux, one for each unit.
    """
    places = [runtime_directory(environment, owner), _ROOT_DIRECTORY]
    with contextlib.suppress(OSError):
        places += sorted(each for each in _ROOT_DIRECTORY.iterdir() if each.suffix != _SUFFIX)
    places.append(_USER_DIRECTORIES / str(owner) / _NAME)
    places.append(_FALLBACK_DIRECTORY / f"{_NAME}-{owner}")
    return list(dict.fromkeys(places))


@contextmanager
def open_directory(path: Path, owners: Collection[int]) -> Iterator[int]:
    """Open a runtime directory and yield its descriptor.

    Raises:
        OSError: there is no such directory, it belongs to none of `owners`, or other users may
            write to it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid not in owners or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(
                errno.EPERM, "it belongs to another user, or other users may write to it", str(path)
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _address(directory: int, name: str) -> str:
    return f"/proc/self/fd/{directory}/{name}"


def connected(directory: int, name: str, seconds: float) -> socket.socket:
    """Connect to the socket `name` in an opened directory; all waits last at most `seconds`.

    Raises:
        OSError: there is no socket, or no process listens.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not stat.S_ISSOCK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), name)
        client.settimeout(seconds)
        client.connect(_address(directory, name))
    except BaseException:
        client.close()
        raise
    return client


class BoundSocket:
    """A listening socket of mode 0600 in a runtime directory, which is made if it is missing.

    A socket of the same name belongs to a mount that has ended, because the device number is in use
    by this mount now. So that socket is replaced. Sockets of ended processes are removed, except
    for those in `kept`: a client needs them to find out that the process of a mount has ended.

    Raises:
        OSError: the socket cannot be made.
    """

    def __init__(self, directory: Path, name: str, kept: Collection[str] = ()) -> None:
        self._directory = directory
        self._name = name
        # The parent directories exist, except for /run/gcsmux of systemd units that are started by
        # hand. The socket's mode is 0600, so others may enter the directory of root's mounts.
        mode = 0o755 if directory == _ROOT_DIRECTORY else 0o700
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=mode)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with open_directory(directory, {os.geteuid()}) as opened:
                self._inode = self._bind(opened)
                _remove_dead_sockets(opened, {name, *kept})
                # systemd-tmpfiles removes old files below /tmp, but nothing in a locked directory
                # (tmpfiles.d(5)). The mounts of a user share the lock.
                with contextlib.suppress(OSError):
                    fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
                self._lock = os.dup(opened)
        except BaseException:
            self.listener.close()
            raise

    @property
    def path(self) -> Path:
        """The path of the socket."""
        return self._directory / self._name

    def _bind(self, directory: int) -> int:
        """Bind the socket and return its inode number."""
        # The socket gets its final name when it listens, so that no client finds it earlier.
        unfinished = f".{os.getpid()}-{self._name}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished, dir_fd=directory)
        # The kernel makes the file with the mode of the socket, so no other user can connect
        # between bind and a chmod (unix_bind in the kernel).
        os.fchmod(self.listener.fileno(), 0o600)
        self.listener.bind(_address(directory, unfinished))
        self.listener.listen(_BACKLOG)
        inode = os.stat(unfinished, dir_fd=directory, follow_symlinks=False).st_ino
        os.rename(unfinished, self._name, src_dir_fd=directory, dst_dir_fd=directory)
        return inode

    def close(self) -> None:
        """Close the socket and remove it, unless another process has replaced it."""
        self.listener.close()
        os.close(self._lock)
        with (
            contextlib.suppress(OSError),
            open_directory(self._directory, {os.geteuid()}) as directory,
        ):
            status = os.stat(self._name, dir_fd=directory, follow_symlinks=False)
            if status.st_ino == self._inode:
                os.unlink(self._name, dir_fd=directory)


def _is_being_made(directory: int, name: str) -> bool:
    """Return whether another mount may be about to listen on a socket without its final name."""
    if not name.startswith("."):
        return False
    with contextlib.suppress(FileNotFoundError):
        made = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime
        return time.time() - made < _UNFINISHED_SECONDS
    return True


def _remove_dead_sockets(directory: int, kept: Collection[str]) -> None:
    """Remove the sockets on which no process listens, except for those in `kept`."""
    for name in os.listdir(directory):
        if not name.endswith(_SUFFIX) or name in kept or _is_being_made(directory, name):
            continue
        try:
            connected(directory, name, seconds=0).close()
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)
        except OSError:
            continue
