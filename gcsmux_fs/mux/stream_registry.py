"""Keeps one stream for each object generation; all readers of the object share the stream.

Theory of operation. The registry finds the stream of an object. At the end of each scheduler turn,
the registry sends all requests of the turn together, so that the requests for one object share a
message. One task acts on the deadlines of all streams. All code runs in one thread, and only this
task awaits.

Invariants:
1. The callback `done` of a request is called exactly once, and never during the call of `request`.
   After the ticket of the request is cancelled, `done` is not called.
2. A call exists only for a core whose `has_call` is true. At most `max_idle_streams` streams are
   idle; if more streams are idle, the stream that has been idle for the longest time is closed.
3. At most `max_remembered` objects with neither a reader nor a stream are remembered. If there are
   more, the object that has been unused for the longest time is forgotten. This bounds the memory.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.mux.actions import StreamCounters
from gcsmux_fs.mux.core import StreamCore
from gcsmux_fs.mux.shared_stream import SharedStream, Ticket
from gcsmux_fs.mux.stream_snapshots import StreamSnapshot, snapshot_of
from gcsmux_fs.mux.timer_queue import TimerQueue

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.values import FinalContent, ObjectKey
    from gcsmux_fs.mux.range_table import OutcomeCallback
    from gcsmux_fs.mux.retry import RetryPolicy
    from gcsmux_fs.storage.ports import BidiTransport

__all__ = ["StreamRegistry"]

# Default limit of the idle streams. An idle stream costs about 40 KiB in this process, and it takes
# one of the hundred places for streams that a connection usually has. Forty idle streams leave most
# places of the first connection to other streams.
_MAX_IDLE_STREAMS = 40

# Default limit of the objects without a stream whose read handle is remembered. A read handle takes
# a kilobyte at most.
_MAX_REMEMBERED = 4096


class StreamRegistry:
    """Fetches ranges of any object through the shared streams.

    Args:
        transport: opens the calls.
        policy: timeouts and retry bounds.
        random: source of jitter.
        call_soon: runs a function at the end of the current scheduler turn.
        max_idle_streams: largest number of open streams for which no range waits.
        max_remembered: largest number of objects without a stream whose resume state is kept.
        retries: limits the retries of all streams together.
    """

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
        self._first_byte_times = Histogram()
        self._retries = retries or RetryBudget()
        self._transport = transport
        self._policy = policy
        self._random = random
        self._call_soon = call_soon
        self._max_idle_streams = max_idle_streams
        self._max_remembered = max_remembered
        self._streams: dict[ObjectKey, SharedStream] = {}
        # The open streams for which no range waits. The first is the stream that became idle first.
        self._idle: OrderedDict[ObjectKey, SharedStream] = OrderedDict()
        # The objects with neither a reader nor a stream. The first is the object that became unused
        # first.
        self._unused: OrderedDict[ObjectKey, None] = OrderedDict()
        self._unflushed: dict[SharedStream, None] = {}
        self._deadlines: TimerQueue[SharedStream] = TimerQueue()
        self._earlier_deadline = trio.Event()
        self._closed = False
        # Unlike `trio.current_time`, every thread may ask this clock.
        self._clock = trio.lowlevel.current_clock()

    def __repr__(self) -> str:
        return (
            f"<StreamRegistry of {len(self._streams)} objects: {len(self._idle)} idle streams,"
            f" {len(self._unused)} objects without a stream>"
        )

    @property
    def streams_open(self) -> int:
        """Number of streams that are open now."""
        return sum(stream.core.has_call for stream in list(self._streams.values()))

    @property
    def streams_idle(self) -> int:
        """Number of open streams for which no range waits."""
        return len(self._idle)

    @property
    def objects_known(self) -> int:
        """Number of object generations that have a stream, or whose resume state is remembered."""
        return len(self._streams)

    @property
    def ranges_waiting(self) -> int:
        """Number of ranges that have not ended."""
        return sum(stream.core.waiting for stream in list(self._streams.values()))

    def snapshot(self) -> list[StreamSnapshot]:
        """Return the state of each stream that is open or for which a range waits.

        Any thread may call this, also while trio's loop is blocked.
        """
        now = self._clock.current_time()
        return [
            snapshot_of(stream.core, now)
            for stream in list(self._streams.values())
            if stream.core.has_call or stream.core.waiting
        ]

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of all streams.

        Raises:
            MetricError: a name is taken.
        """
        registry.fields(self.counters)
        registry.gauge(
            "streams_open", "streams", "Streams that are open now.", lambda: self.streams_open
        )
        registry.gauge(
            "streams_idle",
            "streams",
            "Open streams for which no range waits.",
            lambda: self.streams_idle,
        )
        registry.gauge(
            "objects_known",
            "objects",
            "Object generations that have a stream, or whose resume state is kept.",
            lambda: self.objects_known,
        )
        registry.gauge(
            "ranges_waiting",
            "ranges",
            "Ranges that have been requested and have not ended.",
            lambda: self.ranges_waiting,
        )
        registry.histogram(
            "stream_first_byte_seconds",
            "Time from the opening of a stream to its first byte of content.",
            self._first_byte_times,
        )

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: OutcomeCallback,
        *,
        final: FinalContent | None = None,
    ) -> Ticket:
        """Request a range; `done` receives a read-only view of the bytes, or the error.

        Args:
            key: the object generation.
            offset: first byte of the range.
            length: number of bytes, at least 1.
            done: called once, in a later scheduler turn.
            final: the whole content of the object; None while the object may grow. If the range is
                the whole object, a stream that is opened for this range alone is half-closed and
                ends after the answer. This is cheaper than a stream that stays idle until it is
                cancelled. If the range reaches the end of the object, `done` receives
                GenerationGone if the service reports a larger object.

        Raises:
            ValueError: the range is empty or its offset is negative.
        """
        stream = self._streams.get(key) or self._new_stream(key)
        reaches_end = final is not None and offset + length == final.size
        pending = stream.core.request(
            offset,
            length,
            done,
            trio.current_time(),
            covers_object=reaches_end and not offset,
            reaches_end=reaches_end,
        )
        if stream.core.waiting == 1:
            self._streams[key] = stream
            self._idle.pop(key, None)
            self._unused.pop(key, None)
        if not self._unflushed:
            self._call_soon(self._flush)
        self._unflushed[stream] = None
        return Ticket(stream, pending)

    async def run(self) -> None:
        """Act on the deadlines of all streams until cancelled; then close all streams."""
        try:
            while True:
                with trio.move_on_at(self._deadlines.earliest):
                    await self._earlier_deadline.wait()
                self._earlier_deadline = trio.Event()
                self._run_timers(trio.current_time())
        finally:
            self._closed = True
            for stream in list(self._streams.values()):
                stream.close("the mount is ending")

    # -- internals

    def _new_stream(self, key: ObjectKey) -> SharedStream:
        core = StreamCore(
            key, self._policy, self._random, self.counters, self._retries, self._first_byte_times
        )
        return SharedStream(core, self._transport, self._settle)

    def _settle(self, stream: SharedStream) -> None:
        """Update the deadline of a stream, and the lists of idle and unused streams."""
        core = stream.core
        if self._deadlines.set(stream, core.deadline):
            self._earlier_deadline.set()
        if core.waiting:
            return
        if core.has_call:
            self._idle.setdefault(core.key, stream)
            while len(self._idle) > self._max_idle_streams:
                _, oldest = self._idle.popitem(last=False)
                oldest.close("too many idle streams")
        else:
            self._idle.pop(core.key, None)
            self._unused.setdefault(core.key)
            while len(self._unused) > self._max_remembered:
                oldest_key, _ = self._unused.popitem(last=False)
                del self._streams[oldest_key]

    def _flush(self) -> None:
        streams, self._unflushed = self._unflushed, {}
        now = trio.current_time()
        for stream in streams:
            if self._closed:
                stream.close("the mount is ending")
            else:
                stream.core.flush(now)
                stream.act()

    def _run_timers(self, now: float) -> None:
        while (stream := self._deadlines.pop_due(now)) is not None:
            stream.core.on_timer(now)
            stream.act()
