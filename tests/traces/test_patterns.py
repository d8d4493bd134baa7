"""Tests that readahead learns patterns, and asks for few bytes that no READ contains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sizes import KIB, MIB
from tests.traces.generated import Span, one_reader, region_walks, strides
from tests.traces.link import Link
from tests.traces.replay import ReplayResult, replay

if TYPE_CHECKING:
    from tests.traces.trace_file import Trace

LINK = Link(0.020, 600e6)
ALLOWANCE_BYTES = 8 * MIB
GRANULE = 16 * KIB


def granules_bytes(spans: list[Span]) -> int:
    """Return the bytes that READs ask for when each is widened to multiples of 16 KiB."""
    granules: set[int] = set()
    for offset, length in spans:
        granules.update(range(offset // GRANULE, -(-(offset + length) // GRANULE)))
    return len(granules) * GRANULE


def assert_few_bytes_asked(result: ReplayResult, spans: list[Span]) -> None:
    assert result.bytes_asked <= 1.5 * granules_bytes(spans) + ALLOWANCE_BYTES


@settings(max_examples=40)
@given(strides())
def test_few_bytes_are_asked_for_a_stride(stride: tuple[list[Span], int]) -> None:
    spans, size = stride
    assert_few_bytes_asked(replay(one_reader("stride", spans, size), LINK), spans)


@settings(max_examples=40)
@given(region_walks())
def test_few_bytes_are_asked_for_blocks_in_random_order(walked: tuple[list[Span], int]) -> None:
    spans, size = walked
    assert_few_bytes_asked(replay(one_reader("region", spans, size), LINK), spans)


@settings(max_examples=40)
@given(st.lists(st.one_of(strides(), region_walks()), min_size=2, max_size=4))
def test_few_bytes_are_asked_when_patterns_change(parts: list[tuple[list[Span], int]]) -> None:
    spans = [span for part, _ in parts for span in part[:60]]
    size = max(size for _, size in parts)
    assert_few_bytes_asked(replay(one_reader("changes", spans, size), LINK), spans)


def trips(trace: Trace) -> float:
    return replay(trace, LINK).round_trips
