"""The pool of streams: one per object generation, shared by all its readers; the thin shell.

Theory of operation. The cores decide, this module acts: it opens and cancels calls, hands events
to the core of their object, and calls whoever waits. Everything runs in one thread, and nothing in
here awaits, except for the one task that sleeps until the earliest deadline of any core. Requests
made in one turn of the scheduler are flushed together, once, at its end, so that they travel in
one message.

A reader's callback may ask for more and cancel what it likes: what a core decides meanwhile is
carried out after what it had decided before, by the same loop.

Invariants:
1. `done` of a request is called exactly once, never from inside `request`, and not at all after
   its ticket was cancelled.
2. A call exists only for a core that says so; at most `max_idle_streams` of them idle, the longest
   idle being closed first.
3. What is remembered is bounded: of the objects with neither a reader nor a stream, the longest
   unused are forgotten.
4. Nothing that a reader or the transport raises keeps another reader from its bytes.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.model.errors import StatusCode, StorageError, Unavailable
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.mux.actions import Action, Cancel, Deliver, Fail, Moved, Open, Send, StreamCounters
from gcsmux_fs.mux.core import StreamCore
from gcsmux_fs.mux.timer_queue import TimerQueue
from gcsmux_fs.storage.ports import StreamEnd

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.mux.range_table import PendingRange
    from gcsmux_fs.mux.retry import RetryPolicy
    from gcsmux_fs.storage.ports import BidiCall, BidiMessage, BidiTransport

__all__ = ["RegistryStatistics", "StreamRegistry", "Ticket"]

log = logging.getLogger(__name__)

# An idle stream costs about 40 KiB here, something on the server, and one of the hundred places
# that a connection commonly has: idle ones leave most of the first connection's to readers.
_MAX_IDLE_STREAMS = 40

# An object whose stream was closed leaves its read handle behind, a kilobyte at most.
_MAX_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    """Gauges and counters, for debugging and tests."""

    streams_open: int
    streams_idle: int
    objects_known: int
    ranges_waiting: int
    counters: dict[str, int]


class Ticket:
    """A request that was made; `cancel` it when nobody waits any more."""

    __slots__ = ("_range", "_stream")

    def __init__(self, stream: _SharedStream, wanted: PendingRange) -> None:
        self._stream = stream
        self._range = wanted

    @property
    def trouble(self) -> str:
        """What went wrong last, if the range still waits because of that; else empty."""
        return self._stream.core.trouble

    def cancel(self) -> None:
        """Give the range up: `done` is not called any more. Idempotent."""
        self._stream.cancel(self._range)


class StreamRegistry:
    """Fetches ranges of any object through the shared streams."""

    def __init__(
        self,
        transport: BidiTransport,
        policy: RetryPolicy,
        random: Random,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        max_idle_streams: int = _MAX_IDLE_STREAMS,
        max_remembered: int = _MAX_REMEMBERED,
        retries: RetryBudget | None = None,
    ) -> None:
        self.counters = StreamCounters()
        self._retries = retries or RetryBudget()
        self._transport = transport
        self._policy = policy
        self._random = random
        self._call_soon = call_soon
        self._max_idle_streams = max_idle_streams
        self._max_remembered = max_remembered
        self._streams: dict[ObjectKey, _SharedStream] = {}
        # Those with a stream and no reader, and those with neither; the longest so first.
        self._idle: OrderedDict[ObjectKey, _SharedStream] = OrderedDict()
        self._resting: OrderedDict[ObjectKey, None] = OrderedDict()
        self._dirty: dict[_SharedStream, None] = {}
        self._deadlines: TimerQueue[_SharedStream] = TimerQueue()
        self._earlier = trio.Event()
        self._closed = False

    def __repr__(self) -> str:
        return (
            f"<StreamRegistry of {len(self._streams)} objects: {len(self._idle)} streams idle,"
            f" {len(self._resting)} without>"
        )

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        whole: bool = False,
        last: bool = False,
    ) -> Ticket:
        """Ask for `length` >= 1 bytes; `done` gets a read-only view of them, or the error.

        `whole` says that these are all the bytes of the object: its stream then carries nothing
        else and ends with them, which costs less than one that idles and is cancelled. `last` says
        that the object ends with them: should the service know of more, `done` gets an error.
        """
        stream = self._streams.get(key) or _SharedStream(self, key)
        now = trio.current_time()
        wanted = stream.core.request(offset, length, done, now, whole=whole, last=last)
        if stream.core.waiting == 1:
            self._streams[key] = stream
            self._idle.pop(key, None)
            self._resting.pop(key, None)
        if not self._dirty:
            self._call_soon(self._flush)
        self._dirty[stream] = None
        return Ticket(stream, wanted)

    async def run(self) -> None:
        """Keep the deadlines of all streams, until cancelled; then end every stream."""
        try:
            while True:
                with trio.move_on_at(self._deadlines.earliest):
                    await self._earlier.wait()
                self._earlier = trio.Event()
                self._fire(trio.current_time())
        finally:
            self._closed = True
            for stream in list(self._streams.values()):
                stream.close("the mount is ending")

    def statistics(self) -> RegistryStatistics:
        """Return gauges and counters."""
        cores = [stream.core for stream in self._streams.values()]
        return RegistryStatistics(
            streams_open=sum(core.has_call for core in cores),
            streams_idle=len(self._idle),
            objects_known=len(cores),
            ranges_waiting=sum(core.waiting for core in cores),
            counters=asdict(self.counters),
        )

    # -- for the streams

    def new_core(self, key: ObjectKey) -> StreamCore:
        """Return a core that shares this pool's policy, counters and retries."""
        return StreamCore(key, self._policy, self._random, self.counters, self._retries)

    def open(self, action: Open, stream: _SharedStream) -> BidiCall:
        """Open the call that `action` asks for."""
        return self._transport.open(action.spec, action.ranges, _Listener(stream, action.stream))

    def settle(self, stream: _SharedStream) -> None:
        """Note a stream's new deadline, and whether anybody uses it now."""
        core = stream.core
        if self._deadlines.note(stream, core.deadline):
            self._earlier.set()
        if core.waiting:
            return
        if core.has_call:
            self._idle.setdefault(core.key, stream)
            while len(self._idle) > self._max_idle_streams:
                _, oldest = self._idle.popitem(last=False)
                oldest.close("too many idle streams")
        else:
            self._idle.pop(core.key, None)
            self._resting.setdefault(core.key)
            while len(self._resting) > self._max_remembered:
                forgotten, _ = self._resting.popitem(last=False)
                del self._streams[forgotten]

    # -- inside

    def _flush(self) -> None:
        streams, self._dirty = self._dirty, {}
        now = trio.current_time()
        for stream in streams:
            if self._closed:
                stream.close("the mount is ending")
            else:
                stream.core.flush(now)
                stream.act()

    def _fire(self, now: float) -> None:
        while (stream := self._deadlines.pop_due(now)) is not None:
            stream.core.on_timer(now)
            stream.act()


