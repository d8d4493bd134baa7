"""Tests of a range that covers its object: the stream carries only this range, and then ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.model.errors import DataCorruption, StatusCode
from gcsmux_fs.mux.stream_states import StreamState

from .driven_core import CONTENT, DrivenCore, chunk, end
from .plans import CONTENT as SERVED
from .plans import Plan, key_of
from .reading import bench, fetch

if TYPE_CHECKING:
    from gcsmux_fs.storage.ports import RangeRequest

SIZE = len(CONTENT)


@pytest.fixture
def driven() -> DrivenCore:
    """Return a core whose stream is half-closed after a request for all of the object."""
    driven = DrivenCore()
    driven.request(0, SIZE, covers_object=True)
    driven.confirm()
    return driven


def opened(driven: DrivenCore) -> list[tuple[bool, list[tuple[int, int]]]]:
    """Return for each stream whether it is half-closed, and the ranges of its opening message."""
    return [
        (action.spec.half_close, [(request.offset, request.length) for request in action.ranges])
        for action in driven.opened
    ]


def last_request(driven: DrivenCore) -> RangeRequest:
    return driven.opened[-1].ranges[-1]


# -- which streams are half-closed


def test_a_stream_for_a_range_that_covers_the_object_is_half_closed(driven: DrivenCore) -> None:
    assert opened(driven) == [(True, [(0, SIZE)])]


def test_a_stream_for_a_part_of_the_object_is_not_half_closed() -> None:
    driven = DrivenCore()
    driven.request(0, SIZE - 1)
    assert opened(driven) == [(False, [(0, SIZE - 1)])]


def test_a_stream_for_two_ranges_is_not_half_closed() -> None:
    driven = DrivenCore()
    driven.request_unflushed(0, SIZE, covers_object=True)
    driven.request(0, 10)
    assert opened(driven) == [(False, [(0, SIZE), (0, 10)])]


def test_a_stream_whose_opening_message_is_full_is_not_half_closed() -> None:
    driven = DrivenCore()
    for _ in range(101):
        driven.request_unflushed(0, SIZE, covers_object=True)
    driven.flush()
    assert not driven.opened[-1].spec.half_close


# -- how a half-closed stream ends


def test_a_half_closed_stream_ends_by_itself_and_is_not_cancelled(driven: DrivenCore) -> None:
    driven.message(chunk(last_request(driven), range_end=True))
    driven.end(end(StatusCode.OK))
    assert list(driven.outcomes.values()) == [CONTENT]
    assert driven.core.state is StreamState.CLOSED
    assert (driven.cancelled_calls, len(driven.opened)) == (0, 1)


def test_a_half_closed_stream_that_does_not_end_is_closed_after_the_idle_time(
    driven: DrivenCore,
) -> None:
    driven.message(chunk(last_request(driven), range_end=True))
    driven.advance(driven.policy.idle_seconds)
    assert driven.core.state is StreamState.CLOSED
    assert driven.cancelled_calls == 1


def test_a_half_closed_stream_is_cancelled_with_its_range() -> None:
    driven = DrivenCore()
    driven.cancel(driven.request(0, SIZE, covers_object=True))
    assert driven.core.state is StreamState.CLOSED
    assert driven.cancelled_calls == 1


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.OK])
def test_a_half_closed_stream_that_ends_early_is_resumed_at_the_first_missing_byte(
    driven: DrivenCore, code: StatusCode
) -> None:
    driven.message(chunk(last_request(driven), 0, 1000))
    driven.end(end(code))
    assert opened(driven)[1:] == [(True, [(1000, SIZE - 1000)])]
    driven.message(chunk(last_request(driven), range_end=True))
    assert list(driven.outcomes.values()) == [CONTENT]


def test_after_a_wrong_checksum_a_half_closed_stream_is_replaced(driven: DrivenCore) -> None:
    driven.message(chunk(last_request(driven), range_end=True, intact=False))
    assert opened(driven)[1:] == [(True, [(0, SIZE)])]
    assert driven.cancelled_calls == 1
    driven.confirm()
    driven.message(chunk(last_request(driven), range_end=True))
    assert list(driven.outcomes.values()) == [CONTENT]


def test_endless_wrong_checksums_on_half_closed_streams_fail_the_range(driven: DrivenCore) -> None:
    while not driven.outcomes:
        driven.message(chunk(last_request(driven), range_end=True, intact=False))
        if driven.in_flight:
            driven.confirm()
    (error,) = driven.outcomes.values()
    assert isinstance(error, DataCorruption)
    assert len(driven.opened) == driven.policy.max_bad_answers


# -- further ranges


def test_a_second_range_replaces_a_half_closed_stream_by_one_for_both_ranges(
    driven: DrivenCore,
) -> None:
    driven.message(chunk(last_request(driven), 0, 1000))
    more = driven.request(5, 10)
    assert driven.cancelled_calls == 1
    assert driven.details[-1] == "it is half-closed"
    assert opened(driven)[1:] == [(False, [(1000, SIZE - 1000), (5, 10)])]
    driven.message(*map(chunk, driven.opened[-1].ranges))
    assert driven.outcomes[more] == CONTENT[5:15]
    assert CONTENT in driven.outcomes.values()


def test_a_range_requested_before_a_half_closed_stream_ends_opens_one_with_its_handle(
    driven: DrivenCore,
) -> None:
    driven.message(chunk(last_request(driven), range_end=True), handle=b"handle")
    driven.request(5, 10)
    assert opened(driven)[1:] == [(False, [(5, 10)])]
    assert driven.opened[-1].spec.handle == b"handle"
    assert driven.cancelled_calls == 1


def test_the_stream_after_a_half_closed_one_takes_further_messages(driven: DrivenCore) -> None:
    driven.message(chunk(last_request(driven), range_end=True))
    driven.end(end(StatusCode.OK))
    driven.request(0, 10)
    driven.confirm()
    driven.request(10, 10)
    assert [(r.offset, r.length) for r in driven.sent[-1]] == [(10, 10)]
    assert len(driven.opened) == 2


# -- in the registry


async def test_reads_of_whole_objects_leave_no_stream() -> None:
    async with bench(plan=Plan(latency=0.01)) as b:
        readers = [b.read_whole(f"object {number}") for number in range(50)]
        await trio.sleep(0.01)
        await b.settled()
        assert all(reader.served for reader in readers)
        registry = b.registry
        assert (registry.streams_open, registry.streams_idle) == (0, 0)
        assert [o.cancelled_at for o in b.transport.opened] == [None] * 50


async def test_a_second_read_of_an_object_uses_the_handle_of_its_half_closed_stream() -> None:
    async with bench() as b:
        b.read_whole()
        await b.settled()
        assert await fetch(b.registry, key_of("object"), 7, 10) == SERVED[7:17]
        assert [o.spec.handle for o in b.transport.opened] == [b"", b"handle"]
