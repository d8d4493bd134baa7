"""Tests of reads through the mux while BidiReadObject is missing, in virtual time."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gcsmux_fs.model.errors import (
    DataCorruption,
    GenerationGone,
    PermissionDenied,
    RangeUnsatisfiable,
    StatusCode,
    StorageError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from gcsmux_fs.model.values import FinalContent
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.storage.availability import RETRY_SECONDS, STREAM_SILENCE_SECONDS
from gcsmux_fs.storage.fallback import FallbackTransport
from gcsmux_fs.storage.ports import StreamEnd, StreamRedirect
from gcsmux_fs.storage.unary_stream import MAX_READS
from tests.mux.fake_transport import FakeTransport
from tests.mux.plans import CONTENT, Plan, key_of
from tests.mux.reading import Reader, fetch
from tests.support.examples import examples
from tests.support.sizes import KIB

from .fake_reads import FakeReads
from .range_plans import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

UNAVAILABLE = "BidiReadObject unavailable"
AVAILABLE_AGAIN = "BidiReadObject available again"
REFUSED = Plan(refuse=StreamEnd(StatusCode.UNIMPLEMENTED, "Method not found!"))
ANSWERED = Plan(latency=0.001)

pytestmark = pytest.mark.expects_log(UNAVAILABLE)


class Bench:
    """A stream registry on a fallback transport, with a fake service in memory."""

    def __init__(
        self,
        streams: FakeTransport,
        reads: FakeReads,
        transport: FallbackTransport,
        registry: StreamRegistry,
    ) -> None:
        self.streams = streams
        self.reads = reads
        self.transport = transport
        self.registry = registry

    @property
    def state(self) -> tuple[bool, int, int]:
        """Whether BidiReadObject is missing, and the numbers of losses and of probes."""
        availability = self.transport.availability
        return availability.missing, availability.losses, availability.probes

    async def read(self, offset: int, length: int, name: str = "object") -> bytes:
        return await fetch(self.registry, key_of(name), offset, length)

    def request(self, offset: int, length: int, name: str = "object") -> Reader:
        return Reader(self.registry, key_of(name), offset, length)


@asynccontextmanager
async def bench(
    *plans: Answer,
    plan: Answer | None = None,
    stream_plans: Sequence[Plan] = (),
    stream_plan: Plan = REFUSED,
) -> AsyncIterator[Bench]:
    """Run a stream registry. At the end, stop it and check that no call is open."""
    call_soon = trio.lowlevel.current_trio_token().run_sync_soon
    async with trio.open_nursery() as nursery:
        streams = FakeTransport(nursery, stream_plan, list(stream_plans))
        reads = FakeReads(nursery, plan or Answer(), list(plans))
        transport = FallbackTransport(streams, reads, clock=trio.current_time, call_soon=call_soon)
        registry = StreamRegistry(transport, RetryPolicy(), Random(0), call_soon=call_soon)
        scope = trio.CancelScope()

        async def run_registry() -> None:
            with scope:
                await registry.run()

        nursery.start_soon(run_registry)
        await trio.testing.wait_all_tasks_blocked()
        yield Bench(streams, reads, transport, registry)
        scope.cancel()
        transport.close()
        await trio.testing.wait_all_tasks_blocked()
        assert (streams.open_calls, reads.open_calls) == (0, 0)
        assert (transport.read_object_open, len(transport.unary_streams)) == (0, 0)
        assert registry.streams_open == 0


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return the log lines about the availability of BidiReadObject: (level, beginning)."""
    return [
        (record.levelname, beginning)
        for record in caplog.records
        for beginning in (UNAVAILABLE, AVAILABLE_AGAIN)
        if record.getMessage().startswith(beginning)
    ]


@pytest.fixture(autouse=True)
def log_level_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


# -- the user of a call does not notice the fallback


async def test_ranges_are_read_by_read_object_while_streams_are_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(plan=Answer(chunk_bytes=1000)) as setup:
        assert await setup.read(0, len(CONTENT)) == CONTENT
        assert await setup.read(12_345, 6_789) == CONTENT[12_345:][:6_789]
        assert await setup.read(99, 1, "other") == CONTENT[99:100]
        assert len(setup.streams.opened) == 1
        assert [(r.read_offset, r.read_limit) for r in setup.reads.requests] == [
            (0, len(CONTENT)),
            (12_345, 6_789),
            (99, 1),
        ]
        assert {request.generation for request in setup.reads.requests} == {
            key_of("object").generation
        }
        assert setup.state == (True, 1, 0)
        assert setup.transport.read_object_requests == 3
    assert logged(caplog) == [("WARNING", UNAVAILABLE)]


