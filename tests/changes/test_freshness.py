"""Tests how long answers are valid, by what the feed has told."""

from __future__ import annotations

import math

import pytest

from gcsmux_fs.changes.freshness import (
    GRACE_SECONDS,
    LAG_BOUND_SECONDS,
    SETTLING_SECONDS,
    START_SECONDS,
    Freshness,
    FreshnessState,
)

TTL = 60.0
OPENED = 1000.0
HEALTHY_AT = OPENED + SETTLING_SECONDS
WALL = 1.7e9


def opened() -> Freshness:
    freshness = Freshness(OPENED - 1)
    freshness.on_open(OPENED)
    return freshness


def healthy() -> Freshness:
    freshness = opened()
    pass_time(freshness, HEALTHY_AT)
    assert shown(freshness) == "healthy"
    freshness.take_changes()
    return freshness


def shown(freshness: Freshness) -> str:
    return freshness.state.value


def pass_time(freshness: Freshness, until: float) -> None:
    while (deadline := freshness.deadline) <= until:
        freshness.on_timer(deadline)
    freshness.on_timer(until)


def late(freshness: Freshness, now: float, lag: float = LAG_BOUND_SECONDS + 1) -> None:
    freshness.on_messages(WALL - lag, now, WALL)


def test_before_the_feed_is_open_the_ordinary_ttl_counts() -> None:
    freshness = Freshness(0.0)
    assert freshness.valid_until(5.0, TTL) == 5.0 + TTL
    pass_time(freshness, START_SECONDS)
    assert shown(freshness) == "interrupted"
    assert freshness.valid_until(START_SECONDS, TTL) == START_SECONDS + TTL


def test_the_feed_is_trusted_when_no_late_message_has_come_for_some_time() -> None:
    freshness = opened()
    assert shown(freshness) == "catching up"
    assert freshness.valid_until(OPENED, TTL) == OPENED + TTL
    late(freshness, OPENED + 1)
    pass_time(freshness, HEALTHY_AT)
    assert shown(freshness) == "catching up"
    pass_time(freshness, OPENED + 1 + SETTLING_SECONDS)
    assert shown(freshness) == "healthy"
    assert freshness.deadline == math.inf


@pytest.mark.parametrize(
    ("asked_at", "ttl", "valid_until"),
    [
        (OPENED, TTL, math.inf),
        (HEALTHY_AT + 1e6, TTL, math.inf),
        (OPENED - 0.5, TTL, OPENED - 0.5 + TTL),
        (OPENED, 0.0, OPENED),
        (OPENED - 0.5, math.inf, math.inf),
    ],
)
def test_a_healthy_feed_makes_answers_valid_for_ever(
    asked_at: float, ttl: float, valid_until: float
) -> None:
    assert healthy().valid_until(asked_at, ttl) == valid_until


def test_a_bucket_with_folders_keeps_the_ttl() -> None:
    freshness = Freshness(OPENED, is_complete=False)
    freshness.on_open(OPENED)
    freshness.on_quiet(OPENED)
    assert freshness.valid_until(OPENED + 1, TTL) == OPENED + 1 + TTL


def test_a_service_without_more_messages_makes_the_feed_healthy_at_once() -> None:
    freshness = opened()
    late(freshness, OPENED + 0.1)
    freshness.on_quiet(OPENED + 0.2)
    assert shown(freshness) == "healthy"
    assert freshness.lag_seconds == 0


def test_a_short_interruption_changes_nothing() -> None:
    freshness = healthy()
    freshness.on_interrupted(2000.0, "UNAVAILABLE")
    pass_time(freshness, 2000.0 + GRACE_SECONDS - 0.1)
    freshness.on_open(2000.0 + GRACE_SECONDS - 0.1)
    pass_time(freshness, 2100.0)
    assert freshness.valid_until(OPENED, TTL) == math.inf
    assert freshness.take_changes() == []


