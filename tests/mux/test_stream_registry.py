"""Tests of the stream registry over a fake transport, in virtual time."""

from __future__ import annotations

import logging
from random import Random

import pytest
import trio

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.errors import DeadlineExceeded, StatusCode, StorageError, Unavailable
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.storage.ports import StreamEnd

from .plans import CONTENT, Plan, key_of
from .reading import Reader, bench, fetch

UNAVAILABLE = StreamEnd(StatusCode.UNAVAILABLE, "away")
POLICY = RetryPolicy()


# -- ranges in one message


async def test_requests_of_one_turn_travel_in_the_opening_message() -> None:
    async with bench() as b:
        readers = [b.read(offset, 10) for offset in range(0, 500, 10)]
        assert b.transport.opened == []
        await b.settled()
        (opened,) = b.transport.opened
        ((_, ranges),) = opened.messages
        assert [r.offset for r in ranges] == list(range(0, 500, 10))
        assert all(reader.served for reader in readers)


async def test_more_than_a_hundred_requests_of_one_turn_are_split() -> None:
    async with bench() as b:
        readers = [b.read(offset, 10) for offset in range(250)]
        await b.settled()
        (opened,) = b.transport.opened
        assert [len(ranges) for _, ranges in opened.messages] == [100, 100, 50]
        assert all(reader.served for reader in readers)


async def test_the_first_read_of_an_object_costs_one_round_trip() -> None:
    async with bench(plan=Plan(latency=0.05)) as b:
        start = trio.current_time()
        assert await fetch(b.registry, key_of("object"), 5, 100) == CONTENT[5:105]
        assert trio.current_time() - start == pytest.approx(0.05)


async def test_later_requests_use_the_same_stream() -> None:
    async with bench() as b:
        await fetch(b.registry, key_of("object"), 0, 10)
        await trio.sleep(1)
        await fetch(b.registry, key_of("object"), 10, 10)
        (opened,) = b.transport.opened
        assert len(opened.messages) == 2


async def test_each_object_has_its_own_stream() -> None:
    async with bench() as b:
        readers = [b.read(0, 10, name) for name in ("a", "b", "a")]
        await b.settled()
        assert [o.spec.key.name for o in b.transport.opened] == ["a", "b"]
        assert all(reader.served for reader in readers)


@pytest.mark.slow
async def test_thousands_of_objects_are_read_at_once() -> None:
    async with bench(plan=Plan(latency=0.01), max_idle_streams=10, max_remembered=100) as b:
        names = [f"object {number}" for number in range(3000)]
        readers = [b.read(number, 10, name) for number, name in enumerate(names)]
        await trio.sleep(1)
        assert all(reader.served for reader in readers)
        registry = b.registry
        assert (registry.streams_open, registry.streams_idle, registry.objects_known) == (
            10,
            10,
            110,
        )
        assert len(b.registry._deadlines) <= 2 * 110 + 64


async def test_memory_stays_bounded_over_many_short_reads() -> None:
    async with bench(max_idle_streams=4, max_remembered=8) as b:
        for number in range(500):
            await fetch(b.registry, key_of(f"object {number}"), 0, 10)
            await trio.sleep(0.01)
        assert b.registry.objects_known <= 4 + 8
        assert len(b.registry._deadlines) < 100


async def test_a_busy_stream_does_not_accumulate_deadlines() -> None:
    async with bench() as b:
        for _ in range(2000):
            await fetch(b.registry, key_of("object"), 0, 10)
            await trio.sleep(1)
        assert len(b.registry._deadlines) < 70
        assert len(b.transport.opened) == 1


async def test_a_forgotten_object_is_opened_again_without_handle() -> None:
    async with bench(max_idle_streams=0, max_remembered=0) as b:
        stale = b.read(0, 10)
        await b.settled()
        assert b.registry.objects_known == 0
        fresh = b.read(10, 10)
        stale.cancel()
        await b.settled()
        assert fresh.served
        assert [o.spec.handle for o in b.transport.opened] == [b"", b""]


async def test_a_remembered_object_is_opened_with_its_handle() -> None:
    async with bench(max_idle_streams=0) as b:
        await fetch(b.registry, key_of("object"), 0, 10)
        await fetch(b.registry, key_of("object"), 0, 10)
        assert [o.spec.handle for o in b.transport.opened] == [b"", b"handle"]


