"""Tests of events and exceptions that come at bad moments from the transport and from callbacks."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from gcsmux_fs.model.errors import GenerationGone, StatusCode, StorageError
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.model.values import FinalContent, ObjectInfo
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
    """One call that the test answers; `requests` holds all ranges that were requested on it."""

    spec: OpenSpec
    listener: BidiListener
    requests: list[RangeRequest]
    cancelled: int = 0
    faults: list[Exception] = field(default_factory=list)

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        if self.faults:
            raise self.faults.pop()
        self.requests += ranges

    def cancel(self) -> None:
        self.cancelled += 1

    def answer_all(self) -> None:
        chunks: list[Chunk] = []
        for request in self.requests:
            content = memoryview(CONTENT)[request.offset : request.offset + request.length]
            chunks.append(Chunk(request.read_id, request.offset, content, True, True, len(content)))
        self.listener.on_message(BidiMessage(tuple(chunks)))


class ManualTransport:
    """Opens calls that the test answers, or raises an exception from `faults` if any is left."""

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
        """Request a range and wait until the request has reached the call."""
        reader = Reader(self.registry, KEY, offset, length)
        await trio.testing.wait_all_tasks_blocked()
        return reader


async def test_waiting_ranges_are_sent_as_soon_as_the_previous_message_is_sent() -> None:
    transport = ManualTransport()
    await transport.read(0, 10)
    await transport.read(10, 10)
    (call,) = transport.calls
    assert [request.offset for request in call.requests] == [0]
    call.listener.on_sent()
    assert [request.offset for request in call.requests] == [0, 10]


async def test_late_events_of_a_cancelled_call_do_not_affect_the_next_call() -> None:
    transport = ManualTransport()
    (await transport.read(0, 10)).cancel()
    stays = await transport.read(10, 10)
    cancelled, current = transport.calls
    cancelled.listener.on_sent()
    cancelled.answer_all()
    cancelled.listener.on_end(StreamEnd(StatusCode.PERMISSION_DENIED))
    assert stays.outcomes == []
    assert transport.registry.counters.stale_events == 3
    stays.cancel()
    assert (cancelled.cancelled, current.cancelled) == (1, 1)


async def test_an_ended_call_is_released_during_the_backoff() -> None:
    transport = ManualTransport()
    await transport.read(0, 10)
    for _ in range(2):
        call = transport.calls.pop()
        call.listener.on_end(StreamEnd(StatusCode.UNAVAILABLE))
    assert transport.calls == []
    released = weakref.ref(call)
    del call
    gc.collect()
    assert released() is None


@pytest.mark.expects_log("the transport failed")
async def test_a_call_whose_send_raises_is_cancelled_and_its_ranges_are_resumed(
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
    assert [request.offset for request in current.requests] == [0, 10]
    current.answer_all()
    assert (first.served, second.served) == (True, True)
    assert current.cancelled == 0
    assert "gs://bucket/'object'#7: the transport failed" in caplog.text
    assert "RuntimeError: no loop" in caplog.text


@pytest.mark.expects_log("a reader's callback failed")
async def test_an_exception_from_a_callback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a reader's own fault")

    transport = ManualTransport()
    transport.registry.request(KEY, 0, 10, fail)
    served = await transport.read(10, 10)
    transport.calls[0].answer_all()
    assert served.served
    assert "gs://bucket/'object'#7: a reader's callback failed" in caplog.text
    assert "RuntimeError: a reader's own fault" in caplog.text


async def test_a_stream_in_use_again_is_not_closed_as_idle() -> None:
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


async def test_only_a_request_that_covers_the_object_half_closes_its_stream() -> None:
    transport = ManualTransport()
    for number, whole in enumerate((None, FinalContent(10))):
        transport.registry.request(key_of(f"object {number}"), 0, 10, lambda _: None, final=whole)
    await trio.testing.wait_all_tasks_blocked()
    assert [call.spec.half_close for call in transport.calls] == [False, True]


async def test_a_request_that_reaches_the_end_fails_if_the_object_is_larger() -> None:
    transport = ManualTransport()
    outcomes: list[memoryview | StorageError] = []
    transport.registry.request(KEY, 0, 10, outcomes.append, final=FinalContent(10))
    transport.registry.request(KEY, 0, 10, outcomes.append)
    await trio.testing.wait_all_tasks_blocked()
    (call,) = transport.calls
    metadata = ObjectInfo(KEY.name, KEY.generation, len(CONTENT), 0, 0)
    call.listener.on_message(BidiMessage((), metadata))
    call.answer_all()
    assert [isinstance(outcome, GenerationGone) for outcome in outcomes] == [True, False]


async def test_the_registry_takes_its_retries_from_the_given_budget() -> None:
    budget = RetryBudget()
    transport = ManualTransport(budget)
    reader = await transport.read(0, 10)
    transport.calls[0].listener.on_end(StreamEnd(StatusCode.UNAVAILABLE))
    assert budget.taken == 1
    transport.calls[1].answer_all()
    assert reader.served


@pytest.mark.expects_log("the transport failed")
async def test_a_callback_may_cancel_a_range_whose_stream_is_about_to_fail_to_open() -> None:
    # In one turn, the end of the stream fails the first range and opens a stream for the second.
    transport = ManualTransport()
    transport.registry.request(KEY, 0, 10, lambda _: leaves.cancel())
    leaves = await transport.read(10, 10)
    (ended,) = transport.calls
    transport.faults = [RuntimeError("no channel")]
    failure = RangeFailure(ended.requests[0].read_id, StatusCode.OUT_OF_RANGE, "beyond the end")
    ended.listener.on_end(StreamEnd(StatusCode.OUT_OF_RANGE, "a range", (failure,)))
    assert leaves.outcomes == []
    assert ended.cancelled == 0
    assert transport.registry.streams_open == 0
    stays = await transport.read(20, 10)
    transport.calls[-1].answer_all()
    assert stays.served


async def test_another_thread_sees_the_streams_while_the_loop_is_blocked() -> None:
    transport = ManualTransport()
    await transport.read(0, 10)
    with ThreadPoolExecutor(1) as threads:
        # `result` blocks the loop until the other thread has answered.
        (stream,) = threads.submit(transport.registry.snapshot).result(10)
    assert stream.object == KEY.name
    assert stream.ranges_in_flight == 1
