from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.retrybudget import RETRIES_AT_ONCE, RETRIES_PER_SECOND, RetryBudget


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
    for _ in range(5000):
        budget.take(0.0)
    for _ in range(5000):
        budget.give_back()
    assert budget.taken == 0
    assert {budget.take(0.0) for _ in range(RETRIES_AT_ONCE)} == {0.0}
    # Nor does the store grow by what is given back.
    for _ in range(RETRIES_AT_ONCE):
        budget.give_back()
    budget.give_back()
    waits = [budget.take(0.0) for _ in range(RETRIES_AT_ONCE + 1)]
    assert waits[-2:] == [0.0, 1 / RETRIES_PER_SECOND]


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
