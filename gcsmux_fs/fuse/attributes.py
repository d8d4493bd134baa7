"""Converts file attributes into the form that pyfuse3 sends to the kernel."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pyfuse3

if TYPE_CHECKING:
    from gcsmux_fs.filesystem.file_attributes import AbsentName, FileAttributes

__all__ = ["encode_absence", "encode_attributes"]

# The value of `st_blksize`: the size of one READ, unless the user raises the kernel's readahead.
_IO_SIZE_BYTES = 128 * 1024

# The size of the sectors that `st_blocks` counts, see stat(2).
_SECTOR_BYTES = 512

FOREVER_SECONDS = 10 * 365 * 86400.0
"""Maximum validity of names and attributes. The kernel adds a validity to its clock, so infinity
would overflow. Ten years are longer than the life of any mount."""


def encode_attributes(
    attributes: FileAttributes, max_name_seconds: float = FOREVER_SECONDS
) -> pyfuse3.EntryAttributes:
    """Return attributes in the form that pyfuse3 sends to the kernel.

    The kernel caches the name for at most `max_name_seconds`.
    """
    (
        inode,
        mode,
        size,
        mtime_ns,
        atime_ns,
        ctime_ns,
        uid,
        gid,
        name_valid_seconds,
        attributes_valid_seconds,
    ) = attributes
    encoded = pyfuse3.EntryAttributes()
    encoded.st_ino = inode
    encoded.st_mode = mode
    # For a directory, a link count of 1 means that the number of subdirectories is unknown: find(1)
    # then looks for subdirectories itself.
    encoded.st_nlink = 1
    encoded.st_uid = uid
    encoded.st_gid = gid
    encoded.st_size = size
    encoded.st_blksize = _IO_SIZE_BYTES
    encoded.st_blocks = -(-size // _SECTOR_BYTES) if stat.S_ISREG(mode) else 0
    encoded.st_mtime_ns = mtime_ns
    encoded.st_ctime_ns = ctime_ns
    encoded.st_atime_ns = atime_ns
    encoded.entry_timeout = min(name_valid_seconds, max_name_seconds)
    encoded.attr_timeout = min(attributes_valid_seconds, FOREVER_SECONDS)
    return encoded


def encode_absence(
    absence: AbsentName, max_name_seconds: float = FOREVER_SECONDS
) -> pyfuse3.EntryAttributes:
    """Return the answer that lets the kernel cache an absence for up to `max_name_seconds`."""
    encoded = pyfuse3.EntryAttributes()
    encoded.st_ino = 0
    encoded.entry_timeout = min(absence.valid_seconds, max_name_seconds)
    encoded.attr_timeout = 0
    return encoded