async def test_calls_that_fall_back_together_log_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(stream_plan=Plan(latency=0.1, refuse=REFUSED.refuse)) as setup:
        readers = [setup.request(7, 9, f"object {number}") for number in range(20)]
        await trio.sleep(1)
        assert all(reader.served for reader in readers)
        assert len(setup.streams.opened) == 20
        assert setup.transport.availability.losses == 1
    assert logged(caplog) == [("WARNING", UNAVAILABLE)]


async def test_requests_before_the_stream_is_refused_are_served_by_read_object() -> None:
    async with bench(stream_plan=Plan(latency=0.1, refuse=REFUSED.refuse)) as setup:
        readers = [setup.request(0, 10)]
        for number in range(1, 5):
            await trio.sleep(0.01)
            readers.append(setup.request(number, 10))
        await trio.sleep(1)
        readers.append(setup.request(5, 10))
        await trio.sleep(1)
        assert all(reader.served for reader in readers)
        assert [request.read_offset for request in setup.reads.requests] == list(range(6))
        assert setup.registry.counters.streams_failed == 0


async def test_ranges_beyond_the_limit_of_calls_wait_and_all_are_served() -> None:
    async with bench(plan=Answer(chunk_bytes=500)) as setup:
        readers = [setup.request(number, 1000) for number in range(250)]
        await trio.sleep(60)
        assert all(reader.served for reader in readers)
        assert setup.reads.most_open == MAX_READS
        # Calls that start together end together, so MAX_READS new calls start at the same time.
        assert len(set(setup.reads.started_at)) == -(-250 // MAX_READS)


async def test_cancelled_requests_cancel_their_calls() -> None:
    async with bench(plan=Answer(hang=True, cut_after=1)) as setup:
        readers = [setup.request(number, 100_000) for number in range(40)]
        await trio.sleep(1)
        assert setup.reads.open_calls == MAX_READS
        for reader in readers:
            reader.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert setup.reads.open_calls == 0


# -- faults


@pytest.mark.parametrize(
    "code",
    [
        StatusCode.UNAVAILABLE,
        StatusCode.INTERNAL,
        StatusCode.ABORTED,
        StatusCode.CANCELLED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
    ],
)
async def test_an_interrupted_read_resumes_at_the_first_missing_byte(code: StatusCode) -> None:
    cuts = [
        Answer(chunk_bytes=1000, cut_after=after, end=StreamEnd(code, "cut"))
        for after in (0, 3, 0, 1)
    ]
    async with bench(*cuts, plan=Answer(chunk_bytes=1000)) as setup:
        assert await setup.read(100, 50_000) == CONTENT[100:50_100]
        assert [(r.read_offset, r.read_limit) for r in setup.reads.requests] == [
            (100, 50_000),
            (100, 50_000),
            (3_100, 47_000),
            (3_100, 47_000),
            (4_100, 46_000),
        ]
        assert setup.registry.counters.bytes_received == 50_000


async def test_an_interrupted_read_costs_other_reads_no_bytes() -> None:
    cut = Answer(chunk_bytes=1000, cut_after=2, end=StreamEnd(StatusCode.UNAVAILABLE, "cut"))
    async with bench(cut, plan=Answer(chunk_bytes=1000)) as setup:
        readers = [setup.request(number * 10_000, 10_000) for number in range(10)]
        await trio.sleep(1)
        assert all(reader.served for reader in readers)
        assert setup.registry.counters.bytes_received == 100_000


async def test_an_outage_of_a_minute_delays_a_read() -> None:
    away = Answer(cut_after=0, end=StreamEnd(StatusCode.UNAVAILABLE, "connection refused"))
    async with bench(plan=away) as setup:
        reader = setup.request(0, 1000)
        await trio.sleep(60)
        setup.reads.plan = Answer()
        await trio.sleep(10)
        assert reader.served
        assert len(setup.reads.requests) < 30


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.NOT_FOUND, GenerationGone),
        (StatusCode.PERMISSION_DENIED, PermissionDenied),
        (StatusCode.UNIMPLEMENTED, Unsupported),
        (StatusCode.OUT_OF_RANGE, RangeUnsatisfiable),
        (StatusCode.DATA_LOSS, DataCorruption),
        (StatusCode.UNKNOWN, StorageError),
    ],
)
async def test_a_final_status_fails_a_read_at_once(
    code: StatusCode, kind: type[StorageError]
) -> None:
    refusal = Answer(cut_after=0, end=StreamEnd(code, "refused"))
    async with bench(plan=refusal) as setup:
        with trio.fail_after(1), pytest.raises(kind, match="refused"):
            await setup.read(0, 1000)
        setup.reads.plan = Answer()
        assert await setup.read(0, 1000) == CONTENT[:1000]  # the next read sends a new request


