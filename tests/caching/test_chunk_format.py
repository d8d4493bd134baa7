"""Tests of the format of chunk files; the names of invariants are those of `chunk_format`."""

from __future__ import annotations

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.caching.chunk_format import (
    CHUNK_BYTES,
    CHUNK_SLOT,
    GRANULE_BYTES,
    HEADER_BYTES,
    PAGE_BYTES,
    ChunkHeader,
    ChunkId,
    HeaderState,
    chunk_count,
    chunk_of_name,
    chunk_of_prefix,
    granule_slot,
    identity_of,
    page_slot,
)
from gcsmux_fs.model.values import ObjectKey

KEY = ObjectKey("bucket", "name", 1)
GRANULES = CHUNK_BYTES // GRANULE_BYTES
SLOTS = granule_slot(GRANULES - 1) + 1
CHUNK = ChunkId(identity_of(KEY, 3 * CHUNK_BYTES), 1)

chunks = st.builds(ChunkId, st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1))
slots = st.integers(0, SLOTS - 1)
crcs = st.integers(0, 2**32 - 1)


def header_of(chunk: ChunkId = CHUNK) -> ChunkHeader:
    return ChunkHeader(chunk, (chunk.number + 1) * CHUNK_BYTES)


def test_every_field_of_an_object_changes_its_identity() -> None:
    others = [
        identity_of(KEY, 101),
        identity_of(ObjectKey("bucket", "name", 2), 100),
        identity_of(ObjectKey("bucket", "name2", 1), 100),
        # The same letters, divided in another way.
        identity_of(ObjectKey("bucketn", "ame", 1), 100),
        identity_of(KEY, 100, "127.0.0.1:9000"),
        identity_of(ObjectKey("bucket", "name\udcff", 1), 100),
    ]
    assert len({identity_of(KEY, 100), *others}) == 7
    # Files of earlier releases are found under this identity.
    assert identity_of(KEY, 100).hex() == "1556f9d24a1169ef77c9ae2c93b2aa71"


@given(chunks)
def test_the_name_of_a_file_leads_back_to_its_chunk(chunk: ChunkId) -> None:
    folder, shard, name = chunk.path.split("/")
    assert (folder, int(shard, 16)) == ("chunks", chunk.shard)
    assert chunk_of_name(name) == chunk


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "0" * 32,
        "0" * 32 + "-",
        "0" * 32 + "-01",
        "0" * 32 + "-123456789",
        "A" * 32 + "-1",
        "0" * 32 + "-1\n",
        "0" * 31 + "٣-1",
        "0" * 33 + "-1",
    ],
)
def test_no_chunk_has_another_name(name: str) -> None:
    assert chunk_of_name(name) is None


def test_the_entries_of_all_slots_fit_into_the_header_and_do_not_overlap() -> None:
    header = header_of()
    numbers = [
        CHUNK_SLOT,
        *map(page_slot, range(CHUNK_BYTES // PAGE_BYTES)),
        *map(granule_slot, range(GRANULES)),
    ]
    assert sorted(numbers) == list(range(SLOTS))
    assert header.offset_of(0) >= len(header.prefix)
    assert header.offset_of(SLOTS) <= HEADER_BYTES
    for slot in range(SLOTS):
        header.put(slot, header.encode(slot, [slot * 12345]))
    assert [header.crc(slot) for slot in range(SLOTS)] == [slot * 12345 for slot in range(SLOTS)]
    assert header.granule_crcs(0, GRANULES) == [
        granule_slot(granule) * 12345 for granule in range(GRANULES)
    ]


@given(slots, slots, crcs)
def test_f1_an_entry_is_not_valid_in_another_place(slot: int, other: int, crc: int) -> None:
    header = header_of()
    header.put(other, header.encode(slot, [crc]))
    assert (header.crc(other) == crc) == (slot == other)


@given(chunks, chunks, slots, crcs)
def test_f1_an_entry_is_not_valid_in_another_file(
    chunk: ChunkId, other: ChunkId, slot: int, crc: int
) -> None:
    header = header_of(other)
    header.put(slot, header_of(chunk).encode(slot, [crc]))
    assert (header.crc(slot) == crc) == (chunk == other)


@given(slots, crcs, crcs, st.integers(1, 7), st.booleans())
def test_f1_a_torn_entry_is_absent(
    slot: int, crc: int, old: int, torn_at: int, is_over_zeros: bool
) -> None:
    header = header_of()
    entry = header.encode(slot, [crc])
    before = bytes(8) if is_over_zeros else header.encode(slot, [old])
    header.put(slot, entry[:torn_at] + before[torn_at:])
    assert header.crc(slot) in {None, crc, old}
    if is_over_zeros and torn_at <= 4:
        assert header.crc(slot) is None


def test_f2_a_prefix_depends_only_on_the_chunk() -> None:
    header = header_of()
    assert header.prefix == header_of().prefix
    assert header.state_of(header.prefix + b"anything") is HeaderState.VALID
    assert header.state_of(bytes(HEADER_BYTES)) is HeaderState.BLANK
    assert header.state_of(b"") is HeaderState.BLANK
    for bit in range(len(header.prefix) * 8):
        damaged = bytearray(header.prefix)
        damaged[bit // 8] ^= 1 << bit % 8
        assert header.state_of(damaged) is HeaderState.DAMAGED
        assert chunk_of_prefix(bytes(damaged)) is None


def test_a_prefix_leads_back_to_its_chunk() -> None:
    size = CHUNK_BYTES + 5
    for number in range(chunk_count(size)):
        chunk = ChunkId(CHUNK.identity, number)
        assert chunk_of_prefix(ChunkHeader(chunk, size).prefix) == (chunk, size)
    for nonsense in (b"", b"x" * 10, bytes(HEADER_BYTES), b"x" * HEADER_BYTES):
        assert chunk_of_prefix(nonsense) is None
    # The object ends before this chunk.
    assert chunk_of_prefix(ChunkHeader(ChunkId(CHUNK.identity, 9), size).prefix) is None


@pytest.mark.parametrize(
    "length", [1, GRANULE_BYTES, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, CHUNK_BYTES]
)
def test_the_crc_of_a_range_is_combined_from_its_granules(length: int) -> None:
    content = bytes(range(251)) * (length // 251 + 1)
    content = content[:length]
    header = ChunkHeader(ChunkId(CHUNK.identity, 0), length)
    for granule in range(header.granules):
        assert header.chunk_crc() is None
        start = granule * GRANULE_BYTES
        slot = granule_slot(granule)
        part = content[start : start + header.granule_bytes(granule)]
        header.put(slot, header.encode(slot, [crc32c(part)]))
    assert header.chunk_crc() == crc32c(content)
    assert header.range_crc(0, length) == crc32c(content)
    assert header.page_crc(0) == crc32c(content[:PAGE_BYTES])
