"""The format of the files that keep the content of objects on disk; sans-IO.

A *chunk* is 4 MiB of one object generation, in a sparse file of its own. A *page* is 2 MiB of a
chunk, a *granule* is 16 KiB. Offsets of chunks, pages and granules are multiples of their size. The
last granule, page and chunk of an object may be shorter.

    0     magic, format version, chunk number, object size, identity, check   (the prefix)
    64    entry of the chunk
    72    entry of the first page, entries of its 128 granules
    1104  entry of the second page, entries of its 128 granules
    4096  content

Numbers are little-endian. An *entry* has 8 bytes and keeps a CRC32C: the CRC XOR a mask, followed
by the complement of these four bytes. Zeros mean that the entry is absent. The mask depends on the
prefix and on the place of the entry, so an entry is valid only in its own place.

Invariants that the tests name:

F1. Bytes are valid only if their CRC agrees with an entry. The state of a file, of its other bytes
    and of its other entries does not matter. So a file needs no order of writes and no fsync to be
    safe: lost, torn, zeroed and exchanged parts do not agree with their entries.
F2. A prefix depends only on the chunk, so several mounts may write the prefix at the same time.
F3. The entry of a granule or page has the CRC of bytes that never change. So an entry stays valid
    until the bytes in the file change.
F4. The entry of the chunk is written when all bytes of the object agreed with the object's own
    CRC32C. It is valid only if its CRC agrees with the entries of all granules of the chunk.
"""

from __future__ import annotations

import enum
import functools
import re
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.caching.crc_combination import combine_pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.model.values import ObjectKey

__all__ = [
    "CHUNK_BYTES",
    "CHUNK_SLOT",
    "FORMAT_VERSION",
    "GRANULE_BYTES",
    "HEADER_BYTES",
    "PAGE_BYTES",
    "SHARDS",
    "ChunkHeader",
    "ChunkId",
    "HeaderState",
    "chunk_count",
    "chunk_of_name",
    "chunk_of_prefix",
    "encode_absent",
    "granule_slot",
    "identity_of",
    "page_slot",
]

GRANULE_BYTES = 16 * 1024
PAGE_BYTES = 2 * 1024 * 1024
CHUNK_BYTES = 4 * 1024 * 1024

#: One page of memory, so that the content of a file is aligned as the kernel's pages are.
HEADER_BYTES = 4096

#: Changes with every change of the format.
FORMAT_VERSION = 1

#: The chunks of a cache are spread over this number of directories.
SHARDS = 256

#: The slot of the chunk's own entry.
CHUNK_SLOT = 0

_GRANULES_IN_PAGE = PAGE_BYTES // GRANULE_BYTES
_PAGES_IN_CHUNK = CHUNK_BYTES // PAGE_BYTES

_MAGIC = b"gcsmuxCH"
_FIELDS = struct.Struct("<8sIIQ16s")
_CHECK_BYTES = 8
_PREFIX_BYTES = 64
_ENTRY = struct.Struct("<Q")
_unpack_entry = _ENTRY.unpack_from
_ENTRY_BYTES = 8
_ABSENT = bytes(_ENTRY_BYTES)
_ALL_BITS = 0xFFFFFFFF
# An odd number, so that no two slots of a chunk have the same mask. This is 2^32 divided by the
# golden ratio, which spreads the masks of neighbours.
_MASK_STEP = 0x9E3779B1
_NAME = re.compile(r"([0-9a-f]{32})-(0|[1-9a-f][0-9a-f]{0,7})")


class ChunkId(NamedTuple):
    """One chunk of one object generation: the identity of the generation, the number of the chunk.

    All attributes are built in types, so that a dictionary of chunks needs no lock between threads.
    """

    identity: bytes
    number: int

    @property
    def shard(self) -> int:
        """Number of the directory that has the file, below `SHARDS`."""
        return (self.identity[0] + self.number) % SHARDS

    @property
    def path(self) -> str:
        """Path of the file, relative to the directory of the cache."""
        return f"chunks/{self.shard:02x}/{self.identity.hex()}-{self.number:x}"


def identity_of(key: ObjectKey, size: int, service: str = "") -> bytes:
    """Return the 16 bytes by which the cache knows an object generation.

    `service` distinguishes services whose buckets may have the same names, such as an emulator.

    16 bytes suffice: a collision of two generations that an attacker did not create has the
    probability 2^-128, and an attacker who creates both objects gains nothing from a collision.
    """
    parts = [part.encode(errors="surrogatepass") for part in (service, key.bucket, key.name)]
    numbers = struct.pack("<5Q", *map(len, parts), key.generation, size)
    return blake2b(numbers + b"".join(parts), digest_size=16, person=b"gcsmux object").digest()


