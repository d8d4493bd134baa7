"""Puts a new mount in the place of a dead mount, without a moment at which neither is there.

The directory below a dead mount is usually empty. If the dead mount were removed before the new
mount is made, programs would see an empty directory in between, and `rsync --delete` would delete
its copy of the bucket. A dead mount answers ENOTCONN, which every program takes for an error.

libfuse refuses to mount on a dead mount. So libfuse mounts in a private directory. A copy of this
mount (open_tree(2) with OPEN_TREE_CLONE) then goes beneath the dead mount (move_mount(2) with
MOVE_MOUNT_BENEATH, Linux 6.5), and the dead mount is removed. An older kernel cannot mount beneath.
There the dead mount is removed first, and the copy follows some microseconds later.

These system calls need CAP_SYS_ADMIN and Linux 5.2.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["can_replace", "replacing", "unmount"]

log = logging.getLogger(__name__)

# The numbers of newer system calls are the same on all architectures, see syscall(2).
_OPEN_TREE = 428
_MOVE_MOUNT = 429

_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_BENEATH = 0x200
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

# The parent of the private directory. /run is in memory and belongs to root. A user who is not root
# gets a directory in /tmp instead.
_RUNTIME = Path("/run")


def can_replace() -> bool:
    """Return whether this process and the kernel can replace a mount."""
    try:
        os.close(_open_tree(Path("/")))
    except OSError as error:
        log.debug("the kernel cannot copy a mount: %s", error)
        return False
    return True


@contextlib.contextmanager
def replacing(dead: Path) -> Iterator[Path]:
    """Yield a private directory. A mount that the block makes there replaces the mount at `dead`.

    Raises:
        OSError: the mount cannot be put in its place; nothing remains of the new mount.
    """
    # Imported here, because it takes 2 ms, and few mounts replace another one.
    import tempfile

    parent = _RUNTIME if os.access(_RUNTIME, os.W_OK) else None
    private = Path(tempfile.mkdtemp(prefix="gcsmux-", dir=parent))
    try:
        try:
            yield private
            copy = _open_tree(private)
            try:
                _put_in_place(copy, dead)
            finally:
                os.close(copy)
        finally:
            # EINVAL: nothing is mounted there, because the block failed.
            with contextlib.suppress(OSError):
                unmount(private)
    finally:
        private.rmdir()


def unmount(path: Path | str) -> None:
    """Detach the topmost mount at `path` (umount2(2)), even if programs use it.

    Raises:
        OSError: nothing is mounted there, or this process may not unmount.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW))


def _put_in_place(copy: int, dead: Path) -> None:
    try:
        _move_mount(copy, dead, _MOVE_MOUNT_BENEATH)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        log.debug("the kernel cannot mount beneath a dead mount: removing it first")
        unmount(dead)
        _move_mount(copy, dead, 0)
    else:
        unmount(dead)


def _open_tree(path: Path) -> int:
    """Return a descriptor of a copy of the mount at `path`; the copy is mounted nowhere."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    return _system_call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)


def _move_mount(copy: int, target: Path, flags: int) -> None:
    flags |= _MOVE_MOUNT_F_EMPTY_PATH
    _system_call(_MOVE_MOUNT, copy, b"", _AT_FDCWD, os.fsencode(target), flags)


def _system_call(number: int, *arguments: int | bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _check(libc.syscall(ctypes.c_long(number), *words))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
