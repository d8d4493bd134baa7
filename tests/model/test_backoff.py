from __future__ import annotations

from random import Random

import pytest

from gcsmux_fs.model.backoff import (
    MAX_REQUESTED_PAUSE_SECONDS,
    Backoff,
    TokenRenewal,
    requested_pause,
)


def test_the_bound_doubles_with_each_retry_up_to_its_maximum() -> None:
    backoff, random, expected = Backoff(0.1, 8.0), Random(42), Random(42)
    delays = [backoff.delay(retries, random) for retries in range(9)]
    bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.0, 8.0]
    assert [expected.uniform(bound / 2, bound) for bound in bounds] == pytest.approx(delays)


def test_a_first_delay_above_the_maximum_is_cut_to_the_maximum() -> None:
    assert 0.5 <= Backoff(60.0, 1.0).delay(0, Random(0)) <= 1.0


def test_five_thousand_retries_do_not_overflow_the_delay() -> None:
    assert 4.0 <= Backoff(0.1, 8.0).delay(5000, Random(0)) <= 8.0


@pytest.mark.parametrize(("requested", "least"), [(3.0, 3.0), (1e12, MAX_REQUESTED_PAUSE_SECONDS)])
def test_a_requested_pause_is_bounded_and_spread_by_a_quarter(
    requested: float, least: float
) -> None:
    random = Random(0)
    pauses = [requested_pause(requested, random) for _ in range(200)]
    assert least <= min(pauses) < least * 1.05
    assert least * 1.2 < max(pauses) <= least * 1.25


def test_no_requested_pause_means_no_delay_and_no_random_draw() -> None:
    random = Random(0)
    assert requested_pause(0.0, random) == 0.0
    assert random.random() == Random(0).random()


def test_a_token_renewal_permits_one_retry_until_it_is_reset() -> None:
    renewal = TokenRenewal()
    assert [renewal.permit() for _ in range(3)] == [True, False, False]
    renewal.used = False
    assert renewal.permit()
