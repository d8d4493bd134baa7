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


def test_chunks_in_order_make_the_range() -> None:
    pending = RangeAssembly(10, 20)
    assert Absorbed.PROGRESS is pending.absorb(piece(10, 18))
    assert (pending.next_offset, pending.missing) == (18, 12)
    assert Absorbed.COMPLETE is pending.absorb(piece(18, 30, range_end=True))
    assert CONTENT[10:30] == pending.result()


def test_a_range_is_complete_without_the_mark_of_its_end() -> None:
    assert Absorbed.COMPLETE is RangeAssembly(0, 5).absorb(piece(0, 5))


def test_a_mark_of_the_end_before_the_last_byte_is_short() -> None:
    pending = RangeAssembly(0, 5)
    assert Absorbed.SHORT is pending.absorb(piece(0, 4, range_end=True))
    assert pending.next_offset == 4
    assert Absorbed.SHORT is pending.absorb(piece(4, 4, range_end=True))


def test_a_repeated_chunk_changes_nothing() -> None:
    pending = RangeAssembly(0, 10)
    pending.absorb(piece(0, 6))
    assert Absorbed.NOTHING is pending.absorb(piece(0, 6))
    assert Absorbed.NOTHING is pending.absorb(piece(2, 4))
    assert Absorbed.COMPLETE is pending.absorb(piece(6, 10))
    assert CONTENT[0:10] == pending.result()


def test_of_an_overlapping_chunk_only_the_new_part_is_taken() -> None:
    pending = RangeAssembly(5, 10)
    pending.absorb(piece(5, 9))
    assert Absorbed.COMPLETE is pending.absorb(piece(7, 15))
    assert CONTENT[5:15] == pending.result()


def test_what_lies_before_and_beyond_the_range_is_cut_off() -> None:
    pending = RangeAssembly(5, 10)
    assert Absorbed.COMPLETE is pending.absorb(piece(0, 100, range_end=True))
    assert CONTENT[5:15] == pending.result()


def test_a_gap_is_told_and_nothing_of_it_is_kept() -> None:
    pending = RangeAssembly(0, 10)
    assert Absorbed.GAP is pending.absorb(piece(1, 10))
    assert pending.received == 0


def test_a_chunk_that_fails_its_checksum_is_not_taken() -> None:
    pending = RangeAssembly(0, 10)
    assert Absorbed.CORRUPT is pending.absorb(piece(0, 10, intact=False))
    assert pending.received == 0


def test_an_empty_chunk_does_nothing() -> None:
    assert Absorbed.NOTHING is RangeAssembly(0, 10).absorb(piece(0, 0))


def test_a_range_of_one_chunk_is_a_view_of_the_message() -> None:
    pending = RangeAssembly(0, 10)
    pending.absorb(piece(0, 10, message_bytes=20))
    assert CONTENT is pending.result().obj


def test_a_small_range_does_not_hold_on_to_a_large_message() -> None:
    pending = RangeAssembly(0, 10)
    pending.absorb(piece(0, 10, message_bytes=10_000))
    view = pending.result()
    assert CONTENT[:10] == view
    assert CONTENT is not view.obj


@pytest.mark.parametrize(("excess", "held"), [(500, True), (32_000, True), (40_000, False)])
def test_a_view_may_hold_a_little_more_than_its_range(excess: int, held: bool) -> None:
    content = bytes(512 * 1024)
    pending = RangeAssembly(0, len(content))
    pending.absorb(Chunk(1, 0, memoryview(content), True, True, len(content) + excess))
    assert (pending.result().obj is content) == held


def test_the_result_cannot_be_written_to() -> None:
    pending = RangeAssembly(0, 10)
    pending.absorb(piece(0, 5))
    pending.absorb(piece(5, 10))
    view = pending.result()
    with pytest.raises(TypeError):
        view[0] = 0


def test_what_was_handed_over_is_no_longer_held() -> None:
    pending = RangeAssembly(0, 10)
    pending.absorb(piece(0, 10))
    pending.result()
    assert pending._complete is None
    assert pending._buffer is None


def test_what_is_not_intact_takes_back_what_came_from_there_on() -> None:
    pending = RangeAssembly(10, 30)
    pending.absorb(piece(10, 30))
    assert pending.absorb(piece(20, 20, intact=False)) is Absorbed.CORRUPT
    assert pending.next_offset == 20
    assert pending.absorb(piece(0, 0, intact=False)) is Absorbed.CORRUPT
    assert pending.next_offset == 10
    assert pending.absorb(piece(10, 40)) is Absorbed.COMPLETE
    assert pending.result() == CONTENT[10:40]


@given(
    st.integers(0, 100),
    st.integers(1, 150),
    st.lists(st.tuples(st.integers(0, 260), st.integers(0, 80), st.booleans()), max_size=60),
)
def test_any_chunks_leave_a_true_prefix(
    offset: int, length: int, pieces: list[tuple[int, int, bool]]
) -> None:
    pending = RangeAssembly(offset, length)
    for start, size, intact in pieces:
        next_offset = pending.next_offset
        outcome = pending.absorb(piece(start, start + size, intact=intact))
        if not intact:
            assert max(offset, min(start, next_offset)) == pending.next_offset
        elif start > next_offset:
            assert next_offset == pending.next_offset
        else:
            reached = min(max(next_offset, start + size), offset + length)
            assert reached == pending.next_offset
        assert (outcome is Absorbed.COMPLETE) == (pending.missing == 0)
        if outcome is Absorbed.COMPLETE:
            assert CONTENT[offset : offset + length] == pending.result()
            break
