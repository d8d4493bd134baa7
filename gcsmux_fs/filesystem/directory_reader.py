"""Reads an open directory: `.` and `..`, then the entries of its listing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.filesystem.file_attributes import AttributePolicy, FileAttributes
    from gcsmux_fs.namespace.tree import Tree

__all__ = ["DirectoryReader"]

# The names at positions 0 and 1 of a directory. Position 2 is the first entry of the listing.
_DOT_NAMES = (b".", b"..")


class DirectoryReader:
    """One open directory; `release` closes it."""

    def __init__(self, tree: Tree, inode: int, policy: AttributePolicy) -> None:
        self._tree = tree
        self._inode = inode
        self._policy = policy
        self._handle = tree.open_directory(inode)

    async def read(
        self, position: int, accept: Callable[[bytes, FileAttributes, int], bool]
    ) -> None:
        """Pass the entries that begin at `position` to `accept`, until `accept` returns False.

        `accept` gets the name and the attributes of an entry, and the position of the next entry.
        Each accepted entry adds one lookup to its inode. `.` and `..` add none, because the kernel
        does not count lookups of these names.

        Raises:
            StorageError: the service did not return the next page of the listing.
        """
        while position < len(_DOT_NAMES):
            if not self._pass_dot(_DOT_NAMES[position], position + 1, accept):
                return
            position += 1
        entries = await self._handle.entries_from(position - len(_DOT_NAMES))
        for next_position, name, entry in entries:
            is_accepted = False
            try:
                is_accepted = accept(
                    name, self._policy.attributes_of(entry), next_position + len(_DOT_NAMES)
                )
            finally:
                if not is_accepted:
                    self._tree.forget(entry.inode, 1)
            if not is_accepted:
                return

    def release(self) -> None:
        """Close the directory."""
        self._handle.release()

    def _pass_dot(
        self,
        name: bytes,
        next_position: int,
        accept: Callable[[bytes, FileAttributes, int], bool],
    ) -> bool:
        entry = self._tree.lookup_cached(self._inode, name)
        assert entry is not None
        try:
            return accept(name, self._policy.attributes_of(entry), next_position)
        finally:
            self._tree.forget(entry.inode, 1)
