"""Tests of the protocol core, with examples for each invariant that its docstring lists."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.model.errors import (
    DataCorruption,
    DeadlineExceeded,
    GenerationGone,
    PermissionDenied,
    RangeUnsatisfiable,
    StatusCode,
    StorageError,
    Unavailable,
)
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_states import StreamState
from gcsmux_fs.storage.ports import Chunk, RangeFailure, RangeRequest

from .driven_core import CONTENT, KEY, DrivenCore, chunk, end, failure, info, redirect

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def driven() -> DrivenCore:
    return DrivenCore()


def last_requests(driven: DrivenCore) -> tuple[RangeRequest, ...]:
    return driven.sent[-1]


# -- requests


def test_the_first_ranges_travel_in_the_opening_message(driven: DrivenCore) -> None:
    driven.request_unflushed(0, 10)
    driven.request_unflushed(50, 5)
    driven.flush()
    assert len(driven.opened) == 1
    assert driven.opened[0].spec.key == KEY
    assert [(r.offset, r.length) for r in driven.opened[0].ranges] == [(0, 10), (50, 5)]
    assert StreamState.OPENING is driven.core.state


def test_ranges_requested_while_a_message_is_in_flight_share_the_next_message(
    driven: DrivenCore,
) -> None:
    driven.request(0, 10)
    driven.request(10, 10)
    driven.request(20, 10)
    assert len(driven.sent) == 1
    driven.confirm()
    assert [(r.offset, r.length) for r in last_requests(driven)] == [(10, 10), (20, 10)]
    driven.request(30, 10)
    assert len(driven.sent) == 2


def test_a_message_holds_at_most_a_hundred_ranges(driven: DrivenCore) -> None:
    for offset in range(250):
        driven.request_unflushed(offset, 1)
    driven.flush()
    driven.confirm()
    driven.confirm()
    driven.confirm()
    assert [len(batch) for batch in driven.sent] == [100, 100, 50]


def test_a_reopened_stream_sends_at_most_a_hundred_ranges_in_a_message(driven: DrivenCore) -> None:
    for offset in range(250):
        driven.request_unflushed(offset, 1)
    driven.flush()
    driven.confirm()
    driven.confirm()
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.confirm()
    driven.confirm()
    assert [len(batch) for batch in driven.sent[3:]] == [100, 100, 50]
    assert list(range(250)) == [r.offset for batch in driven.sent[3:] for r in batch]


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (5, -1), (-1, 4)])
def test_an_empty_range_is_rejected(driven: DrivenCore, offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="invalid range"):
        driven.request_unflushed(offset, length)
    assert driven.core.waiting == 0


def test_read_ids_are_never_used_twice(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.request(10, 10)
    driven.confirm()
    for _ in range(3):
        driven.end(end(StatusCode.UNAVAILABLE))
        driven.advance(10)
    ids = [r.read_id for batch in driven.sent for r in batch]
    assert len(ids) == len(set(ids))


# -- answers (invariants 1, 2, 5)


def test_answers_find_their_range_by_read_id_in_any_order(driven: DrivenCore) -> None:
    first, second = driven.request_unflushed(0, 10), driven.request_unflushed(100, 20)
    driven.flush()
    one, two = last_requests(driven)
    driven.message(chunk(two, 0, 5), chunk(one, 0, 5))
    driven.message(chunk(two, 5, range_end=True))
    driven.message(chunk(one, 5, range_end=True))
    assert {second: CONTENT[100:120], first: CONTENT[:10]} == driven.outcomes
    assert [second, first] == list(driven.outcomes)


def test_chunks_for_a_delivered_range_are_dropped_and_counted(driven: DrivenCore) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request))
    driven.message(chunk(request, 0, 5))
    assert driven.counters.chunks_dropped == 1
    assert len(driven.outcomes) == 1


def test_an_empty_chunk_that_marks_the_end_of_a_delivered_range_is_not_counted(
    driven: DrivenCore,
) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request))
    driven.message(chunk(request, 10, range_end=True))
    assert driven.counters.chunks_dropped == 0


def test_a_chunk_with_an_unknown_read_id_is_dropped(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    (request,) = last_requests(driven)
    unknown = RangeRequest(request.read_id + 1000, 0, 10)
    driven.message(chunk(unknown), chunk(request))
    assert {pending: CONTENT[:10]} == driven.outcomes
    assert driven.counters.chunks_dropped == 1


def test_an_empty_message_is_a_keep_alive(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.message()
    assert StreamState.OPEN is driven.core.state
    assert driven.core.waiting == 1


def test_a_range_with_a_corrupt_chunk_is_requested_again_under_a_new_id(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    driven.confirm()
    (request,) = last_requests(driven)
    driven.message(chunk(request, 0, 4), chunk(request, 4, 8, intact=False), chunk(request, 8))
    (again,) = last_requests(driven)
    assert (again.offset, again.length) == (4, 6)
    assert again.read_id != request.read_id
    driven.message(chunk(request, range_end=True))
    assert driven.outcomes == {}
    driven.message(chunk(again))
    assert {pending: CONTENT[:10]} == driven.outcomes
    assert driven.counters.checksum_failures == 1


def test_a_range_with_a_gap_is_requested_again(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.confirm()
    (request,) = last_requests(driven)
    driven.message(chunk(request, 3, 10, range_end=True))
    (again,) = last_requests(driven)
    assert (again.offset, again.length) == (0, 10)
    assert driven.counters.gaps == 1


def test_a_range_that_ends_early_is_requested_again_from_its_first_missing_byte(
    driven: DrivenCore,
) -> None:
    driven.request(0, 10)
    driven.confirm()
    (request,) = last_requests(driven)
    driven.message(chunk(request, 0, 6, range_end=True))
    (again,) = last_requests(driven)
    assert (again.offset, again.length) == (6, 4)


def test_too_many_bad_answers_fail_the_range_with_data_corruption(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    other = driven.request(100, 10)
    driven.confirm()
    (unhurt,) = last_requests(driven)
    (request,) = driven.sent[0]
    for _ in range(driven.policy.max_bad_answers):
        driven.confirm()
        driven.message(chunk(request, intact=False, range_end=True))
        request = driven.wire[max(driven.wire)]
    assert isinstance(driven.outcomes[pending], DataCorruption)
    assert driven.policy.max_bad_answers + 1 == driven.counters.ranges_sent
    driven.message(chunk(unhurt))
    assert CONTENT[100:110] == driven.outcomes[other]


def test_progress_resets_the_count_of_bad_answers(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    for first in range(10):
        driven.confirm()
        request = driven.wire[max(driven.wire)]
        driven.message(chunk(request, 0, 1), chunk(request, 1, 2, intact=False))
        assert first + 1 == pending.received
    assert {pending: CONTENT[:10]} == driven.outcomes


# -- lost streams (invariants 3, 4)


def test_after_a_lost_stream_a_range_resumes_at_its_first_missing_byte(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request, 0, 7), handle=b"h", metadata=info())
    driven.end(end(StatusCode.UNAVAILABLE))
    (again,) = driven.opened[-1].ranges
    assert (again.offset, again.length) == (7, 3)
    assert again.read_id > request.read_id
    assert driven.opened[-1].spec.handle == b"h"
    assert driven.core.stream == 2
    driven.message(chunk(again))
    assert {pending: CONTENT[:10]} == driven.outcomes


def test_resumed_ranges_come_before_newer_ranges_in_their_old_order(driven: DrivenCore) -> None:
    driven.request_unflushed(0, 10)
    driven.request_unflushed(10, 10)
    driven.flush()
    driven.request(20, 10)
    driven.end(end(StatusCode.UNAVAILABLE))
    assert [r.offset for r in driven.opened[-1].ranges] == [0, 10, 20]


def test_events_of_an_earlier_stream_change_nothing(driven: DrivenCore) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.request(20, 10)
    before = repr(driven.core)
    driven.message(chunk(request), stream=1)
    driven.confirm(stream=1)
    driven.end(end(StatusCode.NOT_FOUND), stream=1)
    driven.message(stream=99)
    assert before == repr(driven.core)
    assert driven.outcomes == {}
    assert len(driven.sent) == 2
    assert driven.counters.stale_events == 4


def test_events_after_the_end_of_a_stream_change_nothing(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    driven.end(end(StatusCode.PERMISSION_DENIED))
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.confirm()
    driven.message()
    assert StreamState.CLOSED is driven.core.state
    assert isinstance(driven.outcomes[pending], PermissionDenied)
    assert driven.counters.stale_events == 3


def test_a_stream_that_ends_with_ok_while_ranges_wait_is_reopened(
    driven: DrivenCore,
) -> None:
    driven.request(0, 10)
    driven.end(end(StatusCode.OK))
    assert len(driven.opened) == 2


# -- failures of one range (invariant 7)


def test_a_failed_range_fails_no_other_range(driven: DrivenCore) -> None:
    bad, good = driven.request_unflushed(0, 10), driven.request_unflushed(10, 10)
    driven.flush()
    refused, other = last_requests(driven)
    driven.message(chunk(other, 0, 4))
    driven.end(end(StatusCode.OUT_OF_RANGE, failure(refused, StatusCode.OUT_OF_RANGE)))
    assert isinstance(driven.outcomes[bad], RangeUnsatisfiable)
    (again,) = driven.opened[-1].ranges
    assert (again.offset, again.length) == (14, 6)
    driven.message(chunk(again))
    assert CONTENT[10:20] == driven.outcomes[good]


def test_ranges_that_fail_one_after_another_do_not_delay_the_others(driven: DrivenCore) -> None:
    bad = [driven.request_unflushed(offset, 10) for offset in range(0, 50, 10)]
    good = driven.request_unflushed(50, 10)
    driven.flush()
    for _ in bad:
        (refused, *_) = driven.opened[-1].ranges
        driven.end(end(StatusCode.OUT_OF_RANGE, failure(refused, StatusCode.OUT_OF_RANGE)))
        assert driven.core.state is StreamState.OPENING
    assert set(bad) == set(driven.outcomes)
    assert driven.core.waiting == 1
    (request,) = driven.opened[-1].ranges
    driven.message(chunk(request))
    assert driven.outcomes[good] == CONTENT[50:60]


def test_the_failure_of_a_cancelled_range_does_not_delay_the_others(
    driven: DrivenCore,
) -> None:
    left = [driven.request_unflushed(offset, 10) for offset in range(0, 50, 10)]
    stays = driven.request_unflushed(50, 10)
    driven.flush()
    for leaves in left:
        (refused, *_) = driven.opened[-1].ranges
        driven.cancel(leaves)
        driven.end(end(StatusCode.OUT_OF_RANGE, failure(refused, StatusCode.OUT_OF_RANGE)))
        assert driven.core.state is StreamState.OPENING
    (again,) = driven.opened[-1].ranges
    driven.message(chunk(again))
    assert driven.outcomes == {stays: CONTENT[50:60]}


def test_a_failure_that_names_an_unknown_read_id_is_an_ordinary_failure(driven: DrivenCore) -> None:
    driven.request(0, 10)
    unknown = RangeFailure(999, StatusCode.DATA_LOSS, "no")
    driven.end(end(StatusCode.DATA_LOSS, unknown))
    assert len(driven.opened) == 2
    driven.end(end(StatusCode.DATA_LOSS, unknown))
    assert StreamState.BACKOFF is driven.core.state


def test_a_range_with_a_retryable_failure_is_retried_a_bounded_number_of_times(
    driven: DrivenCore,
) -> None:
    pending = driven.request(0, 10)
    for _ in range(driven.policy.max_bad_answers):
        assert driven.outcomes == {}
        driven.advance(10)
        (request,) = driven.opened[-1].ranges
        driven.end(end(StatusCode.UNAVAILABLE, failure(request, StatusCode.UNAVAILABLE)))
    assert isinstance(driven.outcomes[pending], Unavailable)
    assert driven.policy.max_bad_answers == len(driven.opened)


def test_many_ranges_with_retryable_failures_share_one_backoff(driven: DrivenCore) -> None:
    for offset in range(50):
        driven.request_unflushed(offset, 1)
    driven.flush()
    for _ in range(3):
        (request, *_) = driven.opened[-1].ranges
        driven.end(end(StatusCode.ABORTED, failure(request, StatusCode.RESOURCE_EXHAUSTED)))
        driven.confirm()
    assert StreamState.BACKOFF is driven.core.state
    assert len(driven.opened) == 2


def test_a_range_of_a_deleted_generation_fails_with_generation_gone(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.end(end(StatusCode.NOT_FOUND, failure(request, StatusCode.NOT_FOUND)))
    assert isinstance(driven.outcomes[pending], GenerationGone)


# -- final errors


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.NOT_FOUND, GenerationGone),
        (StatusCode.PERMISSION_DENIED, PermissionDenied),
        (StatusCode.UNKNOWN, StorageError),
        (StatusCode.UNIMPLEMENTED, StorageError),
        (StatusCode.DATA_LOSS, DataCorruption),
    ],
)
def test_a_final_status_fails_all_ranges_at_once(
    driven: DrivenCore, code: StatusCode, kind: type[StorageError]
) -> None:
    sent, unsent = driven.request(0, 10), driven.request(10, 10)
    driven.end(end(code))
    for pending in (sent, unsent):
        error = driven.outcomes[pending]
        assert isinstance(error, kind)
        assert code is error.code
    assert StreamState.CLOSED is driven.core.state
    assert len(driven.opened) == 1
    assert math.inf == driven.core.deadline


def test_a_response_for_another_generation_fails_all_ranges(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request), metadata=info(8), handle=b"of generation 8")
    assert isinstance(driven.outcomes[pending], GenerationGone)
    assert driven.cancelled_calls == 1
    driven.request(0, 10)
    assert driven.opened[-1].spec.handle == b""


def test_a_stream_without_metadata_is_accepted(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request), handle=b"h")
    assert {pending: CONTENT[:10]} == driven.outcomes


# -- redirects, handles, tokens


def test_a_redirect_is_followed_without_delay_with_its_token_and_handle(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.end(redirect("east", b"h2"))
    assert (
        driven.opened[-1].spec.routing_token,
        driven.opened[-1].spec.handle,
    ) == ("east", b"h2")
    assert StreamState.OPENING is driven.core.state


def test_a_redirect_without_a_handle_keeps_the_old_handle(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.message(handle=b"h1")
    driven.end(redirect("east"))
    assert driven.opened[-1].spec.handle == b"h1"


def test_endless_redirects_get_a_backoff_and_then_fail(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    while not driven.outcomes:
        driven.end(redirect())
        driven.wait_for_reopen()
    assert isinstance(driven.outcomes[pending], Unavailable)
    assert len(driven.opened) < 40
    assert driven.now < 100 + driven.policy.give_up_seconds + driven.policy.max_backoff_seconds


def test_a_redirect_after_many_failures_is_followed() -> None:
    driven = DrivenCore(RetryPolicy(give_up_seconds=math.inf))
    pending = driven.request(0, 10)
    for _ in range(12):
        driven.end(redirect("east"))
        driven.wait_for_reopen()
        assert driven.opened[-1].spec.routing_token == "east"
        for _ in range(3):
            driven.end(end(StatusCode.UNAVAILABLE))
            driven.wait_for_reopen()
    driven.end(redirect("east"))
    (request,) = driven.opened[-1].ranges
    driven.message(chunk(request))
    assert driven.outcomes == {pending: CONTENT[:10]}


def test_after_a_refused_handle_the_stream_is_opened_once_without_it(
    driven: DrivenCore,
) -> None:
    driven.request(0, 10)
    driven.message(handle=b"old")
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.end(end(StatusCode.INVALID_ARGUMENT))
    assert [opened.spec.handle for opened in driven.opened] == [b"", b"old", b""]
    driven.end(end(StatusCode.NOT_FOUND))
    assert [GenerationGone] == [type(error) for error in driven.outcomes.values()]


def test_three_failures_in_a_row_drop_the_handle_and_the_routing_token(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.end(redirect("east", b"h"))
    for _ in range(3):
        driven.end(end(StatusCode.UNAVAILABLE))
        driven.advance(1)
    specs = [(opened.spec.routing_token, opened.spec.handle) for opened in driven.opened]
    assert specs == [("", b"")] + [("east", b"h")] * 3 + [("", b"")]


def test_a_refused_token_is_renewed_once(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request, 0, 3))
    expired = replace(end(StatusCode.UNAUTHENTICATED), token_refused=True)
    driven.end(expired)
    assert len(driven.opened) == 2
    driven.end(expired)
    assert isinstance(driven.outcomes[pending], PermissionDenied)


# -- time


def test_a_lost_stream_is_reopened_without_delay_and_then_after_growing_delays(
    driven: DrivenCore,
) -> None:
    driven.request(0, 10)
    delays: list[float] = []
    for _ in range(9):
        driven.end(end(StatusCode.UNAVAILABLE))
        delays.append(driven.wait_for_reopen())
    assert delays[0] == 0
    for delay, ceiling in zip(delays[1:], (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.0), strict=True):
        assert ceiling / 2 - 1e-9 <= delay <= ceiling + 1e-9


def test_progress_resets_the_backoff(driven: DrivenCore) -> None:
    driven.request(0, 10)
    for received in range(5):
        (request,) = driven.opened[-1].ranges
        assert request.offset == received
        driven.message(chunk(request, 0, 1))
        driven.end(end(StatusCode.UNAVAILABLE))
        assert driven.core.state is StreamState.OPENING
        driven.end(end(StatusCode.UNAVAILABLE))
        assert driven.wait_for_reopen() <= 0.1 + 1e-9


def test_a_first_response_without_bytes_does_not_reset_the_backoff(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.message(metadata=info(), handle=b"h")
    driven.end(end(StatusCode.UNAVAILABLE))
    assert StreamState.BACKOFF is driven.core.state


def test_without_progress_ranges_fail_after_the_time_to_give_up(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    while not driven.outcomes:
        driven.end(end(StatusCode.UNAVAILABLE))
        driven.advance(driven.policy.max_backoff_seconds)
    assert isinstance(driven.outcomes[pending], Unavailable)
    given_up_after = driven.now - driven.policy.max_backoff_seconds - 100
    assert driven.policy.give_up_seconds <= given_up_after
    assert given_up_after <= driven.policy.give_up_seconds + driven.policy.max_backoff_seconds
    assert StreamState.CLOSED is driven.core.state


def test_the_first_failure_after_giving_up_is_retried_without_delay(driven: DrivenCore) -> None:
    driven.request(0, 10)
    while not driven.outcomes:
        driven.end(end(StatusCode.UNAVAILABLE))
        driven.advance(driven.policy.max_backoff_seconds)
    opened = len(driven.opened)
    driven.request(0, 10)
    driven.end(end(StatusCode.UNAVAILABLE))
    assert opened + 2 == len(driven.opened)
    assert driven.core.waiting == 1


def test_a_range_requested_during_a_backoff_waits_for_its_end(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.request(10, 10)
    assert len(driven.opened) == 2
    driven.advance(0.1)
    assert [r.offset for r in driven.opened[-1].ranges] == [0, 10]


def test_a_backoff_ends_when_all_ranges_are_cancelled(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.cancel(pending)
    assert StreamState.CLOSED is driven.core.state
    driven.advance(1000)
    assert len(driven.opened) == 2


def test_no_first_response_counts_as_a_failure(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.confirm()
    driven.advance(driven.policy.open_seconds - 1)
    assert len(driven.opened) == 1
    driven.advance(1)
    assert len(driven.opened) == 2
    assert driven.cancelled_calls == 1


def test_opens_without_any_response_fail_with_deadline_exceeded(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    driven.advance(300)
    assert isinstance(driven.outcomes[pending], DeadlineExceeded)


def test_a_stalled_stream_is_replaced_and_received_bytes_are_kept(driven: DrivenCore) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.advance(10)
    driven.message(chunk(request, 0, 4))
    driven.advance(driven.policy.stall_seconds - 1)
    driven.message()
    assert len(driven.opened) == 1
    driven.advance(1)
    assert driven.cancelled_calls == 1
    (again,) = driven.opened[-1].ranges
    assert (again.offset, again.length) == (4, 6)


def test_an_idle_stream_does_not_stall(driven: DrivenCore) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.confirm()
    driven.message(chunk(request))
    driven.advance(driven.policy.idle_seconds - 5)
    driven.request(10, 10)
    driven.advance(driven.policy.stall_seconds - 1)
    assert driven.cancelled_calls == 0
    driven.advance(1)
    assert driven.cancelled_calls == 1


def test_the_stall_time_begins_at_the_first_response(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.advance(driven.policy.open_seconds - 1)
    driven.message()
    driven.advance(driven.policy.stall_seconds - 1)
    assert driven.cancelled_calls == 0
    driven.advance(1)
    assert driven.cancelled_calls == 1


def test_every_received_byte_restarts_the_stall_time(driven: DrivenCore) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message()
    for first in range(9):
        driven.advance(driven.policy.stall_seconds - 1)
        driven.message(chunk(request, first, first + 1))
    assert driven.cancelled_calls == 0


def test_the_idle_time_begins_when_the_last_range_is_cancelled(driven: DrivenCore) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request))
    waits = driven.request(10, 10)  # unsent, because the opening message is still being sent
    driven.advance(20)
    driven.cancel(waits)
    driven.advance(driven.policy.idle_seconds - 1)
    assert driven.cancelled_calls == 0
    driven.advance(1)
    assert driven.cancelled_calls == 1


def test_a_stream_is_closed_after_the_idle_time(driven: DrivenCore) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.advance(5)
    driven.message(chunk(request), handle=b"h")
    driven.advance(driven.policy.idle_seconds - 1)
    assert driven.cancelled_calls == 0
    driven.advance(1)
    assert StreamState.CLOSED is driven.core.state
    assert driven.cancelled_calls == 1
    assert math.inf == driven.core.deadline


# -- no range waits (invariant 8)


def test_a_stream_lost_while_idle_is_reopened_only_by_the_next_request(
    driven: DrivenCore,
) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request), handle=b"h")
    driven.end(end(StatusCode.ABORTED))
    driven.advance(1000)
    assert len(driven.opened) == 1
    driven.request(10, 10)
    assert len(driven.opened) == 2
    assert driven.opened[-1].spec.handle == b"h"
    assert driven.counters.streams_failed == 0


def test_a_flush_without_unsent_ranges_does_nothing(driven: DrivenCore) -> None:
    driven.flush()
    assert driven.opened == []
    assert driven.moves == []


def test_a_range_cancelled_before_it_is_sent_is_never_sent(driven: DrivenCore) -> None:
    driven.cancel(driven.request_unflushed(0, 10))
    driven.flush()
    assert driven.sent == []
    assert StreamState.CLOSED is driven.core.state


# -- cancelling (invariants 1, 5)


def test_chunks_of_a_cancelled_range_are_dropped_and_others_are_delivered(
    driven: DrivenCore,
) -> None:
    left, stays = driven.request_unflushed(0, 10), driven.request_unflushed(10, 10)
    driven.flush()
    gone, request = last_requests(driven)
    driven.cancel(left)
    driven.message(chunk(gone, range_end=True), chunk(request))
    assert {stays: CONTENT[10:20]} == driven.outcomes
    assert driven.counters.chunks_dropped == 1
    assert driven.counters.ranges_cancelled == 1


def test_cancelling_an_ended_range_changes_nothing(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request))
    before = repr(driven.core)
    driven.cancel(pending)
    driven.cancel(pending)
    assert before == repr(driven.core)
    assert driven.counters.ranges_cancelled == 0


def test_a_stream_is_cancelled_when_all_its_ranges_are_cancelled(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request, 0, 1))
    driven.cancel(pending)
    assert StreamState.CLOSED is driven.core.state
    assert driven.cancelled_calls == 1


def test_an_opening_stream_is_cancelled_when_all_its_ranges_are_cancelled(
    driven: DrivenCore,
) -> None:
    driven.cancel(driven.request(0, 10))
    assert StreamState.CLOSED is driven.core.state
    assert driven.cancelled_calls == 1


def test_a_stream_is_kept_when_an_unsent_range_is_cancelled(
    driven: DrivenCore,
) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request))
    driven.cancel(driven.request_unflushed(10, 10))
    assert StreamState.OPEN is driven.core.state
    assert driven.cancelled_calls == 0


@pytest.mark.parametrize("marked", [True, False])
def test_an_abandoned_range_ends_when_the_server_has_sent_all_of_it(
    driven: DrivenCore, marked: bool
) -> None:
    stays, left = driven.request_unflushed(0, 10), driven.request_unflushed(10, 10)
    driven.flush()
    _, gone = last_requests(driven)
    driven.message()
    driven.cancel(left)
    driven.message(chunk(gone, range_end=marked))
    assert driven.core.ranges.abandoned == 0
    driven.confirm()
    driven.cancel(stays)
    assert driven.cancelled_calls == 1  # the server may still send bytes of `stays`


def test_the_end_mark_alone_ends_an_abandoned_range(driven: DrivenCore) -> None:
    driven.request_unflushed(0, 10)
    left = driven.request_unflushed(10, 10)
    driven.flush()
    _, gone = last_requests(driven)
    driven.cancel(left)
    driven.message(chunk(gone, 0, 3))
    assert driven.core.ranges.abandoned == 1
    driven.message(chunk(gone, 3, 3, range_end=True))
    assert driven.core.ranges.abandoned == 0


def test_the_rest_of_a_bad_answer_is_abandoned(driven: DrivenCore) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request, 0, 5, intact=False))
    assert driven.core.ranges.abandoned == 1
    driven.message(chunk(request, 5, range_end=True))
    assert driven.core.ranges.abandoned == 0


def test_abandoned_ranges_are_forgotten_when_their_stream_ends(driven: DrivenCore) -> None:
    left = driven.request_unflushed(0, 10)
    driven.request_unflushed(10, 10)
    driven.flush()
    driven.cancel(left)
    assert driven.core.ranges.abandoned == 1
    driven.end(end(StatusCode.UNAVAILABLE))
    assert driven.core.ranges.abandoned == 0


def test_thousands_of_ranges_are_cancelled_in_any_order(driven: DrivenCore) -> None:
    request = [driven.request_unflushed(offset % 4000, 1) for offset in range(20_000)]
    driven.flush()
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.end(end(StatusCode.UNAVAILABLE))
    for pending in reversed(request):
        driven.cancel(pending)
    assert driven.core.waiting == 0
    assert StreamState.CLOSED is driven.core.state


# -- closing


def opening(driven: DrivenCore) -> None:
    driven.flush()


def opened(driven: DrivenCore) -> None:
    driven.flush()
    driven.message()


def backing_off(driven: DrivenCore) -> None:
    driven.flush()
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.end(end(StatusCode.UNAVAILABLE))


@pytest.mark.parametrize(
    ("reach", "state", "calls"),
    [
        (None, StreamState.CLOSED, 0),
        (opening, StreamState.OPENING, 1),
        (opened, StreamState.OPEN, 1),
        (backing_off, StreamState.BACKOFF, 0),
    ],
)
def test_closing_ends_all_ranges_and_the_call_in_any_state(
    driven: DrivenCore, reach: Callable[[DrivenCore], None] | None, state: StreamState, calls: int
) -> None:
    pending = driven.request_unflushed(0, 10)
    if reach is not None:
        reach(driven)
    assert state is driven.core.state
    error = Unavailable("the mount is ending")
    driven.close(error)
    assert {pending: error} == driven.outcomes
    assert StreamState.CLOSED is driven.core.state
    assert calls == driven.cancelled_calls
    assert math.inf == driven.core.deadline


# -- reporting


def test_every_transition_is_reported_with_its_stream(driven: DrivenCore) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request, 0, 5))
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.advance(0.1)
    (request,) = driven.opened[-1].ranges
    driven.message(chunk(request))
    driven.advance(100)
    assert driven.moves == [
        "CLOSED -> OPENING (1)",
        "OPENING -> OPEN (1)",
        "OPEN -> OPENING (2)",
        "OPENING -> BACKOFF (2)",
        "BACKOFF -> OPENING (3)",
        "OPENING -> OPEN (3)",
        "OPEN -> CLOSED (3)",
    ]


def test_the_repr_shows_the_state(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.request(10, 10)
    assert (
        repr(driven.core)
        == "<StreamCore gs://bucket/'object'#7 OPENING stream 1, 1 ranges in flight, 1 unsent>"
    )


def test_counters_count_streams_messages_and_ranges(driven: DrivenCore) -> None:
    driven.request(0, 10)
    (request,) = last_requests(driven)
    driven.message(chunk(request, 0, 4))
    driven.end(end(StatusCode.UNAVAILABLE))
    (again,) = driven.opened[-1].ranges
    driven.message(chunk(again))
    counters = driven.counters
    assert (counters.streams_opened, counters.streams_reopened, counters.streams_failed) == (
        2,
        1,
        1,
    )
    assert (counters.messages_sent, counters.ranges_sent, counters.ranges_resumed) == (2, 2, 1)
    assert (counters.ranges_delivered, counters.bytes_received) == (1, 10)


def test_a_policy_without_any_time_fails_the_range(driven: DrivenCore) -> None:
    hasty = DrivenCore(RetryPolicy(open_seconds=0.0, give_up_seconds=0.0, idle_seconds=0.0))
    pending = hasty.request(0, 10)
    hasty.advance(10)
    assert isinstance(hasty.outcomes[pending], DeadlineExceeded)


def test_a_chunk_longer_than_the_range_is_cut(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    (request,) = last_requests(driven)
    long = Chunk(request.read_id, 0, memoryview(CONTENT)[:100], True, True, 100)
    driven.message(long)
    assert {pending: CONTENT[:10]} == driven.outcomes


def test_the_time_to_the_first_byte_is_observed_once_for_each_stream(driven: DrivenCore) -> None:
    driven.request(0, 30)
    driven.advance(0.5)
    driven.message(metadata=info())
    for first in (0, 10):
        driven.advance(1.0)
        (request,) = driven.opened[-1].ranges
        driven.message(chunk(request, first, first + 10))
    times = driven.first_byte_times
    assert (times.count, times.total_seconds) == (1, 1.5)
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.advance(0.25)
    (request,) = driven.opened[-1].ranges
    driven.message(chunk(request))
    assert (times.count, times.total_seconds) == (2, 1.75)