async def test_the_longest_unused_object_is_forgotten_first() -> None:
    async with bench(max_idle_streams=0, max_remembered=2) as b:
        for name in ("a", "b", "a", "c"):
            await fetch(b.registry, key_of(name), 0, 10)
        for name in ("a", "b"):
            await fetch(b.registry, key_of(name), 0, 10)
        assert [o.spec.handle for o in b.transport.opened[-2:]] == [b"handle", b""]


async def test_cancelling_an_old_ticket_does_not_affect_the_current_stream() -> None:
    async with bench(max_idle_streams=1, max_remembered=0) as b:
        stale = b.read(0, 10, "a")
        await b.settled()
        await fetch(b.registry, key_of("b"), 0, 10)  # closes and forgets `a`
        await fetch(b.registry, key_of("a"), 0, 10)  # closes and forgets `b`
        stale.cancel()
        assert b.registry.streams_idle == 1


async def test_an_object_in_use_again_is_not_forgotten() -> None:
    async with bench(max_idle_streams=0, max_remembered=1) as b:
        await fetch(b.registry, key_of("a"), 0, 10)
        b.transport.plans = [Plan(hang=True)]
        hangs = b.read(0, 10, "a")
        await b.settled()
        for name in ("b", "c"):
            await fetch(b.registry, key_of(name), 0, 10)
        joins = b.read(10, 10, "a")
        await b.settled()
        assert [o.spec.key.name for o in b.transport.opened] == ["a", "a", "b", "c"]
        assert b.registry.ranges_waiting == 2
        hangs.cancel()
        joins.cancel()


async def test_an_ended_call_is_not_kept() -> None:
    async with bench(Plan(refuse=StreamEnd(StatusCode.PERMISSION_DENIED))) as b:
        reader = b.read(0, 10)
        await b.settled()
        assert reader.error.code is StatusCode.PERMISSION_DENIED
        assert [stream._call for stream in b.registry._streams.values()] == [None]


# -- times


async def test_a_lost_stream_is_reopened_without_delay() -> None:
    async with bench(Plan(latency=1.0, cut_after=20, chunk_bytes=10), plan=Plan(latency=1.0)) as b:
        start = trio.current_time()
        assert await fetch(b.registry, key_of("object"), 0, 100) == CONTENT[:100]
        assert trio.current_time() - start == pytest.approx(2.0)
        first, second = b.transport.opened
        assert second.at - first.at == pytest.approx(1.0)
        ((_, (resumed,)),) = second.messages
        assert (resumed.offset, resumed.length) == (20, 80)


async def test_streams_are_reopened_after_delays_from_the_random_source() -> None:
    failing = [Plan(refuse=UNAVAILABLE)] * 6
    async with bench(*failing) as b:
        start = trio.current_time()
        await fetch(b.registry, key_of("object"), 0, 10)
        expected, drawn = [0.0, 0.0], Random(0)
        for ceiling in (0.1, 0.2, 0.4, 0.8, 1.6):
            expected.append(expected[-1] + drawn.uniform(ceiling / 2, ceiling))
        assert [o.at - start for o in b.transport.opened] == pytest.approx(expected)


async def test_an_outage_fails_the_range_after_the_time_to_give_up() -> None:
    async with bench(plan=Plan(refuse=UNAVAILABLE)) as b:
        start = trio.current_time()
        with pytest.raises(Unavailable, match="away"):
            await fetch(b.registry, key_of("object"), 0, 10)
        lasted = trio.current_time() - start
        assert POLICY.give_up_seconds <= lasted
        assert lasted <= POLICY.give_up_seconds + POLICY.max_backoff_seconds
        assert len(b.transport.opened) < 40


async def test_an_open_that_hangs_is_replaced_at_its_deadline() -> None:
    async with bench(Plan(hang=True)) as b:
        start = trio.current_time()
        await fetch(b.registry, key_of("object"), 0, 10)
        assert trio.current_time() - start == pytest.approx(POLICY.open_seconds)
        assert b.transport.opened[0].cancelled_at == pytest.approx(start + POLICY.open_seconds)


