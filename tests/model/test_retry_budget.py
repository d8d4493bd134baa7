from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.model.retry_budget import (
    RETRIES_AT_ONCE,
    RETRIES_PER_SECOND,
    RetryBudget,
)


def test_retries_within_the_bucket_do_not_wait() -> None:
    budget = RetryBudget()
    assert {budget.take(0.0) for _ in range(RETRIES_AT_ONCE)} == {0.0}


def test_a_thousand_retries_at_once_are_spread_at_the_allowed_rate() -> None:
    budget = RetryBudget()
    waits = [budget.take(5.0) for _ in range(1000)]
    assert waits == sorted(waits)
    assert waits[-1] == (1000 - RETRIES_AT_ONCE) / RETRIES_PER_SECOND


def test_the_bucket_refills_up_to_its_size() -> None:
    budget = RetryBudget()
    for _ in range(300):
        budget.take(0.0)
    assert budget.take(4.0) > 0.0
    waits = [budget.take(10_000.0) for _ in range(RETRIES_AT_ONCE + 1)]
    assert waits[-2:] == [0.0, 1 / RETRIES_PER_SECOND]


def test_cancelled_retries_give_their_due_times_to_the_next_retries() -> None:
    budget = RetryBudget()
    dues = [budget.take(0.0) for _ in range(5000)]
    for due in dues:
        budget.give_back(due)
    assert budget.taken == 0
    assert [budget.take(0.0) for _ in range(5000)] == dues


def test_due_times_that_pass_unused_are_not_added_to_the_bucket() -> None:
    budget = RetryBudget()
    for due in [budget.take(0.0) for _ in range(5000)]:
        budget.give_back(due)
    waits = [budget.take(1000.0) for _ in range(RETRIES_AT_ONCE + 1)]
    assert waits[-2:] == [0.0, 1 / RETRIES_PER_SECOND]


@pytest.mark.slow
@given(st.data())
def test_cancelled_retries_never_raise_the_rate_above_the_limit(data: st.DataObject) -> None:
    budget = RetryBudget()
    now = 0.0
    waiting: list[float] = []
    past: list[float] = []
    for _ in range(data.draw(st.integers(1, 30))):
        now += data.draw(st.sampled_from([0.0, 0.01, 0.5, 3.0]))
        past += [due for due in waiting if due <= now]
        waiting = [due for due in waiting if due > now]
        for _ in range(data.draw(st.sampled_from([0, 1, 50, 200]))):
            waiting.append(now + budget.take(now))
        for _ in range(min(len(waiting), data.draw(st.sampled_from([0, 1, 50, 200])))):
            budget.give_back(waiting.pop(data.draw(st.sampled_from([0, -1]))))
    dues = sorted(past + waiting)
    for count, due in enumerate(dues[RETRIES_AT_ONCE:], 1):
        # After the first due time, at most RETRIES_PER_SECOND further retries are due per second.
        assert due - dues[0] >= (count - 1) / RETRIES_PER_SECOND - 1e-6


def test_a_due_time_in_the_past_is_skipped() -> None:
    budget = RetryBudget()
    for due in (9.0, 5.0):
        budget.give_back(due)
    assert budget.take(7.0) == 2.0


def test_a_clock_that_goes_back_neither_adds_nor_removes_tokens() -> None:
    budget = RetryBudget()
    for _ in range(RETRIES_AT_ONCE):
        budget.take(10.0)
    assert [budget.take(9.5), budget.take(10.0)] == [1 / RETRIES_PER_SECOND, 2 / RETRIES_PER_SECOND]


def test_the_repr_shows_tokens_left_and_retries_taken() -> None:
    budget = RetryBudget()
    assert budget.taken == 0
    for _ in range(3):
        budget.take(0.0)
    assert budget.taken == 3
    assert repr(budget) == "<RetryBudget: 97.0 of 100 tokens left, 3 taken>"


@given(st.lists(st.floats(min_value=0, max_value=0.5), min_size=1, max_size=500))
def test_retries_never_exceed_the_bucket_and_the_rate(pauses: list[float]) -> None:
    budget = RetryBudget()
    now = 0.0
    dues: list[float] = []
    for pause in pauses:
        now += pause
        dues.append(now + budget.take(now))
    dues.sort()
    for index, first in enumerate(dues):
        within = sum(first <= at <= first + 1.0 for at in dues[index:])
        assert within <= RETRIES_AT_ONCE + RETRIES_PER_SECOND + 1
