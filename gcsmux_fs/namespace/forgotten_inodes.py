"""Inodes that the kernel has forgotten: what their numbers stood for.

An NFS server keeps the number of an inode for longer than the kernel keeps the inode, and asks for
the file by that number alone. A number is a hash, so nothing but a table leads back to the name.
The table is bounded: beyond `MAX_FORGOTTEN` entries of a kind the oldest goes, and its number leads
nowhere.
"""

from __future__ import annotations

__all__ = ["MAX_FORGOTTEN", "ForgottenInodes"]

# 4 MB with names of 30 characters.
MAX_FORGOTTEN = 16_384


class ForgottenInodes:
    """Names of files and locations of directories, by inode number."""

    def __init__(self, most: int = MAX_FORGOTTEN) -> None:
        self._most = most
        self._files: dict[int, str] = {}
        self._directories: dict[int, str] = {}

    def note_file(self, number: int, name: str) -> None:
        """Note what a file was called."""
        self._note(self._files, number, name)

    def note_directory(self, number: int, location: str) -> None:
        """Note where a directory was."""
        self._note(self._directories, number, location)

    def file(self, number: int) -> str | None:
        """Return the object's name of a file that was forgotten."""
        return self._files.get(number)

    def directory(self, number: int) -> str | None:
        """Return the location of a directory that was forgotten."""
        return self._directories.get(number)

    def _note(self, table: dict[int, str], number: int, name: str) -> None:
        table.pop(number, None)
        table[number] = name
        if len(table) > self._most:
            del table[next(iter(table))]
