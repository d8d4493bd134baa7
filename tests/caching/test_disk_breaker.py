from __future__ import annotations

import pytest

from gcsmux_fs.caching.disk_breaker import Breaker, BreakerState, Severity


def opened() -> Breaker:
    breaker = Breaker()
    assert breaker.note_failure(0.0, "fails", Severity.WHOLE)
    return breaker


def test_failures_in_a_row_open_the_breaker_once() -> None:
    breaker = Breaker()
    results = [breaker.note_failure(float(n), f"fails {n}") for n in range(5)]
    assert results == [False, False, True, False, False]
    assert (breaker.state, breaker.reason) == (BreakerState.OPEN, "fails 2")


@pytest.mark.parametrize(("answers_per_failure", "opens"), [(10, True), (20, False)])
def test_a_disk_that_often_fails_opens_the_breaker(answers_per_failure: int, opens: bool) -> None:
    breaker = Breaker()
    for failure in range(100):
        breaker.note_failure(float(failure), "fails")
        for _ in range(answers_per_failure):
            breaker.note_answer(float(failure))
    assert (breaker.state is BreakerState.OPEN) is opens


def test_one_operation_probes_the_disk_after_the_pause() -> None:
    breaker = opened()
    assert not breaker.take_probe(0.99)
    assert [breaker.take_probe(1.0), breaker.take_probe(1.0)] == [True, False]
    assert breaker.note_answer(1.1)
    assert breaker.is_closed


def test_the_pause_doubles_up_to_a_minute_while_probes_fail() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(9):
        pauses.append(breaker.pause_seconds)
        now += breaker.pause_seconds
        assert breaker.take_probe(now)
        assert not breaker.note_failure(now, "fails", Severity.WHOLE), "no change to tell"
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


@pytest.mark.parametrize(("calm_seconds", "pause"), [(4.0, 2.0), (6.0, 1.0)])
def test_the_pause_is_short_again_after_a_calm_time(calm_seconds: float, pause: float) -> None:
    breaker = opened()
    assert breaker.take_probe(1.0)
    breaker.note_answer(1.0)
    breaker.note_failure(1.0 + calm_seconds, "fails", Severity.WHOLE)
    assert breaker.pause_seconds == pause


def test_an_answer_of_an_operation_that_began_earlier_allows_a_probe_at_once() -> None:
    breaker = opened()
    assert not breaker.note_answer(0.1)
    assert breaker.take_probe(0.1)


def test_a_probe_that_found_nothing_to_read_does_not_close_the_breaker() -> None:
    breaker = opened()
    for _ in range(15):
        assert breaker.take_probe(1.0)
        assert not breaker.note_empty_probe(1.0)
    assert breaker.take_probe(1.0)
    assert breaker.note_empty_probe(1.0), "the disk knows what it has"
    assert breaker.is_closed
