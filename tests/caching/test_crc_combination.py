"""Tests that combined CRCs are the CRCs of the joined bytes."""

from __future__ import annotations

import random

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.caching.crc_combination import combine, combine_pieces


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_two_parts(first: bytes, second: bytes) -> None:
    assert combine(crc32c(first), crc32c(second), len(second)) == crc32c(first + second)


@pytest.mark.parametrize("length", [1, 2**14 - 1, 2**14, 2**20 + 12345])
def test_a_long_second_part(length: int) -> None:
    content = random.Random(length).randbytes(length + 10)
    first, second = content[:10], content[10:]
    assert combine(crc32c(first), crc32c(second), length) == crc32c(content)


def test_a_part_of_a_terabyte_of_zeros_needs_no_bytes() -> None:
    # CRCs combine in any order, so two ways to join the same parts give the same result.
    halves = combine(combine(7, 1, 2**39), 2, 2**39)
    assert halves == combine(7, combine(1, 2, 2**39), 2**40)


@given(st.binary(max_size=500), st.integers(1, 60))
def test_pieces_of_equal_length_and_a_shorter_last_piece(content: bytes, length: int) -> None:
    pieces = [content[place : place + length] for place in range(0, len(content), length)]
    crcs = [crc32c(piece) for piece in pieces]
    last_bytes = len(pieces[-1]) if pieces else 0
    assert combine_pieces(crcs, length, last_bytes) == crc32c(content)
