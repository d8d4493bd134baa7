"""The inodes that the kernel references, with exact lookup counts; sans-IO.

Theory of operation

A file inode stands for one generation of an object at one size. So the kernel's cached pages of two
generations, or of two sizes, never mix: a changed object is a new inode. A directory inode stands
for a location (see `names`). There are many files, so their inodes are stored in columns (see
`file_inodes`); each directory is a Python object. Numbers are hashes of what the inodes stand for
(see `inode_numbers`).

1. An inode is in the table while the kernel counts lookups of it, or an open handle pins it, and no
   longer. The root is always in the table.
2. A file or directory keeps its number while it is in the table. It has the same number in every
   other table, unless two hashes are equal.
3. No two inodes in the table have the same number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import GenerationGone
from gcsmux_fs.namespace.file_inodes import FileInodes, progress
from gcsmux_fs.namespace.forgotten_inodes import ForgottenInodes
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE, directory_key, first_free, hash_of
from gcsmux_fs.namespace.names import locate_directory

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.inode_numbers import Hash

__all__ = ["DirectoryInode", "InodeTable"]


class DirectoryInode:
    """Inode of a directory; `placeholder` is the object named `location`, if one is known."""

    __slots__ = ("location", "lookups", "number", "placeholder")

    def __init__(self, number: int, location: str) -> None:
        self.number = number
        self.location = location
        self.placeholder: ObjectInfo | None = None
        self.lookups = 0

    def __repr__(self) -> str:
        return f"<DirectoryInode {self.number}: {self.location!r}, {self.lookups} lookups>"

    def update_placeholder(self, placeholder: ObjectInfo | None) -> None:
        """Store `placeholder` if it is newer than the known placeholder object."""
        if placeholder is None:
            return
        if self.placeholder is None or progress(placeholder) > progress(self.placeholder):
            self.placeholder = placeholder


class InodeTable:
    """All inodes of a mount, found by number, by location (directories) or by identity (files).

    Args:
        root_location: the location of the root directory.
        hashed: computes a number from a key and an attempt.
    """

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
        """Return the directory with this number; None if the table has no such directory."""
        return self._directories.get(number)

    def directory_at(self, location: str) -> DirectoryInode | None:
        """Return the directory with this location; None if the table has no such directory."""
        return self._by_location.get(location)

    def require_directory(self, number: int) -> DirectoryInode:
        """Return the directory with this number.

        Raises:
            GenerationGone: the table has no such directory.
        """
        directory = self._directories.get(number)
        if directory is None:
            raise GenerationGone("no such directory", subject=f"inode {number}")
        return directory

    def require_file(self, number: int) -> ObjectInfo:
        """Return the object of the file with this number.

        Raises:
            GenerationGone: the table has no such file.
        """
        info = self.files.get(number)
        if info is None:
            raise GenerationGone("no such file", subject=f"inode {number}")
        return info

    def location_above(self, number: int) -> str:
        """Return the location that `..` leads to from a directory; for the root, the root itself.

        Raises:
            GenerationGone: the directory is not in the table.
        """
        location = self.require_directory(number).location
        return location if number == ROOT_INODE else locate_directory(location)[0]

    def directories_below(self, prefix: str) -> list[int]:
        """Return the numbers of all directories whose locations begin with `prefix`.

        The deepest directories come first. The root is left out, because no name leads to the root.
        """
        locations = [
            location
            for location, directory in self._by_location.items()
            if location.startswith(prefix) and directory is not self.root
        ]
        return [self._by_location[location].number for location in sorted(locations, reverse=True)]

    def remember_directory(self, location: str) -> DirectoryInode:
        """Return the inode of a directory, counting one lookup."""
        inode = self._by_location.get(location)
        if inode is None:
            number = first_free(directory_key(location), self._hashed, self._is_taken)
            inode = self._add_directory(number, location)
        inode.lookups += 1
        return inode

    def forget(self, number: int, lookups: int) -> None:
        """Subtract `lookups` from the lookup count of an inode.

        Raises:
            ValueError: the lookup count is smaller than `lookups`.
        """
        inode = self._directories.get(number)
        if inode is None:
            self.files.forget(number, lookups)
            return
        if inode.lookups < lookups:
            raise ValueError(f"cannot forget {lookups} lookups of {inode!r}: too few counted")
        inode.lookups -= lookups
        if not inode.lookups and inode is not self.root:
            del self._directories[inode.number]
            del self._by_location[inode.location]
            self.forgotten.note_directory(inode.number, inode.location)

    def _is_taken(self, number: int) -> bool:
        return number in self._directories or number in self.files

    def _add_directory(self, number: int, location: str) -> DirectoryInode:
        inode = DirectoryInode(number, location)
        self._by_location[location] = inode
        self._directories[number] = inode
        return inode
