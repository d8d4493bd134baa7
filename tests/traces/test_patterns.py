"""Tests that readahead asks for few bytes that no READ contains, whatever the READs are."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.sizes import KIB, MIB
from tests.traces.generated import RegionWalk, Span, Stride, one_reader, region_walks, strides
from tests.traces.link import Link
from tests.traces.replay import replay

ALLOWANCE_BYTES = 8 * MIB
GRANULE = 16 * KIB
LINK = Link(0.020, 600e6)

# Failing examples are not made smaller, because each attempt replays a trace.
examples = settings(max_examples=40, phases=(Phase.explicit, Phase.reuse, Phase.generate))


def granules_bytes(spans: list[Span]) -> int:
    """Return the bytes that READs ask for when each is widened to multiples of 16 KiB."""
    granules: set[int] = set()
    for offset, length in spans:
        granules.update(range(offset // GRANULE, -(-(offset + length) // GRANULE)))
    return len(granules) * GRANULE


def assert_few_bytes_asked(spans: list[Span], unread_bytes: int) -> None:
    """Check the bytes that a program asks for; the object continues after the last READ."""
    size = max(offset + length for offset, length in spans) + unread_bytes
    result = replay(one_reader("generated", spans, size), LINK)
    assert result.bytes_asked <= 1.5 * granules_bytes(spans) + ALLOWANCE_BYTES, result


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
