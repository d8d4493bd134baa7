"""Entries out of children: what the service tells of a name becomes an inode that is counted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gcsmux_fs.namespace.entry import Entry
from gcsmux_fs.namespace.listing import Child, Directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.object_table import Row
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.inodes import DirectoryInode, InodeTable

__all__ = ["Entries"]


class Entries:
    """Makes the entries of one tree.

    Args:
        inodes: where lookups are counted.
        ttl_seconds: how long the attributes of a directory count.
        directory_mtime_ns: the time of directories of which no placeholder object is known.
        clock: the time in seconds.
    """

    def __init__(
        self,
        inodes: InodeTable,
        ttl_seconds: float,
        directory_mtime_ns: int,
        clock: Callable[[], float],
    ) -> None:
        self._inodes = inodes
        self._ttl = ttl_seconds
        self._directory_mtime_ns = directory_mtime_ns
        self._clock = clock

    def enter(self, child: Child, valid_until: float) -> Entry:
        """Count one lookup of a child whose name is known until `valid_until`."""
        valid_seconds = max(0.0, valid_until - self._clock())
        if isinstance(child, Directory):
            directory = self._inodes.remember_directory(child.location)
            directory.learn(child.placeholder)
            return self.of_directory(directory, valid_seconds)
        number, row = self._inodes.files.remember(child)
        return self.of_file(number, row, valid_seconds)

    def enter_listed(self, child: Child, valid_until: float) -> Entry:
        """Do as `enter`; a name whose generation was found gone is not to be remembered."""
        entry = self.enter(child, valid_until)
        if self._inodes.files.is_gone(entry.inode):
            return entry._replace(name_valid_seconds=0.0)
        return entry

    def of_directory(self, directory: DirectoryInode, name_valid_seconds: float) -> Entry:
        """Return the entry of a directory without counting a lookup."""
        placeholder = directory.placeholder
        mtime_ns = self._directory_mtime_ns if placeholder is None else placeholder.mtime_ns
        entry = Entry(directory.number, True, 0, mtime_ns, name_valid_seconds, self._ttl)
        return entry if placeholder is None else entry._replace(metadata=placeholder.metadata)

    def of_file(self, number: int, row: Row, name_valid_seconds: float) -> Entry:
        """Return the entry of a file without counting a lookup; its attributes never change."""
        objects, index = row
        traits = objects.traits[index]
        return Entry(
            number,
            False,
            objects.sizes[index],
            objects.mtimes_ns[index],
            name_valid_seconds,
            math.inf,
            traits.metadata,
            not traits.finalized,
        )

    def learn_placeholder(self, placeholder: ObjectInfo) -> None:
        """Take in what a listing shows of a directory's placeholder object."""
        directory = self._inodes.directory_at(placeholder.name)
        if directory is not None:
            directory.learn(placeholder)
