"""Reading where streams are not to be had: the mux's own rules over stand-ins, in virtual time."""

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
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.storage.availability import RETRY_SECONDS, STREAM_SILENCE_SECONDS
from gcsmux_fs.storage.fallback import FallbackTransport
from gcsmux_fs.storage.ports import StreamEnd, StreamRedirect
from gcsmux_fs.storage.unary_stream import MAX_READS
from tests.mux.fake_transport import FakeTransport
from tests.mux.plans import CONTENT, Plan, key_of
from tests.mux.reading import Reader, fetch

from .fake_reads import FakeReads
from .range_plans import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

LOSS = "BidiReadObject is not to be had"
BACK = "BidiReadObject is back"
REFUSED = Plan(refuse=StreamEnd(StatusCode.UNIMPLEMENTED, "Method not found!"))
SERVED = Plan(latency=0.001)
KIB = 1024

pytestmark = pytest.mark.expects_log(LOSS)


class Bench:
    """A registry over a fallback over a service in memory."""

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

    async def read(self, offset: int, length: int, name: str = "object") -> bytes:
        return await fetch(self.registry, key_of(name), offset, length)

    def ask(self, offset: int, length: int, name: str = "object") -> Reader:
        return Reader(self.registry, key_of(name), offset, length)


@asynccontextmanager
async def bench(
    *plans: Answer,
    plan: Answer | None = None,
    stream_plans: Sequence[Plan] = (),
    stream_plan: Plan = REFUSED,
) -> AsyncIterator[Bench]:
    """Run a registry; when the test is over, end it and look for what it left behind."""
    soon = trio.lowlevel.current_trio_token().run_sync_soon
    async with trio.open_nursery() as nursery:
        streams = FakeTransport(nursery, stream_plan, list(stream_plans))
        reads = FakeReads(nursery, plan or Answer(), list(plans))
        transport = FallbackTransport(streams, reads, clock=trio.current_time, call_soon=soon)
        registry = StreamRegistry(transport, RetryPolicy(), Random(0), call_soon=soon)
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
        found = transport.statistics()
        assert (found.read_object_open, found.stand_ins) == (0, 0)
        assert registry.streams_open == 0


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return what the log tells of streams: (level, the sentence's beginning)."""
    return [
        (record.levelname, beginning)
        for record in caplog.records
        for beginning in (LOSS, BACK)
        if record.getMessage().startswith(beginning)
    ]


@pytest.fixture(autouse=True)
def log_of_information(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


# -- transparently


async def test_ranges_are_read_without_streams_and_nobody_notices(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(plan=Answer(chunk_bytes=1000)) as made:
        assert await made.read(0, len(CONTENT)) == CONTENT
        assert await made.read(12_345, 6_789) == CONTENT[12_345:][:6_789]
        assert await made.read(99, 1, "other") == CONTENT[99:100]
        assert len(made.streams.opened) == 1
        assert [(r.read_offset, r.read_limit) for r in made.reads.requests] == [
            (0, len(CONTENT)),
            (12_345, 6_789),
            (99, 1),
        ]
        assert {request.generation for request in made.reads.requests} == {
            key_of("object").generation
        }
        found = made.transport.statistics()
        assert (found.bidi_missing, found.bidi_losses, found.read_object_requests) == (1, 1, 3)
    assert told(caplog) == [("WARNING", LOSS)]


async def test_calls_that_fall_back_together_tell_of_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(stream_plan=Plan(latency=0.1, refuse=REFUSED.refuse)) as made:
        readers = [made.ask(7, 9, f"object {number}") for number in range(20)]
        await trio.sleep(1)
        assert all(reader.served for reader in readers)
        assert len(made.streams.opened) == 20
        assert made.transport.statistics().bidi_losses == 1
    assert told(caplog) == [("WARNING", LOSS)]


async def test_what_is_asked_while_the_stream_is_being_refused_is_taken_over() -> None:
    async with bench(stream_plan=Plan(latency=0.1, refuse=REFUSED.refuse)) as made:
        readers = [made.ask(0, 10)]
        for number in range(1, 5):
            await trio.sleep(0.01)
            readers.append(made.ask(number, 10))
        await trio.sleep(1)
        readers.append(made.ask(5, 10))
        await trio.sleep(1)
        assert all(reader.served for reader in readers)
        assert [request.read_offset for request in made.reads.requests] == list(range(6))
        assert made.registry.counters.streams_failed == 0


async def test_ranges_beyond_the_places_wait_and_all_are_served() -> None:
    async with bench(plan=Answer(chunk_bytes=500)) as made:
        readers = [made.ask(number, 1000) for number in range(250)]
        await trio.sleep(60)
        assert all(reader.served for reader in readers)
        assert made.reads.most_open == MAX_READS
        # Those that begin together are answered together: no place stays empty.
        assert len(set(made.reads.started_at)) == -(-250 // MAX_READS)


async def test_readers_that_leave_take_their_calls_along() -> None:
    async with bench(plan=Answer(hang=True, cut_after=1)) as made:
        readers = [made.ask(number, 100_000) for number in range(40)]
        await trio.sleep(1)
        assert made.reads.open_calls == MAX_READS
        for reader in readers:
            reader.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert made.reads.open_calls == 0


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
async def test_a_cut_read_goes_on_at_the_first_missing_byte(code: StatusCode) -> None:
    cuts = [
        Answer(chunk_bytes=1000, cut_after=after, end=StreamEnd(code, "cut"))
        for after in (0, 3, 0, 1)
    ]
    async with bench(*cuts, plan=Answer(chunk_bytes=1000)) as made:
        assert await made.read(100, 50_000) == CONTENT[100:50_100]
        assert [(r.read_offset, r.read_limit) for r in made.reads.requests] == [
            (100, 50_000),
            (100, 50_000),
            (3_100, 47_000),
            (3_100, 47_000),
            (4_100, 46_000),
        ]
        assert made.registry.counters.bytes_received == 50_000


async def test_one_read_that_is_cut_takes_nothing_from_the_others() -> None:
    cut = Answer(chunk_bytes=1000, cut_after=2, end=StreamEnd(StatusCode.UNAVAILABLE, "cut"))
    async with bench(cut, plan=Answer(chunk_bytes=1000)) as made:
        readers = [made.ask(number * 10_000, 10_000) for number in range(10)]
        await trio.sleep(1)
        assert all(reader.served for reader in readers)
        assert made.registry.counters.bytes_received == 100_000


async def test_a_service_that_is_away_for_a_minute_is_only_a_pause() -> None:
    away = Answer(cut_after=0, end=StreamEnd(StatusCode.UNAVAILABLE, "connection refused"))
    async with bench(plan=away) as made:
        reader = made.ask(0, 1000)
        await trio.sleep(60)
        made.reads.plan = Answer()
        await trio.sleep(10)
        assert reader.served
        assert len(made.reads.requests) < 30


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
async def test_a_refusal_is_told_at_once(code: StatusCode, kind: type[StorageError]) -> None:
    refusal = Answer(cut_after=0, end=StreamEnd(code, "refused"))
    async with bench(plan=refusal) as made:
        with trio.fail_after(1), pytest.raises(kind, match="refused"):
            await made.read(0, 1000)
        made.reads.plan = Answer()
        assert await made.read(0, 1000) == CONTENT[:1000]  # the next read asks anew


async def test_a_range_that_is_refused_fails_alone() -> None:
    refused = Answer(cut_after=0, end=StreamEnd(StatusCode.OUT_OF_RANGE, "beyond"))
    async with bench(Answer(), refused, plan=Answer(chunk_bytes=100)) as made:
        readers = [made.ask(number * 1000, 1000) for number in range(30)]
        await trio.sleep(1)
        assert isinstance(readers[1].error, RangeUnsatisfiable)
        assert all(reader.served for reader in readers if reader is not readers[1])


async def test_another_token_is_tried_once() -> None:
    refused = StreamEnd(StatusCode.UNAUTHENTICATED, "expired", token_refused=True)
    expired = Answer(cut_after=0, end=refused)
    async with bench(expired) as made:
        assert await made.read(0, 1000) == CONTENT[:1000]
        made.reads.plan = expired
        with trio.fail_after(1), pytest.raises(Unauthenticated, match="expired"):
            await made.read(1000, 1000)
        assert len(made.reads.requests) == 4


async def test_another_generation_is_never_shown() -> None:
    async with bench(plan=Answer(generation=8)) as made:
        with pytest.raises(GenerationGone):
            await made.read(0, 1000)


async def test_a_corrupt_chunk_is_asked_for_again() -> None:
    async with bench(Answer(chunk_bytes=1000, corrupt=2), plan=Answer()) as made:
        assert await made.read(0, 10_000) == CONTENT[:10_000]
        assert made.registry.counters.checksum_failures == 1
        assert [request.read_offset for request in made.reads.requests] == [0, 2000]


@pytest.mark.parametrize("plan", [Answer(corrupt=0), Answer(shifted_by=1), Answer(cut_after=0)])
async def test_answers_that_are_never_right_are_an_error(plan: Answer) -> None:
    async with bench(plan=plan) as made:
        with trio.fail_after(1), pytest.raises(DataCorruption):
            await made.read(0, 1000)
        assert len(made.reads.requests) == RetryPolicy().max_bad_answers


async def test_a_range_that_ended_too_early_is_asked_for_again() -> None:
    async with bench(Answer(chunk_bytes=100, cut_after=3)) as made:
        assert await made.read(50, 1000) == CONTENT[50:1050]
        asked = [(request.read_offset, request.read_limit) for request in made.reads.requests]
        # What came first is believed when it has come once more.
        assert asked == [(50, 1000), (50, 300), (350, 600), (950, 100)]


async def test_an_object_that_is_read_whole_comes_through_answers_that_end_too_early() -> None:
    async with bench(plan=Answer(chunk_bytes=100, cut_after=3)) as made:
        # What is asked for whole is asked for again by another call.
        reader = Reader(made.registry, key_of("object"), 0, 2000, covers_object=True)
        await reader.ended.wait()
        assert reader.served
        asked = [(request.read_offset, request.read_limit) for request in made.reads.requests]
        assert asked[:4] == [(0, 2000), (0, 300), (300, 600), (300, 300)]


async def test_a_server_that_ignores_ranges_is_read_right_and_cut_short() -> None:
    async with bench(plan=Answer(chunk_bytes=1000, whole=True)) as made:
        assert await made.read(2_500, 1_000) == CONTENT[2_500:3_500]
        assert made.registry.counters.bytes_received == 4_000


async def test_a_read_that_stalls_is_given_up_and_resumed() -> None:
    async with bench(Answer(chunk_bytes=100, cut_after=3, hang=True)) as made:
        assert await made.read(0, 1000) == CONTENT[:1000]
        assert trio.current_time() == pytest.approx(RetryPolicy().stall_seconds, abs=0.1)
        assert [request.read_offset for request in made.reads.requests] == [0, 300]


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
    whole=st.booleans(),
    with_place=st.just(value=True),
    shifted_by=st.sampled_from([0, 0, 0, 1]),
)


@settings(max_examples=300)
@given(
    st.lists(faults, max_size=20),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 2000)), min_size=1, max_size=20),
)
def test_whatever_goes_wrong_bytes_are_right_or_an_error_is_named(
    plans: list[Answer], ranges: list[tuple[int, int]]
) -> None:
    async def main() -> None:
        async with bench(*plans) as made:
            readers = [made.ask(offset, length) for offset, length in ranges]
            with trio.fail_after(3600):
                for reader in readers:
                    await reader.ended.wait()
            for reader in readers:
                if not reader.served:
                    assert isinstance(reader.error, DataCorruption | Unavailable)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# -- tried again after a while