class _SharedStream:
    """One object's core, and its call if it has one."""

    __slots__ = ("_acting", "_call", "_pool", "core")

    def __init__(self, pool: StreamRegistry, key: ObjectKey) -> None:
        self.core = pool.new_core(key)
        self._pool = pool
        self._call: BidiCall | None = None
        self._acting = False

    def cancel(self, wanted: PendingRange) -> None:
        wanted.done = _nobody  # it may have ended in the very batch of actions being carried out
        if wanted.live:
            self.core.cancel(wanted, trio.current_time())
            self.act()

    def close(self, why: str) -> None:
        self.core.close(Unavailable(why, subject=str(self.core.key)))
        self.act()

    def ended(self, number: int, end: StreamEnd) -> None:
        """Take note that the call of stream generation `number` is over."""
        if number == self.core.stream:
            self._call = None
        self.core.on_end(number, end, trio.current_time())
        self.act()

    def act(self) -> None:
        """Carry out what the core decided, in order, also when a callback brings us back here."""
        if self._acting:
            return
        self._acting = True
        try:
            while actions := self.core.take_actions():
                for action in actions:
                    self._carry_out(action)
        finally:
            self._acting = False
        self._pool.settle(self)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Deliver(wanted, outcome) | Fail(wanted, outcome):
                self._tell(wanted, outcome)
            case Send() | Open():
                self._transmit(action)
            case Cancel():
                call, self._call = self._call, None
                if call is not None:
                    call.cancel()
            case Moved(before, after, stream, cause):
                log.debug(
                    "%s: stream %d: %s -> %s: %s",
                    self.core.key,
                    stream,
                    before.name,
                    after.name,
                    cause,
                )

    def _tell(self, wanted: PendingRange, outcome: memoryview | StorageError) -> None:
        try:
            wanted.done(outcome)
        except Exception:
            log.exception("%s: a reader's callback failed", self.core.key)

    def _transmit(self, action: Open | Send) -> None:
        try:
            if isinstance(action, Open):
                self._call = self._pool.open(action, self)
            else:
                assert self._call is not None  # a core sends only on a stream that is open
                self._call.send(action.ranges)
        except Exception as error:
            log.exception("%s: the transport failed", self.core.key)
            call, self._call = self._call, None
            if call is not None:
                call.cancel()
            end = StreamEnd(StatusCode.INTERNAL, f"the transport failed: {error}")
            self.core.on_end(self.core.stream, end, trio.current_time())


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
        self._stream.ended(self._number, end)
