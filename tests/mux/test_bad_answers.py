"""Tests of bad answers: which ranges a bad answer affects, and how it is reported and counted."""

from __future__ import annotations

import pytest

from gcsmux_fs.model.errors import DataCorruption, RangeUnsatisfiable, StatusCode
from gcsmux_fs.mux.stream_states import StreamState
from gcsmux_fs.storage.ports import Chunk, RangeFailure, RangeRequest

from .driven_core import CONTENT, KEY, DrivenCore, chunk, end, failure

UNKNOWN_RANGE = RangeFailure(10**6, StatusCode.DATA_LOSS, "no")


@pytest.fixture
def driven() -> DrivenCore:
    return DrivenCore()


def last_request(driven: DrivenCore) -> RangeRequest:
    return driven.wire[max(driven.wire)]


def spoil(driven: DrivenCore) -> None:
    """Answer the last request with a wrong checksum; confirm that the next message was sent."""
    driven.message(chunk(last_request(driven), range_end=True, intact=False))
    if driven.in_flight:
        driven.confirm()


def test_a_new_byte_resets_the_count_of_bad_answers(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    driven.confirm()
    for _ in range(driven.policy.max_bad_answers - 1):
        spoil(driven)
    driven.message(chunk(last_request(driven), 0, 1))
    for _ in range(driven.policy.max_bad_answers - 1):
        spoil(driven)
    assert driven.outcomes == {}
    spoil(driven)
    assert isinstance(driven.outcomes[pending], DataCorruption)


def test_a_byte_received_again_does_not_reset_the_count_of_bad_answers(
    driven: DrivenCore,
) -> None:
    pending = driven.request(0, 10)
    driven.confirm()
    driven.message(chunk(last_request(driven), 0, 5))
    for _ in range(driven.policy.max_bad_answers):
        assert driven.outcomes == {}
        first = last_request(driven).offset
        back = Chunk(last_request(driven).read_id, 3, memoryview(CONTENT)[3:6], True, False, 3)
        driven.message(chunk(last_request(driven), 0, 5 - first), back)
        driven.confirm()
    assert isinstance(driven.outcomes[pending], DataCorruption)


def test_an_error_names_the_object_and_the_range(driven: DrivenCore) -> None:
    corrupt = driven.request(10, 20)
    driven.confirm()
    while not driven.outcomes:
        spoil(driven)
    refused = driven.request(40, 60)
    driven.end(end(StatusCode.OUT_OF_RANGE, failure(last_request(driven), StatusCode.OUT_OF_RANGE)))
    messages = [str(driven.outcomes[pending]) for pending in (corrupt, refused)]
    assert messages == [
        f"{KEY} [10, 30): wrong checksum in the answer at offset 10, 8 times in a row",
        f"{KEY} [40, 100): no [OUT_OF_RANGE]",
    ]


def test_the_error_of_a_silent_range_names_its_offset(driven: DrivenCore) -> None:
    lost = driven.request(200, 100)
    driven.confirm()
    driven.message(chunk(driven.sent[-1][0], 0, 40))
    while not driven.outcomes.get(lost):
        driven.request(0, 10)
        driven.message(chunk(last_request(driven)))
        driven.confirm()
        driven.advance(driven.policy.stall_seconds / 2)
        if driven.in_flight:
            driven.confirm()
    assert str(driven.outcomes[lost]) == (
        f"{KEY} [200, 300): no answer at offset 240 while later ranges received bytes,"
        " 8 times in a row"
    )


def test_each_bad_answer_is_counted(driven: DrivenCore) -> None:
    driven.request_unflushed(0, 10)
    driven.request_unflushed(100, 10)
    driven.flush()
    counters = driven.counters
    for rounds in (1, 2, 3):
        driven.confirm()
        driven.message(
            *(
                chunk(
                    request, 3 if request.offset else 0, range_end=True, intact=bool(request.offset)
                )
                for request in driven.sent[-1]
            )
        )
        assert (counters.checksum_failures, counters.gaps) == (rounds, rounds)
        assert counters.ranges_resumed == 2 * rounds
    driven.message(*(chunk(request, range_end=True) for request in driven.sent[-1]))
    assert (counters.ranges_delivered, counters.ranges_failed) == (2, 0)


def test_each_failed_range_is_counted(driven: DrivenCore) -> None:
    for offset in (0, 10):
        driven.request_unflushed(offset, 10)
    driven.flush()
    failures = [failure(request, StatusCode.OUT_OF_RANGE) for request in driven.sent[-1]]
    driven.end(end(StatusCode.OUT_OF_RANGE, *failures))
    assert driven.counters.ranges_failed == 2
    assert driven.core.state is StreamState.CLOSED


def test_each_dropped_chunk_is_counted(driven: DrivenCore) -> None:
    driven.request(0, 10)
    request = last_request(driven)
    driven.message(chunk(request))
    for first in range(3):
        driven.message(chunk(request, first, first + 1))
    assert driven.counters.chunks_dropped == 3


def test_bytes_for_a_cancelled_range_are_not_progress(driven: DrivenCore) -> None:
    left = driven.request_unflushed(10, 10)
    driven.request(0, 10)
    driven.end(end(StatusCode.UNAVAILABLE))
    (abandoned, _) = driven.opened[-1].ranges
    driven.cancel(left)
    driven.message(chunk(abandoned))
    driven.end(end(StatusCode.UNAVAILABLE))
    assert driven.core.state is StreamState.BACKOFF


def test_bytes_with_a_wrong_checksum_are_not_progress(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.confirm()
    spoil(driven)
    driven.end(end(StatusCode.UNAVAILABLE))
    assert driven.core.state is StreamState.BACKOFF


def test_failures_of_unknown_ranges_do_not_hide_the_failure_of_a_known_one(
    driven: DrivenCore,
) -> None:
    pending = driven.request(0, 10)
    refused = failure(last_request(driven), StatusCode.OUT_OF_RANGE)
    driven.end(end(StatusCode.OUT_OF_RANGE, UNKNOWN_RANGE, refused, UNKNOWN_RANGE))
    assert isinstance(driven.outcomes[pending], RangeUnsatisfiable)


def test_the_failure_of_a_cancelled_range_among_others_causes_no_delay(
    driven: DrivenCore,
) -> None:
    left = [driven.request_unflushed(offset, 10) for offset in range(0, 40, 10)]
    driven.request(50, 10)
    for leaves in left:
        refused = failure(driven.opened[-1].ranges[0], StatusCode.OUT_OF_RANGE)
        driven.cancel(leaves)
        driven.end(end(StatusCode.OUT_OF_RANGE, refused, UNKNOWN_RANGE))
        assert driven.core.state is StreamState.OPENING


def test_an_abandoned_range_ends_when_the_server_sends_beyond_its_end(
    driven: DrivenCore,
) -> None:
    left = driven.request_unflushed(0, 10)
    driven.request(20, 10)
    driven.confirm()
    gone, request = driven.sent[-1]
    driven.cancel(left)
    driven.message(Chunk(gone.read_id, 0, memoryview(CONTENT)[:15], False, True, 15))
    driven.message(chunk(request))
    # All requested bytes have come. Therefore the core keeps the call when an unsent range is
    # cancelled.
    driven.cancel(driven.request_unflushed(40, 10))
    assert driven.core.state is StreamState.OPEN
    assert driven.cancelled_calls == 0
