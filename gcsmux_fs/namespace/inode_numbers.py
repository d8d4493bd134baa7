"""Inode numbers: a hash of what the inode stands for.

A number is a function of the object's name, generation, size and of whether it is a symbolic link,
or of the directory's name. So it stays the same after the kernel has forgotten the inode, after a
remount and on another machine. Backup programs, `tar -g` and NFS servers take an unchanged number
for an unchanged file.

Numbers have 63 bits, because some programs store them as signed 64-bit integers. Among ten million
inodes two hashes are equal with a probability of 1 in 200,000. Whoever holds the table then takes
the hash of the next attempt.
"""

from __future__ import annotations

import itertools
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ROOT_INODE", "Hash", "directory_key", "file_key", "first_free", "hash_of", "preferred"]

# What the kernel calls the root of every FUSE mount (FUSE_ROOT_ID).
ROOT_INODE = 1

Hash: TypeAlias = "Callable[[bytes, int], int]"

_BITS = 63
_FILE = struct.Struct("<cqq")


def file_key(name: str, generation: int, size: int, is_link: bool = False) -> bytes:
    """Return what the number of a file or symbolic link is computed from; `size` is in bytes."""
    return _FILE.pack(b"l" if is_link else b"f", generation, size) + name.encode()


def directory_key(location: str) -> bytes:
    """Return what the number of a directory is computed from."""
    return b"d" + location.encode()


def hash_of(key: bytes, attempt: int) -> int:
    """Return a number of 63 bits; each attempt gives another one for the same key."""
    salted = key if attempt == 0 else b"%d/%b" % (attempt, key)
    return int.from_bytes(blake2b(salted, digest_size=8).digest(), "little") >> (64 - _BITS)


def preferred(key: bytes, hashed: Hash) -> int:
    """Return the number that `key` has unless something else has it."""
    number = hashed(key, 0)
    return number if number > ROOT_INODE else next(_candidates(key, hashed))


def first_free(key: bytes, hashed: Hash, is_taken: Callable[[int], bool]) -> int:
    """Return the first number for `key` that is not taken."""
    return next(number for number in _candidates(key, hashed) if not is_taken(number))


def _candidates(key: bytes, hashed: Hash) -> Iterator[int]:
    for attempt in itertools.count():
        number = hashed(key, attempt)
        # 0 means "no inode" in FUSE.
        if number > ROOT_INODE:
            yield number
