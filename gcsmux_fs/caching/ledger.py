"""Encodes what the mounts of one cache directory know of its chunks; sans-IO.

All mounts append *records* to one *journal*: which chunks they have written, used and removed. The
mount that cleans sorts the records into *sections*, each for some of the directories of chunks. The
file of a section has a *snapshot* of the eviction queues, and then the records that have arrived
since the snapshot.

Theory of operation: nothing here is needed for right bytes, so nothing is made durable. Each record
has a CRC, and so has the snapshot. Torn and foreign bytes are skipped. What is lost changes only
which chunks are evicted first: the cleaning mount finds unknown chunks on the disk, and adds them.

Invariants that the tests name:

L1. Of any bytes, `decode_records` returns only records that were encoded (up to a CRC collision),
    in order, and never fails.
L2. Bytes that follow or precede a record do not hide it.
L3. `decode_section` of any bytes never fails; without a valid snapshot, the queues are empty.
"""

from __future__ import annotations

import enum
import itertools
import struct
from typing import TYPE_CHECKING, NamedTuple

from crc32c import crc32c

from gcsmux_fs.caching.chunk_format import ChunkId
from gcsmux_fs.caching.eviction_policy import MAX_USES, CachedChunk, EvictionQueues

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "RECORD_BYTES",
    "ChunkEvent",
    "ChunkRecord",
    "apply_records",
    "decode_records",
    "decode_section",
    "encode_records",
    "encode_section",
]


class ChunkEvent(enum.IntEnum):
    """What has happened to a chunk."""

    WRITTEN = 1
    USED = 2
    REMOVED = 3


class ChunkRecord(NamedTuple):
    """One record of the journal.

    Attributes:
        event: what has happened.
        chunk: the chunk.
        at: time in seconds since the Unix epoch.
        size: disk space in bytes after a write, otherwise 0.
    """

    event: ChunkEvent
    chunk: ChunkId
    at: int
    size: int = 0


# Disk space is stored as a number of these, because a 32-bit number of bytes would suffice only for
# chunks below 4 GiB; st_blocks has this unit, too.
_SIZE_UNIT = 512
_U32 = 0xFFFFFFFF

_RECORD_MAGIC = b"\xc7\x1e"
# Magic, event, unused byte, time, size, number, identity; a CRC follows.
_RECORD = struct.Struct("<2sBxIII16s")
_CRC = struct.Struct("<I")

#: Length of each record.
RECORD_BYTES = _RECORD.size + _CRC.size

# Magic, number of chunks in the small queue, in the main queue and of ghosts, CRC of the rest.
_SECTION = struct.Struct("<8sIIII")
_SECTION_MAGIC = b"gcsmuxS1"
# Identity, number, size, time of the last use, interval, uses.
_CHUNK = struct.Struct("<16sIIIIB")


def encode_records(records: Iterable[ChunkRecord]) -> bytes:
    """Return the bytes that are appended to a journal or to a section."""
    encoded = bytearray()
    for event, (identity, number), at, size in records:
        body = _RECORD.pack(
            _RECORD_MAGIC, event, at & _U32, min(size // _SIZE_UNIT, _U32), number, identity
        )
        encoded += body
        encoded += _CRC.pack(crc32c(body))
    return bytes(encoded)


def decode_records(data: bytes | bytearray | memoryview) -> list[ChunkRecord]:
    """Return all records in some bytes. Torn and foreign bytes are skipped."""
    data = bytes(data)
    records = []
    start = 0
    while (start := data.find(_RECORD_MAGIC, start)) >= 0 and start + RECORD_BYTES <= len(data):
        body = data[start : start + _RECORD.size]
        (crc,) = _CRC.unpack_from(data, start + _RECORD.size)
        _, event, at, size, number, identity = _RECORD.unpack(body)
        if crc == crc32c(body) and event in _EVENTS:
            chunk = ChunkId(identity, number)
            records.append(ChunkRecord(_EVENTS[event], chunk, at, size * _SIZE_UNIT))
            start += RECORD_BYTES
        else:
            start += 1
    return records


_EVENTS = {int(event): event for event in ChunkEvent}


def apply_records(queues: EvictionQueues, records: Iterable[ChunkRecord]) -> None:
    """Apply records to the queues, in order."""
    for event, chunk, at, size in records:
        if event is ChunkEvent.WRITTEN:
            queues.put(chunk, size, at)
        elif event is ChunkEvent.USED:
            queues.use(chunk, at)
        else:
            queues.remove(chunk)


def encode_section(queues: EvictionQueues) -> bytes:
    """Return a snapshot of the queues, which begins the file of a section."""
    body = bytearray()
    for queue in (queues.small, queues.main, queues.ghosts):
        for (identity, number), known in queue.items():
            size = min(known.size // _SIZE_UNIT, _U32)
            times = known.used_at & _U32, known.interval & _U32
            body += _CHUNK.pack(identity, number, size, *times, known.uses)
    counts = (len(queues.small), len(queues.main), len(queues.ghosts))
    return _SECTION.pack(_SECTION_MAGIC, *counts, crc32c(bytes(body))) + body


def decode_section(data: bytes | bytearray | memoryview) -> EvictionQueues:
    """Return the queues of a section: the snapshot, and the records behind it."""
    queues = EvictionQueues()
    data = bytes(data)
    apply_records(queues, decode_records(data[_decode_snapshot(queues, data) :]))
    return queues


def _decode_snapshot(queues: EvictionQueues, data: bytes) -> int:
    """Fill `queues` from the snapshot; return its length, or 0 if it is not valid."""
    if len(data) < _SECTION.size:
        return 0
    magic, *counts, crc = _SECTION.unpack_from(data)
    end = _SECTION.size + sum(counts) * _CHUNK.size
    if magic != _SECTION_MAGIC or end > len(data) or crc != crc32c(data[_SECTION.size : end]):
        return 0
    chunks = _CHUNK.iter_unpack(data[_SECTION.size : end])
    for count, queue in zip(counts, (queues.small, queues.main, queues.ghosts), strict=True):
        for identity, number, size, used_at, interval, uses in itertools.islice(chunks, count):
            known = CachedChunk(size * _SIZE_UNIT, used_at, interval, min(uses, MAX_USES))
            queue[ChunkId(identity, number)] = known
    queues.small_bytes = sum(known.size for known in queues.small.values())
    queues.main_bytes = sum(known.size for known in queues.main.values())
    return int(end)
