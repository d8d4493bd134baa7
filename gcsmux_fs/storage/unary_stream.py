"""A stream served by ReadObject calls, one for each range, while BidiReadObject is missing.

Theory of operation. To its user, a unary stream is a BidiReadObject call: the user sends messages
of ranges, chunks come back with their read ids, and one end comes last. Ranges wait in a queue; at
most `MAX_READS` calls are in flight. If the call of a range fails, the unary stream ends with its
status, as the service ends a stream for one failed range. The retry rules of `mux` then resume the
other ranges at their first missing byte.

If an answer is too short, all its bytes are discarded. The range is requested again, with a length
limit of the bytes that were received: a server that truncates its answers sends as many bytes
again, and then their total is right. The limit belongs to the object, so it also holds for the next
unary stream, which may get the same range.

Invariants:
1. At most `MAX_READS` calls are in flight. Ranges start in the order of their requests.
2. When a unary stream has ended or was cancelled, none of its calls is in flight, and its listener
   gets no callback.
3. A unary stream that retires starts no further range. It ends when none is in flight.
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
"""ReadObject calls in flight for one unary stream. Eight calls of 2 MiB fill a fast connection;
sixteen small calls hide each other's latency. Each call takes one of about 100 streams that a
server allows on a connection, and other objects need streams as well."""

# Statuses that concern one range. All others concern the object or the connection, so the next
# range would get the same status.
_RANGE_STATUSES = frozenset({StatusCode.OUT_OF_RANGE, StatusCode.DATA_LOSS})


class RangeQueue:
    """Decides which ranges start next, sans-IO."""

    __slots__ = ("_in_flight", "_pending", "_retiring")

    def __init__(self) -> None:
        self._pending: deque[RangeRequest] = deque()
        self._in_flight = 0
        self._retiring = False

    @property
    def finished(self) -> bool:
        """Whether no range is in flight and none will start."""
        return self._retiring and not self._in_flight

    def add(self, ranges: Iterable[RangeRequest]) -> None:
        """Append ranges."""
        self._pending.extend(ranges)

    def start(self) -> list[RangeRequest]:
        """Return the ranges to start now. The caller calls `note_end` for each of them."""
        count = 0 if self._retiring else min(len(self._pending), MAX_READS - self._in_flight)
        self._in_flight += count
        return [self._pending.popleft() for _ in range(count)]

    def note_end(self) -> None:
        """Note that one started range has ended."""
        self._in_flight -= 1

    def retire(self) -> None:
        """Start no further range."""
        self._retiring = True


def end_by_range(read_id: int, end: StreamEnd) -> StreamEnd | None:
    """Return the end of the unary stream that the end of one range's call causes; None if none."""
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
    """Serves one call by ReadObject (see `BidiCall`).

    Args:
        key: the generation to read.
        reads: reads single ranges.
        listener: gets the chunks and the end.
        call_soon: calls a function when the current callback has returned.
        max_bytes: request-size limit by object, in bytes. It is set to the bytes received when an
            answer was truncated, and doubles after each complete answer, up to infinity.
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
        """ReadObject calls that have not ended."""
        return len(self._reads_in_flight)

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Accept one message of ranges (see `BidiCall.send`)."""
        self.take(ranges)
        self._call_soon(self._report_sent)

    def take(self, ranges: Sequence[RangeRequest]) -> None:
        """Accept ranges for whose message the listener has already got `on_sent`."""
        self._queue.add(ranges)
        self._start_reads()

    def cancel(self) -> None:
        """Cancel all calls (see `BidiCall.cancel`)."""
        self._close()

    def retire(self) -> None:
        """End after the ranges in flight. The user then opens another call for the others."""
        self._queue.retire()
        self._end_if_finished()

    # -- callbacks of one range

    def on_message(self, message: BidiMessage) -> None:
        """Pass on a message of a range."""
        limit = self._max_bytes.get(self._key)
        if limit and any(chunk.range_end and chunk.intact for chunk in message.chunks):
            self._max_bytes[self._key] = limit * 2.0
        if self._listener is not None:
            self._listener.on_message(message)

    def on_short(self, received_bytes: int) -> None:
        """Limit the size of further requests, because an answer was truncated."""
        self._max_bytes[self._key] = float(received_bytes)

    def on_range_end(self, read_id: int, end: StreamEnd) -> None:
        """Start the next range, or end the unary stream if the range failed."""
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
    """Adds the read id to the end of a range."""

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
