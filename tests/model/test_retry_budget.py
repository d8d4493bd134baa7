from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.model.retry_budget import (
    RETRIES_AT_ONCE,
    RETRIES_PER_SECOND,
    RetryBudget,
)


def test_few_retries_wait_for_nothing() -> None:
    budget = RetryBudget()
    assert {budget.take(0.0) for _ in range(RETRIES_AT_ONCE)} == {0.0}


def test_a_thousand_at_once_go_one_after_the_other() -> None:
    budget = RetryBudget()
    waits = [budget.take(5.0) for _ in range(1000)]
    assert waits == sorted(waits)
    assert waits[-1] == (1000 - RETRIES_AT_ONCE) / RETRIES_PER_SECOND


def test_store_fills_up_again_and_no_further() -> None:
    budget = RetryBudget()
    for _ in range(300):
        budget.take(0.0)
    assert budget.take(4.0) > 0.0
    waits = [budget.take(10_000.0) for _ in range(RETRIES_AT_ONCE + 1)]
    assert waits[-2:] == [0.0, 1 / RETRIES_PER_SECOND]


def test_a_retry_that_is_not_made_is_waited_for_by_nobody() -> None:
    budget = RetryBudget()
    dues = [budget.take(0.0) for _ in range(5000)]
    for due in dues:
        budget.give_back(due)
    assert budget.taken == 0
    assert [budget.take(0.0) for _ in range(5000)] == dues


def test_places_that_nobody_takes_in_time_are_not_added_to_the_store() -> None:
    budget = RetryBudget()
    for due in [budget.take(0.0) for _ in range(5000)]:
        budget.give_back(due)
    waits = [budget.take(1000.0) for _ in range(RETRIES_AT_ONCE + 1)]
    assert waits[-2:] == [0.0, 1 / RETRIES_PER_SECOND]


@given(st.data())
def test_no_time_sees_more_retries_than_it_may_however_many_leave(data: st.DataObject) -> None:
    budget = RetryBudget()
    now = 0.0
    waiting: list[float] = []
    made: list[float] = []
    for _ in range(data.draw(st.integers(1, 30))):
        now += data.draw(st.sampled_from([0.0, 0.01, 0.5, 3.0]))
        made += [due for due in waiting if due <= now]
        waiting = [due for due in waiting if due > now]
        for _ in range(data.draw(st.sampled_from([0, 1, 50, 200]))):
            waiting.append(now + budget.take(now))
        for _ in range(min(len(waiting), data.draw(st.sampled_from([0, 1, 50, 200])))):
            budget.give_back(waiting.pop(data.draw(st.sampled_from([0, -1]))))
    dues = sorted(made + waiting)
    for count, due in enumerate(dues[RETRIES_AT_ONCE:], 1):
        # As many as the store holds, and one for each fiftieth of a second since any instant.
        assert due - dues[0] >= (count - 1) / RETRIES_PER_SECOND - 1e-6


def test_a_place_that_is_past_is_passed_over_for_the_next() -> None:
    budget = RetryBudget()
    for due in (9.0, 5.0):
        budget.give_back(due)
    assert budget.take(7.0) == 2.0


def test_time_that_seems_to_go_back_neither_pays_nor_costs() -> None:
    budget = RetryBudget()
    for _ in range(RETRIES_AT_ONCE):
        budget.take(10.0)
    assert [budget.take(9.5), budget.take(10.0)] == [1 / RETRIES_PER_SECOND, 2 / RETRIES_PER_SECOND]


def test_what_is_left_and_what_was_taken_is_told() -> None:
    budget = RetryBudget()
    assert budget.taken == 0
    for _ in range(3):
        budget.take(0.0)
    assert budget.taken == 3
    assert repr(budget) == "<RetryBudget: 97.0 of 100 left, 3 taken>"


@given(st.lists(st.floats(min_value=0, max_value=0.5), min_size=1, max_size=500))
def test_retries_are_never_more_than_the_store_and_the_rate_allow(pauses: list[float]) -> None:
    budget = RetryBudget()
    now = 0.0
    begun: list[float] = []
    for pause in pauses:
        now += pause
        begun.append(now + budget.take(now))
    begun.sort()
    for index, first in enumerate(begun):
        within = sum(first <= at <= first + 1.0 for at in begun[index:])
        assert within <= RETRIES_AT_ONCE + RETRIES_PER_SECOND + 1
