"""The table by which the mounts of one cache directory bound its size together; sans-IO.

Theory of operation: each mount has a *slot* in one small file, and only this mount writes its slot.
A slot has the disk space that the mount has taken and freed so far, and the space that the mount
has reserved for its next writes. The space in use is the sum over all slots. To reserve space, a
mount first publishes the reservation, and then adds up all slots: if the sum exceeds the limit, it
withdraws the reservation. So two mounts never pass the limit together, and no lock exists that a
stopped process could hold.

The slot of a mount that has ended stays, because its chunks stay. The next mount takes the slot
over. The table may also be wrong: a killed mount has not published its last bytes, and a power cut
restores an older table. So the cleaning mount counts the files, and corrects its own slot.

The table begins with a mark that the chunks have been counted. Without the mark, the sum means
nothing, and nothing may be written until the chunks have been counted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from crc32c import crc32c

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = [
    "SLOTS",
    "TABLE_BYTES",
    "UNLIMITED",
    "UsageSlot",
    "UsageTable",
    "decode_table",
    "encode_mark",
    "encode_slot",
    "slot_offset",
]

TABLE_BYTES = 4096
"""One page of memory, which the kernel writes to the disk as a whole."""

SLOT_BYTES = 64

SLOTS = TABLE_BYTES // SLOT_BYTES - 1
"""Number of mounts that may write to one directory at the same time."""

UNLIMITED = 2**63 - 1
"""The limit of a mount that is bounded only by the free space of the disk."""

_MAGIC = b"gcsmuxU1"
# The fields of `UsageSlot`.
_SLOT = struct.Struct("<QQQQQQ")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class UsageSlot:
    """What one mount publishes.

    Attributes:
        taken_bytes: disk space that the mount has taken.
        freed_bytes: disk space that the mount has freed. It may exceed `taken_bytes`, because a
            mount also evicts the chunks of others.
        reserved_bytes: space that the mount may take without asking again.
        limit_bytes: the cache size with which the mount was started.
        min_free_bytes: the free space that the mount leaves on the disk.
        evictions: number of chunks that the mount has evicted.
    """

    taken_bytes: int = 0
    freed_bytes: int = 0
    reserved_bytes: int = 0
    limit_bytes: int = UNLIMITED
    min_free_bytes: int = 0
    evictions: int = 0

    def without_mount(self) -> UsageSlot:
        """Return what is left when the mount has ended."""
        return replace(self, reserved_bytes=0, limit_bytes=UNLIMITED, min_free_bytes=0)


@dataclass(frozen=True, slots=True)
class UsageTable:
    """All slots.

    Attributes:
        marked: whether the chunks have been counted since the table was created.
        slots: the slots in use, by number.
        damaged: the numbers of the slots that are not valid.
    """

    marked: bool
    slots: dict[int, UsageSlot]
    damaged: frozenset[int] = frozenset()

    @property
    def counted(self) -> bool:
        """Whether the sum of the slots is right."""
        return self.marked and not self.damaged

    @property
    def net_bytes(self) -> int:
        """Disk space of all chunks."""
        return sum(slot.taken_bytes - slot.freed_bytes for slot in self.slots.values())

    @property
    def moved_bytes(self) -> int:
        """Disk space that was ever taken and freed."""
        return sum(slot.taken_bytes + slot.freed_bytes for slot in self.slots.values())

    @property
    def used_bytes(self) -> int:
        """Disk space of all chunks, with the reservations."""
        return self.net_bytes + sum(slot.reserved_bytes for slot in self.slots.values())

    @property
    def evictions(self) -> int:
        """A number that changes when a mount evicts chunks."""
        return sum(slot.evictions for slot in self.slots.values())

    def limit_bytes(self, running: Collection[int]) -> int:
        """Return the smallest cache size of the running mounts, which applies to all of them."""
        return min(
            (self.slots[number].limit_bytes for number in _known(running, self.slots)),
            default=UNLIMITED,
        )

    def min_free_bytes(self, running: Collection[int]) -> int:
        """Return the largest minimum of free space of the running mounts."""
        return max(
            (self.slots[number].min_free_bytes for number in _known(running, self.slots)),
            default=0,
        )


def _known(running: Iterable[int], slots: dict[int, UsageSlot]) -> list[int]:
    return [number for number in running if number in slots]


def slot_offset(number: int) -> int:
    """Return the place of a slot in the table."""
    return (number + 1) * SLOT_BYTES


def encode_mark(*, counted: bool) -> bytes:
    """Return the beginning of the table."""
    return _MAGIC if counted else bytes(len(_MAGIC))


def encode_slot(slot: UsageSlot) -> bytes:
    """Return the bytes of a slot."""
    body = _SLOT.pack(
        slot.taken_bytes,
        slot.freed_bytes,
        slot.reserved_bytes,
        slot.limit_bytes,
        slot.min_free_bytes,
        slot.evictions,
    )
    return (body + _CRC.pack(crc32c(body))).ljust(SLOT_BYTES, b"\0")


def decode_table(data: bytes | memoryview) -> UsageTable:
    """Return the table. A slot of zeros is not in use."""
    data = bytes(data).ljust(TABLE_BYTES, b"\0")
    slots: dict[int, UsageSlot] = {}
    damaged = set()
    for number in range(SLOTS):
        start = slot_offset(number)
        raw = data[start : start + SLOT_BYTES]
        if raw == _UNUSED:
            continue
        body = raw[: _SLOT.size]
        fields = _SLOT.unpack(body)
        # No mount writes a larger number. A forged one would exceed the field when it grows.
        if _CRC.unpack_from(raw, _SLOT.size)[0] == crc32c(body) and max(fields) <= UNLIMITED:
            slots[number] = UsageSlot(*fields)
        else:
            damaged.add(number)
    return UsageTable(data.startswith(_MAGIC), slots, frozenset(damaged))


_UNUSED = bytes(SLOT_BYTES)
