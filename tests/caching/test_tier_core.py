"""What the disk tier reads from the disk and what from the service, with a fake disk."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.chunk_store import Presence
from gcsmux_fs.caching.disk_breaker import BreakerState
from gcsmux_fs.caching.tier_core import ATTEMPT_SECONDS, TierCore
from gcsmux_fs.caching.tier_counters import TierCounters
from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.model.errors import Unavailable
from gcsmux_fs.model.values import FinalContent
from tests.reading.fakes import ManualSource, content_of, key_of
from tests.support.sizes import KIB, MIB

from .fake_disk import FakeDisk

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.caching.disk_breaker import Breaker
    from gcsmux_fs.caching.write_queue import QueuedRange
    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.reading.range_source import RangeTicket

KEY = key_of("object")
SIZE = 64 * MIB
FINAL = FinalContent(SIZE, 1)
Answers = list["memoryview | StorageError"]
EIO = OSError(errno.EIO, "Input/output error")


def bytes_at(offset: int, end: int) -> bytes:
    return content_of(KEY, offset, end - offset)


class Tier:
    """A core with a fake disk and a fake service, in a time that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.disk = FakeDisk()
        self.service = ManualSource()
        self.counters = TierCounters()
        self.kept: list[QueuedRange] = []
        self.changes: list[BreakerState] = []
        self.soon: list[Callable[[], None]] = []
        self.core = TierCore(
            self.service,
            "",
            self.disk,
            self.kept.append,
            self.counters,
            Histogram(),
            lambda: self.now,
            self.soon.append,
            self._note_change,
        )

    def _note_change(self, breaker: Breaker) -> None:
        self.changes.append(breaker.state)

    def request(
        self, offset: int = 0, length: int = 2 * MIB, final: FinalContent | None = FINAL
    ) -> tuple[RangeTicket, Answers]:
        answers: Answers = []
        ticket = self.core.request(KEY, offset, length, answers.append, final)
        assert answers == [], "never during the request"
        return ticket, answers

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.core.expire()

    def run_soon(self) -> None:
        calls, self.soon[:] = self.soon[:], []
        for call in calls:
            call()

    def open_breaker(self) -> None:
        """Let a range wait for a disk that hangs, and fetch it."""
        self.request()
        self.advance(ATTEMPT_SECONDS)
        assert self.core.breaker.state is BreakerState.OPEN
        self.service.settle_all()


def content(answers: Answers) -> bytes:
    (answer,) = answers
    assert isinstance(answer, memoryview)
    assert answer.readonly
    return bytes(answer)


def test_a_range_on_the_disk_is_not_requested() -> None:
    tier = Tier()
    _, answers = tier.request(2 * MIB)
    tier.disk.reads[0].find((2 * MIB, bytes_at(2 * MIB, 4 * MIB)))
    assert content(answers) == bytes_at(2 * MIB, 4 * MIB)
    assert tier.service.requests == []
    assert tier.kept == []
    assert tier.counters.disk_cache_hit_bytes == 2 * MIB
    assert [number for _, number in tier.disk.touched] == [0]


def test_a_range_that_the_disk_does_not_have_is_requested_and_kept() -> None:
    tier = Tier()
    _, answers = tier.request()
    assert tier.service.requests == []
    tier.disk.reads[0].find()
    (request,) = tier.service.requests
    assert (request.span, request.final) == ((0, 2 * MIB), FINAL)
    request.settle()
    assert content(answers) == bytes_at(0, 2 * MIB)
    (kept,) = tier.kept
    assert (kept.key, kept.final, kept.offset) == (KEY, FINAL, 0)
    assert kept.content == bytes_at(0, 2 * MIB)


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        ([(0, 64 * KIB)], [(64 * KIB, MIB)]),
        ([(MIB - 16 * KIB, MIB)], [(0, MIB - 16 * KIB)]),
        ([(16 * KIB, 32 * KIB), (64 * KIB, MIB)], [(0, 16 * KIB), (32 * KIB, 64 * KIB)]),
        ([(0, 16 * KIB), (16 * KIB, MIB)], []),
    ],
)
def test_only_the_missing_parts_of_a_range_are_requested(
    parts: list[tuple[int, int]], missing: list[tuple[int, int]]
) -> None:
    tier = Tier()
    _, answers = tier.request(0, MIB)
    tier.disk.reads[0].find(*((start, bytes_at(start, end)) for start, end in parts))
    assert tier.service.spans == missing
    for request in reversed(tier.service.pending):
        assert answers == []
        request.settle()
    assert content(answers) == bytes_at(0, MIB)
    assert sorted((kept.offset, kept.offset + len(kept.content)) for kept in tier.kept) == missing
    assert tier.counters.disk_cache_hit_bytes == sum(end - start for start, end in parts)


