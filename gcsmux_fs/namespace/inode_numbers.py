"""Inode numbers: a hash of what the inode stands for; sans-IO.

The number of a file is a function of the object's name, its generation, its size, and whether it is
a symbolic link. The number of a directory is a function of its location. So a number stays the same
after the kernel has forgotten the inode, after a remount, and on another machine. Backup programs,
`tar -g` and NFS servers regard a file with the same number as the same file.

Numbers have 63 bits, because some programs store them as signed 64-bit integers. Among ten million
inodes, two hashes are equal with a probability of 1 in 200,000. In this case the table of
inodes gives the second inode another hash (see `hash_of`).
"""

from __future__ import annotations

import itertools
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ROOT_INODE", "Hash", "directory_key", "file_key", "first_free", "hash_of", "preferred"]

ROOT_INODE = 1
"""The number of the root of every FUSE mount (FUSE_ROOT_ID of <linux/fuse.h>)."""

Hash: TypeAlias = "Callable[[bytes, int], int]"

_BITS = 63
_FILE = struct.Struct("<cqq")


def file_key(name: str, generation: int, size: int, is_link: bool = False) -> bytes:
    """Return the bytes to hash for a file or a symbolic link; `size` is in bytes."""
    return _FILE.pack(b"l" if is_link else b"f", generation, size) + name.encode()


def directory_key(location: str) -> bytes:
    """Return the bytes to hash for a directory."""
    return b"d" + location.encode()


def hash_of(key: bytes, attempt: int) -> int:
    """Return a number of 63 bits; each attempt gives another number for the same key."""
    salted = key if attempt == 0 else b"%d/%b" % (attempt, key)
    return int.from_bytes(blake2b(salted, digest_size=8).digest(), "little") >> (64 - _BITS)


def preferred(key: bytes, hashed: Hash) -> int:
    """Return the number that `key` gets if no other inode has this number."""
    number = hashed(key, 0)
    return number if number > ROOT_INODE else next(_candidates(key, hashed))


def first_free(key: bytes, hashed: Hash, is_taken: Callable[[int], bool]) -> int:
    """Return the first number for `key` that no other inode has."""
    return next(number for number in _candidates(key, hashed) if not is_taken(number))


def _candidates(key: bytes, hashed: Hash) -> Iterator[int]:
    for attempt in itertools.count():
        number = hashed(key, attempt)
        # 0 means "no inode" in FUSE, and 1 is the root.
        if number > ROOT_INODE:
            yield number
