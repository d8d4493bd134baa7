"""A bucket with a read-only control directory `.gcsmux` in its root, which no listing shows.

The class is used only with --control-directory, so other mounts spend no time on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
from gcsmux_fs.filesystem.control_files import (
    CONTROL_NAME,
    FIRST_CONTROL_HANDLE,
    FIRST_CONTROL_INODE,
    ControlFiles,
)
from gcsmux_fs.filesystem.open_policy import OpenedFile, check_open_flags
from gcsmux_fs.filesystem.operation_refused import NO_ATTRIBUTE, NOT_A_LINK, OperationRefused
from gcsmux_fs.namespace.entry import NoSuchEntry
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gcsmux_fs.filesystem.file_attributes import AbsentName, FileAttributes

__all__ = ["ControlledFilesystem"]


class ControlledFilesystem(BucketFilesystem):
    """The file system of one bucket, and its control directory.

    An object or a folder named `.gcsmux` in the root of the mount cannot be reached.
    """

    _control: ControlFiles

    def show(self, contents: Mapping[str, Callable[[], str]], mtime_ns: int) -> None:
        """Set the files of the control directory; must be called before the first request."""
        self._control = ControlFiles(contents, self._policy, mtime_ns)

    @property
    def open_handles(self) -> int:
        """Number of open files and directories, those of the control directory included."""
        return super().open_handles + len(self._control)

    def close(self) -> None:
        """Refuse new requests and close all handles."""
        super().close()
        self._control.close()

    async def lookup(self, parent: int, name: bytes, thread: int) -> FileAttributes | AbsentName:
        """Find a name in a directory."""
        if parent == ROOT_INODE and name == CONTROL_NAME:
            return self._control.attributes(FIRST_CONTROL_INODE)
        if parent < FIRST_CONTROL_INODE:
            return await super().lookup(parent, name, thread)
        inode = parent if name == b"." else self._control.inode_of(name)
        if inode is None:
            raise NoSuchEntry(repr(name), 0.0)
        return self._control.attributes(inode)

    def forget(self, counts: Iterable[tuple[int, int]]) -> None:
        """Lower the lookup counts of inodes; those of the control directory are not counted."""
        super().forget([each for each in counts if each[0] < FIRST_CONTROL_INODE])

    def attributes(self, inode: int) -> FileAttributes:
        """Return the attributes of an inode."""
        if inode < FIRST_CONTROL_INODE:
            return super().attributes(inode)
        return self._control.attributes(inode)

    def extended_attributes(self, inode: int) -> dict[bytes, bytes]:
        """Return all extended attributes of an inode, by name."""
        return {} if inode >= FIRST_CONTROL_INODE else super().extended_attributes(inode)

    def extended_attribute(self, inode: int, name: bytes) -> bytes:
        """Return one extended attribute."""
        if inode >= FIRST_CONTROL_INODE:
            raise OperationRefused(NO_ATTRIBUTE)
        return super().extended_attribute(inode, name)

    async def link_target(self, inode: int) -> bytes:
        """Return the target of a symbolic link."""
        if inode >= FIRST_CONTROL_INODE:
            raise OperationRefused(NOT_A_LINK)
        return await super().link_target(inode)

    async def open(self, inode: int, flags: int, thread: int) -> OpenedFile:
        """Open a file. The content of a control file is that of this moment."""
        if inode < FIRST_CONTROL_INODE:
            return await super().open(inode, flags, thread)
        check_open_flags(flags)
        return OpenedFile(self._control.open(inode), False, None, direct=True)

    def read_cached(self, handle: int, offset: int, size: int) -> memoryview | bytes | None:
        """Return the bytes of a READ if all are cached, otherwise None."""
        if handle < FIRST_CONTROL_HANDLE:
            return super().read_cached(handle, offset, size)
        return self._control.read(handle, offset, size)

    def release(self, handle: int) -> None:
        """Close a file."""
        if handle < FIRST_CONTROL_HANDLE:
            super().release(handle)
        else:
            self._control.release(handle)

    async def open_directory(self, inode: int) -> int:
        """Open a directory and return its handle."""
        if inode < FIRST_CONTROL_INODE:
            return await super().open_directory(inode)
        return self._control.open_directory()

    async def read_directory(
        self, handle: int, position: int, accept: Callable[[bytes, FileAttributes, int], bool]
    ) -> None:
        """Pass the entries of a directory to `accept`."""
        if handle < FIRST_CONTROL_HANDLE:
            await super().read_directory(handle, position, accept)
        else:
            self._control.read_directory(position, accept)

    def release_directory(self, handle: int) -> None:
        """Close a directory."""
        if handle < FIRST_CONTROL_HANDLE:
            super().release_directory(handle)
        else:
            self._control.release(handle)
