from __future__ import annotations

from random import Random

import pytest

from gcsmux_fs.model.backoff import MAX_REQUESTED_PAUSE_SECONDS, TokenRenewal
from gcsmux_fs.model.errors import GenerationGone, PermissionDenied, StatusCode, Unavailable
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.mux.retry import (
    GiveUp,
    Reopen,
    ReopenRecord,
    RetryPolicy,
    decide,
    final_error,
    range_is_final,
)
from gcsmux_fs.storage.ports import RangeFailure, StreamEnd, StreamRedirect

KEY = ObjectKey("bucket", "object", 7)
POLICY = RetryPolicy()
REDIRECT = StreamEnd(StatusCode.ABORTED, redirect=StreamRedirect("east", b""))


def decision(
    end: StreamEnd | StatusCode,
    record: ReopenRecord,
    *,
    now: float = 0.0,
    had_handle: bool = False,
    cause_removed: bool = False,
    random: Random | None = None,
) -> Reopen | GiveUp:
    return decide(
        end if isinstance(end, StreamEnd) else StreamEnd(end, "why"),
        record,
        POLICY,
        key=KEY,
        had_handle=had_handle,
        cause_removed=cause_removed,
        now=now,
        random=random or Random(0),
    )


def delay_of(decided: Reopen | GiveUp) -> float:
    assert isinstance(decided, Reopen)
    return decided.delay


PASSING = [
    StatusCode.OK,
    StatusCode.CANCELLED,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.ABORTED,
    StatusCode.INTERNAL,
    StatusCode.UNAVAILABLE,
]


@pytest.mark.parametrize("code", PASSING)
def test_what_may_pass_is_tried_again_at_once_the_first_time(code: StatusCode) -> None:
    assert Reopen(0.0, code.name) == decision(code, ReopenRecord())
    assert not range_is_final(code)


@pytest.mark.parametrize("code", sorted(set(StatusCode) - {*PASSING}))
def test_the_rest_is_final(code: StatusCode) -> None:
    decided = decision(code, ReopenRecord())
    assert isinstance(decided, GiveUp)
    assert code is decided.error.code
    assert str(KEY) == decided.error.subject
    assert range_is_final(code)


def test_the_backoff_is_drawn_from_the_random_that_was_given() -> None:
    record, drawn, expected = ReopenRecord(), Random(42), Random(42)
    delays = [delay_of(decision(StatusCode.UNAVAILABLE, record, random=drawn)) for _ in range(10)]
    ceilings = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.0, 8.0]
    assert [0.0] + [expected.uniform(top / 2, top) for top in ceilings] == pytest.approx(delays)


def test_a_server_that_asks_to_be_left_alone_is_left_alone_for_so_long() -> None:
    record = ReopenRecord()
    asked = StreamEnd(StatusCode.RESOURCE_EXHAUSTED, retry_seconds=3.0)
    delays = [delay_of(decision(asked, record)) for _ in range(8)]
    assert all(3.0 <= delay <= 3.75 for delay in delays[:6])
    assert len(set(delays)) > 1 or delays[0] > 3.0
    # Its own backoff is longer in the end.
    assert delays[-1] > 3.75


def test_a_server_that_asks_for_too_much_is_asked_again_while_readers_wait() -> None:
    asked = StreamEnd(StatusCode.UNAVAILABLE, retry_seconds=1e12)
    delay = delay_of(decision(asked, ReopenRecord()))
    assert MAX_REQUESTED_PAUSE_SECONDS <= delay < POLICY.give_up_seconds / 2


def test_a_very_long_outage_does_not_overflow_the_backoff() -> None:
    record = ReopenRecord(failures=5000)
    assert delay_of(decision(StatusCode.UNAVAILABLE, record)) <= POLICY.max_backoff_seconds


def test_giving_up_is_measured_from_the_first_failure_since_progress() -> None:
    record = ReopenRecord()
    decision(StatusCode.UNAVAILABLE, record, now=1000.0)
    nearly = 1000.0 + POLICY.give_up_seconds - 0.001
    assert isinstance(decision(StatusCode.UNAVAILABLE, record, now=nearly), Reopen)
    at_last = decision(StatusCode.UNAVAILABLE, record, now=1000.0 + POLICY.give_up_seconds)
    assert isinstance(at_last, GiveUp)
    assert isinstance(at_last.error, Unavailable)
    record.reset()
    assert Reopen(0.0, "UNAVAILABLE") == decision(StatusCode.UNAVAILABLE, record, now=2000.0)


def test_progress_forgives_everything() -> None:
    record = ReopenRecord(
        "gone", 1.0, 2, 3, handle_refused=True, token_renewal=TokenRenewal(used=True)
    )
    record.reset()
    assert record == ReopenRecord()


def test_a_redirect_is_followed_at_once_five_times_and_then_after_a_backoff() -> None:
    record = ReopenRecord()
    delays = [delay_of(decision(REDIRECT, record)) for _ in range(8)]
    assert delays[:6] == [0.0] * 6
    assert all(delay > 0 for delay in delays[6:])


