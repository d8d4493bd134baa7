"""A stream that reads each range by one ReadObject call while BidiReadObject is missing.

Theory of operation. For its user, a unary stream looks like a BidiReadObject call: the user sends
messages with ranges and receives chunks with read ids and, at the end, `on_end`. Ranges wait in a
queue, and at most `MAX_READS` ReadObject calls are in flight. If the ReadObject call of one range
fails, the whole unary stream ends with the status of this call, because the service also ends a
stream when one range fails. The retry rules of `mux` then resume the other ranges at their first
missing byte.

If an answer is shorter than announced, all its bytes are discarded. Then the range is requested
again in parts that are no longer than the short answer. A server that truncates its answers at this
size can answer such a part completely. This size limit is stored for the object, so it also applies
to the next unary stream of the object, which may get the same range.

Invariants:
1. At most `MAX_READS` calls are in flight. Ranges start in the order in which they were requested.
2. When a unary stream has ended or was cancelled, none of its calls is in flight, and its listener
   gets no further callback.
3. A unary stream that retires starts no further range. It ends when no range is in flight.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.storage.ports import RangeFailure, StreamEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping, Sequence

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.ports import BidiListener, BidiMessage, RangeRequest
    from gcsmux_fs.storage.read_object import RangeRead, RangeReads

__all__ = ["MAX_READS", "RangeQueue", "UnaryStream", "end_by_range"]

MAX_READS = 16
"""Maximum number of ReadObject calls in flight for one unary stream. Eight calls of 2 MiB use the
bandwidth of a fast connection, and sixteen calls also hide the latency of small reads. The limit is
not higher, because a server allows about 100 HTTP/2 streams on a connection. Each call takes one of
these HTTP/2 streams, and reads of other objects need some too."""

# Statuses that concern one range only. All other statuses concern the object or the connection, so
# the next range would fail with the same status.
_RANGE_STATUSES = frozenset({StatusCode.OUT_OF_RANGE, StatusCode.DATA_LOSS})


class RangeQueue:
    """Queue that decides which ranges start next; sans-IO."""

    __slots__ = ("_in_flight", "_pending", "_retiring")

    def __init__(self) -> None:
        self._pending: deque[RangeRequest] = deque()
        self._in_flight = 0
        self._retiring = False

    @property
    def finished(self) -> bool:
        """Whether `retire` was called and no range is in flight."""
        return self._retiring and not self._in_flight

    def add(self, ranges: Iterable[RangeRequest]) -> None:
        """Append ranges."""
        self._pending.extend(ranges)

    def start(self) -> list[RangeRequest]:
        """Return the ranges to start now. The caller must call `note_end` when each has ended."""
        count = 0 if self._retiring else min(len(self._pending), MAX_READS - self._in_flight)
        self._in_flight += count
        return [self._pending.popleft() for _ in range(count)]

    def note_end(self) -> None:
        """Record that one started range has ended."""
        self._in_flight -= 1

    def retire(self) -> None:
        """From now on, let `start` return no range."""
        self._retiring = True


def end_by_range(read_id: int, end: StreamEnd) -> StreamEnd | None:
    """Return how the unary stream ends after the call of one range has ended with `end`.

    None means that the unary stream continues.
    """
    if end.code is StatusCode.OK:
        return None
    if end.code in _RANGE_STATUSES:
        failure = RangeFailure(read_id, end.code, end.message)
        return StreamEnd(end.code, end.message, (failure,))
    return StreamEnd(
        end.code,
        end.message,
        retry_seconds=end.retry_seconds,
        token_refused=end.token_refused,
    )


class UnaryStream:
    """A `BidiCall` that reads its ranges by ReadObject calls.

    Args:
        key: the generation of the object to read.
        reads: reads single ranges.
        listener: gets the chunks and the end.
        call_soon: calls a function when the current callback has returned.
        max_bytes: maximum number of bytes of one request, by object. A truncated answer sets the
            maximum to the number of received bytes. Each complete answer doubles the maximum.
        on_over: called once, when the unary stream has ended or was cancelled.
    """

    def __init__(
        self,
        key: ObjectKey,
        reads: RangeReads,
        listener: BidiListener,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        max_bytes: MutableMapping[ObjectKey, float],
        on_over: Callable[[UnaryStream], None],
    ) -> None:
        self._key = key
        self._reads = reads
        self._listener: BidiListener | None = listener
        self._call_soon = call_soon
        self._max_bytes = max_bytes
        self._on_over = on_over
        self._queue = RangeQueue()
        self._reads_in_flight: dict[int, RangeRead] = {}

    @property
    def in_flight(self) -> int:
        """Number of ReadObject calls that have not ended."""
        return len(self._reads_in_flight)

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Accept one message of ranges (see `BidiCall.send`)."""
        self.take(ranges)
        self._call_soon(self._report_sent)

    def take(self, ranges: Sequence[RangeRequest]) -> None:
        """Accept the ranges of messages for which the listener has already got `on_sent`."""
        self._queue.add(ranges)
        self._start_reads()

    def cancel(self) -> None:
        """Cancel all calls (see `BidiCall.cancel`)."""
        self._close()

    def retire(self) -> None:
        """End the stream when the ranges in flight have ended.

        The user of the stream opens another call for the ranges that have not started.
        """
        self._queue.retire()
        self._end_if_finished()

    # -- callbacks of one range

    def on_message(self, message: BidiMessage) -> None:
        """Pass a message of a range to the listener."""
        limit = self._max_bytes.get(self._key)
        if limit and any(chunk.range_end and chunk.intact for chunk in message.chunks):
            self._max_bytes[self._key] = limit * 2.0
        if self._listener is not None:
            self._listener.on_message(message)

    def on_short(self, received_bytes: int) -> None:
        """Limit the size of further requests, because an answer was truncated."""
        self._max_bytes[self._key] = float(received_bytes)

    def on_range_end(self, read_id: int, end: StreamEnd) -> None:
        """Start the next ranges; if this range failed, end the unary stream."""
        del self._reads_in_flight[read_id]
        self._queue.note_end()
        stream_end = end_by_range(read_id, end)
        if stream_end is not None:
            self._end(stream_end)
            return
        self._start_reads()
        self._end_if_finished()

    # -- private

    def _start_reads(self) -> None:
        for request in self._queue.start():
            limit = self._max_bytes.get(self._key, request.length)
            limited = replace(request, length=int(min(request.length, limit)))
            listener = _ListenerOfOneRange(self, request.read_id)
            read = self._reads.start(self._key, limited, listener)
            self._reads_in_flight[request.read_id] = read

    def _end_if_finished(self) -> None:
        if self._queue.finished:
            self._end(StreamEnd(StatusCode.ABORTED, "BidiReadObject is available again"))

    def _end(self, end: StreamEnd) -> None:
        listener = self._close()
        if listener is not None:
            listener.on_end(end)

    def _close(self) -> BidiListener | None:
        listener, self._listener = self._listener, None
        if listener is not None:
            for read in self._reads_in_flight.values():
                read.cancel()
            self._reads_in_flight.clear()
            self._on_over(self)
        return listener

    def _report_sent(self) -> None:
        if self._listener is not None:
            self._listener.on_sent()


class _ListenerOfOneRange:
    """Listens to the call of one range, and tells the unary stream the read id at the end."""

    __slots__ = ("_read_id", "_stream")

    def __init__(self, stream: UnaryStream, read_id: int) -> None:
        self._stream = stream
        self._read_id = read_id

    def on_message(self, message: BidiMessage) -> None:
        self._stream.on_message(message)

    def on_short(self, received_bytes: int) -> None:
        self._stream.on_short(received_bytes)

    def on_end(self, end: StreamEnd) -> None:
        self._stream.on_range_end(self._read_id, end)
