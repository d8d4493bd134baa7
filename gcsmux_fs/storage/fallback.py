"""Streams where they can be had, and ReadObject calls in their place where they cannot.

Theory of operation. This is a `BidiTransport` around another one. A call begins as a stream; if
that ends unanswered in a way that tells that streams are not to be had (see
`gcsmux_fs.storage.availability`), a stand-in takes its place with all that was asked, and whoever
opened the call does not notice. From then on every new call begins as a stand-in.

While streams are missing, whoever opens or uses a stand-in may set off a *probe*: a stream of its
own that asks for nothing and is given up once it is answered. There is one at a time, no reader
waits for it, and a mount that nobody reads probes nothing. Its answer makes the stand-ins retire.

Invariants:
1. The listener of a call hears each of its messages sent exactly once and one end, as from any
   transport, whatever served it.
2. The log tells once of each change, and the counters count it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import LRUCache

from gcsmux_fs.storage.availability import RETRY_SECONDS, BidiAvailability
from gcsmux_fs.storage.ports import OpenSpec
from gcsmux_fs.storage.unary_stream import UnaryStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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

__all__ = ["FallbackStatistics", "FallbackTransport"]

log = logging.getLogger(__name__)

# Objects of which an answer was too short: more than are read at a time.
_MAX_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class FallbackStatistics:
    """Gauges and counters, for debugging and tests.

    Attributes:
        bidi_missing: 1 while BidiReadObject cannot be had.
        bidi_losses: how often that began.
        bidi_probes: streams opened to find out whether it is back.
        read_object_requests: calls of ReadObject.
        read_object_open: those under way.
        stand_ins: calls that are served so.
    """

    bidi_missing: int
    bidi_losses: int
    bidi_probes: int
    read_object_requests: int
    read_object_open: int
    stand_ins: int


class FallbackTransport:
    """See the module's text.

    Args:
        streams: opens streams.
        reads: reads ranges without one.
        clock: tells the time in seconds.
        call_soon: has a function called once the current callback is over.
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
        #: Messages heard on streams, all together: what tells silence from a slow answer.
        self.heard = 0
        self._reads = reads
        self._call_soon = call_soon
        self._availability = BidiAvailability()
        self._stand_ins: set[UnaryStream] = set()
        self._most_bytes: LRUCache[ObjectKey, float] = LRUCache(_MAX_REMEMBERED)
        self._probe: _Probe | None = None
        self._requests = 0

    def open(
        self, spec: OpenSpec, ranges: Sequence[RangeRequest], listener: BidiListener
    ) -> BidiCall:
        """Start a call (see `BidiTransport.open`)."""
        if not self._availability.missing:
            return _Call(self, spec, ranges, listener)
        stand_in = self.stand_in(spec.key, listener)
        stand_in.send(ranges)
        return stand_in

    def close(self) -> None:
        """Give up what is open without anybody's asking."""
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.cancel()

    def statistics(self) -> FallbackStatistics:
        """Return gauges and counters."""
        return FallbackStatistics(
            bidi_missing=int(self._availability.missing),
            bidi_losses=self._availability.losses,
            bidi_probes=self._availability.probes,
            read_object_requests=self._requests,
            read_object_open=sum(one.under_way for one in self._stand_ins),
            stand_ins=len(self._stand_ins),
        )

    # -- for the stand-ins

    def stand_in(self, key: ObjectKey, listener: BidiListener) -> UnaryStream:
        """Return what serves a call in place of a stream."""
        made = UnaryStream(
            key,
            self,
            listener,
            call_soon=self._call_soon,
            most_bytes=self._most_bytes,
            on_over=self._stand_ins.discard,
        )
        self._stand_ins.add(made)
        return made

    def start(self, key: ObjectKey, wanted: RangeRequest, listener: RangeListener) -> RangeRead:
        """Read one range for a stand-in (see `RangeReads.start`)."""
        self._requests += 1
        self._probe_if_due(key)
        return self._reads.start(key, wanted, listener)

    # -- what streams tell

    def answered(self) -> None:
        """Take note that a stream had its first answer."""
        was_missing = self._availability.missing
        self._availability.answered()
        self._tell_change(was_missing=was_missing)

    def ended_unanswered(self, end: StreamEnd, silence_seconds: float) -> bool:
        """Take note that a stream ended without one; return whether a stand-in is to take over."""
        was_missing = self._availability.missing
        lost = self._availability.ended_unanswered(end, silence_seconds, self.clock())
        self._tell_change(was_missing=was_missing)
        return lost

    def given_up_unanswered(self, silence_seconds: float) -> None:
        """Take note that a stream was cancelled without an answer."""
        was_missing = self._availability.missing
        self._availability.given_up_unanswered(silence_seconds, self.clock())
        self._tell_change(was_missing=was_missing)

    # -- inside

    def _tell_change(self, *, was_missing: bool) -> None:
        missing = self._availability.missing
        if missing and not was_missing:
            log.warning(
                "BidiReadObject is not to be had (%s): every range costs a ReadObject call of its"
                " own until it is; it is tried again every %.0f s",
                self._availability.why,
                RETRY_SECONDS,
            )
        elif was_missing and not missing:
            log.info("BidiReadObject is back: ranges share streams again")
            self.close()
            for stand_in in list(self._stand_ins):
                stand_in.retire()

    def _probe_if_due(self, key: ObjectKey) -> None:
        if self._availability.probe_is_due(self.clock()):
            self.close()
            self._probe = _Probe(self, key)
            log.debug("trying BidiReadObject again on %s", key)


