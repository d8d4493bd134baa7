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
    wanted = RangeAssembly(10, 20)
    assert Absorbed.PROGRESS is wanted.absorb(piece(10, 18))
    assert (wanted.next_offset, wanted.missing) == (18, 12)
    assert Absorbed.COMPLETE is wanted.absorb(piece(18, 30, range_end=True))
    assert CONTENT[10:30] == wanted.result()


def test_a_range_is_complete_without_the_mark_of_its_end() -> None:
    assert Absorbed.COMPLETE is RangeAssembly(0, 5).absorb(piece(0, 5))


def test_a_mark_of_the_end_before_the_last_byte_is_short() -> None:
    wanted = RangeAssembly(0, 5)
    assert Absorbed.SHORT is wanted.absorb(piece(0, 4, range_end=True))
    assert wanted.next_offset == 4
    assert Absorbed.SHORT is wanted.absorb(piece(4, 4, range_end=True))


def test_a_repeated_chunk_changes_nothing() -> None:
    wanted = RangeAssembly(0, 10)
    wanted.absorb(piece(0, 6))
    assert Absorbed.NOTHING is wanted.absorb(piece(0, 6))
    assert Absorbed.NOTHING is wanted.absorb(piece(2, 4))
    assert Absorbed.COMPLETE is wanted.absorb(piece(6, 10))
    assert CONTENT[0:10] == wanted.result()


def test_of_an_overlapping_chunk_only_the_new_part_is_taken() -> None:
    wanted = RangeAssembly(5, 10)
    wanted.absorb(piece(5, 9))
    assert Absorbed.COMPLETE is wanted.absorb(piece(7, 15))
    assert CONTENT[5:15] == wanted.result()


def test_what_lies_before_and_beyond_the_range_is_cut_off() -> None:
    wanted = RangeAssembly(5, 10)
    assert Absorbed.COMPLETE is wanted.absorb(piece(0, 100, range_end=True))
    assert CONTENT[5:15] == wanted.result()


def test_a_gap_is_told_and_nothing_of_it_is_kept() -> None:
    wanted = RangeAssembly(0, 10)
    assert Absorbed.GAP is wanted.absorb(piece(1, 10))
    assert wanted.received == 0


def test_a_chunk_that_fails_its_checksum_is_not_taken() -> None:
    wanted = RangeAssembly(0, 10)
    assert Absorbed.CORRUPT is wanted.absorb(piece(0, 10, intact=False))
    assert wanted.received == 0


def test_an_empty_chunk_does_nothing() -> None:
    assert Absorbed.NOTHING is RangeAssembly(0, 10).absorb(piece(0, 0))


def test_a_range_of_one_chunk_is_a_view_of_the_message() -> None:
    wanted = RangeAssembly(0, 10)
    wanted.absorb(piece(0, 10, message_bytes=20))
    assert CONTENT is wanted.result().obj


def test_a_small_range_does_not_hold_on_to_a_large_message() -> None:
    wanted = RangeAssembly(0, 10)
    wanted.absorb(piece(0, 10, message_bytes=10_000))
    view = wanted.result()
    assert CONTENT[:10] == view
    assert CONTENT is not view.obj


@pytest.mark.parametrize(("excess", "held"), [(500, True), (32_000, True), (40_000, False)])
def test_a_view_may_hold_a_little_more_than_its_range(excess: int, held: bool) -> None:
    content = bytes(512 * 1024)
    wanted = RangeAssembly(0, len(content))
    wanted.absorb(Chunk(1, 0, memoryview(content), True, True, len(content) + excess))
    assert (wanted.result().obj is content) == held


def test_the_result_cannot_be_written_to() -> None:
    wanted = RangeAssembly(0, 10)
    wanted.absorb(piece(0, 5))
    wanted.absorb(piece(5, 10))
    view = wanted.result()
    with pytest.raises(TypeError):
        view[0] = 0


def test_what_was_handed_over_is_no_longer_held() -> None:
    wanted = RangeAssembly(0, 10)
    wanted.absorb(piece(0, 10))
    wanted.result()
    assert wanted._whole is None
    assert wanted._written is None


def test_what_is_not_intact_takes_back_what_came_from_there_on() -> None:
    wanted = RangeAssembly(10, 30)
    wanted.absorb(piece(10, 30))
    assert wanted.absorb(piece(20, 20, intact=False)) is Absorbed.CORRUPT
    assert wanted.next_offset == 20
    assert wanted.absorb(piece(0, 0, intact=False)) is Absorbed.CORRUPT
    assert wanted.next_offset == 10
    assert wanted.absorb(piece(10, 40)) is Absorbed.COMPLETE
    assert wanted.result() == CONTENT[10:40]


@given(
    st.integers(0, 100),
    st.integers(1, 150),
    st.lists(st.tuples(st.integers(0, 260), st.integers(0, 80), st.booleans()), max_size=60),
)
def test_any_chunks_leave_a_true_prefix(
    offset: int, length: int, pieces: list[tuple[int, int, bool]]
) -> None:
    wanted = RangeAssembly(offset, length)
    for start, size, intact in pieces:
        next_offset = wanted.next_offset
        outcome = wanted.absorb(piece(start, start + size, intact=intact))
        if not intact:
            assert max(offset, min(start, next_offset)) == wanted.next_offset
        elif start > next_offset:
            assert next_offset == wanted.next_offset
        else:
            reached = min(max(next_offset, start + size), offset + length)
            assert reached == wanted.next_offset
        assert (outcome is Absorbed.COMPLETE) == (wanted.missing == 0)
        if outcome is Absorbed.COMPLETE:
            assert CONTENT[offset : offset + length] == wanted.result()
            break