async def test_a_refused_range_fails_no_other_range() -> None:
    refused = Answer(cut_after=0, end=StreamEnd(StatusCode.OUT_OF_RANGE, "beyond"))
    async with bench(Answer(), refused, plan=Answer(chunk_bytes=100)) as setup:
        readers = [setup.request(number * 1000, 1000) for number in range(30)]
        await trio.sleep(1)
        assert isinstance(readers[1].error, RangeUnsatisfiable)
        assert all(reader.served for reader in readers if reader is not readers[1])


async def test_a_refused_token_is_renewed_once() -> None:
    refused = StreamEnd(StatusCode.UNAUTHENTICATED, "expired", token_refused=True)
    expired = Answer(cut_after=0, end=refused)
    async with bench(expired) as setup:
        assert await setup.read(0, 1000) == CONTENT[:1000]
        setup.reads.plan = expired
        with trio.fail_after(1), pytest.raises(Unauthenticated, match="expired"):
            await setup.read(1000, 1000)
        assert len(setup.reads.requests) == 4


async def test_bytes_of_another_generation_are_never_returned() -> None:
    async with bench(plan=Answer(generation=8)) as setup:
        with pytest.raises(GenerationGone):
            await setup.read(0, 1000)


async def test_a_corrupt_chunk_is_requested_again() -> None:
    async with bench(Answer(chunk_bytes=1000, corrupt=2), plan=Answer()) as setup:
        assert await setup.read(0, 10_000) == CONTENT[:10_000]
        assert setup.registry.counters.checksum_failures == 1
        assert [request.read_offset for request in setup.reads.requests] == [0, 2000]


@pytest.mark.parametrize("plan", [Answer(corrupt=0), Answer(shifted_by=1), Answer(cut_after=0)])
async def test_answers_that_stay_wrong_are_an_error(plan: Answer) -> None:
    async with bench(plan=plan) as setup:
        with trio.fail_after(1), pytest.raises(DataCorruption):
            await setup.read(0, 1000)
        assert len(setup.reads.requests) == RetryPolicy().max_bad_answers


async def test_a_truncated_answer_is_discarded_and_requested_again() -> None:
    async with bench(Answer(chunk_bytes=100, cut_after=3)) as setup:
        assert await setup.read(50, 1000) == CONTENT[50:1050]
        requested = [(r.read_offset, r.read_limit) for r in setup.reads.requests]
        # The 300 bytes of the truncated answer are discarded and requested again.
        assert requested == [(50, 1000), (50, 300), (350, 600), (950, 100)]


async def test_a_whole_object_is_read_from_truncated_answers() -> None:
    async with bench(plan=Answer(chunk_bytes=100, cut_after=3)) as setup:
        # If a range covers the whole object, it is requested again on another stream.
        reader = Reader(setup.registry, key_of("object"), 0, 2000, final=FinalContent(2000))
        await reader.ended.wait()
        assert reader.served
        requested = [(r.read_offset, r.read_limit) for r in setup.reads.requests]
        assert requested[:4] == [(0, 2000), (0, 300), (300, 600), (300, 300)]


async def test_a_server_that_ignores_ranges_is_read_correctly_and_stopped() -> None:
    async with bench(plan=Answer(chunk_bytes=1000, ignores_range=True)) as setup:
        assert await setup.read(2_500, 1_000) == CONTENT[2_500:3_500]
        assert setup.registry.counters.bytes_received == 4_000


