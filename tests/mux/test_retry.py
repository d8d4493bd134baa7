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


def delay_of(result: Reopen | GiveUp) -> float:
    assert isinstance(result, Reopen)
    return result.delay


RETRYABLE = [
    StatusCode.OK,
    StatusCode.CANCELLED,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.ABORTED,
    StatusCode.INTERNAL,
    StatusCode.UNAVAILABLE,
]


@pytest.mark.parametrize("code", RETRYABLE)
def test_a_retryable_code_is_retried_without_delay_the_first_time(code: StatusCode) -> None:
    assert Reopen(0.0, code.name, code.name.lower()) == decision(code, ReopenRecord())
    assert not range_is_final(code)


@pytest.mark.parametrize("code", sorted(set(StatusCode) - {*RETRYABLE}))
def test_all_other_codes_are_final(code: StatusCode) -> None:
    result = decision(code, ReopenRecord())
    assert isinstance(result, GiveUp)
    assert code is result.error.code
    assert str(KEY) == result.error.subject
    assert range_is_final(code)


def test_the_backoff_is_drawn_from_the_given_random_source() -> None:
    record, drawn, expected = ReopenRecord(), Random(42), Random(42)
    delays = [delay_of(decision(StatusCode.UNAVAILABLE, record, random=drawn)) for _ in range(10)]
    ceilings = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.0, 8.0]
    assert [0.0] + [expected.uniform(top / 2, top) for top in ceilings] == pytest.approx(delays)


def test_a_requested_pause_is_kept_until_the_own_backoff_is_longer() -> None:
    record = ReopenRecord()
    end = StreamEnd(StatusCode.RESOURCE_EXHAUSTED, retry_seconds=3.0)
    delays = [delay_of(decision(end, record)) for _ in range(8)]
    assert all(3.0 <= delay <= 3.75 for delay in delays[:6])
    assert len(set(delays)) > 1 or delays[0] > 3.0
    # The eighth backoff is longer than the requested pause.
    assert delays[-1] > 3.75


def test_a_very_long_requested_pause_is_cut() -> None:
    end = StreamEnd(StatusCode.UNAVAILABLE, retry_seconds=1e12)
    delay = delay_of(decision(end, ReopenRecord()))
    assert MAX_REQUESTED_PAUSE_SECONDS <= delay < POLICY.give_up_seconds / 2


def test_five_thousand_failures_do_not_overflow_the_backoff() -> None:
    record = ReopenRecord(failures=5000)
    assert delay_of(decision(StatusCode.UNAVAILABLE, record)) <= POLICY.max_backoff_seconds


def test_the_time_to_give_up_begins_at_the_first_failure_since_progress() -> None:
    record = ReopenRecord()
    decision(StatusCode.UNAVAILABLE, record, now=1000.0)
    nearly = 1000.0 + POLICY.give_up_seconds - 0.001
    assert isinstance(decision(StatusCode.UNAVAILABLE, record, now=nearly), Reopen)
    at_last = decision(StatusCode.UNAVAILABLE, record, now=1000.0 + POLICY.give_up_seconds)
    assert isinstance(at_last, GiveUp)
    assert isinstance(at_last.error, Unavailable)
    record.reset()
    assert Reopen(0.0, "UNAVAILABLE", "unavailable") == decision(
        StatusCode.UNAVAILABLE, record, now=2000.0
    )


def test_a_reset_forgets_all_failures() -> None:
    record = ReopenRecord(
        "gone", 1.0, 2, 3, handle_refused=True, token_renewal=TokenRenewal(used=True)
    )
    record.reset()
    assert record == ReopenRecord()


def test_five_redirects_are_followed_without_delay_and_further_ones_after_a_backoff() -> None:
    record = ReopenRecord()
    delays = [delay_of(decision(REDIRECT, record)) for _ in range(8)]
    assert delays[:6] == [0.0] * 6
    assert all(delay > 0 for delay in delays[6:])


def test_a_redirect_is_followed_under_any_code() -> None:
    redirected = StreamEnd(StatusCode.UNKNOWN, redirect=StreamRedirect("east", b""))
    record = ReopenRecord()
    for _ in range(10):
        result = decision(redirected, record)
        assert isinstance(result, Reopen)
        assert result.keep_resume_state


