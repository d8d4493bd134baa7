"""Tests of which file is suggested after a file, when large files are read in different orders."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.filesystem.shard_chain import MAX_CREDIT, ShardChain
from gcsmux_fs.filesystem.shard_names import next_numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.filesystem.shard_chain import SuccessorRule

SIZE = 1000


def shards(count: int) -> list[str]:
    return [f"m-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


def rules(names: Sequence[str]) -> tuple[SuccessorRule, SuccessorRule]:
    """Return the rules of a directory: by number if the file exists, and by listing order."""
    listed = sorted(names)

    def by_number(name: str) -> str | None:
        following = next_numbered(name)
        return following if following in names else None

    def by_listing(name: str) -> str | None:
        position = listed.index(name) + 1
        return listed[position] if position < len(listed) else None

    return by_number, by_listing


def suggestions(names: Sequence[str], order: Sequence[str]) -> list[str | None]:
    """Read files in order. Return the suggestion at the end of each file, None if none."""
    chain = ShardChain(order[0])
    suggested = []
    for name in order:
        chain.note_read(name, SIZE, rules(names))
        suggested.append(chain.suggest(name, rules(names)) if chain.allowed_bytes else None)
    return suggested


def test_shards_of_a_set_are_suggested_from_the_first_on() -> None:
    names = shards(8)
    assert suggestions(names, names) == [*names[1:], None]


@pytest.mark.parametrize(
    "names",
    [
        [f"part-{number}.bin" for number in range(20)],
        [f"part-{number:03}.bin" for number in range(20)],
        ["anna.bin", "berta.bin", "carl.bin", "dora.bin", "emil.bin"],
        [f"part-{number:05}-{number * 7919 % 997:04x}-c000.parquet" for number in range(20)],
    ],
)
def test_other_files_are_suggested_after_one_step_in_order(names: list[str]) -> None:
    assert suggestions(names, names) == [None, *names[2:], None]


def test_unpadded_numbers_may_be_read_in_the_order_of_the_listing() -> None:
    names = [f"part-{number}.bin" for number in range(1, 31)]
    order = sorted(names)
    suggested = suggestions(names, order)
    hits = sum(name in suggested[:position] for position, name in enumerate(order))
    assert hits >= len(order) - 4


def test_two_threads_that_alternate_get_each_file_suggested_once() -> None:
    names = shards(8)
    chain = ShardChain(names[0])
    chain.note_read(names[0], SIZE, rules(names))
    chain.note_read(names[1], SIZE, rules(names))
    assert chain.suggest(names[0], rules(names)) == names[2]
    assert chain.suggest(names[1], rules(names)) == names[3]
    chain.note_read(names[2], SIZE, rules(names))
    chain.note_read(names[3], SIZE, rules(names))
    assert chain.suggest(names[2], rules(names)) == names[4]


def test_two_threads_with_half_of_the_files_each_get_their_own_next_file() -> None:
    names = shards(8)
    chain = ShardChain(names[0])
    for first, second in zip(names[:3], names[4:7], strict=True):
        chain.note_read(first, SIZE, rules(names))
        chain.note_read(second, SIZE, rules(names))
        assert chain.suggest(first, rules(names)) == names[names.index(first) + 1]
        assert chain.suggest(second, rules(names)) == names[names.index(second) + 1]


def test_files_in_random_order_are_hardly_suggested() -> None:
    names = [f"part-{number:03}.bin" for number in range(200)]
    order = list(names)
    random.Random(5).shuffle(order)
    chain = ShardChain(order[0])
    suggested = 0
    unread: list[str] = []
    for name in order:
        chain.note_read(name, SIZE, rules(names))
        if chain.allowed_bytes and (following := chain.suggest(name, rules(names))):
            suggested += 1
            unread.append(following)
        if len(unread) > 1:
            chain.note_unread(unread.pop(0))
    assert suggested <= 30


def test_unread_suggestions_end_the_suggestions_until_a_file_is_read_in_order() -> None:
    names = shards(20)
    chain = ShardChain(names[0])
    for name in names[:9]:
        chain.note_read(name, SIZE, rules(names))
    for _ in range(MAX_CREDIT):
        assert chain.allowed_bytes
        chain.note_unread(names[9])
    assert not chain.allowed_bytes
    chain.note_read(names[9], SIZE, rules(names))
    assert chain.allowed_bytes


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_at_most_half_of_what_is_read_is_allowed_ahead(order: list[int]) -> None:
    names = [f"part-{number:03}.bin" for number in range(31)]
    chain = ShardChain(names[order[0]])
    suggested: set[str] = set()
    for count, number in enumerate(order, 1):
        chain.note_read(names[number], SIZE, rules(names))
        assert chain.allowed_bytes * 2 <= count * SIZE
        following = chain.suggest(names[number], rules(names))
        assert following not in {names[n] for n in order[:count]} | suggested
        suggested |= {following} if following else set()
