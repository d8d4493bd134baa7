"""The pool of streams: one per object generation, shared by all its readers; the thin shell.

Theory of operation. The cores decide, this module acts: it opens and cancels calls, hands events
to the core of their object, and calls whoever waits. Everything runs in one thread, and nothing in
here awaits, except for the one task that sleeps until the earliest deadline of any core. Requests
made in one turn of the scheduler are flushed together, once, at its end, so that they travel in
one message.

Invariants:
1. `done` of a request is called exactly once, never from inside `request`, and not at all after
   its ticket was cancelled.
2. A call exists only for a core that says so; at most `max_idle_streams` of them idle, the longest
   idle being closed first.
3. The heap holds an entry at or before the deadline of every core that has one.
"""

from __future__ import annotations

import heapq
import logging
import math
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.errors import StorageError, Unavailable
from gcsmux_fs.mux.core import (
    Action,
    Cancel,
    Counters,
    Deliver,
    Fail,
    Moved,
    Open,
    PendingRange,
    Send,
    StreamCore,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gcsmux_fs.model import ObjectKey
    from gcsmux_fs.mux.retry import RetryPolicy
    from gcsmux_fs.storage.ports import BidiCall, BidiMessage, BidiTransport, StreamEnd

__all__ = ["PoolStatistics", "StreamPool", "Ticket"]

log = logging.getLogger(__name__)

# An idle stream costs about 40 KiB here (2,000 of them: 80 MiB), and something on the server.
_MAX_IDLE_STREAMS = 256

# An object whose stream was closed leaves its read handle behind, a kilobyte at most.
_MAX_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """Gauges and counters, for debugging and tests."""

    streams_open: int
    objects_known: int
    ranges_waiting: int
    counters: dict[str, int]


class Ticket:
    """A request that was made; `cancel` it when nobody waits any more."""

    __slots__ = ("_range", "_stream")

    def __init__(self, stream: _SharedStream, wanted: PendingRange) -> None:
        self._stream = stream
        self._range = wanted

    def cancel(self) -> None:
        """Give the range up: `done` is not called any more. Idempotent."""
        self._stream.cancel(self._range)


class StreamPool:
    """Fetches ranges of any object through the shared streams."""

    def __init__(
        self,
        transport: BidiTransport,
        policy: RetryPolicy,
        random: Random,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        max_idle_streams: int = _MAX_IDLE_STREAMS,
    ) -> None:
        self.counters = Counters()
        self._transport = transport
        self._policy = policy
        self._random = random
        self._call_soon = call_soon
        self._max_idle_streams = max_idle_streams
        self._streams: OrderedDict[ObjectKey, _SharedStream] = OrderedDict()
        self._idle: OrderedDict[ObjectKey, _SharedStream] = OrderedDict()
        self._dirty: list[_SharedStream] = []
        self._timers: list[tuple[float, int, _SharedStream]] = []
        self._timer_serial = 0
        self._earlier = trio.Event()
        self._closed = False

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
    ) -> Ticket:
        """Ask for `length` >= 1 bytes; `done` gets a read-only view of them, or the error."""
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _SharedStream(self, key)
            self._forget_oldest()
        else:
            self._streams.move_to_end(key)
        self._idle.pop(key, None)
        wanted = stream.core.request(offset, length, done, trio.current_time())
        if not self._dirty:
            self._call_soon(self._flush)
        self._dirty.append(stream)
        return Ticket(stream, wanted)

    async def run(self) -> None:
        """Keep the deadlines of all streams, until cancelled; then end every stream."""
        try:
            while True:
                with trio.move_on_at(self._timers[0][0] if self._timers else math.inf):
                    await self._earlier.wait()
                self._earlier = trio.Event()
                self._fire(trio.current_time())
        finally:
            self._closed = True
            for stream in list(self._streams.values()):
                stream.close(Unavailable("the mount is ending", subject=str(stream.core.key)))

    def statistics(self) -> PoolStatistics:
        """Return gauges and counters."""
        cores = [stream.core for stream in self._streams.values()]
        return PoolStatistics(
            streams_open=sum(core.has_call for core in cores),
            objects_known=len(cores),
            ranges_waiting=sum(core.waiting for core in cores),
            counters=asdict(self.counters),
        )

    # -- for the streams

    def new_core(self, key: ObjectKey) -> StreamCore:
        """Return a core that shares this pool's policy and counters."""
        return StreamCore(key, self._policy, self._random, self.counters)

    def open(self, action: Open, stream: _SharedStream) -> BidiCall:
        """Open the call that `action` asks for."""
        return self._transport.open(action.spec, action.ranges, _Listener(stream, action.stream))

    def settle(self, stream: _SharedStream) -> None:
        """Note a stream's new deadline and whether it is idle now."""
        core = stream.core
        if core.has_call and not core.waiting:
            self._idle.setdefault(core.key, stream)
            while len(self._idle) > self._max_idle_streams:
                _, oldest = self._idle.popitem(last=False)
                oldest.close(Unavailable("too many idle streams"))
        elif not core.has_call:
            self._idle.pop(core.key, None)
        deadline = core.deadline
        if deadline < stream.timer_at:
            stream.timer_at = deadline
            self._timer_serial += 1
            heapq.heappush(self._timers, (deadline, self._timer_serial, stream))
            if self._timers[0][2] is stream:
                self._earlier.set()

    # -- inside

    def _flush(self) -> None:
        streams, self._dirty = self._dirty, []
        now = trio.current_time()
        for stream in streams:
            stream.core.flush(now)
            stream.act()
            if self._closed:
                stream.close(Unavailable("the mount is ending", subject=str(stream.core.key)))

    def _fire(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            _, _, stream = heapq.heappop(self._timers)
            stream.timer_at = math.inf
            stream.core.on_timer(now)
            stream.act()

    def _forget_oldest(self) -> None:
        """Drop the longest unused objects that have neither a stream nor a reader."""
        excess = len(self._streams) - _MAX_REMEMBERED
        if excess <= 0:
            return
        unused = [
            key
            for key, stream in self._streams.items()
            if not stream.core.waiting and not stream.core.has_call
        ]
        # Dropping a batch pays for having looked at all of them.
        for key in unused[: excess + _MAX_REMEMBERED // 8]:
            del self._streams[key]


class _SharedStream:
    """One object's core, its call if it has one, and its entry in the pool's heap of timers."""

    __slots__ = ("_call", "_pool", "core", "timer_at")

    def __init__(self, pool: StreamPool, key: ObjectKey) -> None:
        self.core = pool.new_core(key)
        self.timer_at = math.inf
        self._pool = pool
        self._call: BidiCall | None = None

    def cancel(self, wanted: PendingRange) -> None:
        wanted.done = _nobody  # it may have ended in the very batch of actions being carried out
        self.core.cancel(wanted, trio.current_time())
        self.act()

    def close(self, error: StorageError) -> None:
        self.core.close(error)
        self.act()

    def act(self) -> None:
        """Carry out what the core decided."""
        while actions := self.core.take_actions():
            for action in actions:
                self._carry_out(action)
        self._pool.settle(self)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Deliver(wanted, content):
                wanted.done(content)
            case Send(ranges):
                assert self._call is not None
                self._call.send(ranges)
            case Open():
                self._call = self._pool.open(action, self)
            case Cancel():
                assert self._call is not None
                self._call.cancel()
                self._call = None
            case Fail(wanted, error):
                wanted.done(error)
            case Moved(before, after, stream, cause):
                log.debug(
                    "%s: stream %d: %s -> %s: %s",
                    self.core.key,
                    stream,
                    before.name,
                    after.name,
                    cause,
                )


def _nobody(_outcome: memoryview | StorageError) -> None:
    """Stand in for a reader that has left."""


class _Listener:
    """Hands the events of one stream generation to its object's core."""

    __slots__ = ("_number", "_stream")

    def __init__(self, stream: _SharedStream, number: int) -> None:
        self._stream = stream
        self._number = number

    def on_sent(self) -> None:
        self._stream.core.on_sent(self._number, trio.current_time())
        self._stream.act()

    def on_message(self, message: BidiMessage) -> None:
        self._stream.core.on_message(self._number, message, trio.current_time())
        self._stream.act()

    def on_end(self, end: StreamEnd) -> None:
        self._stream.core.on_end(self._number, end, trio.current_time())
        self._stream.act()
