"""A `BidiTransport` that reads by ReadObject while BidiReadObject is missing.

Theory of operation. This transport wraps another transport. A call begins as a BidiReadObject
stream. If the stream ends without a response, and its end shows that BidiReadObject is missing (see
`availability`), a unary stream (see `unary_stream`) takes over all ranges of the call. The end of
the stream is not reported to the user of the call. While BidiReadObject is missing, every new call
begins as a unary stream.

While BidiReadObject is missing, a read by a unary stream can start a *probe*: a stream without
ranges that is closed after its first response. At most one probe is open, and no reader waits for
the probe. A mount without reads sends no probe. When a probe gets a response, all unary streams
retire: they start no further range, and end.

Invariants:
1. The listener of a call gets `on_sent` once for each message, and `on_end` once, as from any
   transport.
2. Each change between available and missing is logged once and counted once.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cachetools import LRUCache

from gcsmux_fs.storage.availability import RETRY_SECONDS, BidiAvailability
from gcsmux_fs.storage.ports import OpenSpec
from gcsmux_fs.storage.unary_stream import UnaryStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.ports import (
        BidiCall,
        BidiListener,
        BidiMessage,
        BidiTransport,
        RangeRequest,
        StreamEnd,
    )
    from gcsmux_fs.storage.read_object import RangeListener, RangeRead, RangeReads

__all__ = ["FallbackTransport"]

log = logging.getLogger(__name__)

# Maximum number of objects whose request-size limit is remembered. A mount reads fewer than 1,024
# objects at the same time.
_MAX_LIMITED_OBJECTS = 1024


class FallbackTransport:
    """Opens calls as streams, or as unary streams while BidiReadObject is missing.

    Args:
        streams: the transport that opens BidiReadObject streams.
        reads: reads single ranges by ReadObject.
        clock: returns the time in seconds.
        call_soon: calls a function when the current callback has returned.
    """

    def __init__(
        self,
        streams: BidiTransport,
        reads: RangeReads,
        *,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.streams = streams
        self.clock = clock
        #: Number of messages received on all streams. While the number stays the same, all streams
        #: are silent.
        self.messages = 0
        self.availability = BidiAvailability()
        #: Number of ReadObject calls started so far.
        self.read_object_requests = 0
        self.unary_streams: set[UnaryStream] = set()
        self._reads = reads
        self._call_soon = call_soon
        self._max_bytes: LRUCache[ObjectKey, float] = LRUCache(_MAX_LIMITED_OBJECTS)
        self._probe: _Probe | None = None

    def open(
        self, spec: OpenSpec, ranges: Sequence[RangeRequest], listener: BidiListener
    ) -> BidiCall:
        """Start a call (see `BidiTransport.open`)."""
        if not self.availability.missing:
            return _CallWithFallback(self, spec, ranges, listener)
        unary_stream = self.open_unary_stream(spec.key, listener)
        unary_stream.send(ranges)
        return unary_stream

    def close(self) -> None:
        """Cancel the probe. The users of calls cancel their calls themselves."""
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.cancel()

    @property
    def read_object_open(self) -> int:
        """Number of ReadObject calls in flight."""
        return sum(unary_stream.in_flight for unary_stream in list(self.unary_streams))

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of streams and of ReadObject calls."""
        self.availability.declare_metrics(registry)
        registry.counter(
            "read_object_requests",
            "calls",
            "ReadObject calls started.",
            lambda: self.read_object_requests,
        )
        registry.gauge(
            "read_object_open",
            "calls",
            "ReadObject calls in flight.",
            lambda: self.read_object_open,
        )
        registry.gauge(
            "unary_streams",
            "streams",
            "Open unary streams, whose ranges are read by ReadObject calls.",
            lambda: len(self.unary_streams),
        )

    # -- called by unary streams

    def open_unary_stream(self, key: ObjectKey, listener: BidiListener) -> UnaryStream:
        """Return a new unary stream that has no ranges yet."""
        unary_stream = UnaryStream(
            key,
            self,
            listener,
            call_soon=self._call_soon,
            max_bytes=self._max_bytes,
            on_over=self.unary_streams.discard,
        )
        self.unary_streams.add(unary_stream)
        return unary_stream

    def start(self, key: ObjectKey, request: RangeRequest, listener: RangeListener) -> RangeRead:
        """Read one range for a unary stream (see `RangeReads.start`)."""
        self.read_object_requests += 1
        self._probe_if_due(key)
        return self._reads.start(key, request, listener)

    # -- called by streams

    def note_response(self) -> None:
        """Record that a stream had its first response."""
        was_missing = self.availability.missing
        self.availability.note_response()
        self._handle_change(was_missing=was_missing)

    def note_end(self, end: StreamEnd, silence_seconds: float) -> bool:
        """Record the end of a stream without a response; return whether to read by ReadObject."""
        was_missing = self.availability.missing
        use_read_object = self.availability.note_end(end, silence_seconds, self.clock())
        self._handle_change(was_missing=was_missing)
        return use_read_object

    def note_cancel(self, silence_seconds: float) -> None:
        """Record that a stream was cancelled before it had a response."""
        was_missing = self.availability.missing
        self.availability.note_cancel(silence_seconds, self.clock())
        self._handle_change(was_missing=was_missing)

    # -- private

    def _handle_change(self, *, was_missing: bool) -> None:
        missing = self.availability.missing
        if missing and not was_missing:
            log.warning(
                "BidiReadObject unavailable (%s): using one ReadObject call per range, retrying"
                " streams every %.0f s",
                self.availability.reason,
                RETRY_SECONDS,
            )
        elif was_missing and not missing:
            log.info("BidiReadObject available again: ranges share streams")
            self.close()
            for unary_stream in list(self.unary_streams):
                unary_stream.retire()

    def _probe_if_due(self, key: ObjectKey) -> None:
        if self.availability.probe_is_due(self.clock()):
            self.close()
            self._probe = _Probe(self, key)
            log.debug("probing BidiReadObject on %s", key)


