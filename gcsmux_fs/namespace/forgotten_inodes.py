"""Table of inodes that the kernel has forgotten, with the names that led to them; sans-IO.

An NFS server keeps the number of an inode for longer than the kernel keeps the inode, and asks for
the file by the number alone. A number is a hash, so only a table leads back to the name. The table
keeps `MAX_FORGOTTEN` files and as many directories, and drops the oldest first.
"""

from __future__ import annotations

from gcsmux_fs.namespace.names import locate_directory, places_of

__all__ = ["MAX_FORGOTTEN", "ForgottenInodes"]

MAX_FORGOTTEN = 16_384
"""Maximum number of files, and of directories; they take 4 MB with names of 30 characters."""


class ForgottenInodes:
    """Object names of forgotten files and locations of forgotten directories, by inode number.

    `limit` is the maximum number of files, and also the maximum number of directories.
    """

    def __init__(self, limit: int = MAX_FORGOTTEN) -> None:
        self._limit = limit
        self._files: dict[int, str] = {}
        self._directories: dict[int, str] = {}

    def note_file(self, number: int, name: str) -> None:
        """Store the object name of a file that the kernel has forgotten."""
        self._note(self._files, number, name)

    def note_directory(self, number: int, location: str) -> None:
        """Store the location of a directory that the kernel has forgotten."""
        self._note(self._directories, number, location)

    def places_of(self, number: int) -> list[tuple[str, bytes]]:
        """Return each location and file name where a forgotten inode may be found.

        The list is empty if the table never had the number, or has dropped it.
        """
        if (location := self._directories.get(number)) is not None:
            return [locate_directory(location)]
        name = self._files.get(number)
        return [] if name is None else places_of(name)

    def _note(self, table: dict[int, str], number: int, name: str) -> None:
        table.pop(number, None)
        table[number] = name
        if len(table) > self._limit:
            del table[next(iter(table))]