def test_a_failure_between_redirects_resets_their_count() -> None:
    record = ReopenRecord()
    for _ in range(POLICY.max_redirects):
        decision(REDIRECT, record)
    decision(StatusCode.UNAVAILABLE, record)
    delays = [delay_of(decision(REDIRECT, record)) for _ in range(POLICY.max_redirects + 1)]
    assert delays[:-1] == [0.0] * POLICY.max_redirects
    assert delays[-1] > 0


@pytest.mark.parametrize(
    ("message", "expected"), [("gone", "gone [UNAVAILABLE]"), ("", "UNAVAILABLE")]
)
def test_the_last_error_describes_the_last_ordinary_failure(message: str, expected: str) -> None:
    record = ReopenRecord()
    decision(REDIRECT, record)
    assert record.last_error == ""
    decision(StatusCode.INTERNAL, record)
    decision(StreamEnd(StatusCode.UNAVAILABLE, message), record)
    assert record.last_error == expected


@pytest.mark.parametrize(
    "code",
    [StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT, StatusCode.FAILED_PRECONDITION],
)
def test_a_refused_handle_is_dropped_once(code: StatusCode) -> None:
    record = ReopenRecord()
    result = decision(code, record, had_handle=True)
    assert isinstance(result, Reopen)
    assert (result.delay, result.keep_resume_state) == (0.0, False)
    assert isinstance(decision(code, record, had_handle=True), GiveUp)
    assert isinstance(decision(code, ReopenRecord(), had_handle=False), GiveUp)


def test_a_handle_from_a_redirect_may_be_refused_too() -> None:
    redirected = StreamEnd(StatusCode.ABORTED, redirect=StreamRedirect("east", b"handle"))
    record = ReopenRecord()
    for _ in range(POLICY.max_redirects):
        decision(redirected, record)
        result = decision(StatusCode.INVALID_ARGUMENT, record, had_handle=True)
        assert isinstance(result, Reopen)
        assert not result.keep_resume_state
    # Only a bounded number of redirects is followed without delay.
    delays = [delay_of(decision(redirected, record)) for _ in range(2)]
    assert delays[-1] > 0


def test_after_a_redirect_without_a_handle_the_old_handle_may_be_refused() -> None:
    record = ReopenRecord()
    decision(REDIRECT, record)
    result = decision(StatusCode.INVALID_ARGUMENT, record, had_handle=True)
    assert isinstance(result, Reopen)
    assert not result.keep_resume_state


def test_the_resume_state_is_dropped_after_three_failures_in_a_row() -> None:
    record = ReopenRecord()
    kept = [decision(StatusCode.UNAVAILABLE, record) for _ in range(4)]
    assert [isinstance(d, Reopen) and d.keep_resume_state for d in kept] == [
        True,
        True,
        False,
        False,
    ]


def test_a_refused_token_is_renewed_once() -> None:
    record = ReopenRecord()
    expired = StreamEnd(StatusCode.UNAUTHENTICATED, token_refused=True)
    assert delay_of(decision(expired, record)) == 0.0
    refused = decision(expired, record)
    assert isinstance(refused, GiveUp)
    assert isinstance(refused.error, PermissionDenied)


def test_an_end_whose_cause_is_removed_is_retried_without_delay() -> None:
    failed = StreamEnd(
        StatusCode.OUT_OF_RANGE, failures=(RangeFailure(1, StatusCode.OUT_OF_RANGE, ""),)
    )
    record = ReopenRecord()
    for _ in range(20):
        assert delay_of(decision(failed, record, cause_removed=True)) == 0.0
    assert ReopenRecord() == record


def test_an_end_that_names_ranges_is_not_final_for_the_others() -> None:
    failed = StreamEnd(StatusCode.DATA_LOSS, failures=(RangeFailure(9, StatusCode.DATA_LOSS, ""),))
    record = ReopenRecord()
    assert delay_of(decision(failed, record)) == 0.0
    assert delay_of(decision(failed, record)) > 0.0


def test_not_found_becomes_generation_gone() -> None:
    error = final_error(StatusCode.NOT_FOUND, "", "gs://b/o")
    assert isinstance(error, GenerationGone)
    assert str(error) == "gs://b/o: the generation no longer exists [NOT_FOUND]"


def test_ok_before_all_bytes_becomes_unavailable() -> None:
    error = final_error(StatusCode.OK, "", "x")
    assert isinstance(error, Unavailable)
    assert StatusCode.UNAVAILABLE is error.code