def chunk_count(size: int) -> int:
    """Return the number of chunks of an object."""
    return -(-size // CHUNK_BYTES)


def chunk_of_name(name: str) -> ChunkId | None:
    """Return the chunk that has a file of this name; None if no chunk has such a name."""
    match = _NAME.fullmatch(name)
    return match and ChunkId(bytes.fromhex(match[1]), int(match[2], 16))


def chunk_of_prefix(data: bytes | memoryview) -> tuple[ChunkId, int] | None:
    """Return the chunk and the size of its object, from the header of a file.

    None if the header is damaged, or has another format version.
    """
    if len(data) < _PREFIX_BYTES:
        return None
    _, _, number, size, identity = _FIELDS.unpack_from(data)
    chunk = ChunkId(identity, number)
    if number >= chunk_count(size) or ChunkHeader(chunk, size).state_of(data) != HeaderState.VALID:
        return None
    return chunk, size


def granule_slot(granule: int) -> int:
    """Return the slot of a granule's entry, from the number of the granule in its chunk."""
    return 2 + granule + granule // _GRANULES_IN_PAGE


def page_slot(page: int) -> int:
    """Return the slot of a page's entry. The entries of its granules follow."""
    return 1 + page * (1 + _GRANULES_IN_PAGE)


def encode_absent(count: int) -> bytes:
    """Return `count` absent entries."""
    return _ABSENT * count


class HeaderState(enum.Enum):
    """What the first bytes of a file are."""

    VALID = "valid"  # the prefix of this chunk
    BLANK = "blank"  # a new file, whose prefix is not yet written or was lost
    DAMAGED = "damaged"  # anything else


class ChunkHeader:
    """The header of the file of a chunk, as last read and written by this process.

    Attributes:
        chunk: the chunk.
        length: number of bytes of content that belong to the chunk.
        prefix: the bytes with which the file begins.
        first_mask: the mask of slot 0.
        data: the bytes of the header. A new header is blank.
    """

    __slots__ = ("chunk", "data", "first_mask", "length", "prefix")

    def __init__(self, chunk: ChunkId, size: int) -> None:
        self.chunk = chunk
        self.length = min(CHUNK_BYTES, size - chunk.number * CHUNK_BYTES)
        fields = _FIELDS.pack(_MAGIC, FORMAT_VERSION, chunk.number, size, chunk.identity)
        digest = blake2b(fields, digest_size=_CHECK_BYTES + 4).digest()
        self.prefix = (fields + digest[:_CHECK_BYTES]).ljust(_PREFIX_BYTES, b"\0")
        self.first_mask = int.from_bytes(digest[_CHECK_BYTES:], "little")
        self.data = bytearray(HEADER_BYTES)

    def snapshot(self) -> ChunkHeader:
        """Return a copy that does not change when another thread writes or reads the header."""
        snapshot = ChunkHeader.__new__(ChunkHeader)
        snapshot.chunk, snapshot.length = self.chunk, self.length
        snapshot.prefix, snapshot.first_mask = self.prefix, self.first_mask
        snapshot.data = self.data.copy()
        return snapshot

    @property
    def granules(self) -> int:
        """Number of granules of the chunk."""
        return -(-self.length // GRANULE_BYTES)

    @property
    def pages(self) -> int:
        """Number of pages of the chunk."""
        return -(-self.length // PAGE_BYTES)

    def granule_bytes(self, granule: int) -> int:
        """Return the length of a granule."""
        return min(GRANULE_BYTES, self.length - granule * GRANULE_BYTES)

    def page_bytes(self, page: int) -> int:
        """Return the length of a page."""
        return min(PAGE_BYTES, self.length - page * PAGE_BYTES)

    def state_of(self, data: bytes | bytearray | memoryview) -> HeaderState:
        """Return what the beginning of a file is."""
        if data[:_PREFIX_BYTES] == self.prefix:
            return HeaderState.VALID
        return HeaderState.DAMAGED if any(data[:_PREFIX_BYTES]) else HeaderState.BLANK

    def crc(self, slot: int) -> int | None:
        """Return the CRC in a slot; None if the entry is absent or damaged."""
        (entry,) = _ENTRY.unpack_from(self.data, _PREFIX_BYTES + _ENTRY_BYTES * slot)
        if (entry >> 32 ^ entry) & _ALL_BITS != _ALL_BITS:
            return None
        return int((entry ^ self.first_mask + slot * _MASK_STEP) & _ALL_BITS)

    def range_crc(self, start: int, length: int) -> int | None:
        """Return the CRC of a range of whole granules; None if an entry is absent.

        One or more granules: their CRCs are combined, which takes 0.3 us per granule. To compare
        bytes with it takes one call for 1 MiB, and two thirds of the time of 64 calls.
        """
        granule = start // GRANULE_BYTES
        if length <= GRANULE_BYTES:
            # The same as `self.crc(granule_slot(granule))`, without two calls.
            slot = 2 + granule + granule // _GRANULES_IN_PAGE
            (entry,) = _unpack_entry(self.data, _PREFIX_BYTES + _ENTRY_BYTES * slot)
            if (entry >> 32 ^ entry) & _ALL_BITS != _ALL_BITS:
                return None
            return int((entry ^ self.first_mask + slot * _MASK_STEP) & _ALL_BITS)
        if start % PAGE_BYTES == 0 and length == self.page_bytes(start // PAGE_BYTES):
            crc = self.crc(page_slot(start // PAGE_BYTES))
            if crc is not None:
                return crc
        count = -(-length // GRANULE_BYTES)
        crcs = [crc for crc in self.granule_crcs(granule, count) if crc is not None]
        if len(crcs) < count:
            return None
        return combine_pieces(crcs, GRANULE_BYTES, length - (count - 1) * GRANULE_BYTES)

    def granule_crcs(self, first: int, count: int) -> list[int | None]:
        """Return the CRCs of consecutive granules; None where the entry is absent."""
        in_page = min(count, _GRANULES_IN_PAGE - first % _GRANULES_IN_PAGE)
        crcs = self._crcs(granule_slot(first), in_page)
        if count > in_page:
            crcs += self.granule_crcs(first + in_page, count - in_page)
        return crcs

    def missing(self, first: int, count: int) -> int:
        """Return how many of `count` granules have no entry."""
        return self.granule_crcs(first, count).count(None)

    def is_complete(self) -> bool:
        """Return whether each page of the chunk has an entry."""
        return all(self.crc(page_slot(page)) is not None for page in range(self.pages))

    def page_crc(self, page: int) -> int | None:
        """Return the CRC of a page, computed from its granules; None if an entry is absent."""
        first = page * _GRANULES_IN_PAGE
        count = min(_GRANULES_IN_PAGE, self.granules - first)
        start = self.offset_of(granule_slot(first))
        if self.data.find(_ABSENT, start, start + _ENTRY_BYTES * count) >= 0:
            return None
        crcs = [crc for crc in self.granule_crcs(first, count) if crc is not None]
        if len(crcs) < count:
            return None
        return combine_pieces(crcs, GRANULE_BYTES, self.granule_bytes(first + count - 1))

    def chunk_crc(self) -> int | None:
        """Return the CRC of the chunk, computed from its granules; None if an entry is absent."""
        crcs = [crc for page in range(self.pages) if (crc := self.page_crc(page)) is not None]
        if len(crcs) < self.pages:
            return None
        return combine_pieces(crcs, PAGE_BYTES, self.page_bytes(self.pages - 1))

    def encode(self, slot: int, crcs: Sequence[int]) -> bytes:
        """Return the entries for consecutive slots."""
        count = len(crcs)
        lanes = _lanes(count)
        values = int.from_bytes(struct.pack(f"<{count}Q", *crcs), "little")
        masked = values ^ self._masks(slot, lanes)
        return (masked | (masked ^ lanes.low) << 32).to_bytes(_ENTRY_BYTES * count, "little")

    def offset_of(self, slot: int) -> int:
        """Return the offset of an entry in the file."""
        return _PREFIX_BYTES + _ENTRY_BYTES * slot

    def put(self, slot: int, entries: bytes) -> None:
        """Replace entries in memory."""
        start = self.offset_of(slot)
        self.data[start : start + len(entries)] = entries

    def _crcs(self, slot: int, count: int) -> list[int | None]:
        lanes = _lanes(count)
        start = self.offset_of(slot)
        data = self.data[start : start + _ENTRY_BYTES * count]
        entries = int.from_bytes(data, "little")
        crcs = (entries & lanes.low) ^ self._masks(slot, lanes)
        values = struct.unpack(f"<{count}Q", crcs.to_bytes(_ENTRY_BYTES * count, "little"))
        if (entries >> 32 ^ entries) & lanes.low == lanes.low:
            return list(values)
        return [
            value if (entry >> 32 ^ entry) & _ALL_BITS == _ALL_BITS else None
            for value, (entry,) in zip(values, _ENTRY.iter_unpack(data), strict=True)
        ]

    def _masks(self, slot: int, lanes: _Lanes) -> int:
        """Return the masks of consecutive slots, in lanes."""
        return (
            lanes.ones * (self.first_mask + slot * _MASK_STEP & _ALL_BITS) + lanes.steps
        ) & lanes.low


class _Lanes(NamedTuple):
    """Constants for numbers of 64 bits side by side in one integer.

    To compute with all of them at once takes 4 us for 128 entries; one by one, 50 us.
    """

    low: int  # the lower 32 bits of each lane
    ones: int  # 1 in each lane
    steps: int  # the difference between the mask of each lane and that of the first lane


@functools.lru_cache(maxsize=32)
def _lanes(count: int) -> _Lanes:
    ones = sum(1 << 64 * lane for lane in range(count))
    steps = sum((lane * _MASK_STEP & _ALL_BITS) << 64 * lane for lane in range(count))
    return _Lanes(ones * _ALL_BITS, ones, steps)
