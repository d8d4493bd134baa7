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

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("offset", "length", "wanted"),
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
def test_a_range_of_ten_bytes(offset: int, length: int, wanted: ByteRange) -> None:
    assert wanted == resolve_range(offset, length, size=10)


@pytest.mark.parametrize(("offset", "length"), [(11, 0), (11, 1), (0, -1)])
def test_a_range_outside_is_out_of_range(offset: int, length: int) -> None:
    with pytest.raises(RpcError) as refused:
        resolve_range(offset, length, size=10)
    assert refused.value.code == StatusCode.OUT_OF_RANGE


ranges = st.lists(
    st.tuples(st.integers(-60, 50), st.integers(0, 60), st.sampled_from([0.0, 1.0, 2.0])),
    max_size=12,
)


@given(ranges, st.integers(1, 20))
def test_slices_are_gapless_due_and_ended_once(
    wanted: list[tuple[int, int, float]], max_bytes: int
) -> None:
    schedule = RangeSchedule(size=50)
    due = {}
    for read_id, (offset, length, when) in enumerate(wanted):
        schedule.add(read_id, offset, length, when)
        due[read_id] = when
    now = 0.0
    received: dict[int, list[Slice]] = {read_id: [] for read_id in due}
    while (next_due := schedule.next_due(now)) is not None:
        now = next_due
        taken = schedule.take(now, max_bytes)
        assert taken
        assert sum(one.length for one in taken if isinstance(one, Slice)) <= max_bytes
        for one in taken:
            assert isinstance(one, Slice)
            assert due[one.read_id] <= now
            received[one.read_id].append(one)
    assert len(schedule) == 0
    for read_id, (offset, length, _) in enumerate(wanted):
        whole = resolve_range(offset, length, 50)
        position = whole.offset
        for one in received[read_id]:
            assert position == one.offset
            position += one.length
        assert whole.end == position
        assert [False] * (len(received[read_id]) - 1) + [True] == [
            one.last for one in received[read_id]
        ]


def test_long_ranges_take_turns() -> None:
    schedule = RangeSchedule(size=100 * MIB)
    for read_id in (1, 2, 3):
        schedule.add(read_id, read_id * 10 * MIB, 4 * MIB, due=0.0)
    turns = [schedule.take(0.0, MAX_CHUNK_BYTES) for _ in range(6)]
    assert [[one.read_id for one in turn] for turn in turns] == [[1], [2], [3], [1], [2], [3]]


def test_short_ranges_share_a_message() -> None:
    schedule = RangeSchedule(size=MIB)
    for read_id in range(5):
        schedule.add(read_id, 0, 4096, due=0.0)
    assert [one.read_id for one in schedule.take(0.0, MAX_CHUNK_BYTES)] == [0, 1, 2, 3, 4]


def test_a_long_range_keeps_slices_of_the_full_size_beside_short_ones() -> None:
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


def test_a_read_id_is_free_again_once_its_range_has_ended() -> None:
    schedule = RangeSchedule(size=10)
    schedule.add(1, 0, 0, due=0.0)
    with pytest.raises(RpcError) as refused:
        schedule.add(1, 0, 0, due=0.0)
    assert refused.value.code == StatusCode.INVALID_ARGUMENT
    schedule.take(0.0, 100)
    schedule.add(1, 0, 0, due=0.0)


def test_a_range_that_fails_says_so_when_it_is_due() -> None:
    schedule = RangeSchedule(size=10)
    schedule.add(1, 11, 0, due=1.0)
    assert schedule.take(0.5, 100) == []
    (failed,) = schedule.take(1.0, 100)
    assert isinstance(failed, FailedRange)
    assert (failed.read_id, failed.reason.code) == (1, StatusCode.OUT_OF_RANGE)
