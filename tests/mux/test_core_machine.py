"""Tests the protocol core with random actions of readers, of a server and of a clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gcsmux_fs.model.errors import GenerationGone, StatusCode, StorageError
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_states import StreamState
from gcsmux_fs.storage.ports import Chunk, RangeFailure, RangeRequest, StreamEnd, StreamRedirect
from tests.support.examples import examples

from .driven_core import CONTENT, DrivenCore, chunk, info

if TYPE_CHECKING:
    from gcsmux_fs.mux.range_table import PendingRange

# Maximum number of streams that a core may open at one instant. Each term of the sum is a reason to
# open a stream without delay: redirects, a refused handle, a refused token, the first failure, an
# object that has grown, bad answers to a range that covers its object, the first opening.
MOST_OPENED_AT_ONE_INSTANT = (
    RetryPolicy().max_redirects + 1 + 1 + 1 + 1 + (RetryPolicy().max_bad_answers - 1) + 1
)

codes = st.sampled_from(StatusCode)
handles = st.sampled_from([b"", b"handle"])


class CoreMachine(RuleBasedStateMachine):
    """Acts on a core. `requested` holds all requested ranges; `left` holds the cancelled ranges."""

    def __init__(self) -> None:
        super().__init__()
        self.driven = DrivenCore()
        self.requested: list[PendingRange] = []
        self.left: set[PendingRange] = set()
        self.progress: tuple[object, ...] = ()
        self.opened_before = 0

    # -- readers

    @rule(
        offset=st.integers(0, 4000),
        length=st.integers(1, 96),
        covers_object=st.booleans(),
        reaches_end=st.booleans(),
        flush=st.booleans(),
    )
    def request(
        self, offset: int, length: int, covers_object: bool, reaches_end: bool, flush: bool
    ) -> None:
        self.requested.append(
            self.driven.request_unflushed(
                offset, length, covers_object=covers_object, reaches_end=reaches_end
            )
        )
        if flush:
            self.driven.flush()

    @rule(count=st.integers(90, 260))
    def request_many(self, count: int) -> None:
        self.requested += [self.driven.request_unflushed(offset, 3) for offset in range(count)]
        self.driven.flush()

    @rule()
    def flush(self) -> None:
        self.driven.flush()

    @precondition(lambda self: self.requested)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        pending = data.draw(st.sampled_from(self.requested))
        if pending not in self.driven.outcomes:
            self.left.add(pending)
        self.driven.cancel(pending)

    @rule()
    def cancel_all(self) -> None:
        for pending in self.requested:
            if pending not in self.driven.outcomes:
                self.left.add(pending)
            self.driven.cancel(pending)

    # -- the server

    @precondition(lambda self: self.driven.in_flight and self.driven.call)
    @rule()
    def confirm(self) -> None:
        self.driven.confirm()

    @precondition(lambda self: self.driven.sent)
    @rule(data=st.data(), handle=handles, size=st.sampled_from([None, 0, 2000, 4096]))
    def answer_badly(self, data: st.DataObject, handle: bytes, size: int | None) -> None:
        """Send random chunks, right or wrong, for recent or unknown read ids, in any state."""
        chunks: list[Chunk] = []
        for _ in range(data.draw(st.integers(0, 4))):
            request = data.draw(st.sampled_from(self.recent()))
            start = max(0, request.offset + data.draw(st.integers(-8, 100)))
            content = memoryview(CONTENT)[start : start + data.draw(st.integers(0, 150))]
            read_id = request.read_id + data.draw(st.sampled_from([0, 0, 0, 0, 1, 10**6]))
            range_end, intact = data.draw(st.booleans()), data.draw(st.integers(0, 3)) > 0
            chunks.append(Chunk(read_id, start, content, range_end, intact, len(content)))
        metadata = None if size is None else replace(info(), size=size)
        self.driven.message(*chunks, handle=handle, metadata=metadata)

    @precondition(lambda self: self.driven.sent)
    @rule(data=st.data())
    def answer_well(self, data: st.DataObject) -> None:
        """Send the first bytes, or all bytes, of one recent request."""
        request = data.draw(st.sampled_from(self.recent()))
        count = data.draw(st.integers(1, request.length))
        self.driven.message(chunk(request, 0, count, range_end=count == request.length))

    @rule()
    def serve_another_generation(self) -> None:
        self.driven.message(metadata=info(8))

    @rule(
        data=st.data(),
        code=codes,
        redirected=st.booleans(),
        token=st.sampled_from(["", "east"]),
        handle=handles,
    )
    def end(
        self, data: st.DataObject, code: StatusCode, redirected: bool, token: str, handle: bytes
    ) -> None:
        ids = [request.read_id for request in self.recent()] if self.driven.sent else []
        failures = tuple(
            RangeFailure(read_id, data.draw(codes), "no")
            for read_id in data.draw(st.lists(st.sampled_from([*ids, 10**6]), max_size=3))
        )
        redirect = StreamRedirect(token, handle) if redirected else None
        self.driven.end(StreamEnd(code, "why", failures, redirect))

    @precondition(lambda self: self.driven.core.stream > 1)
    @rule(data=st.data())
    def stale(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.driven.core.stream - 1))
        before = repr(self.driven.core)
        self.driven.message(chunk(self.recent()[0]), stream=number)
        self.driven.confirm(stream=number)
        self.driven.end(StreamEnd(data.draw(codes)), stream=number)
        assert before == repr(self.driven.core)

    # -- time

    @rule(seconds=st.sampled_from([0.0, 0.06, 1.0, 31.0, 61.0, 130.0]))
    def pass_time(self, seconds: float) -> None:
        self.driven.advance(seconds)

    @rule()
    def close(self) -> None:
        self.driven.close(StorageError("closing"))

    # -- invariants

    def recent(self) -> list[RangeRequest]:
        return [request for batch in self.driven.sent[-3:] for request in batch]

    def waiting(self) -> set[PendingRange]:
        return set(self.requested) - self.left - set(self.driven.outcomes)

    @invariant()
    def every_range_is_accounted_for(self) -> None:
        assert len(self.waiting()) == self.driven.core.waiting
        assert not self.left & set(self.driven.outcomes)

    @invariant()
    def delivered_bytes_are_correct(self) -> None:
        for pending, outcome in self.driven.outcomes.items():
            if isinstance(outcome, bytes):
                assert CONTENT[pending.offset : pending.offset + pending.length] == outcome

    @invariant()
    def no_stream_is_opened_while_no_range_waits(self) -> None:
        if not self.waiting():
            assert self.driven.core.state in (StreamState.CLOSED, StreamState.OPEN)
        assert bool(self.driven.call) == self.driven.core.has_call

    @invariant()
    def opening_again_and_again_takes_time_or_makes_progress(self) -> None:
        counters = self.driven.counters
        progress = (
            self.driven.now,
            sum(pending.received for pending in self.requested),
            len(self.requested),
            len(self.left),
            len(self.driven.outcomes),
        )
        if progress != self.progress:
            self.progress = progress
            self.opened_before = counters.streams_opened
        assert counters.streams_opened - self.opened_before <= MOST_OPENED_AT_ONE_INSTANT

    @invariant()
    def every_state_but_closed_has_a_deadline(self) -> None:
        assert (self.driven.core.deadline < float("inf")) == (
            self.driven.core.state is not StreamState.CLOSED
        )

    @invariant()
    def abandoned_read_ids_end_with_their_stream(self) -> None:
        if self.driven.core.state in (StreamState.CLOSED, StreamState.BACKOFF):
            assert self.driven.core.ranges.abandoned == 0

    def teardown(self) -> None:
        """Serve all waiting ranges correctly, and assert that each of them ends."""
        waited = self.waiting()
        self.driven.flush()
        for _ in range(len(waited) + 10):
            if not self.waiting():
                break
            self.driven.wait_for_reopen()
            if self.driven.in_flight:
                self.driven.confirm()
            self.driven.message(*[chunk(request, range_end=True) for request in self.on_wire()])
        assert not self.waiting()
        for pending in waited:
            outcome = self.driven.outcomes[pending]
            size_differs = pending.reaches_end and isinstance(outcome, GenerationGone)
            assert isinstance(outcome, bytes) or size_differs
        self.delivered_bytes_are_correct()
        self.driven.advance(10_000)
        assert self.driven.core.state is StreamState.CLOSED
        assert not self.driven.call

    def on_wire(self) -> list[RangeRequest]:
        table = self.driven.core.ranges
        return [request for request in self.driven.wire.values() if table.find(request.read_id)]


TestCore = CoreMachine.TestCase
TestCore.settings = settings(max_examples=examples(150), stateful_step_count=50, deadline=None)
