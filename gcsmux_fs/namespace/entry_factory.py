"""Makes the entry of a file or directory: finds or creates its inode, and counts one lookup."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gcsmux_fs.namespace.child import Child, Directory
from gcsmux_fs.namespace.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.object_table import Row
    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.inodes import DirectoryInode, InodeTable

__all__ = ["EntryFactory"]


class EntryFactory:
    """Makes the entries of one tree.

    Args:
        inodes: finds and creates the inodes, and counts their lookups.
        ttl_seconds: how long the kernel may cache the attributes of a directory.
        directory_mtime_ns: the mtime of directories without a known placeholder object.
        clock: returns the time in seconds.
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
        """Return the entry of a child whose name is valid until `valid_until`; count one lookup."""
        valid_seconds = max(0.0, valid_until - self._clock())
        if isinstance(child, Directory):
            directory = self._inodes.remember_directory(child.location)
            directory.update_placeholder(child.placeholder)
            return self.of_directory(directory, valid_seconds)
        number, row = self._inodes.files.remember(child)
        return self.of_file(number, row, valid_seconds)

    def enter_itself(self, number: int) -> Entry | None:
        """Return the entry of exactly this inode and count one lookup; None if not in the table."""
        directory = self._inodes.directory(number)
        if directory is not None:
            return self.enter(Directory(directory.location), math.inf)
        row = self._inodes.files.count(number)
        return None if row is None else self.of_file(number, row, 0.0)

    def of_directory(self, directory: DirectoryInode, name_valid_seconds: float) -> Entry:
        """Return the entry of a directory without counting a lookup."""
        placeholder = directory.placeholder
        mtime_ns = self._directory_mtime_ns if placeholder is None else placeholder.mtime_ns
        entry = Entry(directory.number, True, 0, mtime_ns, name_valid_seconds, self._ttl)
        return entry if placeholder is None else entry._replace(metadata=placeholder.metadata)

    def of_file(self, number: int, row: Row, name_valid_seconds: float) -> Entry:
        """Return the entry of a file, whose attributes never change, without counting a lookup."""
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

    def update_placeholder(self, placeholder: ObjectInfo) -> None:
        """Store a placeholder object in the inode of its directory, if the inode exists."""
        directory = self._inodes.directory_at(placeholder.name)
        if directory is not None:
            directory.update_placeholder(placeholder)
