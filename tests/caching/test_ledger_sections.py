"""Tests that the sections of a ledger cover each directory of chunks once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.caching.chunk_format import SHARDS
from gcsmux_fs.caching.eviction_policy import EvictionQueues
from gcsmux_fs.caching.ledger_sections import (
    Section,
    choose_sections,
    section_of_name,
    split_queues,
)
from tests.caching.cleaning import chunk_number

_SECTIONS = st.integers(0, 8).flatmap(
    lambda level: st.builds(Section, st.just(level), st.integers(0, 2**level - 1))
)


@given(st.sets(_SECTIONS, max_size=40))
def test_any_files_cover_each_directory_once(found: set[Section]) -> None:
    chosen = choose_sections(found)
    assert [directory for each in chosen for directory in each.directories] == list(range(SHARDS))


@given(_SECTIONS)
def test_a_killed_split_is_repeated(section: Section) -> None:
    """Both halves are used if both were written, otherwise the whole is."""
    rest: set[Section] = set()
    above = Section(0, 0)
    while above != section:
        halves = above.halves
        inside = section.directories[0] in halves[1].directories
        rest.add(halves[not inside])
        above = halves[inside]
    if not section.halves:
        return
    first, second = section.halves
    assert section in choose_sections(rest | {section, first})
    assert section not in choose_sections(rest | {section, first, second})
    assert {first, second} <= set(choose_sections(rest | {section, first, second}))


@given(_SECTIONS)
def test_the_name_of_a_file_names_the_section(section: Section) -> None:
    assert section_of_name(section.name) == section
    assert section_of_name(section.name + ".new") is None


def test_other_names_are_no_sections() -> None:
    for name in ("journal", "section-1-02", "section-9-00", "section-0-0", "section--1-00"):
        assert section_of_name(name) is None


def test_a_split_keeps_chunks_in_their_order() -> None:
    queues = EvictionQueues()
    for number in range(500):
        queues.put(chunk_number(number), number, 0)
        queues.use(chunk_number(number), 100 * (number % 2))
    list(queues.evict(queues.total_bytes * 2 // 3, 100))
    (left, lower), (right, upper) = split_queues(Section(0, 0), queues)
    assert list(left.directories) + list(right.directories) == list(range(SHARDS))
    for queue, low, high in (
        (queues.small, lower.small, upper.small),
        (queues.main, lower.main, upper.main),
    ):
        assert [chunk for chunk in queue if chunk.shard < 128] == list(low)
        assert [chunk for chunk in queue if chunk.shard >= 128] == list(high)
    assert [*lower.ghosts, *upper.ghosts] == sorted(
        queues.ghosts, key=lambda each: each.shard > 127
    )
    assert lower.total_bytes + upper.total_bytes == queues.total_bytes