def test_a_redirect_is_followed_under_any_code() -> None:
    moved = StreamEnd(StatusCode.UNKNOWN, redirect=StreamRedirect("east", b""))
    record = ReopenRecord()
    for _ in range(10):
        decided = decision(moved, record)
        assert isinstance(decided, Reopen)
        assert decided.keep_resume_state


def test_another_failure_between_redirects_begins_their_count_anew() -> None:
    record = ReopenRecord()
    for _ in range(POLICY.max_redirects):
        decision(REDIRECT, record)
    decision(StatusCode.UNAVAILABLE, record)
    delays = [delay_of(decision(REDIRECT, record)) for _ in range(POLICY.max_redirects + 1)]
    assert delays[:-1] == [0.0] * POLICY.max_redirects
    assert delays[-1] > 0


@pytest.mark.parametrize(("message", "told"), [("gone", "gone [UNAVAILABLE]"), ("", "UNAVAILABLE")])
def test_trouble_tells_the_last_end_that_is_not_forgiven(message: str, told: str) -> None:
    record = ReopenRecord()
    decision(REDIRECT, record)
    assert record.last_error == ""
    decision(StatusCode.INTERNAL, record)
    decision(StreamEnd(StatusCode.UNAVAILABLE, message), record)
    assert record.last_error == told


@pytest.mark.parametrize(
    "code",
    [StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT, StatusCode.FAILED_PRECONDITION],
)
def test_a_handle_may_be_refused_once(code: StatusCode) -> None:
    record = ReopenRecord()
    decided = decision(code, record, had_handle=True)
    assert isinstance(decided, Reopen)
    assert (decided.delay, decided.keep_resume_state) == (0.0, False)
    assert isinstance(decision(code, record, had_handle=True), GiveUp)
    assert isinstance(decision(code, ReopenRecord(), had_handle=False), GiveUp)


def test_a_handle_that_comes_with_a_redirect_may_be_refused_as_well() -> None:
    moved = StreamEnd(StatusCode.ABORTED, redirect=StreamRedirect("east", b"handle"))
    record = ReopenRecord()
    for _ in range(POLICY.max_redirects):
        decision(moved, record)
        decided = decision(StatusCode.INVALID_ARGUMENT, record, had_handle=True)
        assert isinstance(decided, Reopen)
        assert not decided.keep_resume_state
    # But not for ever.
    delays = [delay_of(decision(moved, record)) for _ in range(2)]
    assert delays[-1] > 0


def test_a_redirect_without_a_handle_refuses_none() -> None:
    record = ReopenRecord()
    decision(REDIRECT, record)
    decided = decision(StatusCode.INVALID_ARGUMENT, record, had_handle=True)
    assert isinstance(decided, Reopen)
    assert not decided.keep_resume_state


def test_the_route_is_given_up_after_three_failures_in_a_row() -> None:
    record = ReopenRecord()
    kept = [decision(StatusCode.UNAVAILABLE, record) for _ in range(4)]
    assert [isinstance(d, Reopen) and d.keep_resume_state for d in kept] == [
        True,
        True,
        False,
        False,
    ]


def test_another_token_is_tried_once() -> None:
    record = ReopenRecord()
    expired = StreamEnd(StatusCode.UNAUTHENTICATED, token_refused=True)
    assert delay_of(decision(expired, record)) == 0.0
    refused = decision(expired, record)
    assert isinstance(refused, GiveUp)
    assert isinstance(refused.error, PermissionDenied)


def test_an_end_whose_culprits_are_gone_is_followed_at_once_under_any_code() -> None:
    failed = StreamEnd(
        StatusCode.OUT_OF_RANGE, failures=(RangeFailure(1, StatusCode.OUT_OF_RANGE, ""),)
    )
    record = ReopenRecord()
    for _ in range(20):
        assert delay_of(decision(failed, record, cause_removed=True)) == 0.0
    assert ReopenRecord() == record


def test_an_end_that_names_ranges_is_never_final_for_the_others() -> None:
    failed = StreamEnd(StatusCode.DATA_LOSS, failures=(RangeFailure(9, StatusCode.DATA_LOSS, ""),))
    record = ReopenRecord()
    assert delay_of(decision(failed, record)) == 0.0
    assert delay_of(decision(failed, record)) > 0.0


def test_an_object_that_is_not_found_was_there_once() -> None:
    error = final_error(StatusCode.NOT_FOUND, "", "gs://b/o")
    assert isinstance(error, GenerationGone)
    assert str(error) == "gs://b/o: the generation does not exist any more [NOT_FOUND]"


def test_a_good_end_without_all_bytes_is_told_as_unavailable() -> None:
    error = final_error(StatusCode.OK, "", "x")
    assert isinstance(error, Unavailable)
    assert StatusCode.UNAVAILABLE is error.code
