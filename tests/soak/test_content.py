"""Tests of OpenContent: it detects a byte that belongs to another object, offset or version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .content import Identity, OpenContent, WrongBytes, bytes_at, identify

NAME = "folder/name"
SIZE = 20_000


def seen(*identities: Identity, cut: int = SIZE) -> bytes:
    """Return `cut` bytes of content.

    The first half of SIZE belongs to the first identity, all bytes after it to the last identity.
    """
    half = SIZE // 2
    return bytes_at(identities[0], 0, half) + bytes_at(identities[-1], half, cut - half)


@given(
    version=st.integers(1, 2**32 - 1),
    shift=st.integers(0, 255),
    offset=st.integers(0, 50_000),
    size=st.integers(31, 9000),
)
def test_31_bytes_identify_their_content(version: int, shift: int, offset: int, size: int) -> None:
    identity = Identity(NAME, version, shift)
    assert identify(NAME, offset, bytes_at(identity, offset, size)) == identity


@given(offset=st.integers(0, SIZE), size=st.integers(0, SIZE), cut=st.integers(0, SIZE))
def test_a_piece_equals_the_slice_of_the_whole_content(offset: int, size: int, cut: int) -> None:
    whole = bytes_at(Identity(NAME, 3, cut % 256), 0, 2 * SIZE)
    assert bytes_at(Identity(NAME, 3, cut % 256), offset, size) == whole[offset : offset + size]


def test_one_added_to_each_byte_is_a_shift() -> None:
    content = bytes_at(Identity(NAME, 1), 0, SIZE)
    more = bytes((value + 1) % 256 for value in content)
    assert more == bytes_at(Identity(NAME, 1, 1), 0, SIZE)


@given(
    reads=st.lists(st.tuples(st.integers(0, SIZE + 100), st.integers(1, 9000)), min_size=1),
    shift=st.integers(0, 255),
)
def test_right_bytes_pass_in_any_order(reads: list[tuple[int, int]], shift: int) -> None:
    content = bytes_at(Identity(NAME, 2, shift), 0, SIZE)
    file = OpenContent(NAME, SIZE)
    for offset, size in reads:
        file.check(offset, size, content[offset : offset + size])
    if file.identity is not None:
        assert file.identity == Identity(NAME, 2, shift)
        assert file.compared_bytes == sum(len(content[at : at + size]) for at, size in reads)


@given(at=st.integers(0, SIZE - 1), change=st.integers(1, 255))
def test_one_wrong_byte_is_detected(at: int, change: int) -> None:
    content = bytearray(bytes_at(Identity(NAME, 2), 0, SIZE))
    content[at] = (content[at] + change) % 256
    with pytest.raises(WrongBytes):
        OpenContent(NAME, SIZE).check(0, SIZE, bytes(content))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(seen(Identity("folder/other", 1)), id="another object"),
        pytest.param(seen(Identity(NAME, 1), Identity(NAME, 2)), id="two versions"),
        pytest.param(seen(Identity(NAME, 1), Identity(NAME, 1, 1)), id="overwritten by a fault"),
        pytest.param(seen(Identity(NAME, 1), cut=SIZE - 1), id="too short"),
        pytest.param(bytes(SIZE), id="zeros"),
        pytest.param(seen(Identity(NAME, 1))[4096:] + bytes(4096), id="another place"),
    ],
)
def test_bytes_of_another_object_are_detected(content: bytes) -> None:
    with pytest.raises(WrongBytes):
        OpenContent(NAME, SIZE).check(0, SIZE, content)


def test_reads_of_two_versions_are_detected() -> None:
    file = OpenContent(NAME, SIZE)
    file.check(0, 5000, bytes_at(Identity(NAME, 1), 0, 5000))
    with pytest.raises(WrongBytes, match="version 1"):
        file.check(5000, 5000, bytes_at(Identity(NAME, 2), 5000, 5000))


def test_bytes_too_short_to_identify_are_compared_later() -> None:
    file = OpenContent(NAME, SIZE)
    file.check(SIZE - 13, 100, bytes_at(Identity(NAME, 2), SIZE - 13, 13))
    assert file.compared_bytes == 0
    with pytest.raises(WrongBytes, match=f"read at {SIZE - 13}"):
        file.check(0, 5000, bytes_at(Identity(NAME, 1), 0, 5000))
