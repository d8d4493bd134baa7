"""Fuzz target: StreamCore with arbitrary requests of readers and arbitrary answers of a server."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.model.errors import StatusCode, StorageError
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.model.values import ObjectInfo
from gcsmux_fs.mux.actions import Cancel, Deliver, Fail, Open, Send, StreamCounters
from gcsmux_fs.mux.core import StreamCore
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.storage.ports import BidiMessage, Chunk, RangeFailure, StreamEnd, StreamRedirect

from .source import Source
from .wire import KEY

if TYPE_CHECKING:
    from gcsmux_fs.mux.range_table import PendingRange
    from gcsmux_fs.storage.ports import RangeRequest

__all__ = ["stream_core"]

_CODES = tuple(StatusCode)
_SIZE = 4096
_MAX_RANGES = 100
# Maximum number of streams that the core may open without time passing: the sum of what
# `gcsmux_fs.mux.retry` allows for each kind of failure.
_MAX_OPENED_AT_ONCE = 64


def stream_core(data: bytes) -> None:
    """Run arbitrary steps. Each range must end exactly once, and each action must be allowed.

    A range ends with all its bytes or with an error. An action is not allowed if, for example, it
    sends on a stream that is not open.
    """
    source = Source(data)
    driver = _Driver(source)
    while source:
        source.choice(driver.steps)()
        driver.take_actions()
    driver.finish()


class _Driver:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._core = StreamCore(
            KEY, RetryPolicy(), Random(0), StreamCounters(), RetryBudget(), Histogram()
        )
        self._now = 0.0
        self._requested: list[PendingRange] = []
        self._ended: set[PendingRange] = set()
        self._wire: list[RangeRequest] = []
        self._stream = 0
        self._open = self._under_way = False
        self._opened_at = (0.0, 0)
        self.steps = (
            self._answer,
            self._request,
            self._flush,
            self._sent,
            self._answer,
            self._end,
            self._cancel,
            self._wait,
            self._stray,
        )

    def take_actions(self) -> None:
        for action in self._core.take_actions():
            if isinstance(action, Open):
                assert not self._open
                self._open = self._under_way = True
                self._stream = action.stream
                self._check_batch(action.ranges)
                at, count = self._opened_at
                self._opened_at = (self._now, count + 1 if at == self._now else 1)
            elif isinstance(action, Send):
                assert self._open
                assert not self._under_way
                assert action.ranges
                self._under_way = True
                self._check_batch(action.ranges)
            elif isinstance(action, Cancel):
                assert self._open
                self._open = self._under_way = False
            elif isinstance(action, Deliver):
                self._finish_range(action.range)
                assert len(action.content) == action.range.length
                assert action.content.readonly
            elif isinstance(action, Fail):
                self._finish_range(action.range)
                assert isinstance(action.error, StorageError)
        assert self._core.has_call == self._open
        assert self._core.waiting == len(self._requested) - len(self._ended)
        assert self._opened_at[1] <= _MAX_OPENED_AT_ONCE
        repr(self._core)

    def finish(self) -> None:
        """Close the core; every range that has not ended must end now."""
        self._core.close(StorageError("closed"))
        self.take_actions()
        assert self._core.waiting == 0
        assert not self._open

    def _check_batch(self, ranges: tuple[RangeRequest, ...]) -> None:
        assert len(ranges) <= _MAX_RANGES
        used_ids = {request.read_id for request in self._wire}
        for request in ranges:
            assert request.length >= 1
            assert request.read_id not in used_ids
        self._wire = (self._wire + list(ranges))[-_MAX_RANGES:]

    def _finish_range(self, pending: PendingRange) -> None:
        assert pending not in self._ended
        self._ended.add(pending)

    # -- steps: what a reader does, what the server does, and how time passes

    def _request(self) -> None:
        offset = self._source.number(2) % _SIZE
        length = 1 + self._source.number(2) % _SIZE
        whole = self._source.number() > 250
        request = self._core.request(offset, length, _ignore, self._now, covers_object=whole)
        self._requested.append(request)

    def _flush(self) -> None:
        self._core.flush(self._now)

    def _cancel(self) -> None:
        if self._requested:
            pending = self._source.choice(self._requested)
            self._core.cancel(pending, self._now)
            if pending not in self._ended:
                self._ended.add(pending)

    def _wait(self) -> None:
        self._now += self._source.number() ** 2 / 256
        if self._core.deadline <= self._now:
            self._core.on_timer(self._now)

    def _sent(self) -> None:
        if self._open:
            self._under_way = False
            self._core.on_sent(self._stream, self._now)

    def _stray(self) -> None:
        """Give the core events of an ended or unknown stream; these events must not end a range."""
        before = self._core.waiting
        stream = self._stream + self._source.choice((-1, 1, 1000))
        message = self._message()
        self._core.on_message(stream, message, self._now)
        self._core.on_sent(stream, self._now)
        self._core.on_end(stream, StreamEnd(StatusCode.OK), self._now)
        assert self._core.waiting == before

    def _answer(self) -> None:
        if self._open:
            self._core.on_message(self._stream, self._message(), self._now)

    def _end(self) -> None:
        if not self._open:
            return
        source = self._source
        failures = tuple(
            RangeFailure(self._read_id(), source.choice(_CODES), "no")
            for _ in range(source.number() % 4)
        )
        redirect = StreamRedirect(source.text(), source.take(2)) if source.flag() else None
        self._open = self._under_way = False
        end = StreamEnd(source.choice(_CODES), "over", failures, redirect)
        self._core.on_end(self._stream, end, self._now)

    def _message(self) -> BidiMessage:
        source = self._source
        chunks = tuple(self._chunk() for _ in range(source.number() % 5))
        generation = source.choice((0, 7, 7, 7, 8))
        info = ObjectInfo(source.text(), generation, source.number(2), 0) if generation else None
        return BidiMessage(chunks, info, source.take(source.number() % 3))

    def _chunk(self) -> Chunk:
        source = self._source
        if self._wire and source.flag():
            # Answer all of a requested range or the start of it.
            request = source.choice(self._wire)
            size = request.length if source.flag() else source.number(2) % (request.length + 1)
            return Chunk(request.read_id, request.offset, _content(size), source.flag(), True, size)
        size = source.number(2) % _SIZE
        offset = source.number(8) - 2**63 if source.flag() else source.number(2)
        intact = source.flag()
        return Chunk(self._read_id(), offset, _content(size), source.flag(), intact, size)

    def _read_id(self) -> int:
        source = self._source
        if self._wire and source.flag():
            return source.choice(self._wire).read_id
        return source.number(8) - 2**63 if source.flag() else source.number()


_ZEROS = memoryview(bytes(_SIZE))


def _content(size: int) -> memoryview:
    return _ZEROS[:size]


def _ignore(_outcome: memoryview | StorageError) -> None:
    """Ignore the result of a range, because `take_actions` checks the action that carries it."""
