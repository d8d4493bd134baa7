"""Content of the soak's objects: each block shows its object, its version and its offset.

Theory of operation. An object consists of 4 KiB blocks. A block repeats a pair of numbers: the tag
of the content (name and version) and the block number. The emulator's overwrite fault adds one to
each byte. The number of these overwrites is the *shift*. The highest byte of the block number shows
the shift, because this byte is 0 before the first overwrite. Any 31 bytes contain a whole pair.
Therefore 31 bytes identify the content that they belong to, and determine all other bytes of this
content. Property 1 follows from this format, and the soak checks property 2.

1. Two different contents have no 16 bytes in common at the same offset.
2. All bytes of one open file belong to one version and shift of the object with the file's name.
"""

from __future__ import annotations

import math
import random
import struct
import zlib
from dataclasses import dataclass, field

__all__ = [
    "Identity",
    "OpenContent",
    "WrongBytes",
    "bytes_at",
    "identify",
    "size_of",
]

_BLOCK_BYTES = 4096
_PAIR = struct.Struct("<II Q")
_SHIFTS = [bytes((value + shift) % 256 for value in range(256)) for shift in range(256)]


class WrongBytes(Exception):
    """A read returned wrong bytes or a wrong number of bytes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Identifies a content: version `version` of object `name`, with `shift` added to each byte."""

    name: str
    version: int
    shift: int = 0


def size_of(name: str, version: int, smallest_bytes: int, largest_bytes: int) -> int:
    """Return the pseudo-random size of a version; all orders of magnitude are equally likely."""
    source = random.Random(f"{name} {version}")
    return round(math.exp(source.uniform(math.log(smallest_bytes), math.log(largest_bytes))))


def bytes_at(of: Identity, offset: int, size: int) -> bytes:
    """Return the `size` bytes at `offset` of the content that `of` identifies."""
    number, inside = divmod(offset, _BLOCK_BYTES)
    last = -(-(offset + size) // _BLOCK_BYTES)
    tag = _tag(of.name)
    repeats = _BLOCK_BYTES // _PAIR.size
    blocks = b"".join(_PAIR.pack(tag, of.version, at) * repeats for at in range(number, last))
    found = blocks[inside : inside + size]
    return found.translate(_SHIFTS[of.shift]) if of.shift else found


def identify(name: str, offset: int, found: bytes) -> Identity | None:
    """Return which content the bytes `found` at `offset` belong to; None if `found` is too short.

    Raises:
        WrongBytes: the bytes belong to another object or to another offset.
    """
    skipped = -offset % _PAIR.size
    if len(found) < skipped + _PAIR.size:
        return None
    pair = found[skipped : skipped + _PAIR.size]
    shift = pair[-1]
    tag, version, number = _PAIR.unpack(pair.translate(_SHIFTS[-shift % 256]))
    if tag != _tag(name):
        raise WrongBytes(f"{name}: the bytes at {offset} belong to no version of the object")
    if number != (offset + skipped) // _BLOCK_BYTES:
        raise WrongBytes(f"{name}: the bytes at {offset} belong to block {number}")
    return Identity(name, version, shift)


def _tag(name: str) -> int:
    return zlib.crc32(name.encode())


@dataclass(slots=True)
class OpenContent:
    """The content of one open file. All reads must return bytes of the same version."""

    name: str
    size: int
    identity: Identity | None = None
    compared_bytes: int = 0
    _unidentified: list[tuple[int, bytes]] = field(default_factory=list)

    def check(self, offset: int, asked: int, found: bytes) -> None:
        """Check the bytes `found`, which a read of `asked` bytes at `offset` returned.

        Raises:
            WrongBytes: a byte is wrong or missing.
        """
        expected = max(0, min(asked, self.size - offset))
        if len(found) != expected:
            raise WrongBytes(
                f"{self.name}: a read at {offset} returned {len(found)} bytes instead of"
                f" {expected}, in a file of {self.size} bytes"
            )
        if self.identity is None:
            self.identity = identify(self.name, offset, found)
            if self.identity is None:
                self._unidentified.append((offset, found))
                return
            for earlier_offset, earlier in self._unidentified:
                self._compare(self.identity, earlier_offset, earlier)
            self._unidentified.clear()
        self._compare(self.identity, offset, found)

    def _compare(self, identity: Identity, offset: int, found: bytes) -> None:
        expected = bytes_at(identity, offset, len(found))
        if found != expected:
            at = next(n for n, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
            others = sum(a != b for a, b in zip(found, expected, strict=True))
            raise WrongBytes(
                f"{self.name}: {others} of {len(found)} bytes read at {offset} do not belong to"
                f" version {identity.version} with shift {identity.shift}. The first wrong byte is"
                f" at {offset + at}: {found[at : at + 16].hex()} instead of"
                f" {expected[at : at + 16].hex()}"
            )
        self.compared_bytes += len(found)
