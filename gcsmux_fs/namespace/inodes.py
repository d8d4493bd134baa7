"""The inodes that the kernel knows, with exact lookup counts.

Theory of operation

A file's inode belongs to one generation of an object, so that the kernel's cached pages of two
generations can never mix: a changed object is a new inode. A directory's inode belongs to its
location (see `names`) and has generation 0.

1. An inode is in the table as long as the kernel counts on it or an open handle pins it, and not
   longer. The root always is.
2. The same object generation, or directory, has the same number as long as it is in the table.
3. A number is never used twice in the life of the table.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.model import ObjectInfo

__all__ = ["ROOT_INODE", "Inode", "InodeTable"]

# What the kernel calls the root of every FUSE mount (FUSE_ROOT_ID).
ROOT_INODE = 1


class Inode:
    """One file or directory; `name` is the object's, or the directory's location.

    `info` is None for a directory of which no placeholder object is known; it is known to be
    current until `fresh_until`.
    """

    __slots__ = (
        "fresh_until",
        "generation",
        "info",
        "lookups",
        "name",
        "number",
        "pins",
    )

    def __init__(self, number: int, name: str, info: ObjectInfo | None, generation: int) -> None:
        self.number = number
        self.name = name
        self.generation = generation
        self.info = info
        self.lookups = 0
        self.pins = 0
        self.fresh_until = -math.inf

    def __repr__(self) -> str:
        return (
            f"<Inode {self.number}: {self.name!r}#{self.generation}, "
            f"{self.lookups} lookups, {self.pins} pins>"
        )

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return self.generation == 0

    def learn(self, info: ObjectInfo | None, fresh_until: float) -> None:
        """Take in what the service says of the inode, unless something newer is known.

        Metadata and, for an object that is still being appended to, the size change within a
        generation; both only ever grow.
        """
        if info is not None:
            known = self.info
            if known is None or _progress(info) > _progress(known):
                self.info = info
        self.fresh_until = max(self.fresh_until, fresh_until)


def _progress(info: ObjectInfo) -> tuple[int, int, int, bool]:
    return info.generation, info.metageneration, info.size, info.finalized


class InodeTable:
    """All inodes of a mount, by number and by what they stand for."""

    def __init__(self, root_location: str) -> None:
        self._numbers = itertools.count(ROOT_INODE)
        self._by_number: dict[int, Inode] = {}
        self._by_key: dict[tuple[str, int], Inode] = {}
        self.root = self.remember_directory(root_location)

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: int) -> Inode | None:
        """Return the inode with this number, if the kernel may know it."""
        return self._by_number.get(number)

    def find(self, name: str, generation: int = 0) -> Inode | None:
        """Return the inode of an object generation or, with generation 0, a directory."""
        return self._by_key.get((name, generation))

    def remember_file(self, info: ObjectInfo) -> Inode:
        """Return the inode of an object generation, counting one lookup."""
        return self._remember(info.name, info, info.generation)

    def remember_directory(self, location: str) -> Inode:
        """Return the inode of a directory, counting one lookup."""
        return self._remember(location, None, 0)

    def forget(self, number: int, lookups: int) -> None:
        """Take back `lookups` counts.

        Raises:
            ValueError: that many were not counted.
        """
        inode = self._by_number.get(number)
        if inode is None or inode.lookups < lookups:
            raise ValueError(f"cannot forget {lookups} lookups of inode {number}: {inode!r}")
        inode.lookups -= lookups
        self._drop_if_unused(inode)

    def pin(self, number: int) -> None:
        """Keep an inode for an open file.

        Raises:
            KeyError: there is no such inode.
        """
        self._by_number[number].pins += 1

    def unpin(self, number: int) -> None:
        """Undo one `pin`.

        Raises:
            ValueError: there is none.
        """
        inode = self._by_number.get(number)
        if inode is None or not inode.pins:
            raise ValueError(f"cannot unpin inode {number}: {inode!r}")
        inode.pins -= 1
        self._drop_if_unused(inode)

    def _remember(self, name: str, info: ObjectInfo | None, generation: int) -> Inode:
        key = name, generation
        inode = self._by_key.get(key)
        if inode is None:
            inode = Inode(next(self._numbers), name, info, generation)
            self._by_key[key] = inode
            self._by_number[inode.number] = inode
        inode.lookups += 1
        return inode

    def _drop_if_unused(self, inode: Inode) -> None:
        if not inode.lookups and not inode.pins and inode is not self.root:
            del self._by_number[inode.number]
            del self._by_key[inode.name, inode.generation]
