"""Tests of a reader and a stream that disagree about the size of a finalized object."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gcsmux_fs.model.errors import DataCorruption, GenerationGone, RangeUnsatisfiable, StatusCode
from gcsmux_fs.mux.stream_states import StreamState

from .driven_core import CONTENT, KEY, DrivenCore, chunk, end, failure, info

SIZE = len(CONTENT)


@pytest.mark.parametrize("covers_object", [False, True])
def test_a_file_that_would_end_too_early_fails_only_at_its_end(
    covers_object: bool,
) -> None:
    driven = DrivenCore()
    start = 0 if covers_object else SIZE - 200
    before = driven.request_unflushed(0, 100)
    last = driven.request(start, SIZE - 100 - start, covers_object=covers_object, reaches_end=True)
    driven.message(*map(chunk, driven.sent[-1]), metadata=info())
    assert driven.outcomes[before] == CONTENT[:100]
    error = driven.outcomes[last]
    assert isinstance(error, GenerationGone)
    assert f"{KEY} [{start}, {SIZE - 100}): " in str(error)
    assert "4096 bytes" in str(error)


def test_a_file_that_would_end_too_late_fails_where_its_bytes_end() -> None:
    driven = DrivenCore()
    before = driven.request_unflushed(0, 100)
    last = driven.request(SIZE - 300, 300, reaches_end=True)
    asked_before, request = driven.sent[-1]
    driven.message(metadata=replace(info(), size=SIZE - 100))
    driven.message(chunk(request, 0, 200, range_end=True))
    assert isinstance(driven.outcomes[last], GenerationGone)
    driven.message(chunk(asked_before))
    assert driven.outcomes[before] == CONTENT[:100]
    assert driven.counters.ranges_sent == 2


@pytest.mark.parametrize("reported", [SIZE - 100, None])
def test_after_a_contradiction_the_next_stream_is_opened_without_handle(
    reported: int | None,
) -> None:
    driven = DrivenCore()
    driven.request(0, SIZE - 100, reaches_end=True)
    driven.message(chunk(driven.sent[-1][0]), metadata=info(), handle=b"handle")
    driven.confirm()
    again = driven.request(SIZE - 200, 100, reaches_end=True)
    assert [opened.spec.handle for opened in driven.opened] == [b"", b""]
    metadata = None if reported is None else replace(info(), size=reported)
    driven.message(chunk(driven.sent[-1][0]), metadata=metadata)
    assert driven.outcomes[again] == CONTENT[-200:-100]


@pytest.mark.parametrize("reported", [SIZE - 100, SIZE, None])
def test_refused_bytes_beyond_the_reported_size_fail_with_generation_gone(
    reported: int | None,
) -> None:
    driven = DrivenCore()
    last = driven.request(SIZE - 50, 50, reaches_end=True)
    (request,) = driven.sent[-1]
    if reported is not None:
        driven.message(metadata=replace(info(), size=reported))
    driven.end(end(StatusCode.OUT_OF_RANGE, failure(request, StatusCode.OUT_OF_RANGE)))
    assert isinstance(driven.outcomes[last], GenerationGone) == (reported == SIZE - 100)


def test_a_range_beyond_the_size_that_fails_for_another_reason_reports_that_reason() -> None:
    driven = DrivenCore()
    last = driven.request(SIZE - 50, 50, reaches_end=True)
    driven.message(metadata=replace(info(), size=SIZE - 100))
    (request,) = driven.sent[-1]
    driven.end(end(StatusCode.DATA_LOSS, failure(request, StatusCode.DATA_LOSS)))
    assert isinstance(driven.outcomes[last], DataCorruption)


def test_refused_bytes_within_the_reported_size_fail_with_range_unsatisfiable() -> None:
    driven = DrivenCore()
    pending = driven.request(SIZE - 100, 50)
    driven.message(metadata=info())
    (request,) = driven.sent[-1]
    driven.end(end(StatusCode.OUT_OF_RANGE, failure(request, StatusCode.OUT_OF_RANGE)))
    assert isinstance(driven.outcomes[pending], RangeUnsatisfiable)


def test_received_bytes_are_progress_even_if_the_sizes_differ() -> None:
    driven = DrivenCore()
    driven.request_unflushed(SIZE - 200, 100, reaches_end=True)
    driven.request(0, 100)
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.message(chunk(driven.sent[-1][0]), metadata=info())
    driven.end(end(StatusCode.UNAVAILABLE))
    # Without the received bytes, the second failure would have led to BACKOFF.
    assert driven.core.state is StreamState.OPENING


def test_a_file_with_the_reported_size_is_delivered_to_its_end() -> None:
    driven = DrivenCore()
    last = driven.request(SIZE - 300, 300, reaches_end=True)
    driven.message(chunk(driven.sent[-1][0]), metadata=info())
    assert driven.outcomes[last] == CONTENT[-300:]


def test_received_bytes_beyond_the_reported_size_are_delivered() -> None:
    driven = DrivenCore()
    last = driven.request(SIZE - 300, 300, reaches_end=True)
    driven.message(chunk(driven.sent[-1][0]), metadata=replace(info(), size=SIZE - 100))
    assert driven.outcomes[last] == CONTENT[-300:]


def test_a_range_that_ends_early_within_the_reported_size_is_corrupt() -> None:
    driven = DrivenCore()
    pending = driven.request(0, 100)
    driven.message(metadata=info())
    while not driven.outcomes:
        if driven.in_flight:
            driven.confirm()
        driven.message(chunk(driven.sent[-1][0], 0, 0, range_end=True))
    assert isinstance(driven.outcomes[pending], DataCorruption)


@pytest.mark.parametrize("finalized", [False, True])
def test_a_growing_object_or_one_without_reported_size_ends_where_the_reader_expects(
    finalized: bool,
) -> None:
    driven = DrivenCore()
    last = driven.request(100, 100, reaches_end=True)
    reported = replace(info(), size=0 if finalized else SIZE, finalized=finalized)
    driven.message(chunk(driven.sent[-1][0]), metadata=reported)
    assert driven.outcomes[last] == CONTENT[100:200]