async def test_a_server_that_never_responds_fails_the_range_with_deadline_exceeded() -> None:
    async with bench(plan=Plan(hang=True)) as b:
        with pytest.raises(DeadlineExceeded):
            await fetch(b.registry, key_of("object"), 0, 10)


async def test_a_stream_that_stalls_within_a_range_is_replaced() -> None:
    stalling = Plan(chunk_bytes=10, cut_after=30, cut_with=None)
    async with bench(stalling) as b:
        start = trio.current_time()
        assert await fetch(b.registry, key_of("object"), 0, 100) == CONTENT[:100]
        assert trio.current_time() - start == pytest.approx(POLICY.stall_seconds)


async def test_a_stream_is_closed_after_the_idle_time_and_leaves_no_deadline() -> None:
    async with bench() as b:
        await fetch(b.registry, key_of("object"), 0, 10)
        read_at = trio.current_time()
        # Tasks that are due at the same time wake in any order, so the test sleeps five seconds
        # longer than the idle time.
        await trio.sleep(POLICY.idle_seconds + 5)
        assert b.transport.opened[0].cancelled_at == pytest.approx(read_at + POLICY.idle_seconds)
        assert b.transport.open_calls == 0
        assert b.registry._deadlines.earliest == float("inf")


async def test_a_read_just_before_the_idle_time_ends_keeps_the_stream() -> None:
    async with bench() as b:
        for _ in range(5):
            await fetch(b.registry, key_of("object"), 0, 10)
            await trio.sleep(POLICY.idle_seconds - 1)
        assert len(b.transport.opened) == 1


async def test_idle_streams_beyond_the_limit_are_closed_the_longest_idle_first() -> None:
    async with bench(max_idle_streams=2) as b:
        for name in ("a", "b", "a", "c"):
            await fetch(b.registry, key_of(name), 0, 10)
            await trio.sleep(1)
        closed = {o.spec.key.name for o in b.transport.opened if o.cancelled_at is not None}
        assert closed == {"b"}


async def test_streams_with_readers_are_not_idle() -> None:
    async with bench(plan=Plan(hang=True), max_idle_streams=1) as b:
        readers = [b.read(0, 10, name) for name in ("a", "b", "c")]
        await b.settled()
        assert b.transport.open_calls == 3
        for reader in readers:
            reader.cancel()


async def test_a_stream_lost_while_idle_is_reopened_by_the_next_read() -> None:
    breaking = Plan(cut_after=10, chunk_bytes=10, cut_with=StreamEnd(StatusCode.ABORTED, "idle"))
    async with bench(breaking) as b:
        await fetch(b.registry, key_of("object"), 0, 10)
        reader = b.read(10, 10)
        await b.settled()
        assert reader.served
        assert len(b.transport.opened) == 2


# -- failures


async def test_a_failed_range_does_not_affect_the_others() -> None:
    async with bench(plan=Plan(refused_ranges={50: StatusCode.OUT_OF_RANGE})) as b:
        readers = [b.read(offset, 10) for offset in (0, 50, 100)]
        await b.settled()
        assert [reader.served for reader in readers] == [True, False, True]
        assert readers[1].error.code is StatusCode.OUT_OF_RANGE


async def test_corrupt_chunks_are_requested_again() -> None:
    async with bench(Plan(corrupt_chunks=3, chunk_bytes=10)) as b:
        assert await fetch(b.registry, key_of("object"), 0, 100) == CONTENT[:100]
        assert b.registry.counters.checksum_failures > 0
        assert len(b.transport.opened) == 1


async def test_streams_that_are_cut_repeatedly_deliver_every_byte_once() -> None:
    cutting = Plan(cut_after=3000, chunk_bytes=1000)
    async with bench(plan=cutting) as b:
        start = trio.current_time()
        size = len(CONTENT) // 8
        readers = [b.read(start, size) for start in range(0, len(CONTENT), size)]
        for reader in readers:
            await reader.ended.wait()
        assert all(reader.served for reader in readers)
        assert b.registry.counters.bytes_received == len(CONTENT)
        assert trio.current_time() == start


# -- cancelling


