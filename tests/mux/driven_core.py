"""A protocol core with nothing around it: the test is its driver, its clock and its server."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StatusCode, StorageError
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.model.values import ObjectInfo, ObjectKey
from gcsmux_fs.mux.actions import Cancel, Deliver, Fail, Moved, Open, Send, State, StreamCounters
from gcsmux_fs.mux.core import StreamCore
from gcsmux_fs.mux.retry import RetryPolicy
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
    """Answer bytes `[first, last)`, counted from the beginning of what was asked for."""
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


def _nobody(_outcome: memoryview | StorageError) -> None:
    """The outcome is taken from the action itself."""


class DrivenCore:
    """Feeds a core, keeps what it decides, and holds it to the rules of its port.

    `call` is the stream generation of the call there is, `under_way` whether a message of it is.
    """

    def __init__(self, policy: RetryPolicy | None = None, seed: int = 0) -> None:
        self.policy = policy or RetryPolicy()
        self.counters = StreamCounters()
        self.budget = RetryBudget()
        self.core = StreamCore(KEY, self.policy, Random(seed), self.counters, self.budget)
        self.now = 100.0
        self.opened: list[Open] = []
        self.sent: list[tuple[RangeRequest, ...]] = []
        self.cancelled_calls = 0
        self.call = 0
        self.under_way = False
        self.moves: list[str] = []
        self.causes: list[str] = []
        self.outcomes: dict[PendingRange, bytes | StorageError] = {}

    # -- the reader's side

    def ask(
        self, offset: int, length: int, *, whole: bool = False, last: bool = False
    ) -> PendingRange:
        """Ask and flush."""
        wanted = self.ask_quietly(offset, length, whole=whole, last=last)
        self.flush()
        return wanted

    def ask_quietly(
        self, offset: int, length: int, *, whole: bool = False, last: bool = False
    ) -> PendingRange:
        return self.core.request(offset, length, _nobody, self.now, whole=whole, last=last)

    def cancel(self, wanted: PendingRange) -> None:
        self.core.cancel(wanted, self.now)
        self._take()

    def flush(self) -> None:
        self.core.flush(self.now)
        self._take()

    # -- the server's side

    @property
    def wire(self) -> dict[int, RangeRequest]:
        """Everything that was ever asked for, by read id."""
        return {request.read_id: request for batch in self.sent for request in batch}

    def confirm(self, stream: int | None = None) -> None:
        """The message under way has gone."""
        number = self.core.stream if stream is None else stream
        if number == self.call:
            self.under_way = False
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
        """Let time pass, waking the core at each of its deadlines on the way."""
        until = self.now + seconds
        while self.core.deadline <= until:
            self.now = max(self.now, self.core.deadline)
            self.core.on_timer(self.now)
            self._take()
        self.now = until

    def wait_for_reopen(self) -> float:
        """Let a backoff pass, and return how long it was."""
        begun = self.now
        while self.core.state is State.BACKOFF:
            self.advance(self.core.deadline - self.now)
        return self.now - begun

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
                    assert not self.under_way
                    assert not self.opened[-1].spec.half_close
                    self._send(ranges)
                case Cancel():
                    assert self.call
                    self.call = 0
                    self.cancelled_calls += 1
                case Deliver(wanted, content):
                    self._end(wanted, bytes(content))
                case Fail(wanted, error):
                    self._end(wanted, error)
                case Moved(before, after, stream, cause):
                    self.causes.append(cause)
                    self.moves.append(f"{before.name} -> {after.name} ({stream})")

    def _send(self, ranges: tuple[RangeRequest, ...]) -> None:
        assert 1 <= len(ranges) <= 100
        self.under_way = True
        self.sent.append(ranges)

    def _end(self, wanted: PendingRange, outcome: bytes | StorageError) -> None:
        assert wanted not in self.outcomes
        self.outcomes[wanted] = outcome
