"""Tests of the replay itself: the model of the link, and the figures of a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sizes import KIB, MIB
from tests.traces.generated import interleaved, one_reader, walk
from tests.traces.link import Link
from tests.traces.replay import replay
from tests.traces.trace_file import Close, Event, Open, Read, Trace, parse_trace

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = """\
{"program": "example", "kernel_window": 131072, "objects": {"a": 20000000, "b": 40}}
open 1 a 1 -
read 1 10000000 4096 1 2
read 1 12000000 4096 1 -
open 2 b 2 -
read 1 2000000 4096 1 3-4 250
close 1
"""


def test_a_trace_is_the_same_after_reading_and_writing(tmp_path: Path) -> None:
    trace = parse_trace(EXAMPLE)
    assert trace.events[4] == Read(1, 2_000_000, 4096, 1, (1, 2), think_seconds=0.25)
    trace.write(tmp_path / "example.trace")
    assert (tmp_path / "example.trace").read_text() == EXAMPLE


@pytest.mark.parametrize("line", ["read 1 0 4096 1 3", "read 1 0", "write 1 0 1 1 -"])
def test_an_invalid_line_is_reported_with_its_number(line: str) -> None:
    header = EXAMPLE.splitlines()[0]
    with pytest.raises(ValueError, match="line 3"):
        parse_trace(f"{header}\nopen 1 a 1 -\n{line}\n")


@pytest.mark.parametrize("text", ["", "no JSON\n", "{}\n", "[]\n"])
def test_an_invalid_header_is_reported(text: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        parse_trace(text)


# Offsets of 4 KiB READs that are in no pattern, so readahead does not change the figures.
SCATTERED = [(offset * MIB, 4 * KIB) for offset in (50, 300, 120, 900, 600, 250)]
FAST = Link(0.020, 1e12)


def test_a_read_waits_for_the_answers_that_the_trace_lists() -> None:
    one_after_the_other = replay(one_reader("scattered", SCATTERED, 1000 * MIB), FAST)
    together = replay(interleaved("scattered", [[each] for each in SCATTERED], 1000 * MIB), FAST)
    assert one_after_the_other.round_trips - together.round_trips == pytest.approx(5, abs=0.01)


def test_answers_use_the_link_one_after_the_other() -> None:
    readers = [[(i * 100 * MIB, 128 * KIB)] for i in range(1, 9)]
    trace = interleaved("eight readers", readers, 1000 * MIB)
    seconds = [replay(trace, Link(0.020, rate)).seconds for rate in (1e12, 1e6)]
    assert seconds[1] - seconds[0] >= 8 * 128 * KIB / 1e6


def test_a_computation_takes_time() -> None:
    trace = parse_trace(EXAMPLE)
    without = Trace("", 0, trace.objects, [*trace.events[:4], Read(1, 2_000_000, 4096, 1, (1, 2))])
    assert replay(trace, FAST).seconds - replay(without, FAST).seconds == pytest.approx(0.25)


def test_bytes_that_no_read_contains_are_wasted() -> None:
    result = replay(one_reader("scattered", SCATTERED[:1], 1000 * MIB), FAST)
    assert result.bytes_read == 4 * KIB
    assert result.bytes_wasted == result.bytes_asked - 4 * KIB > 0
    assert result.peak_bytes >= result.bytes_asked


def test_a_whole_object_is_asked_for_once() -> None:
    result = replay(one_reader("in order", walk(0, 128, 128 * KIB, 128 * KIB), 16 * MIB), FAST)
    assert result.bytes_asked == result.bytes_read == 16 * MIB
    assert result.bytes_wasted == 0


def test_an_object_can_be_opened_again_after_its_close() -> None:
    events: list[Event] = [
        Open(1, "a"),
        Read(1, 0, 4096, 1, (0,)),
        Close(1),
        Open(2, "a", 2, (1,)),
        Close(2),
    ]
    assert replay(Trace("", 0, {"a": 4096}, events), FAST).bytes_asked == 4096
