"""Tests of what a core keeps, forgets and counts after the end of a stream."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gcsmux_fs.model.errors import GenerationGone, StatusCode, Unavailable
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_states import StreamState
from gcsmux_fs.storage.ports import BidiMessage

from .driven_core import KEY, DrivenCore, chunk, end, info, redirect


@pytest.fixture
def driven() -> DrivenCore:
    """Return a core with an idle stream, a read handle and a reported size of 100 bytes."""
    driven = DrivenCore()
    driven.request(0, 10)
    driven.confirm()
    size = replace(info(), size=100)
    driven.message(chunk(driven.sent[-1][0]), handle=b"handle", metadata=size)
    return driven


def serve_all(driven: DrivenCore) -> None:
    driven.message(*(chunk(request, range_end=True) for request in driven.opened[-1].ranges))


def test_after_giving_up_the_next_stream_is_opened_without_handle(driven: DrivenCore) -> None:
    driven.request(10, 10)
    driven.end(end(StatusCode.PERMISSION_DENIED))
    driven.request(10, 10)
    assert driven.opened[-1].spec.handle == b""


@pytest.mark.parametrize("generation", [KEY.generation - 1, KEY.generation + 1])
def test_a_handle_that_serves_another_generation_is_forgotten(
    driven: DrivenCore, generation: int
) -> None:
    pending = driven.request(10, 10)
    driven.end(end(StatusCode.UNAVAILABLE))
    assert driven.opened[-1].spec.handle == b"handle"
    driven.message(metadata=info(generation))
    error = driven.outcomes[pending]
    assert isinstance(error, GenerationGone)
    assert str(error) == f"{KEY}: the server serves generation {generation} instead"
    driven.request(10, 10)
    assert driven.opened[-1].spec.handle == b""


def test_after_opens_that_hung_until_giving_up_the_next_request_opens_a_stream() -> None:
    driven = DrivenCore()
    driven.request(0, 10)
    driven.advance(300)
    assert driven.core.state is StreamState.CLOSED
    opened = len(driven.opened)
    pending = driven.request(0, 10)
    assert len(driven.opened) == opened + 1
    serve_all(driven)
    assert isinstance(driven.outcomes[pending], bytes)


def test_abandoned_ranges_of_a_replaced_stream_are_forgotten(driven: DrivenCore) -> None:
    leaves = driven.request(10, 10)
    driven.confirm()
    driven.request(20, 10)
    driven.confirm()
    driven.cancel(leaves)
    driven.request(100, 10)  # beyond the size, so a new stream is opened
    driven.confirm()
    serve_all(driven)
    cancelled_calls = driven.cancelled_calls
    driven.cancel(driven.request_unflushed(40, 10))
    assert driven.core.state is StreamState.OPEN
    assert driven.cancelled_calls == cancelled_calls == 1


def test_an_early_timer_changes_nothing(driven: DrivenCore) -> None:
    driven.request(10, 10)
    for _ in range(2):
        driven.end(end(StatusCode.UNAVAILABLE))
    before = repr(driven.core)
    driven.core.on_timer(driven.now)
    assert driven.core.take_actions() == []
    assert repr(driven.core) == before
    assert driven.core.state is StreamState.BACKOFF


def test_a_late_timer_acts(driven: DrivenCore) -> None:
    driven.request(10, 10)
    for _ in range(2):
        driven.end(end(StatusCode.UNAVAILABLE))
    driven.core.on_timer(driven.now + 100)
    assert driven.core.state is StreamState.OPENING


def test_a_stall_is_handled_when_the_timer_is_late(driven: DrivenCore) -> None:
    driven.request(10, 10)
    driven.now += driven.policy.stall_seconds + 10
    driven.advance(0)
    assert driven.cancelled_calls == 1
    assert driven.core.state is StreamState.OPENING


def test_events_of_a_future_stream_change_nothing(driven: DrivenCore) -> None:
    driven.request(10, 10)
    driven.request(20, 10)
    before = repr(driven.core)
    number = driven.core.stream + 1
    driven.core.on_sent(number, driven.now)
    driven.core.on_message(number, BidiMessage(handle=b"other"), driven.now)
    driven.core.on_end(number, end(StatusCode.NOT_FOUND), driven.now)
    assert driven.core.take_actions() == []
    assert repr(driven.core) == before
    assert driven.counters.stale_events == 3


def test_the_last_error_is_kept_until_bytes_arrive(driven: DrivenCore) -> None:
    driven.request(10, 10)
    assert driven.core.last_error == ""
    driven.end(end(StatusCode.UNAVAILABLE))
    assert driven.core.last_error == "unavailable [UNAVAILABLE]"
    serve_all(driven)
    assert driven.core.last_error == ""


def test_the_last_error_distinguishes_a_silent_open_from_a_stall(driven: DrivenCore) -> None:
    driven.request(10, 10)
    driven.message()
    driven.advance(driven.policy.stall_seconds)
    assert driven.core.last_error == "no bytes for 30 s [DEADLINE_EXCEEDED]"
    driven.advance(driven.policy.open_seconds)
    assert driven.core.last_error == "no first response for 60 s [DEADLINE_EXCEEDED]"


@pytest.mark.parametrize("closed", [False, True])
def test_a_cancelled_retry_is_given_back_to_the_budget(driven: DrivenCore, closed: bool) -> None:
    pending = driven.request(10, 10)
    for _ in range(2):
        driven.end(end(StatusCode.UNAVAILABLE))
    assert driven.budget.taken == 2
    if closed:
        driven.close(Unavailable("the mount is ending"))
    else:
        driven.cancel(pending)
    assert driven.budget.taken == 1


def test_every_lost_stream_is_counted() -> None:
    driven = DrivenCore(RetryPolicy(max_redirects=3))
    driven.request_unflushed(0, 10)
    driven.request(10, 10)
    for _ in range(3):
        driven.end(redirect())
    counters = driven.counters
    assert (counters.redirects, counters.streams_failed, counters.streams_reopened) == (3, 3, 3)
    assert counters.streams_lost == {("redirect",): 3}
    assert (counters.streams_opened, counters.ranges_resumed) == (4, 6)


def test_every_range_resumed_on_a_stream_for_a_grown_object_is_counted(
    driven: DrivenCore,
) -> None:
    for size in (100, 200):
        driven.message(metadata=replace(info(), size=size))
        driven.request(0, 10)
        driven.confirm()
        driven.request(size, 10)
        driven.confirm()
    assert driven.counters.ranges_resumed == 1 + 3


def test_every_cancelled_range_is_counted(driven: DrivenCore) -> None:
    for pending in [driven.request_unflushed(offset, 10) for offset in (10, 20, 30)]:
        driven.cancel(pending)
    assert driven.counters.ranges_cancelled == 3