@pytest.mark.parametrize("leave_at", [0.0, 0.01, 0.05, 0.051, 0.1, 0.15, 0.3])
@pytest.mark.parametrize("cut_after", [None, 0, 20])
async def test_a_request_may_be_cancelled_at_any_time(
    leave_at: float, cut_after: int | None
) -> None:
    plan = Plan(latency=0.05, chunk_bytes=10, cut_after=cut_after)
    async with bench(plan, plan, plan, plan=Plan(latency=0.05)) as b:
        leaves, stays = b.read(0, 50), b.read(50, 50)
        if leave_at:
            await trio.sleep(leave_at)
        ended = list(leaves.outcomes)
        leaves.cancel()
        leaves.cancel()
        await stays.ended.wait()
        assert stays.served
        assert leaves.outcomes == ended


@pytest.mark.parametrize("ticks", range(12))
async def test_the_only_request_may_be_cancelled_in_any_scheduler_turn(ticks: int) -> None:
    async with bench(Plan(chunk_bytes=10)) as b:
        leaves = b.read(0, 40)
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        ended = list(leaves.outcomes)
        leaves.cancel()
        await b.settled()
        assert leaves.outcomes == ended
        assert b.registry.ranges_waiting == 0
        assert b.transport.open_calls == (1 if ended else 0)
        assert await fetch(b.registry, key_of("object"), 0, 10) == CONTENT[:10]


async def test_a_request_cancelled_in_its_own_scheduler_turn_opens_no_stream() -> None:
    async with bench() as b:
        b.read(0, 10).cancel()
        await b.settled()
        assert b.transport.opened == []


async def test_two_thousand_cancelled_requests_leave_no_call() -> None:
    async with bench(plan=Plan(latency=0.05)) as b:
        for _ in range(20):
            with trio.move_on_after(0.03):
                async with trio.open_nursery() as readers:
                    for number in range(100):
                        key = key_of(f"object {number % 7}")
                        readers.start_soon(fetch, b.registry, key, number, 100)
        await b.settled()
        assert b.transport.open_calls == 0
        assert await fetch(b.registry, key_of("object 0"), 0, 10) == CONTENT[:10]


# -- the end of the registry


@pytest.mark.parametrize("plan", [Plan(latency=1.0), Plan(hang=True), Plan(refuse=UNAVAILABLE)])
async def test_the_end_of_the_registry_fails_all_requests_and_closes_all_streams(
    plan: Plan,
) -> None:
    async with bench(Plan(), plan=plan) as b:
        await fetch(b.registry, key_of("idle"), 0, 10)
        readers = [b.read(0, 10), b.read(10, 10, "other")]
        await b.settled()
        readers.append(b.read(20, 10, "last"))
        b.running.cancel()
        await b.settled()
        assert [str(reader.error) for reader in readers] == [
            f"gs://bucket/'{name}'#7: the mount is ending" for name in ("object", "other", "last")
        ]
        assert b.transport.open_calls == 0


async def test_a_request_after_the_end_of_the_registry_fails_without_a_call() -> None:
    async with bench() as b:
        b.running.cancel()
        await b.settled()
        reader = b.read(0, 10)
        assert reader.outcomes == []
        await b.settled()
        assert isinstance(reader.error, Unavailable)
        assert b.transport.opened == []


# -- callbacks


async def test_a_callback_may_request_a_range() -> None:
    async with bench() as b:
        second: list[Reader] = []
        b.registry.request(key_of("object"), 0, 10, lambda _: second.append(b.read(10, 10)))
        await b.settled()
        assert second[0].served


async def test_a_callback_may_cancel_a_range_whose_message_is_about_to_be_sent() -> None:
    # In one turn, a message delivers the first range and causes the second range to be sent.
    async with bench(Plan(chunk_bytes=10)) as b:
        cancelled: list[Reader] = []

        def done(_: memoryview | StorageError) -> None:
            cancelled_reader.cancel()
            cancelled.append(cancelled_reader)

        b.registry.request(key_of("object"), 0, 10, done)
        await trio.lowlevel.checkpoint()
        cancelled_reader = b.read(10, 10)
        await b.settled()
        assert cancelled == [cancelled_reader]
        assert cancelled_reader.outcomes == []


async def test_a_callback_may_cancel_the_last_range_of_a_stream_about_to_open() -> None:
    # In one turn, the end of the stream fails the first range and opens a stream for the second.
    plan = Plan(refused_ranges={0: StatusCode.OUT_OF_RANGE})
    async with bench(plan) as b:
        b.registry.request(key_of("object"), 0, 10, lambda _: cancelled_reader.cancel())
        cancelled_reader = b.read(10, 10)
        await b.settled()
        assert cancelled_reader.outcomes == []
        assert b.transport.open_calls == 0
        assert b.registry.ranges_waiting == 0


