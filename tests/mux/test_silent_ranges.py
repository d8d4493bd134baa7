"""Tests of silent ranges: the core requests a range again if only later ranges receive bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.model.errors import DeadlineExceeded
from gcsmux_fs.mux.retry import RetryPolicy

from .driven_core import CONTENT, DrivenCore, chunk, info

if TYPE_CHECKING:
    from gcsmux_fs.storage.ports import RangeRequest

STALL = RetryPolicy().stall_seconds


@pytest.fixture
def driven() -> DrivenCore:
    """Return a core with an open stream and no range."""
    driven = DrivenCore()
    driven.request(0, 1)
    driven.message(chunk(driven.sent[-1][0]), metadata=info())
    driven.confirm()
    return driven


def request(driven: DrivenCore, offset: int) -> RangeRequest:
    driven.request(offset, 100)
    driven.confirm()
    return driven.sent[-1][0]


def serve_others(driven: DrivenCore, seconds: float, *, every: float = STALL / 4) -> None:
    """For `seconds` seconds, request and answer another range every `every` seconds."""
    until = driven.now + seconds
    while driven.now < until:
        driven.message(chunk(request(driven, 1000)))
        driven.advance(every)
        if driven.in_flight:
            driven.confirm()


def test_a_silent_range_is_requested_again_on_the_same_stream_within_two_stall_times(
    driven: DrivenCore,
) -> None:
    lost = driven.request(200, 100)
    driven.confirm()
    request = driven.sent[-1][0]
    driven.message(chunk(request, 0, 40))
    serve_others(driven, 2 * STALL)
    again = [r for batch in driven.sent for r in batch if r.offset == 240]
    assert [(r.offset, r.length) for r in again] == [(240, 60)]
    assert driven.counters.ranges_silent == 1
    driven.message(chunk(again[0]))
    assert driven.outcomes[lost] == CONTENT[200:300]
    # A late answer to the first request is dropped.
    driven.message(chunk(request, 40))
    assert len(driven.opened) == 1


def test_a_silent_range_is_requested_again_every_two_stall_times(driven: DrivenCore) -> None:
    request(driven, 200)
    counts: list[int] = []
    for _ in range(5):
        serve_others(driven, STALL)
        counts.append(driven.counters.ranges_silent)
    assert counts == [0, 1, 1, 2, 2]


def test_a_range_is_not_silent_while_only_earlier_ranges_receive_bytes(driven: DrivenCore) -> None:
    first, second = request(driven, 0), request(driven, 100)
    driven.message(chunk(second, 0, 1))
    for received in range(100):
        driven.message(chunk(first, received, received + 1))
        driven.advance(STALL / 10)
    assert driven.counters.ranges_silent == 0
    driven.message(chunk(second, 1))
    assert len(driven.sent) == 3


def test_the_first_read_id_of_a_silent_range_is_abandoned(
    driven: DrivenCore,
) -> None:
    lost = request(driven, 200)
    serve_others(driven, 2 * STALL)
    assert driven.core.ranges.abandoned == 1
    driven.message(chunk(lost, range_end=True))
    assert driven.core.ranges.abandoned == 0


def test_all_silent_ranges_are_requested_again_in_one_message(driven: DrivenCore) -> None:
    for number in range(30):
        driven.request_unflushed(number * 10, 10)
    driven.flush()
    driven.confirm()
    before = len(driven.sent[-1])
    serve_others(driven, 2 * STALL)
    assert (before, driven.counters.ranges_silent) == (30, 30)
    assert [len(batch) for batch in driven.sent if len(batch) > 1] == [30, 30]


def test_a_range_is_not_silent_before_later_ranges_receive_bytes(driven: DrivenCore) -> None:
    first, second = request(driven, 0), request(driven, 100)
    for received in range(100):
        driven.message(chunk(first, received, received + 1))
        driven.advance(STALL / 10)
    assert driven.counters.ranges_silent == 0
    driven.message(chunk(second))
    assert len(driven.sent) == 3


def test_a_range_that_receives_a_few_bytes_is_not_silent(driven: DrivenCore) -> None:
    slow = request(driven, 200)
    for received in range(10):
        driven.message(chunk(slow, received, received + 1))
        serve_others(driven, STALL * 0.9)
    assert driven.counters.ranges_silent == 0


def test_a_range_that_stays_silent_fails(driven: DrivenCore) -> None:
    lost = driven.request(200, 100)
    driven.confirm()
    # A READ with the default deadline fails before the bound on bad answers is reached. This bound
    # is for readers without a deadline.
    serve_others(driven, 2 * STALL * driven.policy.max_bad_answers)
    assert isinstance(driven.outcomes[lost], DeadlineExceeded)
    assert driven.counters.ranges_silent == driven.policy.max_bad_answers


def test_a_stream_without_any_bytes_is_replaced_after_one_stall_time(
    driven: DrivenCore,
) -> None:
    request(driven, 200)
    driven.advance(STALL / 2)
    driven.message(chunk(request(driven, 1000)))
    driven.advance(STALL - 0.001)
    assert len(driven.opened) == 1
    driven.advance(0.001)
    assert len(driven.opened) == 2
