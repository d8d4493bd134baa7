"""The inodes that the kernel knows, with exact lookup counts.

Theory of operation

A file's inode belongs to one generation of an object at one size, so that the kernel's cached pages
of two generations, or of two sizes, can never mix: a changed object is a new inode. A directory's
inode belongs to its location (see `names`). Files are many and kept in columns (see `files`),
directories are values. Numbers are hashes of what the inodes stand for (see `inode_numbers`).

1. An inode is in the table as long as the kernel counts on it or an open handle pins it, and not
   longer. The root always is.
2. The same file, or directory, has the same number as long as it is in the table, and unless two
   hashes are equal in every other table too.
3. No two inodes in the table have the same number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.namespace.file_inodes import FileInodes, progress
from gcsmux_fs.namespace.forgotten_inodes import ForgottenInodes
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE, directory_key, first_free, hash_of

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.inode_numbers import Hash

__all__ = ["DirectoryInode", "InodeTable"]


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

    def __init__(self, root_location: str, *, hashed: Hash = hash_of) -> None:
        self._hashed = hashed
        self._directories: dict[int, DirectoryInode] = {}
        self._by_location: dict[str, DirectoryInode] = {}
        self.forgotten = ForgottenInodes()
        self.files = FileInodes(hashed, self._is_taken, self.forgotten.note_file)
        self.root = self._add_directory(ROOT_INODE, root_location)

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
            number = first_free(directory_key(location), self._hashed, self._is_taken)
            inode = self._add_directory(number, location)
        inode.lookups += 1
        return inode

    def _is_taken(self, number: int) -> bool:
        return number in self._directories or number in self.files

    def _add_directory(self, number: int, location: str) -> DirectoryInode:
        inode = DirectoryInode(number, location)
        self._by_location[location] = inode
        self._directories[number] = inode
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
            self.forgotten.note_directory(inode.number, inode.location)
