"""Tests that readahead learns simple patterns, and asks for few bytes that no READ contains."""

from __future__ import annotations

import random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.sizes import KIB, MIB
from tests.traces.generated import (
    RegionWalk,
    Span,
    Stride,
    interleaved,
    one_reader,
    region_walks,
    strides,
)
from tests.traces.link import Link
from tests.traces.replay import replay

ALLOWANCE_BYTES = 8 * MIB
GRANULE = 16 * KIB
LINK = Link(0.020, 600e6)

# Failing examples are not made smaller, because each attempt replays a trace.
examples = settings(max_examples=25, phases=(Phase.explicit, Phase.reuse, Phase.generate))


def granules_bytes(spans: list[Span]) -> int:
    """Return the bytes that READs ask for when each is widened to multiples of 16 KiB."""
    granules: set[int] = set()
    for offset, length in spans:
        granules.update(range(offset // GRANULE, -(-(offset + length) // GRANULE)))
    return len(granules) * GRANULE


def assert_few_bytes_asked(spans: list[Span], unread_bytes: int, factor: float = 1.5) -> None:
    """Check the bytes that a program asks for; the object has more bytes after the last READ."""
    size = max(offset + length for offset, length in spans) + unread_bytes
    result = replay(one_reader("generated", spans, size), LINK)
    # A granule that is read twice counts twice, because the second READ is as good as a first one.
    read_bytes = max(result.bytes_read, granules_bytes(spans))
    assert result.bytes_asked <= factor * read_bytes + ALLOWANCE_BYTES, result


@examples
@given(strides())
def test_few_bytes_are_asked_for_a_stride(stride: Stride) -> None:
    assert_few_bytes_asked(stride.spans, 64 * MIB)


@examples
@given(region_walks())
def test_few_bytes_are_asked_for_blocks_in_random_order(walk: RegionWalk) -> None:
    assert_few_bytes_asked(walk.spans, 0)


@examples
@given(st.lists(st.one_of(strides(), region_walks()), min_size=2, max_size=4), st.integers(5, 60))
def test_few_bytes_are_asked_when_patterns_change(
    patterns: list[Stride | RegionWalk], reads: int
) -> None:
    spans = [span for pattern in patterns for span in pattern.spans[:reads]]
    assert_few_bytes_asked(spans, 64 * MIB)


def test_random_small_reads_ask_for_little() -> None:
    offsets = random.Random(0).sample(range(1 << 20), 300)
    spans = [(offset * 4 * KIB, 4 * KIB) for offset in offsets]
    result = replay(one_reader("random", spans, 4096 * MIB), LINK)
    assert result.bytes_asked <= 300 * 64 * KIB


def groups(count: int, step: int, spans: list[Span]) -> list[Span]:
    """Return the same group of spans at `count` places."""
    return [(i * step + offset, length) for i in range(count) for offset, length in spans]


def segments(readers: int, *, is_descending: bool) -> list[list[Span]]:
    """Return READs of 128 KiB: each reader reads its own part of 64 MiB in order."""
    part = 64 * MIB // readers
    count = part // (128 * KIB)
    return [
        Stride(i * part, count, 128 * KIB, 128 * KIB, is_descending).spans for i in range(readers)
    ]


def blocks(readers: int, block: int) -> list[list[Span]]:
    """Return READs of 128 KiB: each of the readers reads every n-th block of 64 MiB."""
    return [
        [
            (offset, 128 * KIB)
            for start in range(i * block, 64 * MIB, readers * block)
            for offset in range(start, start + block, 128 * KIB)
        ]
        for i in range(readers)
    ]


@pytest.mark.parametrize(
    ("readers", "round_trips"),
    [
        pytest.param([Stride(0, 1024, 64 * KIB, 64 * KIB, True).spans], 9, id="descending"),
        pytest.param([Stride(0, 900, 68 * KIB, 68 * KIB, True).spans], 9, id="descending pages"),
        pytest.param([Stride(0, 600, 64 * KIB, MIB, False).spans], 10, id="stride"),
        pytest.param([Stride(0, 600, 64 * KIB, MIB, True).spans], 10, id="stride backward"),
        pytest.param([Stride(0, 300, 4 * KIB, 256 * KIB, False).spans], 12, id="small READs"),
        pytest.param(
            [groups(60, 4 * MIB, [(0, 128 * KIB), (128 * KIB, 128 * KIB)])], 9, id="pairs"
        ),
        pytest.param(
            [groups(60, 2 * MIB, [(0, 64 * KIB), (200 * KIB, 64 * KIB)])], 12, id="groups with gaps"
        ),
        pytest.param(
            [[(i * MIB + i % 3 * 4 * KIB, (16 + i % 2) * 4 * KIB) for i in range(100)]],
            10,
            id="jitter",
        ),
        pytest.param(segments(16, is_descending=False), 8, id="16 segments"),
        pytest.param(segments(16, is_descending=True), 12, id="16 segments backward"),
        pytest.param(blocks(16, MIB), 6, id="16 readers, 1 MiB blocks"),
        pytest.param(blocks(16, 128 * KIB), 6, id="16 readers, 128 KiB blocks"),
    ],
)
def test_a_simple_pattern_is_learned(readers: list[list[Span]], round_trips: int) -> None:
    size = max(offset + length for spans in readers for offset, length in spans) + 64 * MIB
    result = replay(interleaved("pattern", readers, size), LINK)
    assert result.round_trips <= round_trips, result