async def test_one_probe_is_sent_after_a_while_and_readers_do_not_wait_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(stream_plans=[REFUSED], stream_plan=Plan(hang=True)) as made:
        await made.read(0, 10)
        await trio.sleep(RETRY_SECONDS - 1)
        await made.read(0, 10)
        assert len(made.streams.opened) == 1
        await trio.sleep(1)
        before = trio.current_time()
        readers = [made.ask(0, 10, f"object {number}") for number in range(30)]
        await trio.sleep(0.1)
        assert {reader.ended_at for reader in readers} == {before + made.reads.latency}
        assert len(made.streams.opened) == 2
        assert made.streams.opened[1].messages == [(before, ())]
        # A probe without an answer makes room for the next one.
        await trio.sleep(RETRY_SECONDS)
        await made.read(0, 10)
        assert len(made.streams.opened) == 3
        assert made.streams.opened[1].cancelled_at is not None
        assert made.transport.statistics().bidi_probes == 2
    assert told(caplog) == [("WARNING", LOSS)]


async def test_a_mount_that_nobody_reads_probes_nothing() -> None:
    async with bench() as made:
        await made.read(0, 10)
        await trio.sleep(100 * RETRY_SECONDS)
        assert len(made.streams.opened) == 1


async def test_a_probe_that_is_refused_again_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench() as made:
        for number in range(5):
            assert await made.read(number, 10) == CONTENT[number : number + 10]
            await trio.sleep(RETRY_SECONDS)
        assert len(made.streams.opened) == 5
        assert made.transport.statistics().bidi_losses == 1
    assert told(caplog) == [("WARNING", LOSS)]


