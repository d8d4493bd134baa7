"""The files of the control directory: their inodes, attributes and open handles; sans-IO.

The inode numbers and the handles are above all others: the namespace uses numbers of 63 bits, and
handles of other files are counted from 1.
"""

from __future__ import annotations

import errno
import itertools
import stat
from typing import TYPE_CHECKING

from gcsmux_fs.filesystem.file_attributes import FileAttributes
from gcsmux_fs.filesystem.handle_table import HandleTable
from gcsmux_fs.filesystem.operation_refused import OperationRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsmux_fs.filesystem.file_attributes import AttributePolicy

__all__ = ["CONTROL_NAME", "FIRST_CONTROL_HANDLE", "FIRST_CONTROL_INODE", "ControlFiles"]

CONTROL_NAME = b".gcsmux"
"""The name of the control directory in the root of the mount."""

FIRST_CONTROL_INODE = 1 << 63
"""The inode number of the control directory. Its files have the numbers after it."""

FIRST_CONTROL_HANDLE = 1 << 62
"""All handles of the control directory and its files are at least this number."""

# Only the owner may read: the files show names of objects, and the settings of the mount.
_FILE_MODE = stat.S_IFREG | 0o400
_DIRECTORY_MODE = stat.S_IFDIR | 0o500

# The names and the attributes never change.
_VALID_SECONDS = 3600.0


class ControlFiles:
    """Files whose content is made when they are opened.

    `contents` has a function for each file name; `mtime_ns` is the time of all files.
    """

    def __init__(
        self,
        contents: Mapping[str, Callable[[], str]],
        policy: AttributePolicy,
        mtime_ns: int,
    ) -> None:
        self._contents = {name.encode(): content for name, content in contents.items()}
        self._names = list(self._contents)
        self._policy = policy
        self._mtime_ns = mtime_ns
        self._open: HandleTable[bytes] = HandleTable(itertools.count(FIRST_CONTROL_HANDLE))

    def __len__(self) -> int:
        """Return the number of open handles."""
        return len(self._open)

    def inode_of(self, name: bytes) -> int | None:
        """Return the inode number of a file; None if there is no such file."""
        if name not in self._contents:
            return None
        return FIRST_CONTROL_INODE + 1 + self._names.index(name)

    def attributes(self, inode: int) -> FileAttributes:
        """Return the attributes of the directory or a file. The size is 0, as in /proc."""
        mode = _DIRECTORY_MODE if inode == FIRST_CONTROL_INODE else _FILE_MODE
        times = self._mtime_ns, self._mtime_ns, self._mtime_ns
        owner = self._policy.uid, self._policy.gid
        return FileAttributes(inode, mode, 0, *times, *owner, _VALID_SECONDS, _VALID_SECONDS)

    def open(self, inode: int) -> int:
        """Make the content of a file, and return a handle.

        Raises:
            OperationRefused: the inode is the directory.
        """
        if inode == FIRST_CONTROL_INODE:
            raise OperationRefused(errno.EISDIR)
        name = self._names[inode - FIRST_CONTROL_INODE - 1]
        return self._open.add(self._contents[name]().encode(errors="surrogateescape"))

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Return bytes of an open file."""
        return self._open[handle][offset : offset + size]

    def open_directory(self) -> int:
        """Return a handle of the directory."""
        return self._open.add(b"")

    def read_directory(
        self, position: int, accept: Callable[[bytes, FileAttributes, int], bool]
    ) -> None:
        """Pass the entries from `position` on to `accept`, until `accept` returns False."""
        for next_position, name in enumerate(self._names[position:], position + 1):
            inode = FIRST_CONTROL_INODE + next_position
            if not accept(name, self.attributes(inode), next_position):
                return

    def release(self, handle: int) -> None:
        """Close a file or the directory."""
        self._open.pop(handle)

    def close(self) -> None:
        """Close all handles."""
        for _ in self._open.pop_all():
            pass
