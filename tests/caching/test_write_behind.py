"""What is written to the disk behind the readers, and what is dropped, with a fake disk."""

from __future__ import annotations

import errno

import pytest

from gcsmux_fs.caching.disk_breaker import Breaker, BreakerState
from gcsmux_fs.caching.tier_counters import TierCounters
from gcsmux_fs.caching.write_behind import WRITE_SECONDS, WriteBehind, WriteReport
from gcsmux_fs.caching.write_queue import QueuedRange, queue_limit
from gcsmux_fs.model.values import FinalContent
from tests.reading.fakes import key_of
from tests.support.sizes import GIB, KIB, MIB

from .fake_disk import FakeDisk

LIMIT = 32 * MIB
FULL = OSError(errno.ENOSPC, "No space left on device")


def queued(number: int, length: int = 2 * MIB, name: str = "object") -> QueuedRange:
    content = memoryview(bytes(length))
    return QueuedRange(name.encode(), key_of(name), FinalContent(GIB, 1), number * 2 * MIB, content)


class Writes:
    def __init__(self, limit: int = LIMIT) -> None:
        self.now = 0.0
        self.disk = FakeDisk()
        self.counters = TierCounters()
        self.changes: list[BreakerState] = []
        #: The bytes in the block cache, by offset.
        self.in_memory: dict[int, memoryview] = {}
        self.behind = WriteBehind(
            self.disk,
            limit,
            self.counters,
            lambda: self.now,
            self._note_change,
            lambda missed: self.in_memory.get(missed.offset),
        )

    def _note_change(self, breaker: Breaker) -> None:
        self.changes.append(breaker.state)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.behind.expire()

    def written(self) -> list[int]:
        """Answer all batches; return the numbers of their ranges, in order."""
        numbers = []
        while self.disk.batches:
            batch, answer = self.disk.batches.pop(0)
            numbers += [each.offset // (2 * MIB) for each in batch]
            answer(WriteReport([]))
        return numbers


def test_ranges_are_written_in_order_and_their_memory_is_given_back() -> None:
    writes = Writes()
    for number in range(12):
        writes.behind.keep(queued(number))
    assert len(writes.disk.batches) == 2, "the thread never waits for its next batch"
    assert writes.behind.queue.used >= 24 * MIB
    assert writes.written() == list(range(12))
    assert (writes.behind.queue.used, writes.behind.is_idle) == (0, True)
    assert writes.counters.disk_cache_dropped_bytes == 0


def test_small_ranges_share_a_batch() -> None:
    writes = Writes()
    for number in range(100):
        writes.behind.keep(queued(number, 4 * KIB))
    assert writes.disk.batches == []
    assert 0 < writes.behind.next_deadline < 0.1
    writes.advance(0.1)
    assert [len(batch) for batch, _ in writes.disk.batches] == [64, 36]
    assert writes.written() == list(range(100))
    assert writes.behind.is_idle


def test_small_ranges_are_written_at_once_at_the_end() -> None:
    writes = Writes()
    writes.behind.keep(queued(0, 4 * KIB))
    writes.behind.stop(lambda: None)
    assert writes.written() == [0]


def test_many_small_ranges_do_not_linger() -> None:
    writes = Writes()
    for number in range(65):
        writes.behind.keep(queued(number, 16 * KIB))
    assert len(writes.disk.batches) > 0


def test_what_does_not_fit_is_dropped_and_what_came_first_is_kept() -> None:
    writes = Writes()
    for number in range(40):
        writes.behind.keep(queued(number))
        assert writes.behind.queue.used <= LIMIT
    assert not writes.behind.has_room(2 * MIB)
    assert writes.written() == list(range(15))
    assert writes.counters.disk_cache_dropped_bytes == 25 * 2 * MIB
    assert writes.behind.has_room(2 * MIB)


def test_what_did_not_fit_is_written_later_if_it_is_still_in_memory() -> None:
    writes = Writes()
    for number in range(40):
        writes.behind.keep(queued(number))
    writes.in_memory = {number * 2 * MIB: memoryview(bytes(2 * MIB)) for number in range(20, 40)}
    assert writes.written() == [*range(15), *range(20, 40)]
    assert writes.behind.is_idle
    assert writes.counters.disk_cache_dropped_bytes == 5 * 2 * MIB


def test_a_dropped_object_is_not_remembered() -> None:
    writes = Writes()
    for number in range(40):
        writes.behind.keep(queued(number))
    writes.in_memory = {number * 2 * MIB: memoryview(bytes(2 * MIB)) for number in range(40)}
    writes.behind.drop(lambda each: each.key.name == "object")
    assert len(writes.written()) == 2, "only what the thread has"


def test_complete_chunks_are_checked() -> None:
    writes = Writes()
    writes.behind.keep(queued(1))
    ((batch, answer),) = writes.disk.batches
    answer(WriteReport(batch))
    assert (writes.disk.checked, writes.disk.differing) == (batch, [])


def test_an_object_is_checked_once_for_a_batch() -> None:
    writes = Writes()
    for number in range(3):
        writes.behind.keep(queued(0, MIB, name=f"object {number % 2}"))
    writes.advance(1)
    batches = [batch for batch, _ in writes.disk.batches]
    together = [each for batch in batches for each in batch]
    writes.disk.batches.pop()[1](WriteReport(together))
    assert {each.key.name for each in writes.disk.checked} == {"object 0", "object 1"}
    assert len(writes.disk.checked) == 2


def test_an_object_whose_checksum_differs_is_reported() -> None:
    writes = Writes()
    writes.behind.keep(queued(1))
    ((batch, answer),) = writes.disk.batches
    answer(WriteReport([], batch))
    assert (writes.disk.checked, writes.disk.differing) == ([], batch)


def test_a_full_disk_gets_no_writes_for_a_while_and_one_as_a_probe() -> None:
    writes = Writes()
    for number in range(12):
        writes.behind.keep(queued(number))
    writes.disk.finish_writes(FULL)
    assert writes.changes == [BreakerState.OPEN]
    assert writes.counters.disk_cache_errors[("write", "ENOSPC")] >= 1
    assert writes.behind.queue.used == 0, "nothing waits for a disk that is full"
    writes.behind.keep(queued(20))
    assert writes.disk.batches == []
    assert writes.behind.has_room(GIB), "waiting does not help"
    writes.advance(1.0)
    for number in (21, 22):
        writes.behind.keep(queued(number))
    assert writes.written() == [21]
    assert writes.changes == [BreakerState.OPEN, BreakerState.CLOSED]
    writes.behind.keep(queued(23))
    assert writes.written() == [23]


def test_one_failed_write_does_not_end_the_others() -> None:
    writes = Writes()
    writes.behind.keep(queued(1))
    writes.disk.finish_writes(OSError(errno.EIO, "Input/output error"))
    writes.behind.keep(queued(2))
    assert writes.written() == [2]
    assert writes.changes == []


def test_a_write_that_hangs_frees_the_memory_of_those_behind_it() -> None:
    writes = Writes()
    for number in range(12):
        writes.behind.keep(queued(number))
    assert writes.behind.next_deadline == WRITE_SECONDS
    writes.advance(WRITE_SECONDS)
    assert writes.changes == [BreakerState.OPEN]
    assert writes.behind.queue.used <= 17 * MIB, "only what the thread has"
    writes.advance(100.0)
    writes.behind.keep(queued(20))
    assert len(writes.disk.batches) == 2, "no probe behind a write that hangs"
    writes.disk.finish_writes()
    assert writes.behind.queue.used == 0
    writes.behind.keep(queued(21))
    assert writes.written() == [21]
    assert writes.changes == [BreakerState.OPEN, BreakerState.CLOSED]


def test_a_slow_disk_that_finishes_batches_is_no_failure() -> None:
    writes = Writes()
    for number in range(12):
        writes.behind.keep(queued(number))
    while writes.disk.batches:
        writes.advance(WRITE_SECONDS * 0.9)
        writes.disk.batches.pop(0)[1](WriteReport([]))
    assert writes.changes == []


def test_after_stop_only_what_waits_is_written() -> None:
    writes = Writes()
    for number in range(8):
        writes.behind.keep(queued(number))
    ended: list[bool] = []
    writes.behind.stop(lambda: ended.append(writes.behind.is_idle))
    writes.behind.keep(queued(8))
    assert ended == []
    assert writes.written() == list(range(8))
    assert ended == [True]


def test_dropped_objects_are_not_written() -> None:
    writes = Writes()
    for number in range(10):
        writes.behind.keep(queued(number, name=f"object {number % 2}"))
    writes.behind.drop(lambda each: each.key.name == "object 1")
    handed_over = [0, 1]
    assert [n for n in writes.written() if n % 2] == handed_over[1:]


@pytest.mark.parametrize(
    ("memory_bytes", "expected"), [(16 * MIB, 4 * MIB), (256 * MIB, 32 * MIB), (GIB, 64 * MIB)]
)
def test_the_queue_takes_a_part_of_the_memory(memory_bytes: int, expected: int) -> None:
    assert queue_limit(memory_bytes) == expected


def test_a_thread_does_not_wait_for_the_disk_while_half_of_the_queue_is_full() -> None:
    writes = Writes()
    for number in range(3):
        writes.behind.keep(queued(number))
    writes.written()
    assert not any(writes.disk.behind)
    writes.disk.behind.clear()
    for number in range(15):
        writes.behind.keep(queued(number))
    writes.written()
    # The last batches were handed over when the queue was short again.
    assert writes.disk.behind[2] is True
    assert writes.disk.behind[-1] is False