def test_a_failed_part_fails_the_range_and_cancels_the_other_parts() -> None:
    tier = Tier()
    _, answers = tier.request(0, MIB)
    tier.disk.reads[0].find((16 * KIB, bytes_at(16 * KIB, 32 * KIB)))
    first, second = tier.service.pending
    first.settle(error := Unavailable("no"))
    assert answers == [error]
    assert second.is_cancelled
    assert tier.kept == []


def test_a_cancelled_range_leaves_nothing_in_flight() -> None:
    tier = Tier()
    reading, first_answers = tier.request(0, MIB)
    partial, second_answers = tier.request(2 * MIB, MIB)
    tier.disk.reads[1].find((2 * MIB, bytes_at(2 * MIB, 2 * MIB + 16 * KIB)))
    for ticket in (reading, partial, partial):
        ticket.cancel()
    assert tier.disk.reads[0].is_cancelled
    assert [request.is_cancelled for request in tier.service.requests] == [True]
    # A thread that had begun cannot be interrupted. Its answer comes too late.
    tier.disk.reads[0].find((0, bytes_at(0, MIB)))
    assert first_answers == second_answers == []
    assert tier.core.ranges_reading == 0
    assert tier.counters.disk_cache_timeouts == 0


def test_an_object_that_may_grow_does_not_reach_the_disk() -> None:
    tier = Tier()
    _, answers = tier.request(0, MIB, None)
    (request,) = tier.service.requests
    assert request.final is None
    request.settle()
    assert content(answers) == bytes_at(0, MIB)
    assert (tier.disk.reads, tier.disk.asked_now, tier.kept) == ([], [], [])
    assert tier.core.read_now(KEY, 0, 4 * KIB, None) is None


@pytest.mark.parametrize(("offset", "length"), [(5, 16 * KIB), (0, 5), (3 * MIB, 2 * MIB)])
def test_a_range_that_is_not_made_of_granules_of_one_chunk_does_not_reach_the_disk(
    offset: int, length: int
) -> None:
    tier = Tier()
    tier.request(offset, length)
    assert tier.service.spans == [(offset, offset + length)]
    assert (tier.disk.reads, tier.disk.asked_now) == ([], [])


def test_the_last_range_of_an_object_may_be_shorter_than_a_granule() -> None:
    tier = Tier()
    final = FinalContent(2 * MIB + 5)
    tier.request(2 * MIB, 5, final)
    assert (tier.disk.reads[0].offset, tier.disk.reads[0].length) == (2 * MIB, 5)


def test_a_short_range_in_memory_is_answered_in_the_next_turn_without_a_thread() -> None:
    tier = Tier()
    tier.disk.in_memory[16 * KIB, 16 * KIB] = bytes_at(16 * KIB, 32 * KIB)
    _, answers = tier.request(16 * KIB, 16 * KIB)
    cancelled, no_answers = tier.request(16 * KIB, 16 * KIB)
    cancelled.cancel()
    tier.run_soon()
    assert content(answers) == bytes_at(16 * KIB, 32 * KIB)
    assert no_answers == []
    assert (tier.disk.reads, tier.service.requests) == ([], [])


def test_a_short_range_that_is_known_to_be_absent_is_requested_at_once() -> None:
    tier = Tier()
    tier.disk.elsewhere = Presence.ABSENT
    tier.request(0, 16 * KIB)
    assert tier.service.spans == [(0, 16 * KIB)]
    assert tier.disk.reads == []