async def test_a_stalled_read_is_cancelled_and_resumed() -> None:
    async with bench(Answer(chunk_bytes=100, cut_after=3, hang=True)) as setup:
        assert await setup.read(0, 1000) == CONTENT[:1000]
        assert trio.current_time() == pytest.approx(RetryPolicy().stall_seconds, abs=0.1)
        assert [request.read_offset for request in setup.reads.requests] == [0, 300]


faults = st.builds(
    Answer,
    chunk_bytes=st.sampled_from([37, 100, 1000, 64 * KIB]),
    cut_after=st.one_of(st.none(), st.integers(0, 5)),
    end=st.builds(
        StreamEnd,
        st.sampled_from([StatusCode.OK, StatusCode.UNAVAILABLE, StatusCode.INTERNAL]),
    ),
    hang=st.sampled_from([False, False, False, True]),
    corrupt=st.sampled_from([-1, -1, -1, 0, 2]),
    ignores_range=st.booleans(),
    with_content_range=st.just(value=True),
    shifted_by=st.sampled_from([0, 0, 0, 1]),
)


@settings(max_examples=examples(300))
@given(
    st.lists(faults, max_size=20),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 2000)), min_size=1, max_size=20),
)
def test_with_any_faults_bytes_are_right_or_the_read_fails(
    plans: list[Answer], ranges: list[tuple[int, int]]
) -> None:
    async def main() -> None:
        async with bench(*plans) as setup:
            readers = [setup.request(offset, length) for offset, length in ranges]
            with trio.fail_after(3600):
                for reader in readers:
                    await reader.ended.wait()
            for reader in readers:
                if not reader.served:
                    assert isinstance(reader.error, DataCorruption | Unavailable)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# -- probes


async def test_one_probe_is_sent_after_the_interval_and_readers_do_not_wait_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(stream_plans=[REFUSED], stream_plan=Plan(hang=True)) as setup:
        await setup.read(0, 10)
        await trio.sleep(RETRY_SECONDS - 1)
        await setup.read(0, 10)
        assert len(setup.streams.opened) == 1
        await trio.sleep(1)
        before = trio.current_time()
        readers = [setup.request(0, 10, f"object {number}") for number in range(30)]
        await trio.sleep(0.1)
        assert {reader.ended_at for reader in readers} == {before + setup.reads.latency}
        assert len(setup.streams.opened) == 2
        assert setup.streams.opened[1].messages == [(before, ())]
        # The next probe replaces the first probe, which got no response.
        await trio.sleep(RETRY_SECONDS)
        await setup.read(0, 10)
        assert len(setup.streams.opened) == 3
        assert setup.streams.opened[1].cancelled_at is not None
        assert setup.transport.availability.probes == 2
    assert logged(caplog) == [("WARNING", UNAVAILABLE)]


async def test_a_mount_without_reads_sends_no_probe() -> None:
    async with bench() as setup:
        await setup.read(0, 10)
        await trio.sleep(100 * RETRY_SECONDS)
        assert len(setup.streams.opened) == 1


async def test_a_refused_probe_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench() as setup:
        for number in range(5):
            assert await setup.read(number, 10) == CONTENT[number : number + 10]
            await trio.sleep(RETRY_SECONDS)
        assert len(setup.streams.opened) == 5
        assert setup.transport.availability.losses == 1
    assert logged(caplog) == [("WARNING", UNAVAILABLE)]


