"""What a transport, or a reader in its callback, may do at the worst moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import GenerationGone, StatusCode, StorageError
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.model.values import ObjectInfo
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.storage.ports import BidiMessage, Chunk, RangeFailure, StreamEnd

from .plans import CONTENT, Plan, key_of
from .reading import Reader, bench, fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsmux_fs.storage.ports import BidiListener, OpenSpec, RangeRequest

KEY = key_of("object")


@dataclass
class ManualCall:
    """One call, whose server is the test; `asked` holds all ranges it was asked for."""

    spec: OpenSpec
    listener: BidiListener
    asked: list[RangeRequest]
    cancelled: int = 0
    faults: list[Exception] = field(default_factory=list)

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        if self.faults:
            raise self.faults.pop()
        self.asked += ranges

    def cancel(self) -> None:
        self.cancelled += 1

    def answer_all(self) -> None:
        chunks: list[Chunk] = []
        for asked in self.asked:
            content = memoryview(CONTENT)[asked.offset : asked.offset + asked.length]
            chunks.append(Chunk(asked.read_id, asked.offset, content, True, True, len(content)))
        self.listener.on_message(BidiMessage(tuple(chunks)))


class ManualTransport:
    """Opens calls for the test to answer, or fails."""

    def __init__(self, retries: RetryBudget | None = None) -> None:
        self.calls: list[ManualCall] = []
        self.faults: list[Exception] = []
        self.registry = StreamRegistry(
            self,
            RetryPolicy(),
            Random(0),
            call_soon=trio.lowlevel.current_trio_token().run_sync_soon,
            retries=retries,
        )

    def open(
        self, spec: OpenSpec, ranges: Sequence[RangeRequest], listener: BidiListener
    ) -> ManualCall:
        if self.faults:
            raise self.faults.pop()
        self.calls.append(ManualCall(spec, listener, list(ranges)))
        return self.calls[-1]

    async def read(self, offset: int, length: int) -> Reader:
        """Ask for a range, and let the request reach the call."""
        reader = Reader(self.registry, KEY, offset, length)
        await trio.testing.wait_all_tasks_blocked()
        return reader


async def test_what_waits_for_a_message_to_go_is_sent_at_that_instant() -> None:
    transport = ManualTransport()
    await transport.read(0, 10)
    await transport.read(10, 10)
    (call,) = transport.calls
    assert [asked.offset for asked in call.asked] == [0]
    call.listener.on_sent()
    assert [asked.offset for asked in call.asked] == [0, 10]


async def test_the_end_of_a_call_that_was_given_up_leaves_its_successor_alone() -> None:
    transport = ManualTransport()
    (await transport.read(0, 10)).cancel()
    stays = await transport.read(10, 10)
    given_up, current = transport.calls
    given_up.listener.on_sent()
    given_up.answer_all()
    given_up.listener.on_end(StreamEnd(StatusCode.PERMISSION_DENIED))
    assert stays.outcomes == []
    stays.cancel()
    assert (given_up.cancelled, current.cancelled) == (1, 1)


@pytest.mark.expects_log("the transport failed")
async def test_a_call_that_cannot_be_sent_on_is_given_up_and_its_ranges_are_resumed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = ManualTransport()
    first = await transport.read(0, 10)
    (broken,) = transport.calls
    broken.listener.on_sent()
    broken.faults = [RuntimeError("no loop")]
    second = await transport.read(10, 10)
    assert broken.cancelled == 1
    _, current = transport.calls
    assert [asked.offset for asked in current.asked] == [0, 10]
    current.answer_all()
    assert (first.served, second.served) == (True, True)
    assert current.cancelled == 0
    assert "gs://bucket/'object'#7: the transport failed" in caplog.text
    assert "RuntimeError: no loop" in caplog.text


@pytest.mark.expects_log("a reader's callback failed")
async def test_a_callback_that_raises_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a reader's own fault")

    transport = ManualTransport()
    transport.registry.request(KEY, 0, 10, fail)
    served = await transport.read(10, 10)
    transport.calls[0].answer_all()
    assert served.served
    assert "gs://bucket/'object'#7: a reader's callback failed" in caplog.text
    assert "RuntimeError: a reader's own fault" in caplog.text


async def test_a_stream_that_is_used_again_is_not_closed_as_an_idle_one() -> None:
    plans = Plan(latency=1.0), Plan(latency=0.1), Plan(latency=0.1)
    async with bench(*plans, max_idle_streams=1) as b:
        await fetch(b.registry, key_of("a"), 0, 10)
        again = b.read(10, 10, "a")
        for name in ("b", "c"):
            await fetch(b.registry, key_of(name), 0, 10)
        assert b.registry.streams_idle == 1
        await again.ended.wait()
        assert again.served
        assert [opened.spec.key.name for opened in b.transport.opened] == ["a", "b", "c"]


async def test_only_a_reader_of_a_whole_object_has_its_stream_half_closed() -> None:
    transport = ManualTransport()
    for number, whole in enumerate([{}, {"covers_object": True}]):
        transport.registry.request(key_of(f"object {number}"), 0, 10, lambda _: None, **whole)
    await trio.testing.wait_all_tasks_blocked()
    assert [call.spec.half_close for call in transport.calls] == [False, True]


async def test_a_reader_of_the_last_bytes_is_told_that_there_are_more() -> None:
    transport = ManualTransport()
    outcomes: list[memoryview | StorageError] = []
    transport.registry.request(KEY, 0, 10, outcomes.append, reaches_end=True)
    transport.registry.request(KEY, 0, 10, outcomes.append)
    await trio.testing.wait_all_tasks_blocked()
    (call,) = transport.calls
    found = ObjectInfo(KEY.name, KEY.generation, len(CONTENT), 0, 0)
    call.listener.on_message(BidiMessage((), found))
    call.answer_all()
    assert [isinstance(outcome, GenerationGone) for outcome in outcomes] == [True, False]


async def test_a_pool_takes_its_retries_from_the_budget_it_was_given() -> None:
    budget = RetryBudget()
    transport = ManualTransport(budget)
    reader = await transport.read(0, 10)
    transport.calls[0].listener.on_end(StreamEnd(StatusCode.UNAVAILABLE))
    assert budget.taken == 1
    transport.calls[1].answer_all()
    assert reader.served


@pytest.mark.expects_log("the transport failed")
async def test_a_reader_may_leave_a_stream_whose_opening_is_about_to_fail() -> None:
    # The end of the stream fails the first range and reopens for the second, in one turn.
    transport = ManualTransport()
    transport.registry.request(KEY, 0, 10, lambda _: leaves.cancel())
    leaves = await transport.read(10, 10)
    (ended,) = transport.calls
    transport.faults = [RuntimeError("no channel")]
    failure = RangeFailure(ended.asked[0].read_id, StatusCode.OUT_OF_RANGE, "beyond the end")
    ended.listener.on_end(StreamEnd(StatusCode.OUT_OF_RANGE, "a range", (failure,)))
    assert leaves.outcomes == []
    assert transport.registry.streams_open == 0
    stays = await transport.read(20, 10)
    transport.calls[-1].answer_all()
    assert stays.served