@pytest.mark.parametrize("offset", [0, 20 * KIB, 32 * KIB - 1])
def test_read_now_cuts_the_bytes_out_of_verified_granules(offset: int) -> None:
    tier = Tier()
    tier.disk.in_memory[0, 16 * KIB] = bytes_at(0, 16 * KIB)
    tier.disk.in_memory[16 * KIB, 16 * KIB] = bytes_at(16 * KIB, 32 * KIB)
    tier.disk.in_memory[16 * KIB, 32 * KIB] = bytes_at(16 * KIB, 48 * KIB)
    found = tier.core.read_now(KEY, offset, 4 * KIB, FINAL)
    assert found is not None
    assert bytes(found) == bytes_at(offset, offset + 4 * KIB)
    assert tier.counters.disk_cache_hit_bytes == 4 * KIB
    assert tier.core.read_now(KEY, 48 * KIB, 4 * KIB, FINAL) is None


def test_the_disk_is_not_asked_twice_for_a_read_that_becomes_a_request() -> None:
    tier = Tier()
    assert tier.core.read_now(KEY, 5, 10, FINAL) is None
    tier.request(0, 16 * KIB)
    assert tier.disk.asked_now == [(0, 16 * KIB)]
    assert len(tier.disk.reads) == 1
    tier.request(0, 16 * KIB)
    assert tier.disk.asked_now == [(0, 16 * KIB)] * 2, "the answer counts once"


def test_a_long_range_that_is_known_to_be_absent_is_requested_at_once() -> None:
    tier = Tier()
    tier.disk.is_absent = True
    _, answers = tier.request(0, 2 * MIB)
    assert tier.disk.reads == []
    tier.service.settle_all()
    assert content(answers) == bytes_at(0, 2 * MIB)
    assert tier.counters.disk_cache_misses == 1


def test_read_now_does_not_read_beyond_the_end_of_the_object() -> None:
    tier = Tier()
    tier.disk.in_memory[0, 100] = bytes_at(0, 100)
    found = tier.core.read_now(KEY, 40, 60, FinalContent(100))
    assert found is not None
    assert bytes(found) == bytes_at(40, 100)


# -- a disk that fails


def test_an_error_of_the_disk_is_no_error_of_the_range() -> None:
    tier = Tier()
    _, answers = tier.request()
    tier.disk.reads[0].fail(EIO)
    tier.service.settle_all()
    assert content(answers) == bytes_at(0, 2 * MIB)
    assert tier.counters.disk_cache_errors == {("read", "EIO"): 1}
    assert tier.changes == []


def test_a_disk_that_hangs_delays_a_range_by_one_attempt_and_no_other_range() -> None:
    tier = Tier()
    _, first = tier.request(0)
    assert tier.core.next_deadline == ATTEMPT_SECONDS
    tier.advance(ATTEMPT_SECONDS / 2)
    _, second = tier.request(2 * MIB)
    tier.advance(ATTEMPT_SECONDS / 2)
    # The first timeout shows that nothing answers, so the second range does not wait on.
    assert tier.service.spans == [(0, 2 * MIB), (2 * MIB, 4 * MIB)]
    assert [read.is_cancelled for read in tier.disk.reads] == [True, True]
    tier.service.settle_all()
    assert content(first) == bytes_at(0, 2 * MIB)
    assert content(second) == bytes_at(2 * MIB, 4 * MIB)
    assert tier.changes == [BreakerState.OPEN]
    _, third = tier.request(4 * MIB)
    assert tier.service.spans[-1] == (4 * MIB, 6 * MIB)
    tier.service.settle_all()
    assert content(third) == bytes_at(4 * MIB, 6 * MIB)
    assert tier.core.read_now(KEY, 0, 4 * KIB, FINAL) is None
    assert tier.kept == [], "a disk that hangs gets no writes"


def test_a_late_answer_is_ignored() -> None:
    tier = Tier()
    _, answers = tier.request()
    tier.advance(ATTEMPT_SECONDS)
    tier.disk.reads[0].find((0, bytes(2 * MIB)))
    assert answers == []
    tier.service.settle_all()
    assert content(answers) == bytes_at(0, 2 * MIB)