class _Stream:
    """A stream that may stay without an answer."""

    __slots__ = ("_heard_before", "_opened_at", "_transport", "_unanswered")

    def __init__(self, transport: FallbackTransport) -> None:
        self._transport = transport
        self._opened_at = transport.clock()
        self._heard_before = transport.heard
        self._unanswered = True

    def _hear(self) -> None:
        self._transport.heard += 1
        if self._unanswered:
            self._unanswered = False
            self._transport.answered()

    def _silence_seconds(self) -> float:
        """Return for how long no stream has been heard, as far as this one can tell."""
        transport = self._transport
        if transport.heard != self._heard_before:
            return 0.0
        return transport.clock() - self._opened_at


class _Probe(_Stream):
    """A stream that nobody waits for."""

    __slots__ = ("_stream",)

    def __init__(self, transport: FallbackTransport, key: ObjectKey) -> None:
        super().__init__(transport)
        self._stream = transport.streams.open(OpenSpec(key), (), self)

    def cancel(self) -> None:
        self._stream.cancel()

    def on_sent(self) -> None:
        """Nothing further is to be sent."""

    def on_message(self, _message: BidiMessage) -> None:
        self._hear()

    def on_end(self, end: StreamEnd) -> None:
        self._transport.ended_unanswered(end, self._silence_seconds())


class _Call(_Stream):
    """A call that began as a stream."""

    __slots__ = ("_asked", "_key", "_listener", "_sending", "_server")

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
        # What a stand-in would have to take over.
        self._asked = [*ranges]
        self._sending = True
        self._server: BidiCall = transport.streams.open(spec, ranges, self)

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Send one message (see `BidiCall.send`)."""
        self._sending = True
        if self._unanswered:
            self._asked += ranges
        self._server.send(ranges)

    def cancel(self) -> None:
        """Give the call up (see `BidiCall.cancel`)."""
        self._server.cancel()
        if self._unanswered:
            self._unanswered = False
            self._transport.given_up_unanswered(self._silence_seconds())

    def on_sent(self) -> None:
        """Hand on that a message has gone."""
        self._sending = False
        self._listener.on_sent()

    def on_message(self, message: BidiMessage) -> None:
        """Hand on a response."""
        self._hear()
        self._listener.on_message(message)

    def on_end(self, end: StreamEnd) -> None:
        """Hand on the end, or go on without the stream."""
        lost = self._unanswered and self._transport.ended_unanswered(end, self._silence_seconds())
        self._unanswered = False
        if not lost:
            self._listener.on_end(end)
            return
        stand_in = self._transport.stand_in(self._key, self._listener)
        self._server = stand_in
        if self._sending:
            stand_in.send(self._asked)
        else:
            stand_in.take(self._asked)
