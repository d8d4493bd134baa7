"""Tests that a ledger of any bytes can be read, and that it returns only what was written."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from gcsmux_fs.caching.chunk_format import ChunkId
from gcsmux_fs.caching.eviction_policy import EvictionQueues
from gcsmux_fs.caching.ledger import (
    RECORD_BYTES,
    ChunkEvent,
    ChunkRecord,
    apply_records,
    decode_records,
    decode_section,
    encode_records,
    encode_section,
)

_CHUNKS = st.builds(ChunkId, st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1))
_SIZES = st.integers(0, 8192).map(lambda blocks: 512 * blocks)
_RECORDS = st.builds(
    ChunkRecord, st.sampled_from(ChunkEvent), _CHUNKS, st.integers(0, 2**32 - 1), _SIZES
)
# Bytes that another program has left, among them the first bytes of a record.
_FOREIGN = st.one_of(
    st.binary(max_size=80),
    st.integers(0, RECORD_BYTES - 1).map(
        lambda length: encode_records([ChunkRecord(ChunkEvent.USED, ChunkId(bytes(16), 0), 0)])[
            :length
        ]
    ),
)


@given(st.lists(st.one_of(_RECORDS, _FOREIGN), max_size=20))
def test_torn_and_foreign_bytes_are_skipped(pieces: list[ChunkRecord | bytes]) -> None:
    """Invariants L1 and L2."""
    records = [piece for piece in pieces if isinstance(piece, ChunkRecord)]
    # The pieces of a record are not foreign if they follow each other.
    assume(not decode_records(b"".join(piece for piece in pieces if isinstance(piece, bytes))))
    data = b"".join(
        encode_records([piece]) if isinstance(piece, ChunkRecord) else piece for piece in pieces
    )
    assert decode_records(data) == records


@given(st.lists(_RECORDS, max_size=10), st.data())
def test_a_changed_byte_loses_only_its_record(
    records: list[ChunkRecord], data: st.DataObject
) -> None:
    encoded = bytearray(encode_records(records))
    if not encoded:
        return
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    damaged = place // RECORD_BYTES
    assert decode_records(encoded) == records[:damaged] + records[damaged + 1 :]


def _state(queues: EvictionQueues) -> object:
    return (
        [list(queue.items()) for queue in (queues.small, queues.main, queues.ghosts)],
        queues.small_bytes,
        queues.main_bytes,
    )


@st.composite
def _queues(draw: st.DrawFn) -> EvictionQueues:
    queues = EvictionQueues()
    for _ in range(draw(st.integers(0, 4))):
        apply_records(queues, draw(st.lists(_RECORDS, max_size=5)))
        known = list(queues)
        if known:
            queues.use(draw(st.sampled_from(known)), 2**32 - 1)
        list(queues.evict(draw(_SIZES), 2**32 - 1))
    return queues


@given(_queues(), st.lists(_RECORDS, max_size=5), st.binary(max_size=20))
def test_a_section_is_read_as_it_was_written(
    queues: EvictionQueues, later: list[ChunkRecord], torn: bytes
) -> None:
    data = encode_section(queues) + encode_records(later) + torn
    apply_records(queues, later)
    assert _state(decode_section(data)) == _state(queues)


@given(_queues(), st.data())
def test_a_damaged_snapshot_is_not_used(queues: EvictionQueues, data: st.DataObject) -> None:
    """Invariant L3."""
    encoded = bytearray(encode_section(queues))
    if data.draw(st.booleans()):
        del encoded[data.draw(st.integers(0, len(encoded) - 1)) :]
    else:
        encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    assert len(decode_section(encoded)) == 0


@given(st.binary(max_size=300))
def test_any_bytes_are_a_section(data: bytes) -> None:
    decode_section(data)
