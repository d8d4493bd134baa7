"""A range that a server has lost, while the others of its stream are served, is asked for again."""

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
    """Return a core whose stream is open, and nobody waits."""
    driven = DrivenCore()
    driven.request(0, 1)
    driven.message(chunk(driven.sent[-1][0]), metadata=info())
    driven.confirm()
    return driven


def ask(driven: DrivenCore, offset: int) -> RangeRequest:
    driven.request(offset, 100)
    driven.confirm()
    return driven.sent[-1][0]


def serve_others(driven: DrivenCore, seconds: float, *, every: float = STALL / 4) -> None:
    """Ask for another range now and then, and answer each at once."""
    until = driven.now + seconds
    while driven.now < until:
        driven.message(chunk(ask(driven, 1000)))
        driven.advance(every)
        if driven.in_flight:
            driven.confirm()


def test_it_is_asked_for_again_on_the_same_stream_within_two_stall_times(
    driven: DrivenCore,
) -> None:
    lost = driven.request(200, 100)
    driven.confirm()
    asked = driven.sent[-1][0]
    driven.message(chunk(asked, 0, 40))
    serve_others(driven, 2 * STALL)
    again = [r for batch in driven.sent for r in batch if r.offset == 240]
    assert [(r.offset, r.length) for r in again] == [(240, 60)]
    assert driven.counters.ranges_silent == 1
    driven.message(chunk(again[0]))
    assert driven.outcomes[lost] == CONTENT[200:300]
    # What comes for the first asking after all is dropped.
    driven.message(chunk(asked, 40))
    assert len(driven.opened) == 1


def test_it_is_given_as_long_again_before_it_is_asked_for_once_more(driven: DrivenCore) -> None:
    ask(driven, 200)
    told: list[int] = []
    for _ in range(5):
        serve_others(driven, STALL)
        told.append(driven.counters.ranges_silent)
    assert told == [0, 1, 1, 2, 2]


def test_a_range_that_was_heard_of_last_waits_for_those_before_it(driven: DrivenCore) -> None:
    first, second = ask(driven, 0), ask(driven, 100)
    driven.message(chunk(second, 0, 1))
    for received in range(100):
        driven.message(chunk(first, received, received + 1))
        driven.advance(STALL / 10)
    assert driven.counters.ranges_silent == 0
    driven.message(chunk(second, 1))
    assert len(driven.sent) == 3


def test_what_may_still_come_for_the_first_asking_is_what_nobody_wants(
    driven: DrivenCore,
) -> None:
    lost = ask(driven, 200)
    serve_others(driven, 2 * STALL)
    assert driven.core._ranges.abandoned == 1
    driven.message(chunk(lost, range_end=True))
    assert driven.core._ranges.abandoned == 0


def test_all_that_was_lost_is_asked_for_in_one_message(driven: DrivenCore) -> None:
    for number in range(30):
        driven.request_unflushed(number * 10, 10)
    driven.flush()
    driven.confirm()
    before = len(driven.sent[-1])
    serve_others(driven, 2 * STALL)
    assert (before, driven.counters.ranges_silent) == (30, 30)
    assert [len(batch) for batch in driven.sent if len(batch) > 1] == [30, 30]


def test_a_range_that_only_waits_for_its_turn_is_left_alone(driven: DrivenCore) -> None:
    first, second = ask(driven, 0), ask(driven, 100)
    for received in range(100):
        driven.message(chunk(first, received, received + 1))
        driven.advance(STALL / 10)
    assert driven.counters.ranges_silent == 0
    driven.message(chunk(second))
    assert len(driven.sent) == 3


def test_a_range_that_gets_a_little_now_and_then_is_left_alone(driven: DrivenCore) -> None:
    slow = ask(driven, 200)
    for received in range(10):
        driven.message(chunk(slow, received, received + 1))
        serve_others(driven, STALL * 0.9)
    assert driven.counters.ranges_silent == 0


def test_a_range_that_is_lost_each_time_fails_in_the_end(driven: DrivenCore) -> None:
    lost = driven.request(200, 100)
    driven.confirm()
    # A reader's deadline is shorter than this by default; the bound is for those without one.
    serve_others(driven, 2 * STALL * driven.policy.max_bad_answers)
    assert isinstance(driven.outcomes[lost], DeadlineExceeded)
    assert driven.counters.ranges_silent == driven.policy.max_bad_answers


def test_the_stream_as_a_whole_is_given_up_after_one_stall_time_as_ever(
    driven: DrivenCore,
) -> None:
    ask(driven, 200)
    driven.advance(STALL / 2)
    driven.message(chunk(ask(driven, 1000)))
    driven.advance(STALL - 0.001)
    assert len(driven.opened) == 1
    driven.advance(0.001)
    assert len(driven.opened) == 2
