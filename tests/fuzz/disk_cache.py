"""Fuzz targets: the files of the cache on disk. A power cut, a disk or a program may change them.

Checksums stop accidents. The targets that build valid checksums show that forged files cause no
exception either.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from crc32c import crc32c

from gcsmux_fs.caching.bucket_facts import unpack_facts
from gcsmux_fs.caching.chunk_format import (
    GRANULE_BYTES,
    HEADER_BYTES,
    ChunkHeader,
    ChunkId,
    HeaderState,
    chunk_of_name,
    chunk_of_prefix,
    identity_of,
)
from gcsmux_fs.caching.granule_ranges import differing_granules, present_ranges, ranges_without
from gcsmux_fs.caching.ledger import decode_records, decode_section, encode_records, encode_section
from gcsmux_fs.caching.name_ages import Moment, age_seconds
from gcsmux_fs.caching.name_answers import join_answers, pack_answers, unpack_answers
from gcsmux_fs.caching.name_marks import is_marked, unpack_marks
from gcsmux_fs.caching.name_records import FileId, RecordKind, body_of, record, unpack_listing
from gcsmux_fs.caching.usage_table import decode_table, encode_slot, slot_offset
from gcsmux_fs.model.values import ObjectKey

from .source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.caching.eviction_policy import EvictionQueues

__all__ = ["chunk_header", "forged_names", "ledger", "usage_table"]

_SIZE = 3 * GRANULE_BYTES + 100
_CHUNK = ChunkId(identity_of(ObjectKey("bucket", "object", 1), _SIZE), 0)
_CONTENT = bytes(range(256)) * (_SIZE // 256 + 1)
_FILE = FileId(bytes(32), RecordKind.LISTING, "a/")
_NOW = Moment(bytes(16), 10**18, 2 * 10**18, is_synchronised=True)


def chunk_header(data: bytes) -> None:
    """Change a valid chunk file in arbitrary places; what remains valid must be the content."""
    content = memoryview(_CONTENT)[:_SIZE]
    header = ChunkHeader(_CHUNK, _SIZE)
    header.data[: len(header.prefix)] = header.prefix
    crcs = [crc32c(content[place : place + GRANULE_BYTES]) for place in _places()]
    header.put(2, header.encode(2, crcs))
    file = bytearray(header.data) + content
    source = Source(data)
    while source:
        place = source.number(2) % (HEADER_BYTES + 64)
        changed = source.take(1 + source.number() % 16)
        file[place : place + len(changed)] = changed
    found = chunk_of_prefix(bytes(file))
    assert found is None or found == (_CHUNK, _SIZE)
    chunk_of_prefix(data)
    chunk_of_name(data.decode("utf-8", "replace"))
    if header.state_of(file) is not HeaderState.DAMAGED:
        read = ChunkHeader(_CHUNK, _SIZE)
        read.data = bytearray(file[:HEADER_BYTES])
        read.chunk_crc()
        read.is_complete()
        for start, end in present_ranges(read, 0, _SIZE):
            on_disk = memoryview(file)[HEADER_BYTES + start : HEADER_BYTES + end]
            differing = differing_granules(read, start, end, on_disk)
            for first, last in ranges_without(differing, start, end):
                assert on_disk[first - start : last - start] == content[first:last]


def ledger(data: bytes) -> None:
    """Decode arbitrary bytes as records and as a section; encode the result again."""
    records = decode_records(data)
    assert decode_records(encode_records(records)) == records
    _use_section(data)
    # The beginning of a section is a magic, three counts and the CRC of the rest.
    source = Source(data)
    small, main, ghosts = source.number(), source.number(), source.number()
    body = source.rest()
    counts = b"".join(count.to_bytes(4, "little") for count in (small, main, ghosts))
    end = (small + main) * 29 + ghosts * 20
    _use_section(b"gcsmuxS1" + counts + crc32c(body[:end]).to_bytes(4, "little") + body)


def usage_table(data: bytes) -> None:
    """Decode a table with forged slots, and continue to count in each of them."""
    decode_table(data)
    source = Source(data)
    table = bytearray(4096)
    while source:
        number = source.number() % 63
        body = source.take(48).ljust(48, b"\xff")
        forged = body + crc32c(body).to_bytes(4, "little")
        table[slot_offset(number) : slot_offset(number) + len(forged)] = forged
    found = decode_table(bytes(table))
    assert found.used_bytes >= found.net_bytes
    assert found.limit_bytes(range(63)) >= 0
    for slot in found.slots.values():
        encode_slot(
            replace(
                slot,
                taken_bytes=slot.taken_bytes + 2**40,
                freed_bytes=slot.freed_bytes + 2**40,
                evictions=slot.evictions + 1,
            )
        )


def forged_names(data: bytes) -> None:
    """Unpack kept names with valid checksums and arbitrary content."""
    file = memoryview(b"".join(record(_FILE, _NOW, [data])))
    parts = body_of(file, _FILE)
    assert parts is not None
    with suppress(ValueError):
        unpack_listing(_FILE.location, parts[0])
    with suppress(ValueError):
        unpack_facts(parts[0])
    with suppress(ValueError):
        answers = unpack_answers(parts[0])
        pack_answers(join_answers(answers, answers, _NOW)[0])
        for answer in answers:
            age_seconds(answer.asked, _NOW)
            if answer.resolution is not None and answer.resolution.info is not None:
                answer.resolution.info.name.encode(errors="surrogatepass")
                assert answer.resolution.info.size >= 0
    for lines in (data, b"%08x %s\n" % (crc32c(data), data)):
        marks, _ = unpack_marks(lines)
        is_marked("a/b", _NOW, marks, _NOW)
    body_of(memoryview(data), _FILE)


def _use_section(data: bytes) -> None:
    queues = decode_section(data)
    assert queues.total_bytes == sum(_sizes(queues))
    for _ in queues.evict(queues.total_bytes // 2, 0):
        pass
    assert queues.total_bytes == sum(_sizes(queues))
    again = decode_section(encode_section(queues))
    assert list(again) == list(queues)


def _sizes(queues: EvictionQueues) -> Iterator[int]:
    for queue in (queues.small, queues.main):
        for known in queue.values():
            yield known.size


def _places() -> range:
    return range(0, _SIZE, GRANULE_BYTES)