@pytest.mark.parametrize(
    "answer",
    [
        SERVED,
        Plan(refuse=StreamEnd(StatusCode.ABORTED, "moved", redirect=StreamRedirect("east", b""))),
    ],
)
async def test_an_answered_probe_returns_everybody_to_streams(
    answer: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(stream_plans=[REFUSED, answer], stream_plan=SERVED) as made:
        for name in ("busy", "idle", "third"):
            await made.read(0, 10, name)
        await trio.sleep(RETRY_SECONDS)
        made.reads.latency = 1.0
        readers = [made.ask(number * 1000, 1000, "busy") for number in range(40)]
        await trio.sleep(0.5)
        # What is under way ends where it is, what waits goes by the stream.
        assert made.reads.open_calls == MAX_READS
        await trio.sleep(0.6)
        assert all(reader.served for reader in readers)
        assert len(made.reads.requests) == 3 + MAX_READS
        for name in ("busy", "idle", "new"):
            assert await made.read(5, 10, name) == CONTENT[5:15]
        assert len(made.reads.requests) == 3 + MAX_READS
        found = made.transport.statistics()
        assert (found.bidi_missing, found.bidi_losses, found.bidi_probes) == (0, 1, 1)
        assert made.streams.opened[1].cancelled_at is not None or answer.refuse
    assert told(caplog) == [("WARNING", LOSS), ("INFO", BACK)]


async def test_streams_that_are_lost_again_are_told_of_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plans = [REFUSED, SERVED, REFUSED]
    async with bench(stream_plans=plans, stream_plan=REFUSED) as made:
        await made.read(0, 10)
        await trio.sleep(RETRY_SECONDS)
        await made.read(0, 10)
        await trio.sleep(1)
        assert await made.read(20, 10) == CONTENT[20:30]
        assert made.transport.statistics().bidi_losses == 2
    assert told(caplog) == [("WARNING", LOSS), ("INFO", BACK), ("WARNING", LOSS)]


# -- silence


async def test_streams_that_are_never_answered_are_gone_round(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(stream_plan=Plan(hang=True)) as made:
        assert await made.read(0, 10) == CONTENT[:10]
        assert trio.current_time() == pytest.approx(RetryPolicy().open_seconds, abs=0.1)
        await made.read(0, 10, "other")
        assert trio.current_time() == pytest.approx(RetryPolicy().open_seconds, abs=0.1)
        # One stream was waited for, and one is tried beside the reads.
        assert len(made.streams.opened) == 2
    assert told(caplog) == [("WARNING", LOSS)]


async def test_a_service_that_was_silent_for_a_while_keeps_its_streams(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(stream_plans=[Plan(hang=True)], stream_plan=SERVED) as made:
        assert await made.read(0, 10) == CONTENT[:10]
        await trio.sleep(1)
        await made.read(0, 10, "other")
        assert len(made.streams.opened) == 3
        assert len(made.reads.requests) == 1
    assert told(caplog) == [("WARNING", LOSS), ("INFO", BACK)]


@pytest.mark.parametrize("patience", [1, STREAM_SILENCE_SECONDS + 5])
async def test_silence_counts_only_after_long(patience: float) -> None:
    async with bench(stream_plan=Plan(hang=True)) as made:
        reader = made.ask(0, 10)
        await trio.sleep(patience)
        reader.cancel()
        assert made.transport.statistics().bidi_missing == (patience > STREAM_SILENCE_SECONDS)


async def test_silence_of_one_stream_beside_others_is_not_a_loss() -> None:
    plans = [Plan(hang=True)]
    async with bench(stream_plans=plans, stream_plan=SERVED) as made:
        silent = made.ask(0, 10, "silent")
        await trio.sleep(1)
        await made.read(0, 10, "other")
        await trio.sleep(70)
        assert silent.served
        assert made.transport.statistics().bidi_losses == 0
        assert made.reads.requests == []


async def test_a_stream_that_was_answered_is_never_replaced() -> None:
    cut = Plan(cut_after=64 * KIB, cut_with=StreamEnd(StatusCode.UNIMPLEMENTED, "strange"))
    async with bench(stream_plan=cut) as made:
        with pytest.raises(Unsupported):
            await made.read(0, len(CONTENT))
        assert made.reads.requests == []


async def test_other_failures_of_streams_are_left_to_the_rules_for_them() -> None:
    gone = Plan(refuse=StreamEnd(StatusCode.NOT_FOUND, "gone"))
    busy = Plan(refuse=StreamEnd(StatusCode.UNAVAILABLE, "busy"))
    async with bench(stream_plans=[busy, busy, busy], stream_plan=gone) as made:
        with pytest.raises(GenerationGone):
            await made.read(0, 10)
        assert len(made.streams.opened) == 4
        assert made.reads.requests == []
