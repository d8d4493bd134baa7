"""The files in which names are kept: what they contain, and how each proves itself; sans-IO.

Each file has a header with a checksum of everything after it. A file that is torn, from another
version, or of another directory or view does not match, and counts as absent. A *view* is one
bucket as one identity sees it (see `view_of`): who reads a kept name could have asked for it.

Four kinds of files exist:

- a listing: all entries of one directory, and lines with the names that were invalidated since;
- answers: what single names of one directory led to, and which names were invalidated;
- invalidations: prefixes below which everything was invalidated, one per line;
- facts: what the check of the bucket found.
"""

from __future__ import annotations

import enum
import hashlib
import json
import struct
import sys
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from crc32c import crc32c

from gcsmux_fs.caching.name_ages import Moment
from gcsmux_fs.caching.name_columns import (
    pack_names,
    pack_objects,
    unpack_names,
    unpack_objects,
)
from gcsmux_fs.model.object_table import ObjectTable
from gcsmux_fs.model.values import ListingPage

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "HEADER_BYTES",
    "FileId",
    "RecordKind",
    "asked_in",
    "body_of",
    "marks_name",
    "pack_listing",
    "record",
    "unpack_listing",
    "view_of",
    "view_prefix",
]

_MAGIC = b"GCSMUXNL" if sys.byteorder == "little" else b"GCSMUXNB"
_VERSION = 1
# Magic, checksum of everything after it, version, kind, whether the clock was synchronised, unused,
# digest of the file's id, boot, time since the boot, time of day, length of the body.
_HEADER = struct.Struct("=8sIBBBB32s16sqqQ")
_CHECKED_FROM = 12
HEADER_BYTES = _HEADER.size
"""Length of the header of each file."""

_BOOT_BYTES = 16
# Length of a file name: enough that no two of a billion directories get the same name.
_NAME_BYTES = 16
_VIEW_BYTES = 4


class RecordKind(enum.IntEnum):
    """What a file contains."""

    LISTING = 1
    ANSWERS = 2
    FACTS = 3


@dataclass(frozen=True, slots=True)
class FileId:
    """The file of one kind about the directory `location`, in one view."""

    view: bytes
    kind: RecordKind
    location: str = ""

    @property
    def digest(self) -> bytes:
        """The digest that the header contains."""
        text = self.location.encode()
        return hashlib.blake2b(bytes([self.kind]) + text, key=self.view, digest_size=32).digest()

    @property
    def name(self) -> str:
        """The name of the file. It begins with `view_prefix` of its view."""
        return f"{view_prefix(self.view)}{self.digest[:_NAME_BYTES].hex()}"


def view_of(*facts: str | int | bool) -> bytes:
    """Return the key of a view: a digest of everything that decides what a caller sees."""
    return hashlib.blake2b(json.dumps([_VERSION, *facts]).encode(), digest_size=32).digest()


def view_prefix(view: bytes) -> str:
    """Return how the names of all files of a view begin."""
    return f"{view[:_VIEW_BYTES].hex()}-"


def marks_name(view: bytes) -> str:
    """Return the name of the file with the invalidations of a view (see `name_marks`)."""
    return f"{view_prefix(view)}{view[_VIEW_BYTES : _VIEW_BYTES + _NAME_BYTES].hex()}.marks"


def record(file: FileId, asked: Moment, body: Sequence[bytes]) -> list[bytes]:
    """Return the parts of a file. `asked` is the moment of the oldest request in it."""
    rest = _HEADER.pack(
        _MAGIC,
        0,
        _VERSION,
        file.kind,
        asked.is_synchronised,
        0,
        file.digest,
        asked.boot,
        asked.since_boot_ns,
        asked.day_ns,
        sum(map(len, body)),
    )[_CHECKED_FROM:]
    checksum = crc32c(rest)
    for part in body:
        checksum = crc32c(part, checksum)
    return [_MAGIC, checksum.to_bytes(4, sys.byteorder), rest, *body]


def asked_in(header: bytes | memoryview, file: FileId) -> Moment | None:
    """Return the moment in a header; None if the header belongs to another file.

    Only `body_of` checks whether the header is intact.
    """
    if len(header) < HEADER_BYTES:
        return None
    magic, _, version, kind, synchronised, _, digest, *numbers, _ = _HEADER.unpack_from(header)
    if (magic, version, kind, digest) != (_MAGIC, _VERSION, file.kind, file.digest):
        return None
    boot, since_boot_ns, day_ns = numbers
    return Moment(boot, since_boot_ns, day_ns, bool(synchronised))


def body_of(data: memoryview, file: FileId) -> tuple[memoryview, memoryview] | None:
    """Return the body of a file, and what was appended to the file.

    None means that the file is torn, or belongs to another directory.
    """
    if asked_in(data, file) is None:
        return None
    _, checksum, *_, length = _HEADER.unpack_from(data)
    end = HEADER_BYTES + length
    if end > len(data) or crc32c(data[_CHECKED_FROM:end]) != checksum:
        return None
    return data[HEADER_BYTES:end], data[end:]


def pack_listing(location: str, pages: Sequence[ListingPage]) -> list[bytes] | None:
    """Pack all pages of a directory; None if a name cannot be packed (see `name_columns`)."""
    objects = _joined([ObjectTable.of(page.objects) for page in pages])
    prefixes = list(chain.from_iterable(page.prefixes for page in pages))
    packed_objects = pack_objects(objects, len(location))
    packed_prefixes = pack_names(prefixes, len(location))
    if packed_objects is None or packed_prefixes is None:
        return None
    return [*packed_prefixes, *packed_objects]


def unpack_listing(location: str, body: memoryview) -> ListingPage:
    """Return all entries of a directory as one page.

    Raises:
        ValueError: the data is malformed.
    """
    prefixes, rest = unpack_names(body, location)
    objects, rest = unpack_objects(rest, location)
    if len(rest):
        raise ValueError("there is more data")
    return ListingPage(objects, tuple(prefixes), "")


def _joined(tables: Sequence[ObjectTable]) -> ObjectTable:
    if len(tables) == 1:
        return tables[0]
    whole = ObjectTable.empty()
    for table in tables:
        whole.names += table.names
        whole.generations += table.generations
        whole.sizes += table.sizes
        whole.mtimes_ns += table.mtimes_ns
        whole.checksums += table.checksums
        whole.traits += table.traits
    return whole