def test_a_slow_disk_that_answers_other_ranges_is_used_on() -> None:
    tier = Tier()
    tier.request(0)
    tier.advance(ATTEMPT_SECONDS / 2)
    _, answers = tier.request(2 * MIB)
    tier.disk.reads[1].find((2 * MIB, bytes_at(2 * MIB, 4 * MIB)))
    tier.advance(ATTEMPT_SECONDS / 2)
    assert tier.service.spans == [(0, 2 * MIB)]
    assert content(answers) == bytes_at(2 * MIB, 4 * MIB)
    assert tier.changes == []


def test_a_disk_that_always_fails_is_left_alone() -> None:
    tier = Tier()
    for number in range(3):
        tier.request(number * 2 * MIB)
        tier.disk.reads[-1].fail(EIO)
    assert tier.changes == [BreakerState.OPEN]
    assert tier.core.breaker.reason == f"cannot be read ({EIO})"


def test_a_stale_directory_is_left_alone_at_once() -> None:
    tier = Tier()
    tier.request()
    tier.disk.reads[0].fail(OSError(errno.ESTALE, "Stale file handle"))
    assert tier.changes == [BreakerState.OPEN]


def test_no_range_waits_for_the_probe_of_a_disk() -> None:
    tier = Tier()
    tier.open_breaker()
    tier.advance(0.9)
    tier.request(2 * MIB)
    assert len(tier.disk.reads) == 1, "the pause is not over"
    tier.advance(0.1)
    _, answers = tier.request(4 * MIB)
    tier.request(6 * MIB)
    probe = tier.disk.reads[1]
    assert (len(tier.disk.reads), probe.offset) == (2, 4 * MIB)
    assert tier.service.spans[-2:] == [(4 * MIB, 6 * MIB), (6 * MIB, 8 * MIB)]
    probe.find((4 * MIB, bytes(2 * MIB)))
    assert tier.changes == [BreakerState.OPEN, BreakerState.CLOSED]
    assert answers == [], "the answer of the probe is not used"
    tier.service.settle_all()
    assert content(answers) == bytes_at(4 * MIB, 6 * MIB)
    tier.request(8 * MIB)
    assert len(tier.disk.reads) == 3


def test_a_probe_that_hangs_is_not_repeated_until_it_ends() -> None:
    tier = Tier()
    tier.open_breaker()
    tier.advance(1.0)
    tier.request(2 * MIB)
    assert tier.core.next_deadline == tier.now + ATTEMPT_SECONDS
    tier.advance(ATTEMPT_SECONDS)
    assert tier.core.breaker.state is BreakerState.OPEN
    tier.advance(1000.0)
    tier.request(4 * MIB)
    assert len(tier.disk.reads) == 2, "the thread of the probe still hangs"
    tier.disk.reads[1].find()
    tier.request(6 * MIB)
    tier.disk.reads[2].find((6 * MIB, bytes(2 * MIB)))
    assert tier.changes == [BreakerState.OPEN, BreakerState.CLOSED]


def test_a_probe_that_finds_nothing_is_repeated_at_once() -> None:
    tier = Tier()
    tier.open_breaker()
    tier.advance(1.0)
    for number in range(2):
        tier.request(2 * number * MIB)
        tier.disk.reads[-1].find()
        assert tier.changes == [BreakerState.OPEN]
    tier.request(4 * MIB)
    tier.disk.reads[-1].find((4 * MIB, bytes(2 * MIB)))
    assert tier.changes == [BreakerState.OPEN, BreakerState.CLOSED]


def test_objects_are_known_by_their_last_size() -> None:
    tier = Tier()
    tier.request(0, MIB, FinalContent(MIB))
    tier.request(0, MIB, FinalContent(2 * MIB))
    ((key, _, size),) = tier.core.known_objects()
    assert (key, size) == (KEY, 2 * MIB)
    assert tier.disk.reads[0].identity != tier.disk.reads[1].identity