def test_the_ttl_counts_from_the_last_sign_of_the_feed() -> None:
    freshness = healthy()
    freshness.on_quiet(2000.0)
    freshness.on_interrupted(2020.0, "UNAVAILABLE")
    pass_time(freshness, 2020.0 + GRACE_SECONDS)
    (change,) = freshness.take_changes()
    assert (change.state, change.why) == (FreshnessState.INTERRUPTED, "UNAVAILABLE")
    assert change.ends_promise
    assert freshness.valid_until(OPENED, TTL) == 2000.0 + TTL
    assert freshness.valid_until(2030.0, TTL) == 2030.0 + TTL
    assert freshness.valid_until(OPENED - 0.5, TTL) == OPENED - 0.5 + TTL


def test_a_feed_that_opens_again_and_again_without_lasting_is_interrupted() -> None:
    freshness = healthy()
    freshness.on_quiet(2000.0)
    for attempt in range(8):
        freshness.on_interrupted(2000.0 + attempt, "UNAVAILABLE")
        freshness.on_open(2000.5 + attempt)
        pass_time(freshness, 2000.9 + attempt)
    assert freshness.valid_until(OPENED, TTL) == 2000.0 + TTL


def test_answers_are_trusted_again_when_what_was_delayed_has_been_delivered() -> None:
    freshness = healthy()
    freshness.on_quiet(2000.0)
    freshness.on_interrupted(2000.0, "UNAVAILABLE")
    pass_time(freshness, 2050.0)
    freshness.on_open(2050.0)
    assert freshness.valid_until(OPENED, TTL) == 2000.0 + TTL
    late(freshness, 2051.0, lag=50.0)
    pass_time(freshness, 2051.0 + SETTLING_SECONDS)
    assert freshness.valid_until(OPENED, TTL) == math.inf
    states = [change.state for change in freshness.take_changes()]
    assert states == [
        FreshnessState.INTERRUPTED,
        FreshnessState.CATCHING_UP,
        FreshnessState.HEALTHY,
    ]


def test_late_messages_end_the_promise() -> None:
    freshness = healthy()
    freshness.on_messages(WALL - LAG_BOUND_SECONDS, 2000.0, WALL)
    assert freshness.valid_until(OPENED, TTL) == math.inf
    late(freshness, 2001.0)
    assert shown(freshness) == "catching up"
    assert freshness.valid_until(OPENED, TTL) == 2001.0 + TTL
    assert freshness.take_changes()[0].ends_promise


def test_a_missing_subscription_is_lost_without_a_grace() -> None:
    freshness = healthy()
    freshness.on_quiet(2000.0)
    freshness.on_lost(2000.0, "the subscription does not exist")
    assert shown(freshness) == "lost"
    freshness.on_interrupted(2001.0, "UNAVAILABLE")
    assert (freshness.state, freshness.why) == (
        FreshnessState.LOST,
        "the subscription does not exist",
    )
    assert freshness.valid_until(OPENED, TTL) == 2000.0 + TTL


def test_after_a_gap_earlier_answers_are_not_valid() -> None:
    freshness = healthy()
    freshness.on_lost(2000.0, "the subscription does not exist")
    freshness.on_open(3000.0)
    freshness.on_gap(3000.0)
    for ttl in (TTL, math.inf):
        assert freshness.valid_until(2999.0, ttl) == 2999.0
    pass_time(freshness, 3000.0 + SETTLING_SECONDS)
    assert freshness.valid_until(3000.0, TTL) == math.inf
    assert freshness.valid_until(2999.0, TTL) == 2999.0
    assert [change.ends_promise for change in freshness.take_changes()].count(True) == 2


def test_a_gap_before_the_feed_was_open_leaves_kept_names_their_ttl() -> None:
    freshness = Freshness(0.0)
    freshness.on_gap(1.0)
    freshness.on_open(1.0)
    assert freshness.valid_until(-20.0, TTL) == -20.0 + TTL
