"""What bad answers cost, whom they hurt, and how they are told and counted."""

from __future__ import annotations

import pytest

from gcsmux_fs.model.errors import DataCorruption, RangeUnsatisfiable, StatusCode
from gcsmux_fs.mux.stream_states import StreamState
from gcsmux_fs.storage.ports import Chunk, RangeFailure, RangeRequest

from .driven_core import CONTENT, KEY, DrivenCore, chunk, end, failure

STRANGER = RangeFailure(10**6, StatusCode.DATA_LOSS, "no")


@pytest.fixture
def driven() -> DrivenCore:
    return DrivenCore()


def asked_last(driven: DrivenCore) -> RangeRequest:
    return driven.wire[max(driven.wire)]


def spoil(driven: DrivenCore) -> None:
    """Answer the range that was asked for last with a wrong checksum, and let it be asked again."""
    driven.message(chunk(asked_last(driven), range_end=True, intact=False))
    if driven.in_flight:
        driven.confirm()


def test_a_byte_that_arrives_forgives_all_bad_answers_before_it(driven: DrivenCore) -> None:
    pending = driven.request(0, 10)
    driven.confirm()
    for _ in range(driven.policy.max_bad_answers - 1):
        spoil(driven)
    driven.message(chunk(asked_last(driven), 0, 1))
    for _ in range(driven.policy.max_bad_answers - 1):
        spoil(driven)
    assert driven.outcomes == {}
    spoil(driven)
    assert isinstance(driven.outcomes[pending], DataCorruption)


def test_a_byte_that_was_taken_back_forgives_nothing_when_it_comes_again(
    driven: DrivenCore,
) -> None:
    pending = driven.request(0, 10)
    driven.confirm()
    driven.message(chunk(asked_last(driven), 0, 5))
    for _ in range(driven.policy.max_bad_answers):
        assert driven.outcomes == {}
        first = asked_last(driven).offset
        back = Chunk(asked_last(driven).read_id, 3, memoryview(CONTENT)[3:6], True, False, 3)
        driven.message(chunk(asked_last(driven), 0, 5 - first), back)
        driven.confirm()
    assert isinstance(driven.outcomes[pending], DataCorruption)


def test_an_error_names_the_object_and_the_range(driven: DrivenCore) -> None:
    corrupt = driven.request(10, 20)
    driven.confirm()
    while not driven.outcomes:
        spoil(driven)
    refused = driven.request(40, 60)
    driven.end(end(StatusCode.OUT_OF_RANGE, failure(asked_last(driven), StatusCode.OUT_OF_RANGE)))
    told = [str(driven.outcomes[pending]) for pending in (corrupt, refused)]
    assert told == [
        f"{KEY} [10, 30): wrong checksum in the answer at offset 10, 8 times in a row",
        f"{KEY} [40, 100): no [OUT_OF_RANGE]",
    ]


def test_an_error_of_a_range_that_was_overtaken_says_so(driven: DrivenCore) -> None:
    lost = driven.request(200, 100)
    driven.confirm()
    driven.message(chunk(driven.sent[-1][0], 0, 40))
    while not driven.outcomes.get(lost):
        driven.request(0, 10)
        driven.message(chunk(asked_last(driven)))
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
    told = driven.counters
    for rounds in (1, 2, 3):
        driven.confirm()
        driven.message(
            *(
                chunk(asked, 3 if asked.offset else 0, range_end=True, intact=bool(asked.offset))
                for asked in driven.sent[-1]
            )
        )
        assert (told.checksum_failures, told.gaps) == (rounds, rounds)
        assert told.ranges_resumed == 2 * rounds
    driven.message(*(chunk(asked, range_end=True) for asked in driven.sent[-1]))
    assert (told.ranges_delivered, told.ranges_failed) == (2, 0)


def test_each_failed_range_is_counted(driven: DrivenCore) -> None:
    for offset in (0, 10):
        driven.request_unflushed(offset, 10)
    driven.flush()
    failures = [failure(asked, StatusCode.OUT_OF_RANGE) for asked in driven.sent[-1]]
    driven.end(end(StatusCode.OUT_OF_RANGE, *failures))
    assert driven.counters.ranges_failed == 2
    assert driven.core.state is StreamState.CLOSED


def test_each_chunk_for_nobody_is_counted_be_it_a_single_byte(driven: DrivenCore) -> None:
    driven.request(0, 10)
    asked = asked_last(driven)
    driven.message(chunk(asked))
    for first in range(3):
        driven.message(chunk(asked, first, first + 1))
    assert driven.counters.chunks_dropped == 3


def test_bytes_for_nobody_are_no_progress(driven: DrivenCore) -> None:
    left = driven.request_unflushed(10, 10)
    driven.request(0, 10)
    driven.end(end(StatusCode.UNAVAILABLE))
    (of_left, _) = driven.opened[-1].ranges
    driven.cancel(left)
    driven.message(chunk(of_left))
    driven.end(end(StatusCode.UNAVAILABLE))
    assert driven.core.state is StreamState.BACKOFF


def test_bytes_with_a_wrong_checksum_are_no_progress(driven: DrivenCore) -> None:
    driven.request(0, 10)
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.confirm()
    spoil(driven)
    driven.end(end(StatusCode.UNAVAILABLE))
    assert driven.core.state is StreamState.BACKOFF


def test_of_several_failures_those_of_ranges_nobody_knows_hide_no_other(
    driven: DrivenCore,
) -> None:
    pending = driven.request(0, 10)
    refused = failure(asked_last(driven), StatusCode.OUT_OF_RANGE)
    driven.end(end(StatusCode.OUT_OF_RANGE, STRANGER, refused, STRANGER))
    assert isinstance(driven.outcomes[pending], RangeUnsatisfiable)


def test_one_failure_whose_reader_has_left_is_cause_enough_among_several(
    driven: DrivenCore,
) -> None:
    left = [driven.request_unflushed(offset, 10) for offset in range(0, 40, 10)]
    driven.request(50, 10)
    for leaves in left:
        refused = failure(driven.opened[-1].ranges[0], StatusCode.OUT_OF_RANGE)
        driven.cancel(leaves)
        driven.end(end(StatusCode.OUT_OF_RANGE, refused, STRANGER))
        assert driven.core.state is StreamState.OPENING


def test_a_range_nobody_wants_has_ended_when_more_than_all_of_it_has_come(
    driven: DrivenCore,
) -> None:
    left = driven.request_unflushed(0, 10)
    driven.request(20, 10)
    driven.confirm()
    gone, asked = driven.sent[-1]
    driven.cancel(left)
    driven.message(Chunk(gone.read_id, 0, memoryview(CONTENT)[:15], False, True, 15))
    driven.message(chunk(asked))
    # Nothing is outstanding now, so a reader that leaves unsent takes no stream with it.
    driven.cancel(driven.request_unflushed(40, 10))
    assert driven.core.state is StreamState.OPEN
    assert driven.cancelled_calls == 0
