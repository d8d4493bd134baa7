"""Drives a protocol core for tests. The test acts as the readers, the clock and the server."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.model.errors import StatusCode, StorageError
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.model.values import ObjectInfo, ObjectKey
from gcsmux_fs.mux.actions import Cancel, Deliver, Fail, Moved, Open, Send, StreamCounters
from gcsmux_fs.mux.core import StreamCore
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_states import StreamEvent, StreamState
from gcsmux_fs.storage.ports import (
    BidiMessage,
    Chunk,
    RangeFailure,
    RangeRequest,
    StreamEnd,
    StreamRedirect,
)

if TYPE_CHECKING:
    from gcsmux_fs.mux.range_table import PendingRange

__all__ = [
    "CONTENT",
    "KEY",
    "DrivenCore",
    "chunk",
    "end",
    "failure",
    "info",
    "redirect",
]

KEY = ObjectKey("bucket", "object", 7)
CONTENT = Random(0).randbytes(4096)


def chunk(
    request: RangeRequest,
    first: int = 0,
    last: int | None = None,
    *,
    range_end: bool = False,
    intact: bool = True,
) -> Chunk:
    """Return a chunk with bytes `[first, last)` of a requested range, counted from its start."""
    start = request.offset + first
    stop = request.offset + (request.length if last is None else last)
    content = memoryview(CONTENT)[start:stop]
    return Chunk(request.read_id, start, content, range_end, intact, len(content))


def info(generation: int = KEY.generation) -> ObjectInfo:
    return ObjectInfo(KEY.name, generation, len(CONTENT), 0, 0)


def end(
    code: StatusCode,
    *failures: RangeFailure,
    redirect: StreamRedirect | None = None,
) -> StreamEnd:
    return StreamEnd(code, code.name.lower(), failures, redirect)


def failure(request: RangeRequest, code: StatusCode) -> RangeFailure:
    return RangeFailure(request.read_id, code, "no")


def redirect(token: str = "east", handle: bytes = b"") -> StreamEnd:
    return end(StatusCode.ABORTED, redirect=StreamRedirect(token, handle))


def _ignore(_outcome: memoryview | StorageError) -> None:
    """Ignore the outcome, because `DrivenCore` takes the outcome from the core's action."""


class DrivenCore:
    """Drives a core, records its actions, and asserts that they obey the rules of `BidiCall`.

    `call` is the stream number of the current call, or 0 if there is no call. `in_flight` is
    whether a message of the call is being sent. `requested` holds all requested ranges. `outcomes`
    holds the bytes or the error of each range that was delivered or failed.
    """

    def __init__(self, policy: RetryPolicy | None = None, seed: int = 0) -> None:
        self.policy = policy or RetryPolicy()
        self.counters = StreamCounters()
        self.budget = RetryBudget()
        self.first_byte_times = Histogram()
        self.core = StreamCore(
            KEY, self.policy, Random(seed), self.counters, self.budget, self.first_byte_times
        )
        self.now = 100.0
        self.opened: list[Open] = []
        self.sent: list[tuple[RangeRequest, ...]] = []
        self.cancelled_calls = 0
        self.call = 0
        self.in_flight = False
        self.requested: list[PendingRange] = []
        self.moves: list[str] = []
        self.transitions: list[tuple[StreamState, StreamEvent]] = []
        self.details: list[str] = []
        self.outcomes: dict[PendingRange, bytes | StorageError] = {}

    # -- the reader's side

    def request(
        self, offset: int, length: int, *, covers_object: bool = False, reaches_end: bool = False
    ) -> PendingRange:
        """Request a range, and let the core send its unsent ranges."""
        pending = self.request_unflushed(
            offset, length, covers_object=covers_object, reaches_end=reaches_end
        )
        self.flush()
        return pending

    def request_unflushed(
        self, offset: int, length: int, *, covers_object: bool = False, reaches_end: bool = False
    ) -> PendingRange:
        pending = self.core.request(
            offset, length, _ignore, self.now, covers_object=covers_object, reaches_end=reaches_end
        )
        self.requested.append(pending)
        return pending

    def cancel(self, pending: PendingRange) -> None:
        self.core.cancel(pending, self.now)
        self._take()

    def flush(self) -> None:
        self.core.flush(self.now)
        self._take()

    # -- the server's side

    @property
    def wire(self) -> dict[int, RangeRequest]:
        """All requests sent so far, by read id."""
        return {request.read_id: request for batch in self.sent for request in batch}

    def confirm(self, stream: int | None = None) -> None:
        """Tell the core that its message has been sent."""
        number = self.core.stream if stream is None else stream
        if number == self.call:
            self.in_flight = False
        self.core.on_sent(number, self.now)
        self._take()

    def message(
        self,
        *chunks: Chunk,
        handle: bytes = b"",
        metadata: ObjectInfo | None = None,
        stream: int | None = None,
    ) -> None:
        number = self.core.stream if stream is None else stream
        self.core.on_message(number, BidiMessage(chunks, metadata, handle), self.now)
        self._take()

    def end(self, ending: StreamEnd, stream: int | None = None) -> None:
        number = self.core.stream if stream is None else stream
        if number == self.call:
            self.call = 0
        self.core.on_end(number, ending, self.now)
        self._take()

    # -- time

    def advance(self, seconds: float) -> None:
        """Let time pass and call `on_timer` at each deadline of the core."""
        until = self.now + seconds
        while self.core.deadline <= until:
            self.now = max(self.now, self.core.deadline)
            self.core.on_timer(self.now)
            self._take()
        self.now = until

    def wait_for_reopen(self) -> float:
        """Let the current backoff pass; return its length in seconds."""
        start = self.now
        while self.core.state is StreamState.BACKOFF:
            self.advance(self.core.deadline - self.now)
        return self.now - start

    def close(self, error: StorageError) -> None:
        self.core.close(error)
        self._take()

    def _take(self) -> None:
        for action in self.core.take_actions():
            match action:
                case Open(stream, ranges=ranges):
                    assert not self.call
                    self.call = stream
                    self.opened.append(action)
                    self._send(ranges)
                case Send(ranges):
                    assert self.call
                    assert not self.in_flight
                    assert not self.opened[-1].spec.half_close
                    self._send(ranges)
                case Cancel():
                    assert self.call
                    self.call = 0
                    self.cancelled_calls += 1
                case Deliver(pending, content):
                    self._end(pending, bytes(content))
                case Fail(pending, error):
                    self._end(pending, error)
                case Moved(before, after, stream, event, detail):
                    self.transitions.append((before, event))
                    self.details.append(detail)
                    self.moves.append(f"{before.name} -> {after.name} ({stream})")

    def _send(self, ranges: tuple[RangeRequest, ...]) -> None:
        assert 1 <= len(ranges) <= 100
        self.in_flight = True
        self.sent.append(ranges)

    def _end(self, pending: PendingRange, outcome: bytes | StorageError) -> None:
        assert pending not in self.outcomes
        self.outcomes[pending] = outcome