@pytest.mark.parametrize(
    "answer",
    [
        ANSWERED,
        Plan(refuse=StreamEnd(StatusCode.ABORTED, "moved", redirect=StreamRedirect("east", b""))),
    ],
)
async def test_after_an_answered_probe_all_reads_use_streams(
    answer: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(stream_plans=[REFUSED, answer], stream_plan=ANSWERED) as setup:
        for name in ("busy", "idle", "third"):
            await setup.read(0, 10, name)
        await trio.sleep(RETRY_SECONDS)
        setup.reads.latency = 1.0
        readers = [setup.request(number * 1000, 1000, "busy") for number in range(40)]
        await trio.sleep(0.5)
        # ReadObject calls finish the ranges in flight. A stream then reads the other ranges.
        assert setup.reads.open_calls == MAX_READS
        await trio.sleep(0.6)
        assert all(reader.served for reader in readers)
        assert len(setup.reads.requests) == 3 + MAX_READS
        for name in ("busy", "idle", "new"):
            assert await setup.read(5, 10, name) == CONTENT[5:15]
        assert len(setup.reads.requests) == 3 + MAX_READS
        assert setup.state == (False, 1, 1)
        assert setup.streams.opened[1].cancelled_at is not None or answer.refuse
    assert logged(caplog) == [("WARNING", UNAVAILABLE), ("INFO", AVAILABLE_AGAIN)]


async def test_a_second_loss_is_logged_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plans = [REFUSED, ANSWERED, REFUSED]
    async with bench(stream_plans=plans, stream_plan=REFUSED) as setup:
        await setup.read(0, 10)
        await trio.sleep(RETRY_SECONDS)
        await setup.read(0, 10)
        await trio.sleep(1)
        assert await setup.read(20, 10) == CONTENT[20:30]
        assert setup.transport.availability.losses == 2
    assert logged(caplog) == [
        ("WARNING", UNAVAILABLE),
        ("INFO", AVAILABLE_AGAIN),
        ("WARNING", UNAVAILABLE),
    ]


# -- silence


async def test_a_service_that_never_answers_streams_is_read_by_read_object(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(stream_plan=Plan(hang=True)) as setup:
        assert await setup.read(0, 10) == CONTENT[:10]
        assert trio.current_time() == pytest.approx(RetryPolicy().open_seconds, abs=0.1)
        await setup.read(0, 10, "other")
        assert trio.current_time() == pytest.approx(RetryPolicy().open_seconds, abs=0.1)
        # The first stream never answered, which delayed the first read. The second stream is a
        # probe, which delays no read.
        assert len(setup.streams.opened) == 2
    assert logged(caplog) == [("WARNING", UNAVAILABLE)]


async def test_after_a_silence_the_next_probe_brings_streams_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(stream_plans=[Plan(hang=True)], stream_plan=ANSWERED) as setup:
        assert await setup.read(0, 10) == CONTENT[:10]
        await trio.sleep(1)
        await setup.read(0, 10, "other")
        assert len(setup.streams.opened) == 3
        assert len(setup.reads.requests) == 1
    assert logged(caplog) == [("WARNING", UNAVAILABLE), ("INFO", AVAILABLE_AGAIN)]


@pytest.mark.parametrize("silence", [1, STREAM_SILENCE_SECONDS + 5])
async def test_silence_counts_as_a_loss_only_after_the_limit(silence: float) -> None:
    async with bench(stream_plan=Plan(hang=True)) as setup:
        reader = setup.request(0, 10)
        await trio.sleep(silence)
        reader.cancel()
        assert setup.transport.availability.missing == (silence > STREAM_SILENCE_SECONDS)


async def test_silence_of_one_stream_is_no_loss_while_others_respond() -> None:
    plans = [Plan(hang=True)]
    async with bench(stream_plans=plans, stream_plan=ANSWERED) as setup:
        silent = setup.request(0, 10, "silent")
        await trio.sleep(1)
        await setup.read(0, 10, "other")
        await trio.sleep(70)
        assert silent.served
        assert setup.transport.availability.losses == 0
        assert setup.reads.requests == []


async def test_a_stream_that_had_a_response_is_never_replaced() -> None:
    cut = Plan(cut_after=64 * KIB, cut_with=StreamEnd(StatusCode.UNIMPLEMENTED, "strange"))
    async with bench(stream_plan=cut) as setup:
        with pytest.raises(Unsupported):
            await setup.read(0, len(CONTENT))
        assert setup.reads.requests == []


async def test_other_failures_of_streams_follow_the_retry_rules() -> None:
    gone = Plan(refuse=StreamEnd(StatusCode.NOT_FOUND, "gone"))
    busy = Plan(refuse=StreamEnd(StatusCode.UNAVAILABLE, "busy"))
    async with bench(stream_plans=[busy, busy, busy], stream_plan=gone) as setup:
        with pytest.raises(GenerationGone):
            await setup.read(0, 10)
        assert len(setup.streams.opened) == 4
        assert setup.reads.requests == []
