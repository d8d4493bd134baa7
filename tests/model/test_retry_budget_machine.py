"""Tests the retry budget against a reference schedule; the clock may go backwards."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gcsmux_fs.model.retry_budget import RETRIES_AT_ONCE, RETRIES_PER_SECOND, RetryBudget
from tests.support.examples import examples

# Tolerance for rounding errors, in seconds or in retries.
TINY = 1e-6
SECONDS_PER_RETRY = Fraction(1, RETRIES_PER_SECOND)

durations = st.one_of(st.integers(0, 100), st.integers(0, 10_000), st.integers(0, 10**7))


class RetryMachine(RuleBasedStateMachine):
    """Compares the due times of retries with a reference that counts no tokens.

    The reference keeps the time at which the token bucket would be full if no further retry came.
    If the clock goes back, the reference uses the latest earlier reading of the clock, so that no
    second of time adds tokens twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.budget = RetryBudget()
        self.now = Fraction(0)
        # The first values are earlier than every reading of the clock.
        self.furthest = self.full_at = Fraction(-(10**12))
        self.taken = 0
        #: Due time of the last retry.
        self.last_due = -math.inf
        #: The minimum of n - RETRIES_PER_SECOND * d so far, where d is the due time of retry n.
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
        self.full_at = max(self.full_at, self.furthest) + SECONDS_PER_RETRY
        expected = self.full_at - self.furthest - RETRIES_AT_ONCE * SECONDS_PER_RETRY
        assert abs(wait - max(0.0, float(expected))) < TINY
        self.come_due(float(self.furthest) + wait)

    def come_due(self, due: float) -> None:
        """Assert that due times are in order, and that their rate is limited.

        In any t seconds, at most as many retries are due as the full bucket holds, plus the tokens
        that the bucket gains in t seconds.
        """
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
TestRetryBudget.settings = settings(
    max_examples=examples(60), stateful_step_count=50, deadline=None
)