class _ObservedStream:
    """A stream that tells the transport about its first response or its end without a response."""

    __slots__ = ("_messages_before", "_opened_at", "_transport", "_unanswered")

    def __init__(self, transport: FallbackTransport) -> None:
        self._transport = transport
        self._opened_at = transport.clock()
        self._messages_before = transport.messages
        self._unanswered = True

    def _note_message(self) -> None:
        transport = self._transport
        transport.messages += 1
        if self._unanswered:
            self._unanswered = False
            transport.note_response()

    def _silence_seconds(self) -> float:
        """Return the age of this stream in seconds; 0 if any stream got a message in this time."""
        transport = self._transport
        if transport.messages != self._messages_before:
            return 0.0
        return transport.clock() - self._opened_at


class _Probe(_ObservedStream):
    """A stream without ranges, opened to test whether BidiReadObject is available."""

    __slots__ = ("_stream",)

    def __init__(self, transport: FallbackTransport, key: ObjectKey) -> None:
        super().__init__(transport)
        self._stream = transport.streams.open(OpenSpec(key), (), self)

    def cancel(self) -> None:
        self._stream.cancel()

    def on_sent(self) -> None:
        """Do nothing, because a probe sends only its opening message."""

    def on_message(self, _message: BidiMessage) -> None:
        self._note_message()

    def on_end(self, end: StreamEnd) -> None:
        self._transport.note_end(end, self._silence_seconds())


class _CallWithFallback(_ObservedStream):
    """A call that begins as a stream and continues by ReadObject if BidiReadObject is missing."""

    __slots__ = ("_key", "_listener", "_ranges", "_sending", "_server")

    def __init__(
        self,
        transport: FallbackTransport,
        spec: OpenSpec,
        ranges: Sequence[RangeRequest],
        listener: BidiListener,
    ) -> None:
        super().__init__(transport)
        self._key = spec.key
        self._listener = listener
        # The ranges that a unary stream has to serve if it takes over this call.
        self._ranges = [*ranges]
        self._sending = True
        self._server: BidiCall = transport.streams.open(spec, ranges, self)

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Send one message (see `BidiCall.send`)."""
        self._sending = True
        if self._unanswered:
            self._ranges += ranges
        self._server.send(ranges)

    def cancel(self) -> None:
        """Cancel the call (see `BidiCall.cancel`)."""
        self._server.cancel()
        if self._unanswered:
            self._unanswered = False
            self._transport.note_cancel(self._silence_seconds())

    def on_sent(self) -> None:
        """Report to the listener that a message has been sent."""
        self._sending = False
        self._listener.on_sent()

    def on_message(self, message: BidiMessage) -> None:
        """Pass a response to the listener."""
        self._note_message()
        self._listener.on_message(message)

    def on_end(self, end: StreamEnd) -> None:
        """Pass the end to the listener, or let ReadObject calls serve the ranges instead."""
        unanswered, self._unanswered = self._unanswered, False
        if not unanswered or not self._transport.note_end(end, self._silence_seconds()):
            self._listener.on_end(end)
            return
        unary_stream = self._transport.open_unary_stream(self._key, self._listener)
        self._server = unary_stream
        if self._sending:
            unary_stream.send(self._ranges)
        else:
            unary_stream.take(self._ranges)
