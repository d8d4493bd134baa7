"""The inodes that the kernel knows, with exact lookup counts.

Theory of operation

A file's inode belongs to one generation of an object, so that the kernel's cached pages of two
generations can never mix: a changed object is a new inode. A directory's inode belongs to its
location (see `names`). Files are many and kept in columns (see `files`), directories are values.

1. An inode is in the table as long as the kernel counts on it or an open handle pins it, and not
   longer. The root always is.
2. The same object generation, or directory, has the same number as long as it is in the table.
3. A number is never used twice in the life of the table.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from gcsmux_fs.namespace.files import FileInodes, progress

if TYPE_CHECKING:
    from gcsmux_fs.model import ObjectInfo

__all__ = ["ROOT_INODE", "DirectoryInode", "InodeTable"]

# What the kernel calls the root of every FUSE mount (FUSE_ROOT_ID).
ROOT_INODE = 1


class DirectoryInode:
    """One directory; `placeholder` is the object of its name, where one is known of."""

    __slots__ = ("location", "lookups", "number", "placeholder")

    def __init__(self, number: int, location: str) -> None:
        self.number = number
        self.location = location
        self.placeholder: ObjectInfo | None = None
        self.lookups = 0

    def __repr__(self) -> str:
        return f"<DirectoryInode {self.number}: {self.location!r}, {self.lookups} lookups>"

    def learn(self, placeholder: ObjectInfo | None) -> None:
        """Take in what the service says of the placeholder, unless something newer is known."""
        if placeholder is None:
            return
        if self.placeholder is None or progress(placeholder) > progress(self.placeholder):
            self.placeholder = placeholder


class InodeTable:
    """All inodes of a mount, by number and by what they stand for; `files` are those of files."""

    def __init__(self, root_location: str) -> None:
        self._numbers = itertools.count(ROOT_INODE)
        self._directories: dict[int, DirectoryInode] = {}
        self._by_location: dict[str, DirectoryInode] = {}
        self.files = FileInodes(self._numbers)
        self.root = self.remember_directory(root_location)

    def __len__(self) -> int:
        return len(self._directories) + len(self.files)

    def directory(self, number: int) -> DirectoryInode | None:
        """Return the directory with this number, if the kernel may know it."""
        return self._directories.get(number)

    def directory_at(self, location: str) -> DirectoryInode | None:
        """Return the directory with this location, if the kernel may know it."""
        return self._by_location.get(location)

    def remember_directory(self, location: str) -> DirectoryInode:
        """Return the inode of a directory, counting one lookup."""
        inode = self._by_location.get(location)
        if inode is None:
            inode = DirectoryInode(next(self._numbers), location)
            self._by_location[location] = inode
            self._directories[inode.number] = inode
        inode.lookups += 1
        return inode

    def forget(self, number: int, lookups: int) -> None:
        """Take back `lookups` counts.

        Raises:
            ValueError: that many were not counted.
        """
        inode = self._directories.get(number)
        if inode is None:
            self.files.forget(number, lookups)
            return
        if inode.lookups < lookups:
            raise ValueError(f"cannot forget {lookups} lookups of {inode!r}")
        inode.lookups -= lookups
        if not inode.lookups and inode is not self.root:
            del self._directories[inode.number]
            del self._by_location[inode.location]
