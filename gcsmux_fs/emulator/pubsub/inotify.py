"""The kernel's inotify: which entries of directories have changed."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass

__all__ = ["DirectoryChange", "Inotify"]

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x8, 0x40, 0x80
_CREATE, _DELETE, _ATTRIB = 0x100, 0x200, 0x4
_ONLYDIR, _DONT_FOLLOW, _EXCL_UNLINK = 0x0100_0000, 0x0200_0000, 0x0400_0000
_OVERFLOW, _IGNORED, _ISDIR = 0x4000, 0x8000, 0x4000_0000
_CHANGES = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ATTRIB
# struct inotify_event without its name: wd, mask, cookie, len.
_HEADER = struct.Struct("iIII")
_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class DirectoryChange:
    """A change of one entry of a directory. `name` is "" if changes have been lost.

    - `is_folder`: the entry is a directory.
    - `is_new_folder`: the entry is a directory that has been created or moved here.
    """

    folder: str
    name: str
    is_folder: bool = False
    is_new_folder: bool = False


class Inotify:
    """Watches directories. `descriptor` is readable when `read` has something to return."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1 failed")
        self._folders: dict[int, str] = {}

    def close(self) -> None:
        """Stop watching."""
        os.close(self.descriptor)

    def watch(self, folder: str) -> bool:
        """Watch a directory, not those below it. Return False if there is no such directory.

        Raises:
            OSError: the kernel allows no more watches (see fs.inotify.max_user_watches).
        """
        mask = _CHANGES | _ONLYDIR | _DONT_FOLLOW | _EXCL_UNLINK
        number = self._libc.inotify_add_watch(self.descriptor, os.fsencode(folder), mask)
        if number < 0:
            error = ctypes.get_errno()
            if error in (2, 20):  # ENOENT, ENOTDIR
                return False
            raise OSError(error, os.strerror(error), folder)
        self._folders[number] = folder
        return True

    def read(self) -> list[DirectoryChange]:
        """Return the changes that have not been read yet."""
        changes = []
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return []
        position = 0
        while position < len(data):
            number, mask, _, length = _HEADER.unpack_from(data, position)
            position += _HEADER.size
            name = os.fsdecode(data[position : position + length].rstrip(b"\0"))
            position += length
            if mask & _OVERFLOW:
                changes.append(DirectoryChange("", ""))
            elif mask & _IGNORED:
                self._folders.pop(number, None)
            elif number in self._folders and name:
                is_folder = bool(mask & _ISDIR)
                is_new = is_folder and bool(mask & (_CREATE | _MOVED_TO))
                changes.append(DirectoryChange(self._folders[number], name, is_folder, is_new))
        return changes
