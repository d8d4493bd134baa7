"""A finished object has one size: a reader that was told of another learns so, and of no bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gcsmux_fs.model.errors import DataCorruption, GenerationGone, RangeUnsatisfiable, StatusCode
from gcsmux_fs.mux.stream_states import StreamState

from .driven_core import CONTENT, KEY, DrivenCore, chunk, end, failure, info

SIZE = len(CONTENT)


@pytest.mark.parametrize("covers_object", [False, True])
def test_a_file_that_would_end_too_early_fails_at_its_end_and_not_before(
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


def test_a_file_that_would_end_too_late_fails_where_the_bytes_end() -> None:
    driven = DrivenCore()
    before = driven.request_unflushed(0, 100)
    last = driven.request(SIZE - 300, 300, reaches_end=True)
    asked_before, asked = driven.sent[-1]
    driven.message(metadata=replace(info(), size=SIZE - 100))
    driven.message(chunk(asked, 0, 200, range_end=True))
    assert isinstance(driven.outcomes[last], GenerationGone)
    driven.message(chunk(asked_before))
    assert driven.outcomes[before] == CONTENT[:100]
    assert driven.counters.ranges_sent == 2


@pytest.mark.parametrize("told", [SIZE - 100, None])
def test_after_a_contradiction_a_fresh_stream_is_asked(told: int | None) -> None:
    driven = DrivenCore()
    driven.request(0, SIZE - 100, reaches_end=True)
    driven.message(chunk(driven.sent[-1][0]), metadata=info(), handle=b"of the liar")
    driven.confirm()
    again = driven.request(SIZE - 200, 100, reaches_end=True)
    assert [opened.spec.handle for opened in driven.opened] == [b"", b""]
    metadata = None if told is None else replace(info(), size=told)
    driven.message(chunk(driven.sent[-1][0]), metadata=metadata)
    assert driven.outcomes[again] == CONTENT[-200:-100]


@pytest.mark.parametrize("told", [SIZE - 100, SIZE, None])
def test_a_refusal_of_bytes_beyond_the_end_tells_of_another_size_if_the_stream_does(
    told: int | None,
) -> None:
    driven = DrivenCore()
    last = driven.request(SIZE - 50, 50, reaches_end=True)
    (asked,) = driven.sent[-1]
    if told is not None:
        driven.message(metadata=replace(info(), size=told))
    driven.end(end(StatusCode.OUT_OF_RANGE, failure(asked, StatusCode.OUT_OF_RANGE)))
    assert isinstance(driven.outcomes[last], GenerationGone) == (told == SIZE - 100)


def test_a_range_beyond_the_size_that_is_refused_for_another_reason_tells_that_reason() -> None:
    driven = DrivenCore()
    last = driven.request(SIZE - 50, 50, reaches_end=True)
    driven.message(metadata=replace(info(), size=SIZE - 100))
    (asked,) = driven.sent[-1]
    driven.end(end(StatusCode.DATA_LOSS, failure(asked, StatusCode.DATA_LOSS)))
    assert isinstance(driven.outcomes[last], DataCorruption)


def test_a_refusal_of_bytes_that_its_stream_says_are_there_is_just_that() -> None:
    driven = DrivenCore()
    pending = driven.request(SIZE - 100, 50)
    driven.message(metadata=info())
    (asked,) = driven.sent[-1]
    driven.end(end(StatusCode.OUT_OF_RANGE, failure(asked, StatusCode.OUT_OF_RANGE)))
    assert isinstance(driven.outcomes[pending], RangeUnsatisfiable)


def test_bytes_that_come_are_progress_whatever_the_stream_says_of_the_size() -> None:
    driven = DrivenCore()
    driven.request_unflushed(SIZE - 200, 100, reaches_end=True)
    driven.request(0, 100)
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.message(chunk(driven.sent[-1][0]), metadata=info())
    driven.end(end(StatusCode.UNAVAILABLE))
    # After a failure without progress there would be a pause.
    assert driven.core.state is StreamState.OPENING


def test_a_file_that_ends_where_its_stream_says_is_served_to_its_end() -> None:
    driven = DrivenCore()
    last = driven.request(SIZE - 300, 300, reaches_end=True)
    driven.message(chunk(driven.sent[-1][0]), metadata=info())
    assert driven.outcomes[last] == CONTENT[-300:]


def test_bytes_that_come_are_right_whatever_the_stream_says_of_the_size() -> None:
    driven = DrivenCore()
    last = driven.request(SIZE - 300, 300, reaches_end=True)
    driven.message(chunk(driven.sent[-1][0]), metadata=replace(info(), size=SIZE - 100))
    assert driven.outcomes[last] == CONTENT[-300:]


def test_a_range_that_ends_early_elsewhere_is_corrupt() -> None:
    driven = DrivenCore()
    pending = driven.request(0, 100)
    driven.message(metadata=info())
    while not driven.outcomes:
        if driven.in_flight:
            driven.confirm()
        driven.message(chunk(driven.sent[-1][0], 0, 0, range_end=True))
    assert isinstance(driven.outcomes[pending], DataCorruption)


@pytest.mark.parametrize("finalized", [False, True])
def test_an_object_that_grows_or_has_no_size_told_ends_where_it_was_said_to(
    finalized: bool,
) -> None:
    driven = DrivenCore()
    last = driven.request(100, 100, reaches_end=True)
    told = replace(info(), size=0 if finalized else SIZE, finalized=finalized)
    driven.message(chunk(driven.sent[-1][0]), metadata=told)
    assert driven.outcomes[last] == CONTENT[100:200]