async def test_a_callback_may_cancel_a_range_that_ends_in_the_same_turn() -> None:
    async with bench(Plan(refuse=StreamEnd(StatusCode.PERMISSION_DENIED))) as b:
        readers: list[Reader] = []
        b.registry.request(key_of("object"), 0, 10, lambda _: readers[0].cancel())
        readers.append(b.read(10, 10))
        await b.settled()
        assert readers[0].outcomes == []


@pytest.mark.expects_log("a reader's callback failed")
async def test_an_exception_from_a_callback_does_not_affect_other_readers() -> None:
    def fail(_: memoryview | StorageError) -> None:
        raise RuntimeError("a reader's own fault")

    async with bench() as b:
        b.registry.request(key_of("object"), 0, 10, fail)
        reader = b.read(10, 10)
        await b.settled()
        assert reader.served
        assert await fetch(b.registry, key_of("object"), 20, 10) == CONTENT[20:30]


@pytest.mark.expects_log("the transport failed")
async def test_an_exception_from_the_transport_is_an_ordinary_failure() -> None:
    async with bench() as b:
        faults = [RuntimeError("no loop"), RuntimeError("no channel")]

        def raise_once() -> None:
            if faults:
                raise faults.pop()

        b.transport.raise_on_open = raise_once
        assert await fetch(b.registry, key_of("object"), 0, 10) == CONTENT[:10]
        assert b.registry.counters.streams_failed == 2


async def test_an_empty_range_is_rejected_and_its_object_is_not_remembered() -> None:
    async with bench() as b:
        with pytest.raises(ValueError, match="invalid range"):
            b.read(0, 0)
        assert b.registry.objects_known == 0


# -- reporting


async def test_transitions_are_logged_with_object_stream_and_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "gcsmux_fs"):
        async with bench(Plan(refuse=UNAVAILABLE)) as b:
            await fetch(b.registry, key_of("object"), 0, 10)
    assert [record.getMessage() for record in caplog.records] == [
        "gs://bucket/'object'#7: stream 1: CLOSED -> OPENING: ranges requested",
        "gs://bucket/'object'#7: stream 2: OPENING -> OPENING: lost, retry now (UNAVAILABLE)",
        "gs://bucket/'object'#7: stream 2: OPENING -> OPEN: first response",
        "gs://bucket/'object'#7: stream 2: OPEN -> CLOSED: closing",
    ]


async def test_the_registry_declares_its_gauges_counters_and_histogram() -> None:
    async with bench(plan=Plan(latency=0.5)) as b:
        await fetch(b.registry, key_of("a"), 0, 10)
        b.transport.plans = [Plan(hang=True)]
        reader = b.read(0, 10, "b")
        await b.settled()
        metrics = Registry()
        b.registry.declare_metrics(metrics)
        snapshot = metrics.snapshot()
        assert (snapshot["streams_open"], snapshot["streams_idle"]) == (2, 1)
        assert (snapshot["objects_known"], snapshot["ranges_waiting"]) == (2, 1)
        assert (snapshot["ranges_delivered"], snapshot["stale_events"]) == (1, 0)
        first_byte = metrics.value("stream_first_byte_seconds")
        assert isinstance(first_byte, Histogram)
        assert first_byte.count == 1
        assert first_byte.total_seconds == pytest.approx(0.5)
        assert (
            repr(b.registry)
            == "<StreamRegistry of 2 objects: 1 idle streams, 0 objects without a stream>"
        )
        reader.cancel()


async def test_a_ticket_reports_how_the_last_stream_of_its_object_failed() -> None:
    refused = Plan(refuse=StreamEnd(StatusCode.UNAVAILABLE, "gone"))
    async with bench(plan=refused) as b:
        reader = b.read(0, 100)
        assert reader.ticket.last_error == ""
        await trio.sleep(5)
        assert reader.ticket.last_error == "gone [UNAVAILABLE]"
        b.transport.plan = Plan()
        await reader.ended.wait()
        assert (reader.served, reader.ticket.last_error) == (True, "")
