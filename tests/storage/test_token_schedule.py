"""Tests of the schedule of token fetches, in virtual time."""

from __future__ import annotations

import math
from random import Random

import pytest

from gcsmux_fs.storage.token_schedule import TokenDecision, TokenSchedule

USE, WAIT, FAIL = TokenDecision.USE, TokenDecision.WAIT, TokenDecision.FAIL
HOUR = 3600.0


def fetched(lifetime: float = HOUR, *, now: float = 0.0, seed: int = 0) -> TokenSchedule:
    """Return a schedule whose first token was fetched at `now`."""
    schedule = TokenSchedule(Random(seed), now)
    assert schedule.use(now, refused=False) is WAIT
    schedule.fetched(now, lifetime, same=False)
    return schedule


def test_the_first_call_waits_and_later_calls_do_not() -> None:
    """Invariant 1."""
    schedule = fetched()
    assert {schedule.use(now, refused=False) for now in (0.0, 1000.0, HOUR - 11)} == {USE}
    assert schedule.use(HOUR - 9, refused=False) is WAIT


@pytest.mark.parametrize("lifetime", [4.0, 300.0, HOUR, 12 * HOUR])
@pytest.mark.parametrize("seed", range(5))
def test_a_token_in_use_is_renewed_long_before_its_end(lifetime: float, seed: int) -> None:
    """Invariant 2. At 900 s before its end or earlier, unless a quarter of its life is less."""
    schedule = fetched(lifetime, seed=seed)
    schedule.use(1.0, refused=False)
    due = schedule.due(1.0, busy=False)
    lead = min(lifetime / 4, 900.0)
    assert lifetime - 1.5 * lead <= due <= lifetime - lead
    # While the renewal runs, calls go on with the old token.
    assert schedule.use(due + 0.01, refused=False) is USE


def test_machines_that_started_together_do_not_renew_together() -> None:
    dues = {fetched(seed=seed).due(0.0, busy=True) for seed in range(10)}
    assert len(dues) == 10
    assert max(dues) - min(dues) > 60


def test_an_idle_mount_fetches_nothing() -> None:
    """Invariant 3."""
    schedule = fetched()
    due = schedule.due(0.0, busy=False)
    assert schedule.due(due, busy=False) == math.inf
    assert schedule.due(5 * HOUR, busy=False) == math.inf
    # A stream that is open since before the last fetch counts as use.
    assert schedule.due(due, busy=True) == due
    # A call after the renewal was due, while the token is still valid, does not wait.
    assert schedule.use(due + 1, refused=False) is USE
    assert schedule.due(due + 1, busy=False) == due


def test_a_failed_renewal_is_repeated_until_the_token_expires() -> None:
    """Invariants 2 and 5: 900 s of failures cause few requests, and no call fails."""
    schedule = fetched()
    now, attempts = schedule.due(1.0, busy=True), 0
    while now < HOUR - 10:
        assert schedule.use(now, refused=False) is USE
        schedule.failed(now)
        attempts += 1
        # An idle mount makes no further attempt.
        assert schedule.due(HOUR, busy=False) == math.inf
        assert schedule.use(now + 0.1, refused=False) is USE
        now = schedule.due(now + 0.1, busy=False)
    assert 15 <= attempts <= 60


def test_calls_during_the_pause_after_a_failed_fetch_fail_at_once() -> None:
    """Invariant 5."""
    schedule = TokenSchedule(Random(0), 0.0)
    now, pauses = 0.0, []
    for _ in range(8):
        assert schedule.use(now, refused=False) is WAIT
        assert schedule.due(now, busy=False) == now
        schedule.failed(now)
        assert schedule.use(now + 0.2, refused=False) is FAIL
        begin = now
        while schedule.use(now, refused=False) is FAIL:
            now += 0.01
        pauses.append(now - begin)
    assert pauses[0] < 0.6
    assert max(pauses) < 5.1
    assert pauses[-1] > 2.4


def test_a_refused_token_is_dropped_once_in_ten_seconds() -> None:
    """Invariant 4."""
    schedule = fetched()
    fetches = 0
    for second in range(60):
        if schedule.use(float(second), refused=True) is WAIT:
            fetches += 1
            schedule.fetched(float(second), HOUR, same=False)
    assert fetches == 6


def test_a_server_that_repeats_a_token_is_asked_ever_later() -> None:
    """The metadata server returns the same token until five minutes before its end."""
    schedule = fetched()
    now, fetches = schedule.due(1.0, busy=True), 0
    while now < HOUR - 300:
        fetches += 1
        schedule.fetched(now, HOUR - now, same=True)
        now = schedule.due(now, busy=True)
    assert fetches <= 3
    assert now < HOUR - 100


def test_a_token_without_a_known_end_is_used_until_it_is_refused_or_replaced() -> None:
    schedule = fetched(math.inf)
    assert schedule.use(1e9, refused=False) is USE
    assert schedule.due(1e9, busy=True) == math.inf
    schedule.renew_soon(1e9)
    assert schedule.due(1e9, busy=False) <= 1e9
    assert schedule.use(1e9, refused=False) is USE
    assert schedule.use(1e9, refused=True) is WAIT
