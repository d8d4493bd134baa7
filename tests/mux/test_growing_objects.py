"""Tests of objects that grow: bytes beyond the size that a stream serves need a new stream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.model.errors import RangeUnsatisfiable, StatusCode

from .driven_core import CONTENT, DrivenCore, chunk, end, failure, info

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo


def growing(size: int) -> ObjectInfo:
    return replace(info(), size=size, finalized=False)


@pytest.fixture
def driven() -> DrivenCore:
    """Return a core with a read handle and a stream that serves 100 bytes."""
    driven = DrivenCore()
    driven.request(0, 10)
    (request,) = driven.sent[-1]
    driven.message(chunk(request), handle=b"of 100 bytes", metadata=growing(100))
    driven.confirm()
    return driven


def test_a_range_beyond_the_known_size_opens_a_new_stream_and_resumes_the_others(
    driven: DrivenCore,
) -> None:
    other = driven.request(50, 50)
    driven.message(chunk(driven.wire[2], 0, 20))
    driven.confirm()
    beyond = driven.request(90, 20)
    assert driven.cancelled_calls == 1
    assert driven.details[-1] == "it serves another size"
    opened = driven.opened[-1]
    assert opened.spec.handle == b""
    assert [(r.offset, r.length) for r in opened.ranges] == [(70, 30), (90, 20)]
    driven.message(*map(chunk, opened.ranges), metadata=growing(200))
    assert driven.outcomes[other] == CONTENT[50:100]
    assert driven.outcomes[beyond] == CONTENT[90:110]


def test_a_closed_stream_is_reopened_without_handle_for_bytes_beyond_its_size(
    driven: DrivenCore,
) -> None:
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.request(100, 1)
    assert driven.opened[-1].spec.handle == b""


def test_a_closed_stream_is_reopened_with_its_handle_within_its_size(driven: DrivenCore) -> None:
    driven.end(end(StatusCode.UNAVAILABLE))
    driven.request(0, 100)
    assert driven.opened[-1].spec.handle == b"of 100 bytes"


def test_a_range_that_is_still_beyond_the_end_fails(driven: DrivenCore) -> None:
    beyond = driven.request(100, 1)
    (request,) = driven.opened[-1].ranges
    driven.message(metadata=growing(100))
    driven.end(end(StatusCode.OUT_OF_RANGE, failure(request, StatusCode.OUT_OF_RANGE)))
    assert isinstance(driven.outcomes[beyond], RangeUnsatisfiable)
    assert len(driven.opened) == 2


def test_ranges_within_the_size_stay_on_their_stream(driven: DrivenCore) -> None:
    driven.request(0, 100)
    assert len(driven.opened) == 1


def test_ranges_within_the_new_size_stay_on_the_new_stream(
    driven: DrivenCore,
) -> None:
    driven.request(100, 50)
    driven.confirm()
    driven.message(metadata=replace(info(), size=200))
    driven.request(150, 50)
    driven.confirm()
    driven.request(0, 10)
    assert len(driven.opened) == 2


def test_one_range_of_several_beyond_the_size_opens_a_stream_without_handle(
    driven: DrivenCore,
) -> None:
    driven.request_unflushed(100, 50)
    driven.request_unflushed(20, 10)
    driven.flush()
    assert [request.offset for request in driven.opened[-1].ranges] == [100, 20]
    assert driven.opened[-1].spec.handle == b""


def test_the_known_size_is_forgotten_together_with_the_handle(driven: DrivenCore) -> None:
    driven.request(20, 10)
    for _ in range(3):
        driven.end(end(StatusCode.UNAVAILABLE))
        driven.wait_for_reopen()
    assert driven.opened[-1].spec.handle == b""
    opened = len(driven.opened)
    driven.confirm()
    driven.request(100, 50)
    assert [request.offset for request in driven.sent[-1]] == [100]
    assert len(driven.opened) == opened
