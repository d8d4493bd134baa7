"""Generated traces: READs of programs that read one object in a simple pattern."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.support.sizes import KIB
from tests.traces.trace_file import Close, Event, Open, Read, Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "RegionWalk",
    "Span",
    "Stride",
    "interleaved",
    "one_reader",
    "region_walks",
    "strides",
    "walk",
]

Span = tuple[int, int]
"""Offset and length of a READ."""

_PAGE = 4 * KIB


def one_reader(program: str, spans: Iterable[Span], size: int) -> Trace:
    """Return the trace of a thread that waits for each READ before it sends the next."""
    return interleaved(program, [list(spans)], size)


def interleaved(program: str, readers: Sequence[Sequence[Span]], size: int) -> Trace:
    """Return the trace of several threads with one open file, each as in `one_reader`.

    The kernel sends the first READ of each thread, then the second of each thread, and so on.
    """
    events: list[Event] = [Open(1, "data", 1)]
    last = [0] * len(readers)
    for turn in range(max(map(len, readers))):
        for thread, spans in enumerate(readers):
            if turn < len(spans):
                events.append(Read(1, *spans[turn], thread + 1, (last[thread],)))
                last[thread] = len(events) - 1
    events.append(Close(1))
    return Trace(program, 128 * KIB, {"data": size}, events)


def walk(start: int, count: int, length: int, step: int) -> list[Span]:
    """Return `count` spans of `length` bytes; the next span begins `step` bytes further."""
    return [(start + i * step, length) for i in range(count)]


@dataclass(frozen=True)
class Stride:
    """READs at a constant distance, in ascending or descending order."""

    start: int
    count: int
    length: int
    step: int
    is_descending: bool

    @property
    def spans(self) -> list[Span]:
        spans = walk(self.start, self.count, self.length, self.step)
        return spans[::-1] if self.is_descending else spans


@dataclass(frozen=True)
class RegionWalk:
    """READs of a share of the blocks of a region, in random order."""

    length: int
    blocks: int
    share: float
    seed: int

    @property
    def spans(self) -> list[Span]:
        chosen = random.Random(self.seed).sample(range(self.blocks), int(self.blocks * self.share))
        return [(block * self.length, self.length) for block in chosen]


@st.composite
def strides(draw: st.DrawFn) -> Stride:
    """Draw a stride that is adjoining, dense or sparse."""
    length = draw(st.integers(1, 32)) * _PAGE
    step = int(length * draw(st.sampled_from([1, 1.25, 2, 4, 16]))) // _PAGE * _PAGE
    step = max(length, step + draw(st.sampled_from([0, _PAGE, 64 * KIB])))
    start = draw(st.integers(0, 1000)) * _PAGE
    return Stride(start, draw(st.integers(20, 300)), length, step, draw(st.booleans()))


@st.composite
def region_walks(draw: st.DrawFn) -> RegionWalk:
    """Draw a walk over 0.1 to 1.0 of a region."""
    length = draw(st.sampled_from([16, 32, 68, 100, 128])) * KIB
    share = draw(st.sampled_from([0.1, 0.3, 0.6, 1.0]))
    return RegionWalk(length, draw(st.integers(200, 1000)), share, draw(st.integers(0, 1000)))
