"""Tests of the counts of calls by status, and of the detection of an unreachable service."""

from __future__ import annotations

from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.request_outcomes import RequestOutcomes

SILENCE = 60.0


class Service:
    """A clock and a number of messages that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.messages = 0
        self.outcomes = RequestOutcomes(lambda: self.messages, lambda: self.now)

    def fail(self, seconds_later: float = 0.0) -> None:
        self.now += seconds_later
        self.outcomes.note("GetObject", StatusCode.UNAVAILABLE)

    @property
    def outage(self) -> float:
        return self.outcomes.outage_seconds(SILENCE)


def test_calls_are_counted_by_method_and_status() -> None:
    registry, outcomes = Registry(), RequestOutcomes()
    outcomes.declare_metrics(registry)
    for code in (StatusCode.OK, StatusCode.OK, StatusCode.NOT_FOUND):
        outcomes.note("GetObject", code)
    assert registry.value("requests", method="GetObject", code="OK") == 2
    assert registry.value("requests", method="GetObject", code="NOT_FOUND") == 1


def test_an_outage_lasts_from_the_first_failure() -> None:
    service = Service()
    assert service.outage == 0
    service.fail()
    service.fail(20)
    service.now += 15
    assert service.outage == 35


def test_every_answer_of_the_service_ends_an_outage() -> None:
    for code in (StatusCode.OK, StatusCode.NOT_FOUND, StatusCode.PERMISSION_DENIED):
        service = Service()
        service.fail()
        service.outcomes.note("GetObject", code)
        service.fail(10)
        service.now += 5
        assert service.outage == 5


def test_a_call_that_this_client_cancels_is_no_answer() -> None:
    service = Service()
    service.fail()
    service.outcomes.note("BidiReadObject", StatusCode.CANCELLED)
    service.now += 5
    assert service.outage == 5


def test_messages_of_streams_end_an_outage() -> None:
    service = Service()
    service.fail()
    service.messages += 1
    service.now += 5
    assert service.outage == 0
    service.fail(5)
    service.now += 2
    assert service.outage == 2


def test_nothing_is_known_about_a_service_without_recent_calls() -> None:
    service = Service()
    service.fail()
    service.now += SILENCE + 1
    assert service.outage == 0
    service.fail()
    assert service.outage == SILENCE + 1


def test_answers_and_messages_are_signs_of_the_service() -> None:
    service = Service()
    before = service.outcomes.signs()
    service.fail()
    service.outcomes.note("GetObject", StatusCode.CANCELLED)
    assert service.outcomes.signs() == before
    service.outcomes.note("GetObject", StatusCode.PERMISSION_DENIED)
    assert service.outcomes.signs() == before + 1
    service.messages += 1
    assert service.outcomes.signs() == before + 2
