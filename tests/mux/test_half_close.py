"""An object that is asked for whole: its stream carries nothing else and ends by itself."""

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
    """Return a core that has asked for its whole object."""
    driven = DrivenCore()
    driven.request(0, SIZE, covers_object=True)
    driven.confirm()
    return driven


def opened(driven: DrivenCore) -> list[tuple[bool, list[tuple[int, int]]]]:
    """Return of each stream whether it was half-closed, and what was asked for at its opening."""
    return [
        (action.spec.half_close, [(asked.offset, asked.length) for asked in action.ranges])
        for action in driven.opened
    ]


def asked_last(driven: DrivenCore) -> RangeRequest:
    return driven.opened[-1].ranges[-1]


# -- when


def test_a_stream_for_all_of_an_object_is_half_closed(driven: DrivenCore) -> None:
    assert opened(driven) == [(True, [(0, SIZE)])]


def test_a_stream_for_a_part_is_not() -> None:
    driven = DrivenCore()
    driven.request(0, SIZE - 1)
    assert opened(driven) == [(False, [(0, SIZE - 1)])]


def test_a_stream_for_more_than_one_range_is_not() -> None:
    driven = DrivenCore()
    driven.request_unflushed(0, SIZE, covers_object=True)
    driven.request(0, 10)
    assert opened(driven) == [(False, [(0, SIZE), (0, 10)])]


def test_a_stream_that_cannot_take_all_ranges_at_once_is_not() -> None:
    driven = DrivenCore()
    for _ in range(101):
        driven.request_unflushed(0, SIZE, covers_object=True)
    driven.flush()
    assert not driven.opened[-1].spec.half_close


# -- how it ends


def test_it_ends_with_its_bytes_and_nothing_is_cancelled(driven: DrivenCore) -> None:
    driven.message(chunk(asked_last(driven), range_end=True))
    driven.end(end(StatusCode.OK))
    assert list(driven.outcomes.values()) == [CONTENT]
    assert driven.core.state is StreamState.CLOSED
    assert (driven.cancelled_calls, len(driven.opened)) == (0, 1)


def test_one_that_does_not_end_is_given_up_like_an_idle_one(driven: DrivenCore) -> None:
    driven.message(chunk(asked_last(driven), range_end=True))
    driven.advance(driven.policy.idle_seconds)
    assert driven.core.state is StreamState.CLOSED
    assert driven.cancelled_calls == 1


def test_it_is_cancelled_when_its_reader_leaves() -> None:
    driven = DrivenCore()
    driven.cancel(driven.request(0, SIZE, covers_object=True))
    assert driven.core.state is StreamState.CLOSED
    assert driven.cancelled_calls == 1


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.OK])
def test_one_that_ends_too_early_is_resumed_at_the_first_missing_byte(
    driven: DrivenCore, code: StatusCode
) -> None:
    driven.message(chunk(asked_last(driven), 0, 1000))
    driven.end(end(code))
    assert opened(driven)[1:] == [(True, [(1000, SIZE - 1000)])]
    driven.message(chunk(asked_last(driven), range_end=True))
    assert list(driven.outcomes.values()) == [CONTENT]


def test_a_wrong_checksum_is_asked_again_on_a_new_stream(driven: DrivenCore) -> None:
    driven.message(chunk(asked_last(driven), range_end=True, intact=False))
    assert opened(driven)[1:] == [(True, [(0, SIZE)])]
    assert driven.cancelled_calls == 1
    driven.confirm()
    driven.message(chunk(asked_last(driven), range_end=True))
    assert list(driven.outcomes.values()) == [CONTENT]


def test_wrong_checksums_for_ever_end_in_an_error(driven: DrivenCore) -> None:
    while not driven.outcomes:
        driven.message(chunk(asked_last(driven), range_end=True, intact=False))
        if driven.in_flight:
            driven.confirm()
    (error,) = driven.outcomes.values()
    assert isinstance(error, DataCorruption)
    assert len(driven.opened) == driven.policy.max_bad_answers


# -- when more is pending of it


def test_more_asked_for_meanwhile_opens_a_stream_for_both(driven: DrivenCore) -> None:
    driven.message(chunk(asked_last(driven), 0, 1000))
    more = driven.request(5, 10)
    assert driven.cancelled_calls == 1
    assert driven.details[-1] == "it is half-closed"
    assert opened(driven)[1:] == [(False, [(1000, SIZE - 1000), (5, 10)])]
    driven.message(*map(chunk, driven.opened[-1].ranges))
    assert driven.outcomes[more] == CONTENT[5:15]
    assert CONTENT in driven.outcomes.values()


def test_more_asked_for_before_the_end_has_come_opens_another_with_the_handle(
    driven: DrivenCore,
) -> None:
    driven.message(chunk(asked_last(driven), range_end=True), handle=b"handle")
    driven.request(5, 10)
    assert opened(driven)[1:] == [(False, [(5, 10)])]
    assert driven.opened[-1].spec.handle == b"handle"
    assert driven.cancelled_calls == 1


def test_a_stream_that_follows_takes_messages_again(driven: DrivenCore) -> None:
    driven.message(chunk(asked_last(driven), range_end=True))
    driven.end(end(StatusCode.OK))
    driven.request(0, 10)
    driven.confirm()
    driven.request(10, 10)
    assert [(r.offset, r.length) for r in driven.sent[-1]] == [(10, 10)]
    assert len(driven.opened) == 2


# -- in the registry


async def test_whole_objects_leave_no_stream_behind() -> None:
    async with bench(plan=Plan(latency=0.01)) as b:
        readers = [b.read_whole(f"object {number}") for number in range(50)]
        await trio.sleep(0.01)
        await b.settled()
        assert all(reader.served for reader in readers)
        told = b.registry
        assert (told.streams_open, told.streams_idle) == (0, 0)
        assert [o.cancelled_at for o in b.transport.opened] == [None] * 50


async def test_a_whole_object_is_read_again_with_its_handle() -> None:
    async with bench() as b:
        b.read_whole()
        await b.settled()
        assert await fetch(b.registry, key_of("object"), 7, 10) == SERVED[7:17]
        assert [o.spec.handle for o in b.transport.opened] == [b"", b"handle"]
