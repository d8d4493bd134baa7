"""What to fetch ahead of the READs of one open file.

Theory of operation: a FUSE server cannot tell the READs of a program from those of the kernel's
own readahead, and the kernel sends several at once, in no promised order. So a reader is a
`Cursor`: a position with some tolerance on either side. A cursor begins with evidence of a
sequential run: a READ of 128 KiB at offset 0, or one that adjoins an earlier READ. What it may
have ahead, its window, begins at 8 times what it has read, up to 1 MiB, and doubles when a READ
has to wait. Bytes asked for before the last doubling say nothing about the window of now, so a
wait for one of them does not count: a burst of waiting READs doubles the window once.

Runs of one file are alike: a program that reads 1 MiB here reads 1 MiB there, although the kernel
makes several READs of it. When the last runs before were all longer than one READ, a first READ of
128 KiB is evidence enough for a window as long as the shortest of them; and when they were
of one length, nothing is fetched beyond it before the run has gone further itself.

The window is topped up by a quarter, in ranges of a quarter, at most 2 MiB and aligned: at full
size one message asks for several whole ranges, at the start the first range comes early.

The planner keeps no clock and fetches nothing; `ReadaheadPlan` says what to fetch, and which
bytes lie behind or were given up and need no protection any more.

Invariants:

1. A plan's ranges do not overlap what the same cursor has planned before, unless that was refused
   or the cursor has ended in between.
2. Nothing is planned beyond the object's end, nor further ahead of a cursor than its share: those
   at work share the limit equally, less what others have left ahead, but half of it in any case.
3. Each byte planned is released once: when its cursor has passed it by 1 MiB, or ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.access_patterns import TOLERANCE_BYTES, AccessPatterns, Cursor
from gcsmux_fs.reading.block_index import GRANULE_BYTES, PAGE_BYTES

__all__ = [
    "FIRST_WINDOW_BYTES",
    "KERNEL_READ_BYTES",
    "MAX_CURSORS",
    "ReadaheadPlan",
    "ReadaheadPlanner",
]

KERNEL_READ_BYTES = 128 * 1024
"""The kernel's default readahead window, hence the size of its READs in a sequential run. A READ of
this size at offset 0 means that the kernel expects one. Also the least worth a range of its own."""

FIRST_WINDOW_BYTES = 1024 * 1024
"""How far ahead a new reader may have us fetch: 8 READs, lost if it stops after the first."""

_EVIDENCE_FACTOR = 8
"""Window of a new reader for each byte it has read: 128 KiB, one READ, is worth a first window."""

MAX_CURSORS = 4
"""Sequential readers of one open file that are told apart; each READ compares with all of them."""

_RECENT_ENDS = 8
"""READ ends remembered, so that a run is found among this many other READs in between."""


@dataclass(frozen=True, slots=True)
class ReadaheadPlan:
    """What to do after a READ: ranges to fetch, nearest first, and ranges to protect no more."""

    fetch: tuple[ByteRange, ...]
    release: tuple[ByteRange, ...]
    #: The reader has nothing ahead yet.
    first_window: bool


class ReadaheadPlanner:
    """Follows the READs of one open file of `size` bytes."""

    __slots__ = ("_cursors", "_ends", "_habits", "_newest", "_released", "_size", "current")

    def __init__(self, size: int, habits: AccessPatterns | None = None) -> None:
        self._size = size
        #: Least recently used first.
        self._cursors: list[Cursor] = []
        #: Runs that nothing is planned for yet, by where they ended.
        self._ends: dict[int, Cursor] = {}
        self._habits = habits if habits is not None else AccessPatterns()
        self._newest: Cursor | None = None
        self._released: list[ByteRange] = []
        #: The cursor of the last READ that had one.
        self.current: Cursor | None = None

    def __repr__(self) -> str:
        return f"<ReadaheadPlanner {self._cursors}>"

    @property
    def is_active(self) -> bool:
        """Whether any sequential reader is known."""
        return bool(self._cursors)

    def observe(self, offset: int, end: int) -> Cursor | None:
        """Take note of a READ of `[offset, end)` and return the reader it belongs to, if any."""
        cursor = self._match(offset)
        if cursor is not None:
            cursor.bytes_read += end - offset
            cursor.position = max(cursor.position, end)
            cursor.doubted = False
            if cursor is not self.current:
                self.current = cursor
                self._cursors.remove(cursor)
                self._cursors.append(cursor)
            return cursor
        length = end - offset
        cursor = self._ends.pop(offset, None)
        if cursor is not None:
            cursor.position = end
            cursor.bytes_read += length
            begins = True
        else:
            cursor = self._new_run(offset, end)
            begins = length >= KERNEL_READ_BYTES and (offset == 0 or cursor.expected > length)
        if begins and end < self._size:
            return self._begin(cursor)
        self._remember(cursor)
        return None

    def waited(self, cursor: Cursor, offset: int) -> None:
        """Note that a READ at `offset` of this reader found its bytes not ready."""
        if offset >= cursor.growth_mark:
            cursor.window *= 2
            cursor.growth_mark = max(cursor.ahead_end, cursor.position)
            cursor.top_up_at = cursor.position

    def refused(self, cursor: Cursor, offset: int) -> None:
        """Note that the planned ranges from `offset` on were not fetched, for want of memory."""
        cursor.ahead_end = offset
        cursor.window = max(cursor.window // 2, KERNEL_READ_BYTES)
        self._set_top_up(cursor)

    def plan(self, cursor: Cursor, limit: int) -> ReadaheadPlan:
        """Decide what to fetch for `cursor`; `limit` is what all readers share."""
        released, self._released = self._released, []
        if cursor.position >= self._size or cursor.is_sparse:
            self._end(cursor, released)
            return ReadaheadPlan((), tuple(released), first_window=False)
        behind = cursor.position - TOLERANCE_BYTES
        if behind > cursor.protected_from:
            released.append(ByteRange(cursor.protected_from, behind - cursor.protected_from))
            cursor.protected_from = behind

        evidence = min(FIRST_WINDOW_BYTES, cursor.bytes_read * _EVIDENCE_FACTOR)
        likely = cursor.start + cursor.expected - cursor.position
        window = min(max(cursor.window, evidence, likely), self._share(limit))
        cursor.window = window = window - window % KERNEL_READ_BYTES
        # The last READ's range was rounded up to here by the reader.
        position = -(-cursor.position // GRANULE_BYTES) * GRANULE_BYTES
        at = max(cursor.ahead_end, position)
        first_window = at == position and window <= FIRST_WINDOW_BYTES
        piece = _piece_bytes(window)
        target = min(position + window, self._size)
        if position <= cursor.stop < target:
            target = cursor.stop
        elif target < self._size:
            target -= target % piece
        fetch: list[ByteRange] = []
        while at < target:
            length = min(piece - at % piece, target - at)
            fetch.append(ByteRange(at, length))
            at += length
        cursor.ahead_end = at
        self._set_top_up(cursor)
        return ReadaheadPlan(tuple(fetch), tuple(released), first_window)

    def stop(self) -> tuple[ByteRange, ...]:
        """Forget every reader and return what to protect no more; a reader that goes on is seen."""
        released, self._released = self._released, []
        while self._cursors:
            cursor = self._cursors[-1]
            self._end(cursor, released)
            self._remember(cursor)
        return tuple(released)

    def _match(self, offset: int) -> Cursor | None:
        nearest: Cursor | None = None
        least = 0
        for cursor in self._cursors:
            distance = offset - cursor.position
            if distance == 0:
                return cursor
            reach = max(cursor.ahead_end - cursor.position, TOLERANCE_BYTES)
            if -TOLERANCE_BYTES <= distance <= reach and (nearest is None or abs(distance) < least):
                nearest, least = cursor, abs(distance)
        return nearest

    def _share(self, limit: int) -> int:
        """Return what each reader at work may have ahead; what others have left counts as well."""
        # A reader without a window runs past what it has ahead before it calls for a plan.
        left = sum(
            [max(0, each.ahead_end - each.position) for each in self._cursors if each.doubted]
        )
        at_work = sum([not each.doubted for each in self._cursors])
        return max(limit - left, limit // 2) // at_work

    def _new_run(self, offset: int, end: int) -> Cursor:
        # Most programs go on elsewhere when they are done with a run.
        if self._newest is not None and self._size > FIRST_WINDOW_BYTES:
            self._habits.add(self._newest)
        expected, longest = self._habits.expect()
        stop = 0
        if longest and expected > end - offset:
            stop = min(-(-(offset + longest) // GRANULE_BYTES) * GRANULE_BYTES, self._size)
        cursor = Cursor(offset, end, expected, stop)
        self._newest = cursor
        return cursor

    def _begin(self, cursor: Cursor) -> Cursor:
        if len(self._cursors) >= MAX_CURSORS:
            self._end(self._cursors[0], self._released)
        for other in self._cursors:
            other.doubted = True
        cursor.begin()
        self._cursors.append(cursor)
        self.current = cursor
        return cursor

    def _end(self, cursor: Cursor, released: list[ByteRange]) -> None:
        self._cursors.remove(cursor)
        if self.current is cursor:
            self.current = None
        if cursor.ahead_end > cursor.protected_from:
            length = cursor.ahead_end - cursor.protected_from
            released.append(ByteRange(cursor.protected_from, length))

    def _remember(self, cursor: Cursor) -> None:
        self._ends[cursor.position] = cursor
        if len(self._ends) > _RECENT_ENDS:
            del self._ends[next(iter(self._ends))]

    def _set_top_up(self, cursor: Cursor) -> None:
        if cursor.ahead_end >= self._size:
            cursor.top_up_at = self._size
        elif cursor.ahead_end == cursor.stop:
            cursor.top_up_at = cursor.stop + 1
        else:
            spare = max(_piece_bytes(cursor.window), cursor.window // 4)
            cursor.top_up_at = cursor.ahead_end - cursor.window + spare


def _piece_bytes(window: int) -> int:
    """Return the length of ranges for a window: a power of two, about a quarter of it."""
    if window < 4 * KERNEL_READ_BYTES:
        return KERNEL_READ_BYTES
    return min(1 << ((window // 4).bit_length() - 1), PAGE_BYTES)
