"""Spans of ranges and of the streams that carry them.

The span of a range is a child of the READ or the OPEN that requests the range, also if the range is
read ahead. A range that no traced request asks for has no span. The span of a stream begins with
the first message that carries a traced range, and is a child of this range. If a stream is lost,
its ranges get an event with the place where the next stream resumes them.

All code runs in the trio thread.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import Link, Status, StatusCode

from gcsmux_fs.model.errors import StatusCode as GrpcStatus
from gcsmux_fs.model.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import Span, Tracer

    from gcsmux_fs.model.values import FinalContent, ObjectKey
    from gcsmux_fs.reading.range_source import RangeSource, RangeTicket
    from gcsmux_fs.storage.ports import (
        BidiCall,
        BidiListener,
        BidiMessage,
        BidiTransport,
        OpenSpec,
        RangeRequest,
        StreamEnd,
    )

__all__ = [
    "ActiveRanges",
    "RequestedBytes",
    "TracedSource",
    "TracedTransport",
    "object_attributes",
    "requested_bytes",
]


@dataclass(slots=True)
class RequestedBytes:
    """The bytes of the READ that is being answered, and whether the READ had to request a range."""

    start: int
    end: int
    is_miss: bool = False


requested_bytes: ContextVar[RequestedBytes | None] = ContextVar("requested_bytes", default=None)
"""The bytes of the READ that the current task answers; None outside of a READ."""


def object_attributes(key: ObjectKey) -> dict[str, str | int]:
    """Return the attributes that name an object generation."""
    return {
        "gcsmux.bucket": key.bucket,
        "gcsmux.object": key.name,
        "gcsmux.generation": key.generation,
    }


class _TracedRange:
    """A requested range with its span, which ends when the range is answered or cancelled."""

    __slots__ = ("_active", "_key", "_span", "_ticket", "end", "sent", "start")

    def __init__(
        self, active: ActiveRanges, key: ObjectKey, start: int, end: int, span: Span
    ) -> None:
        self._active = active
        self._key = key
        self.start = start
        self.end = end
        self._span = span
        self._ticket: RangeTicket | None = None
        #: Whether a stream has carried this range.
        self.sent = False

    @property
    def span(self) -> Span:
        """The span of this range."""
        return self._span

    @property
    def last_error(self) -> str:
        """The last error of the range (see `RangeTicket.last_error`)."""
        return "" if self._ticket is None else self._ticket.last_error

    def attach(self, ticket: RangeTicket) -> None:
        """Keep the ticket of the range."""
        self._ticket = ticket

    def cancel(self) -> None:
        """Cancel the range (see `RangeTicket.cancel`)."""
        if self._ticket is not None:
            self._ticket.cancel()
        if self._span.is_recording():
            self._span.set_attribute("gcsmux.cancelled", value=True)
            self._finish()

    def finish(self, outcome: memoryview | StorageError) -> None:
        """End the span with the outcome of the range."""
        if isinstance(outcome, StorageError):
            self._span.record_exception(outcome)
            self._span.set_status(Status(StatusCode.ERROR, str(outcome)))
        self._finish()

    def _finish(self) -> None:
        self._span.end()
        self._active.discard(self._key, self)


class ActiveRanges:
    """The ranges with a span that has not ended, by object."""

    def __init__(self) -> None:
        self._ranges: dict[ObjectKey, dict[_TracedRange, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._ranges.values()))

    def add(self, key: ObjectKey, start: int, end: int, span: Span) -> _TracedRange:
        """Add a range whose span has begun."""
        traced = _TracedRange(self, key, start, end, span)
        self._ranges.setdefault(key, {})[traced] = None
        return traced

    def discard(self, key: ObjectKey, traced: _TracedRange) -> None:
        """Remove a range whose span has ended."""
        ranges = self._ranges.get(key)
        if ranges is not None:
            ranges.pop(traced, None)
            if not ranges:
                del self._ranges[key]

    def carried_by(self, key: ObjectKey, requests: Sequence[RangeRequest]) -> list[_TracedRange]:
        """Return the ranges that the requests of a message ask for.

        A resumed range begins later than at first, so a range is found by any byte inside of it.
        """
        ranges = self._ranges.get(key, ())
        return [
            traced
            for traced in ranges
            if any(traced.start <= request.offset < traced.end for request in requests)
        ]


class TracedSource:
    """A range source that gives each range of a traced request a span."""

    def __init__(self, source: RangeSource, tracer: Tracer, active: ActiveRanges) -> None:
        self._source = source
        self._tracer = tracer
        self._active = active

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        final: FinalContent | None = None,
    ) -> RangeTicket:
        """Request a range from the source; see `RangeSource.request`."""
        if not trace.get_current_span().is_recording():
            return self._source.request(key, offset, length, done, final=final)
        attributes = object_attributes(key)
        attributes |= {
            "gcsmux.offset": offset,
            "gcsmux.length": length,
            "gcsmux.readahead": not _needed_now(offset, offset + length),
        }
        span = self._tracer.start_span("range", attributes=attributes)
        traced = self._active.add(key, offset, offset + length, span)

        def finish(outcome: memoryview | StorageError) -> None:
            traced.finish(outcome)
            done(outcome)

        ticket = self._source.request(key, offset, length, finish, final=final)
        traced.attach(ticket)
        return traced


def _needed_now(start: int, end: int) -> bool:
    """Return whether the current READ needs bytes of `[start, end)`. If so, it is a miss."""
    needed = requested_bytes.get()
    if needed is None or end <= needed.start or start >= needed.end:
        return False
    needed.is_miss = True
    return True


class TracedTransport:
    """A transport that gives a stream a span, as soon as the stream carries a traced range."""

    def __init__(self, transport: BidiTransport, tracer: Tracer, active: ActiveRanges) -> None:
        self._transport = transport
        self._tracer = tracer
        self._active = active

    def open(
        self, spec: OpenSpec, ranges: Sequence[RangeRequest], listener: BidiListener
    ) -> BidiCall:
        """Start a call (see `BidiTransport.open`)."""
        stream = _TracedStream(listener, spec.key, self._tracer, self._active)
        stream.note_sent(ranges)
        stream.call = self._transport.open(spec, ranges, stream)
        return stream


class _TracedStream:
    """A stream that may have a span. It is the listener of the call, and the call of its user."""

    call: BidiCall

    def __init__(
        self, listener: BidiListener, key: ObjectKey, tracer: Tracer, active: ActiveRanges
    ) -> None:
        self._listener = listener
        self._key = key
        self._tracer = tracer
        self._active = active
        # The span; None until the stream carries a traced range, and after the end.
        self._span: Span | None = None

    def note_sent(self, requests: Sequence[RangeRequest]) -> None:
        """Add an event to the span of each range that a message asks for."""
        carried = self._active.carried_by(self._key, requests)
        if not carried:
            return
        if self._span is None:
            first, *others = (traced.span for traced in carried)
            self._span = self._tracer.start_span(
                "stream",
                context=trace.set_span_in_context(first),
                attributes=object_attributes(self._key),
                links=[Link(each.get_span_context()) for each in others],
            )
        self._span.add_event("message", {"gcsmux.ranges": len(requests)})
        stream_id = trace.format_span_id(self._span.get_span_context().span_id)
        for traced in carried:
            offset = next(
                each.offset for each in requests if traced.start <= each.offset < traced.end
            )
            name = "resumed" if traced.sent else "sent"
            traced.sent = True
            traced.span.add_event(name, {"gcsmux.stream": stream_id, "gcsmux.offset": offset})

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Send one message (see `BidiCall.send`)."""
        self.note_sent(ranges)
        self.call.send(ranges)

    def cancel(self) -> None:
        """Cancel the call (see `BidiCall.cancel`)."""
        self.call.cancel()
        if self._span is not None:
            self._span.set_attribute("gcsmux.cancelled", value=True)
            self._span.end()
            self._span = None

    def on_sent(self) -> None:
        """Pass the event on."""
        self._listener.on_sent()

    def on_message(self, message: BidiMessage) -> None:
        """Pass the message on."""
        self._listener.on_message(message)

    def on_end(self, end: StreamEnd) -> None:
        """End the span, and pass the end on."""
        if self._span is not None:
            self._span.set_attribute("rpc.grpc.status_code", end.code.value)
            if end.code is not GrpcStatus.OK:
                self._span.set_status(Status(StatusCode.ERROR, f"{end.code.name}: {end.message}"))
            self._span.end()
            self._span = None
        self._listener.on_end(end)
