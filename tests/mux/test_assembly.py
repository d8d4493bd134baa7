from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.mux.assembly import Absorbed, RangeAssembly
from gcsmux_fs.storage.ports import Chunk

CONTENT = Random(1).randbytes(300)


def piece(
    start: int,
    stop: int,
    *,
    range_end: bool = False,
    intact: bool = True,
    message_bytes: int | None = None,
) -> Chunk:
    content = memoryview(CONTENT)[start:stop]
    held = len(content) if message_bytes is None else message_bytes
    return Chunk(1, start, content, range_end, intact, held)


def test_chunks_in_order_complete_the_range() -> None:
    assembly = RangeAssembly(10, 20)
    assert Absorbed.PROGRESS is assembly.absorb(piece(10, 18))
    assert (assembly.next_offset, assembly.missing) == (18, 12)
    assert Absorbed.COMPLETE is assembly.absorb(piece(18, 30, range_end=True))
    assert CONTENT[10:30] == assembly.result()


def test_a_range_is_complete_without_an_end_mark() -> None:
    assert Absorbed.COMPLETE is RangeAssembly(0, 5).absorb(piece(0, 5))


def test_an_end_mark_before_the_last_byte_is_short() -> None:
    assembly = RangeAssembly(0, 5)
    assert Absorbed.SHORT is assembly.absorb(piece(0, 4, range_end=True))
    assert assembly.next_offset == 4
    assert Absorbed.SHORT is assembly.absorb(piece(4, 4, range_end=True))


def test_a_repeated_chunk_changes_nothing() -> None:
    assembly = RangeAssembly(0, 10)
    assembly.absorb(piece(0, 6))
    assert Absorbed.NOTHING is assembly.absorb(piece(0, 6))
    assert Absorbed.NOTHING is assembly.absorb(piece(2, 4))
    assert Absorbed.COMPLETE is assembly.absorb(piece(6, 10))
    assert CONTENT[0:10] == assembly.result()


def test_only_the_new_part_of_an_overlapping_chunk_is_stored() -> None:
    assembly = RangeAssembly(5, 10)
    assembly.absorb(piece(5, 9))
    assert Absorbed.COMPLETE is assembly.absorb(piece(7, 15))
    assert CONTENT[5:15] == assembly.result()


def test_bytes_before_and_after_the_range_are_cut_off() -> None:
    assembly = RangeAssembly(5, 10)
    assert Absorbed.COMPLETE is assembly.absorb(piece(0, 100, range_end=True))
    assert CONTENT[5:15] == assembly.result()


def test_a_chunk_after_a_gap_is_not_stored() -> None:
    assembly = RangeAssembly(0, 10)
    assert Absorbed.GAP is assembly.absorb(piece(1, 10))
    assert assembly.received == 0


def test_a_chunk_with_a_wrong_checksum_is_not_stored() -> None:
    assembly = RangeAssembly(0, 10)
    assert Absorbed.CORRUPT is assembly.absorb(piece(0, 10, intact=False))
    assert assembly.received == 0


def test_an_empty_chunk_does_nothing() -> None:
    assert Absorbed.NOTHING is RangeAssembly(0, 10).absorb(piece(0, 0))


def test_a_range_of_one_chunk_is_a_view_of_the_message() -> None:
    assembly = RangeAssembly(0, 10)
    assembly.absorb(piece(0, 10, message_bytes=20))
    assert CONTENT is assembly.result().obj


def test_a_small_range_does_not_keep_a_large_message_in_memory() -> None:
    assembly = RangeAssembly(0, 10)
    assembly.absorb(piece(0, 10, message_bytes=10_000))
    view = assembly.result()
    assert CONTENT[:10] == view
    assert CONTENT is not view.obj


@pytest.mark.parametrize(("excess", "held"), [(500, True), (32_000, True), (40_000, False)])
def test_a_view_may_keep_a_message_that_is_a_little_larger_than_its_range(
    excess: int, held: bool
) -> None:
    content = bytes(512 * 1024)
    assembly = RangeAssembly(0, len(content))
    assembly.absorb(Chunk(1, 0, memoryview(content), True, True, len(content) + excess))
    assert (assembly.result().obj is content) == held


def test_the_result_is_read_only() -> None:
    assembly = RangeAssembly(0, 10)
    assembly.absorb(piece(0, 5))
    assembly.absorb(piece(5, 10))
    view = assembly.result()
    with pytest.raises(TypeError):
        view[0] = 0


def test_the_assembly_drops_its_references_to_the_result() -> None:
    assembly = RangeAssembly(0, 10)
    assembly.absorb(piece(0, 10))
    assembly.result()
    assert assembly._complete is None
    assert assembly._buffer is None


def test_a_corrupt_chunk_removes_the_bytes_from_its_offset_on() -> None:
    assembly = RangeAssembly(10, 30)
    assembly.absorb(piece(10, 30))
    assert assembly.absorb(piece(20, 20, intact=False)) is Absorbed.CORRUPT
    assert assembly.next_offset == 20
    assert assembly.absorb(piece(0, 0, intact=False)) is Absorbed.CORRUPT
    assert assembly.next_offset == 10
    assert assembly.absorb(piece(10, 40)) is Absorbed.COMPLETE
    assert assembly.result() == CONTENT[10:40]


@given(
    st.integers(0, 100),
    st.integers(1, 150),
    st.lists(st.tuples(st.integers(0, 260), st.integers(0, 80), st.booleans()), max_size=60),
)
def test_any_chunks_leave_a_correct_prefix(
    offset: int, length: int, pieces: list[tuple[int, int, bool]]
) -> None:
    assembly = RangeAssembly(offset, length)
    for start, size, intact in pieces:
        next_offset = assembly.next_offset
        outcome = assembly.absorb(piece(start, start + size, intact=intact))
        if not intact:
            assert max(offset, min(start, next_offset)) == assembly.next_offset
        elif start > next_offset:
            assert next_offset == assembly.next_offset
        else:
            reached = min(max(next_offset, start + size), offset + length)
            assert reached == assembly.next_offset
        assert (outcome is Absorbed.COMPLETE) == (assembly.missing == 0)
        if outcome is Absorbed.COMPLETE:
            assert CONTENT[offset : offset + length] == assembly.result()
            break
