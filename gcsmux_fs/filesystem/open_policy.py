"""Decides which OPENs are refused, and whether the kernel keeps cached pages; sans-IO."""

from __future__ import annotations

import os
from typing import NamedTuple

from gcsmux_fs.filesystem.operation_refused import READ_ONLY, OperationRefused

__all__ = ["KEEP_PAGES", "OpenedFile", "check_open_flags"]

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_TRUNC

KEEP_PAGES = True
"""Whether the kernel keeps the cached pages of a file after its last close. Kept pages stay valid,
because an inode is one generation of an object at one size, and a changed object gets another
inode."""


class OpenedFile(NamedTuple):
    """The answer to an OPEN.

    Attributes:
        keep_pages: whether the kernel may use pages of earlier opens.
        window_bytes: the kernel's readahead window for the file; None if every window is as good.
        direct: whether the kernel passes each read to the mount and ignores the size of the file.
    """

    handle: int
    keep_pages: bool
    window_bytes: int | None
    direct: bool = False


def check_open_flags(flags: int) -> None:
    """Refuse an OPEN for writing.

    Raises:
        OperationRefused: `flags` (see open(2)) ask for writing or truncation.
    """
    if flags & _WRITE_FLAGS:
        raise OperationRefused(READ_ONLY)
