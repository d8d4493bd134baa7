from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.emulator.buckets.byte_ranges import resolve_range
from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.emulator.service_limits import MAX_CHUNK_BYTES
from gcsmux_fs.emulator.services.range_schedule import FailedRange, RangeSchedule, Slice
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.values import ByteRange
from tests.support.sizes import MIB


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 10, ByteRange(0, 10)),
        (3, 4, ByteRange(3, 4)),
        (0, 0, ByteRange(0, 10)),
        (4, 0, ByteRange(4, 6)),
        (8, 100, ByteRange(8, 2)),
        (10, 0, ByteRange(10, 0)),
        (10, 5, ByteRange(10, 0)),
        (-3, 0, ByteRange(7, 3)),
        (-3, 2, ByteRange(7, 2)),
        (-11, 0, ByteRange(0, 10)),
    ],
)
def test_resolve_range_in_an_object_of_ten_bytes(
    offset: int, length: int, expected: ByteRange
) -> None:
    assert expected == resolve_range(offset, length, size=10)


@pytest.mark.parametrize(("offset", "length"), [(11, 0), (11, 1), (0, -1)])
def test_a_range_outside_the_object_is_out_of_range(offset: int, length: int) -> None:
    with pytest.raises(RpcError) as raised:
        resolve_range(offset, length, size=10)
    assert raised.value.code == StatusCode.OUT_OF_RANGE


ranges = st.lists(
    st.tuples(st.integers(-60, 50), st.integers(0, 60), st.sampled_from([0.0, 1.0, 2.0])),
    max_size=12,
)


@given(ranges, st.integers(1, 20))
def test_slices_have_no_gaps_are_due_and_end_once(
    expected: list[tuple[int, int, float]], max_bytes: int
) -> None:
    schedule = RangeSchedule(size=50)
    due = {}
    for read_id, (offset, length, when) in enumerate(expected):
        schedule.add(read_id, offset, length, when)
        due[read_id] = when
    now = 0.0
    received: dict[int, list[Slice]] = {read_id: [] for read_id in due}
    while (next_due := schedule.next_due(now)) is not None:
        now = next_due
        taken = schedule.take(now, max_bytes)
        assert taken
        assert sum(part.length for part in taken if isinstance(part, Slice)) <= max_bytes
        for part in taken:
            assert isinstance(part, Slice)
            assert due[part.read_id] <= now
            received[part.read_id].append(part)
    assert len(schedule) == 0
    for read_id, (offset, length, _) in enumerate(expected):
        byte_range = resolve_range(offset, length, 50)
        position = byte_range.offset
        for part in received[read_id]:
            assert position == part.offset
            position += part.length
        assert byte_range.end == position
        assert [False] * (len(received[read_id]) - 1) + [True] == [
            part.last for part in received[read_id]
        ]


def test_long_ranges_take_turns() -> None:
    schedule = RangeSchedule(size=100 * MIB)
    for read_id in (1, 2, 3):
        schedule.add(read_id, read_id * 10 * MIB, 4 * MIB, due=0.0)
    turns = [schedule.take(0.0, MAX_CHUNK_BYTES) for _ in range(6)]
    assert [[part.read_id for part in turn] for turn in turns] == [[1], [2], [3], [1], [2], [3]]


def test_short_ranges_share_a_message() -> None:
    schedule = RangeSchedule(size=MIB)
    for read_id in range(5):
        schedule.add(read_id, 0, 4096, due=0.0)
    assert [part.read_id for part in schedule.take(0.0, MAX_CHUNK_BYTES)] == [0, 1, 2, 3, 4]


def test_a_long_range_gets_full_slices_beside_short_ranges() -> None:
    schedule = RangeSchedule(size=100 * MIB)
    schedule.add(1, 0, 4096, due=0.0)
    schedule.add(2, 0, 4 * MIB, due=0.0)
    assert [Slice(1, 0, 4096, last=True)] == schedule.take(0.0, MAX_CHUNK_BYTES)
    assert [Slice(2, 0, MAX_CHUNK_BYTES, last=False)] == schedule.take(0.0, MAX_CHUNK_BYTES)


def test_nothing_is_sent_before_it_is_due() -> None:
    schedule = RangeSchedule(size=10)
    schedule.add(1, 0, 0, due=5.0)
    schedule.add(2, 0, 0, due=3.0)
    assert schedule.next_due(1.0) == 3.0
    assert schedule.take(2.9, 100) == []
    assert [Slice(2, 0, 10, last=True)] == schedule.take(3.0, 100)
    assert schedule.next_due(3.0) == 5.0


def test_a_read_id_can_be_used_again_after_its_range_has_ended() -> None:
    schedule = RangeSchedule(size=10)
    schedule.add(1, 0, 0, due=0.0)
    with pytest.raises(RpcError) as raised:
        schedule.add(1, 0, 0, due=0.0)
    assert raised.value.code == StatusCode.INVALID_ARGUMENT
    schedule.take(0.0, 100)
    schedule.add(1, 0, 0, due=0.0)


def test_a_failed_range_is_returned_when_it_is_due() -> None:
    schedule = RangeSchedule(size=10)
    schedule.add(1, 11, 0, due=1.0)
    assert schedule.take(0.5, 100) == []
    (failed,) = schedule.take(1.0, 100)
    assert isinstance(failed, FailedRange)
    assert (failed.read_id, failed.reason.code) == (1, StatusCode.OUT_OF_RANGE)
