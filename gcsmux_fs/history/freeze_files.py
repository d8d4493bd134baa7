"""Reads and replaces files of frozen names.

A mount that writes a file holds a lock (flock) on it, so that no other mount takes a file for
complete, or replaces it, before its last names are written. The lock ends with the process.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gcsmux_fs.history.freeze_format import lines_of, load_lines

if TYPE_CHECKING:
    from gcsmux_fs.history.freeze_format import FreezeHeader, FrozenState
    from gcsmux_fs.history.frozen_names import FrozenNames

__all__ = ["FreezeFileBusy", "WriterLock", "read_freeze_file", "write_freeze_file"]


class FreezeFileBusy(Exception):
    """Another mount still writes the file."""


class WriterLock:
    """The lock of the mount that writes a file; it moves to each file that replaces the last."""

    def __init__(self) -> None:
        self._descriptor = -1

    def take(self, descriptor: int, operation: int = fcntl.LOCK_EX) -> bool:
        """Lock an open file, and release the last one. Return False if another mount locks it."""
        own = os.dup(descriptor)
        try:
            fcntl.flock(own, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(own)
            return False
        except OSError:
            pass  # This file system has no locks.
        self.release()
        self._descriptor = own
        return True

    def adopt(self, other: WriterLock) -> None:
        """Hold what another lock holds, instead of the last file."""
        self.release()
        self._descriptor, other._descriptor = other._descriptor, -1

    def release(self) -> None:
        """Let other mounts use the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_freeze_file(path: Path, lock: WriterLock | None = None) -> FrozenState | None:
    """Return the content of a file; None if there is no file.

    Args:
        path: the file.
        lock: locks a file that is not complete; None to read without a lock.

    Raises:
        OSError: the file cannot be read.
        BrokenFreezeFile: the file is damaged, or is no file of frozen names.
        FreezeFileBusy: another mount still writes the file.
    """
    try:
        with path.open("rb") as file:
            return load_lines(file) if lock is None else _read_locked(path, file, lock)
    except FileNotFoundError:
        return None


def _read_locked(path: Path, file: BinaryIO, lock: WriterLock) -> FrozenState:
    """Return the content of a file, and keep it locked if it is not complete."""
    is_locked = False
    try:
        if not lock.take(file.fileno(), fcntl.LOCK_SH):
            raise FreezeFileBusy
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise FreezeFileBusy  # The file was replaced while it was opened.
        state = load_lines(file)
        if not state.is_complete:
            is_locked = lock.take(file.fileno())
            if not is_locked:
                raise FreezeFileBusy  # Another mount has read it at the same time.
        return state
    finally:
        if not is_locked:
            lock.release()


def write_freeze_file(
    path: Path,
    header: FreezeHeader,
    names: FrozenNames,
    *,
    written_ns: int,
    is_complete: bool,
    lock: WriterLock | None = None,
) -> None:
    """Write a file, so that after a crash either the old or the new content is there.

    A new file can be read by its owner only. A replaced file keeps its permissions. `lock` moves to
    the new file, and is released if the file is complete.

    Raises:
        OSError: the file cannot be written.
    """
    replacing = WriterLock()
    descriptor, written = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(lines_of(header, names, written_ns=written_ns, is_complete=is_complete))
            with suppress(OSError):
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            file.flush()
            os.fsync(file.fileno())
            if lock is not None and not is_complete:
                replacing.take(file.fileno())
        Path(written).replace(path)
        if lock is not None:
            lock.adopt(replacing)
    except BaseException:
        replacing.release()
        with suppress(OSError):
            Path(written).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
