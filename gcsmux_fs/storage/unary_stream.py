"""What stands in for a stream where there is none: a ReadObject call for each range.

Theory of operation. To whoever opened it, a stand-in is a BidiReadObject call: ranges are sent in
messages, chunks come back under their read ids, and one end comes last. Ranges wait in a queue for
one of a bounded number of places. The end of one range's call is either nothing (all was told), or
ends the stand-in with what was to be said, as the service ends a whole stream for one range; the
rules for lost streams then resume the others where they were.

Of an answer that was too short nothing is believed. It is asked for again, and for no more bytes
than had come: a server that ends its answers early sends as many, and then their sum is right.
The next stand-in of the object, which may be asked for the same range, goes on with that.

Invariants:
1. At most `MAX_READS` calls are under way; ranges are begun in the order they were asked for.
2. Once the stand-in has ended or was cancelled, no call of its own is under way and its listener
   hears nothing more.
3. A stand-in that retires begins no further range, and ends when none is under way.
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

# Eight of 2 MiB keep a fast connection busy, sixteen small ones hide the latency of one another.
# Each takes one of the hundred places that a connection commonly has, and other objects are read.
MAX_READS = 16

# What is said of one range alone. Everything else is of the object or of the way to it, and would
# be said of the next range as well.
_OF_ONE_RANGE = frozenset({StatusCode.OUT_OF_RANGE, StatusCode.DATA_LOSS})


class RangeQueue:
    """Which ranges are begun next, sans-IO."""

    __slots__ = ("_begun", "_retiring", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[RangeRequest] = deque()
        self._begun = 0
        self._retiring = False

    @property
    def finished(self) -> bool:
        """Whether nothing is under way any more, nor will be."""
        return self._retiring and not self._begun

    def add(self, ranges: Iterable[RangeRequest]) -> None:
        """Take ranges in."""
        self._waiting.extend(ranges)

    def begin(self) -> list[RangeRequest]:
        """Return the ranges to begin now; each has to be told `ended`."""
        count = 0 if self._retiring else min(len(self._waiting), MAX_READS - self._begun)
        self._begun += count
        return [self._waiting.popleft() for _ in range(count)]

    def ended(self) -> None:
        """Take note that one of the ranges begun has ended."""
        self._begun -= 1

    def retire(self) -> None:
        """Begin nothing more."""
        self._retiring = True


def end_by_range(read_id: int, end: StreamEnd) -> StreamEnd | None:
    """Return what the end of one range's call means for its stand-in; None for nothing."""
    if end.code is StatusCode.OK:
        return None
    if end.code in _OF_ONE_RANGE:
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
        key: the generation that is read.
        reads: reads single ranges.
        listener: of the call.
        call_soon: has a function called once the current callback is over.
        most_bytes: what one range of an object is asked for: as much as came of its last answer
            that was too short, and twice as much again with each one that was not, up to infinity.
        on_over: called once, when the stand-in has ended or was cancelled.
    """

    def __init__(
        self,
        key: ObjectKey,
        reads: RangeReads,
        listener: BidiListener,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        most_bytes: MutableMapping[ObjectKey, float],
        on_over: Callable[[UnaryStream], None],
    ) -> None:
        self._key = key
        self._reads = reads
        self._listener: BidiListener | None = listener
        self._call_soon = call_soon
        self._most_bytes = most_bytes
        self._on_over = on_over
        self._queue = RangeQueue()
        self._under_way: dict[int, RangeRead] = {}

    @property
    def under_way(self) -> int:
        """Calls that have not ended."""
        return len(self._under_way)

    def send(self, ranges: Sequence[RangeRequest]) -> None:
        """Take one message (see `BidiCall.send`)."""
        self.take(ranges)
        self._call_soon(self._tell_sent)

    def take(self, ranges: Sequence[RangeRequest]) -> None:
        """Take ranges whose message has already been told to have gone."""
        self._queue.add(ranges)
        self._begin()

    def cancel(self) -> None:
        """Give everything up (see `BidiCall.cancel`)."""
        self._close()

    def retire(self) -> None:
        """End after the ranges that are under way, so that another call takes over."""
        self._queue.retire()
        self._end_if_finished()

    # -- one range

    def on_message(self, message: BidiMessage) -> None:
        """Hand on what has come of a range."""
        most = self._most_bytes.get(self._key)
        if most and any(chunk.range_end and chunk.intact for chunk in message.chunks):
            self._most_bytes[self._key] = most * 2.0
        if self._listener is not None:
            self._listener.on_message(message)

    def on_short(self, came: int) -> None:
        """Take note that an answer was too short."""
        self._most_bytes[self._key] = float(came)

    def on_range_end(self, read_id: int, end: StreamEnd) -> None:
        """Take note that the call of a range is over."""
        del self._under_way[read_id]
        self._queue.ended()
        told = end_by_range(read_id, end)
        if told is not None:
            self._end(told)
            return
        self._begin()
        self._end_if_finished()

    # -- inside

    def _begin(self) -> None:
        for wanted in self._queue.begin():
            most = self._most_bytes.get(self._key, wanted.length)
            asked = replace(wanted, length=int(min(wanted.length, most)))
            listener = _RangeListener(self, wanted.read_id)
            self._under_way[wanted.read_id] = self._reads.start(self._key, asked, listener)

    def _end_if_finished(self) -> None:
        if self._queue.finished:
            self._end(StreamEnd(StatusCode.ABORTED, "BidiReadObject is back"))

    def _end(self, end: StreamEnd) -> None:
        listener = self._close()
        if listener is not None:
            listener.on_end(end)

    def _close(self) -> BidiListener | None:
        listener, self._listener = self._listener, None
        if listener is not None:
            for read in self._under_way.values():
                read.cancel()
            self._under_way.clear()
            self._on_over(self)
        return listener

    def _tell_sent(self) -> None:
        if self._listener is not None:
            self._listener.on_sent()


class _RangeListener:
    __slots__ = ("_read_id", "_stand_in")

    def __init__(self, stand_in: UnaryStream, read_id: int) -> None:
        self._stand_in = stand_in
        self._read_id = read_id

    def on_message(self, message: BidiMessage) -> None:
        self._stand_in.on_message(message)

    def on_short(self, came: int) -> None:
        self._stand_in.on_short(came)

    def on_end(self, end: StreamEnd) -> None:
        self._stand_in.on_range_end(self._read_id, end)
