"""Divides the ledger into sections that are small enough for one step of cleaning; sans-IO.

A section covers some of the directories of chunks. At first one section covers all directories. A
section that has more than `SECTION_CHUNKS` chunks is split into two halves, until each directory
has a section of its own. The names of the files say which sections exist.

A split writes the files of both halves, and then removes the file of the whole. If the mount is
killed in between, both exist: the halves are used if they cover the whole, otherwise the whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gcsmux_fs.caching.chunk_format import SHARDS
from gcsmux_fs.caching.eviction_policy import EvictionQueues

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SECTION_CHUNKS", "Section", "choose_sections", "section_of_name", "split_queues"]

SECTION_CHUNKS = 4096
"""A section with more chunks is split. To read, decode, change and encode a section of 4,096 chunks
takes 8 ms of processor time (Python 3.11, 2026). A larger section chooses hardly better, because
chunks are spread evenly over the directories."""

_LEVELS = SHARDS.bit_length() - 1
_NAME = re.compile(r"section-([0-8])-([0-9a-f]{2})")


class Section(NamedTuple):
    """The part `number` of `2 ** level` equal parts of the directories."""

    level: int
    number: int

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"section-{self.level}-{self.number:02x}"

    @property
    def directories(self) -> range:
        """The directories of chunks that the section covers."""
        width = SHARDS >> self.level
        return range(self.number * width, (self.number + 1) * width)

    @property
    def halves(self) -> tuple[Section, ...]:
        """The two halves; empty if this section covers one directory."""
        if self.level == _LEVELS:
            return ()
        return tuple(Section(self.level + 1, 2 * self.number + half) for half in (0, 1))


_WHOLE = Section(0, 0)


def section_of_name(name: str) -> Section | None:
    """Return the section whose file has this name; None if there is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    section = Section(int(match[1]), int(match[2], 16))
    return section if section.number < 1 << section.level else None


def choose_sections(found: Iterable[Section]) -> list[Section]:
    """Return sections that cover each directory once, from the sections that have a file."""
    return _cover(_WHOLE, set(found)) or [_WHOLE]


def _cover(section: Section, found: set[Section]) -> list[Section]:
    halves = [_cover(half, found) for half in section.halves]
    if halves and all(halves):
        return [*halves[0], *halves[1]]
    return [section] if section in found else []


def split_queues(section: Section, queues: EvictionQueues) -> list[tuple[Section, EvictionQueues]]:
    """Return the halves of a section with their queues, in the same order."""
    parts = []
    for half in section.halves:
        part = EvictionQueues()
        directories = half.directories
        for source, target in (
            (queues.small, part.small),
            (queues.main, part.main),
            (queues.ghosts, part.ghosts),
        ):
            target.update(
                (chunk, known) for chunk, known in source.items() if chunk.shard in directories
            )
        part.small_bytes = sum(known.size for known in part.small.values())
        part.main_bytes = sum(known.size for known in part.main.values())
        parts.append((half, part))
    return parts
