"""The budget of retries against a virtual schedule, with a clock that may go backwards."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gcsmux_fs.model.retry_budget import RETRIES_AT_ONCE, RETRIES_PER_SECOND, RetryBudget

# What floats lose at most, in seconds or retries.
TINY = 1e-6
PACE = Fraction(1, RETRIES_PER_SECOND)

durations = st.one_of(st.integers(0, 100), st.integers(0, 10_000), st.integers(0, 10**7))


class RetryMachine(RuleBasedStateMachine):
    """Retries come due by the furthest reading of the clock so far: no second is earned twice.

    The reference knows no tokens, only when the store would be full again if nobody took any more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.budget = RetryBudget()
        self.now = Fraction(0)
        # The clock has not been read yet.
        self.furthest = self.full_at = Fraction(-(10**12))
        self.taken = 0
        #: When the last retry comes due.
        self.last_due = -math.inf
        #: The least of n - RETRIES_PER_SECOND * d so far, the n-th retry being due at d.
        self.least = math.inf

    @rule(milliseconds=durations)
    def pass_time(self, milliseconds: int) -> None:
        self.now += Fraction(milliseconds, 1000)

    @rule(milliseconds=durations)
    def set_back(self, milliseconds: int) -> None:
        self.now -= Fraction(milliseconds, 1000)

    @rule(count=st.integers(1, 3 * RETRIES_AT_ONCE))
    def lose_many_streams(self, count: int) -> None:
        for _ in range(count):
            self.retry()

    @rule(count=st.integers(1, 50), milliseconds=st.integers(0, 80))
    def retry_in_turn(self, count: int, milliseconds: int) -> None:
        for _ in range(count):
            self.now += Fraction(milliseconds, 1000)
            self.retry()

    def retry(self) -> None:
        wait = self.budget.take(float(self.now))
        self.furthest = max(self.furthest, self.now)
        self.full_at = max(self.full_at, self.furthest) + PACE
        expected = self.full_at - self.furthest - RETRIES_AT_ONCE * PACE
        assert abs(wait - max(0.0, float(expected))) < TINY
        self.come_due(float(self.furthest) + wait)

    def come_due(self, due: float) -> None:
        """Who asks first is first; any t seconds see no more than the store and what they earn."""
        assert due >= self.last_due - TINY
        self.last_due = due
        self.taken += 1
        surplus = self.taken - RETRIES_PER_SECOND * due
        self.least = min(self.least, surplus)
        assert surplus - self.least + 1 <= RETRIES_AT_ONCE + TINY * RETRIES_PER_SECOND

    @invariant()
    def all_are_counted(self) -> None:
        assert self.budget.taken == self.taken


TestRetryBudget = RetryMachine.TestCase
TestRetryBudget.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
