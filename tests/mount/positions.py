"""Functions that list directories by position, with getdents64(2) and lseek(2).

Like the functions of `programs`, these functions run in the process of a test program. This module
imports nothing of the package.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["list_after_each", "list_with_positions"]

_HEAD = struct.Struct("<QqHB")  # the fields d_ino, d_off, d_reclen and d_type of an entry
_BUFFER_BYTES = 4096
_libc = ctypes.CDLL(None, use_errno=True)


def list_with_positions(path: str) -> list[tuple[str, int]]:
    """Return the entries of a directory, each with the position after the entry."""
    return _entries(path, 0, None)


def list_after_each(path: str, positions: Sequence[int], count: int) -> list[list[str]]:
    """Return the `count` names that follow each of the positions.

    The directory is opened again for each position.
    """
    return [[name for name, _ in _entries(path, position, count)] for position in positions]


def _entries(path: str, position: int, count: int | None) -> list[tuple[str, int]]:
    """Open a directory and list `count` entries from a position; None lists all entries."""
    entries: list[tuple[str, int]] = []
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.lseek(descriptor, position, os.SEEK_SET)
        while count is None or len(entries) < count:
            piece = _next_entries(descriptor)
            if not piece:
                break
            entries += piece
    finally:
        os.close(descriptor)
    return entries[:count]


def _next_entries(descriptor: int) -> list[tuple[str, int]]:
    """Return the entries of one getdents64 call. The list is empty at the end of the directory."""
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    size = _libc.getdents64(descriptor, buffer, _BUFFER_BYTES)
    if size < 0:
        raise OSError(ctypes.get_errno(), "getdents64 failed")
    entries: list[tuple[str, int]] = []
    at = 0
    while at < size:
        _, position, length, _ = _HEAD.unpack_from(buffer, at)
        name = buffer.raw[at + _HEAD.size : at + length].partition(b"\0")[0]
        entries.append((os.fsdecode(name), position))
        at += length
    return entries
