"""Decides which ranges an OPEN requests before the OPEN is answered.

Theory of operation

An OPEN that requests bytes finds out whether its object generation still exists. If the generation
is gone, the OPEN fails, and the kernel looks the name up again and opens the new object. The OPEN
requests the bytes that the first READ is expected to need, so this check costs no extra round trip:
to open and read a file that is not cached takes one round trip, with or without the check. If the
bytes are cached, the OPEN requests nothing.

If the last similar files were read in part only, the OPEN requests this part and no more (see
`file_forecasts`). This is what keeps a program cheap that reads only the heads or only the tails of
many files.

Otherwise the first READ is predicted to be like the first READ of the last file in the same
directory, or else of the last file with the same suffix. The first READ of that file was in one of
three places:

- At the start of the file, as in most programs.
- At the end of the file, where Parquet and zip files keep their directories.
- At another place. The OPEN then requests 16 KiB at the start, a cheap way to find out whether the
  generation exists.

If nothing is known about a small object, the OPEN requests all of it. If the last similar files
were read whole, the OPEN of a larger object also requests a full readahead window, unless the last
file that the opener opened got no READ.

Two patterns make the requests of OPENs useless. The planner detects each pattern after `MAX_UNREAD`
OPENs without a READ, and then requests nothing:

- A program opens files and does not read them. These OPENs are counted for each opener, which is
  the number of the thread that the kernel sends.
- The kernel answers READs from its page cache, because the files have been read before. These
  OPENs are counted once for the whole mount and not for their openers, because a program that
  serves popular files does read its files.

A READ ends either pattern.

Invariants:
1. An OPEN requests nothing if the object is empty, if the first byte of the predicted range is
   cached, or if there is no prediction and any byte is cached. Only of a forecast part, the rest is
   requested, and the OPEN does not wait for it.
2. A requested range begins at a multiple of 16 KiB. It ends at a multiple of 16 KiB or at the
   object's end.
3. If a part is forecast, no byte beyond the part is requested.
4. At most `MAX_UNREAD` OPENs of one opener request bytes without a READ in between. For all openers
   without a number together, the limit is `MAX_UNREAD_UNNAMED`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import cachetools

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.block_sizes import GRANULE_BYTES, PAGE_BYTES
from gcsmux_fs.reading.file_forecasts import (
    TINY_OBJECT_BYTES,
    UNKNOWN,
    FileForecast,
    kind_of,
)
from gcsmux_fs.reading.sequential_run import FIRST_WINDOW_BYTES, KERNEL_READ_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.file_forecasts import FileForecasts

__all__ = [
    "MAX_UNREAD",
    "MAX_UNREAD_UNNAMED",
    "SMALL_OBJECT_BYTES",
    "OpenPlanner",
    "Opening",
    "parts_to_request",
]

SMALL_OBJECT_BYTES = 1024 * 1024
"""Maximum size of a small object. A READ of at least 128 KiB at the start of the object
fetches the whole object. This takes one request instead of several, and loads no more bytes than a
first readahead window. While READs wait for half of the memory or more, the READ does not fetch the
whole object, because READs that never get an answer would soon hold all memory."""

MAX_UNREAD = 8
"""Maximum number of OPENs of one opener that request bytes without a READ in between. With round
trips of 20 ms, a program that reads nothing loses at most 160 ms. The limit is not 1, because a
program such as `paste` opens all its files before it reads one of them."""

MAX_UNREAD_UNNAMED = 64
"""Maximum number of OPENs, like `MAX_UNREAD`, by all programs in other PID namespaces (containers)
together. The kernel sends the thread number 0 for each of these programs, and dozens of programs
may open files at the same time."""

# A first READ that begins at most this many bytes before the end counts as a READ of the end of the
# file. A program first reads the last bytes of a footer, and the kernel reads the pages that hold
# these bytes.
_TAIL_BYTES = 64 * 1024
# Length of the ranges of the first readahead window; the readahead planner uses the same length.
_PIECE_BYTES = FIRST_WINDOW_BYTES // 4
_MAX_PREDICTIONS = 1024
_MAX_OPENERS = 4096
# Maximum number of remembered keys of objects that have been read. Each key takes 100 bytes.
_MAX_READ_KEYS = 32_768


class _Place(enum.Enum):
    """Where the first READ of a file was."""

    UNKNOWN = enum.auto()
    START = enum.auto()
    END = enum.auto()
    ELSEWHERE = enum.auto()


class Opening:
    """The plan of one OPEN: the range for which the OPEN waits, and further ranges to request."""

    __slots__ = ("ahead", "awaited", "forecast", "is_revisit", "key", "opener", "size")

    def __init__(
        self, key: ObjectKey, size: int, opener: int, forecast: FileForecast, *, is_revisit: bool
    ) -> None:
        self.key = key
        self.size = size
        self.opener = opener
        #: What the program is expected to read of the file.
        self.forecast = forecast
        #: True if the object has been read before: the kernel may have its pages in the page cache.
        self.is_revisit = is_revisit
        #: The range for which the OPEN waits; None if the OPEN is answered at once.
        self.awaited: ByteRange | None = None
        #: Further ranges to request, for which the OPEN does not wait.
        self.ahead: tuple[ByteRange, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<Opening of {self.key} by thread {self.opener}:"
            f" waits for {self.awaited}, also requests {self.ahead}>"
        )

    @property
    def ranges(self) -> tuple[ByteRange, ...]:
        """All ranges to request."""
        return self.ahead if self.awaited is None else (self.awaited, *self.ahead)


class OpenPlanner:
    """Plans all OPENs of a mount; `forecasts` has what is expected of each file."""

    def __init__(self, forecasts: FileForecasts) -> None:
        self._forecasts = forecasts
        # `_by_directory` holds the first READ of the last file in each directory. `_by_suffix`
        # holds the first READ of the last file with each suffix. An entry is the place of the
        # READ, and its length from the file's start or to the file's end.
        self._by_directory: cachetools.LRUCache[str, tuple[_Place, int]] = cachetools.LRUCache(
            _MAX_PREDICTIONS
        )
        self._by_suffix: cachetools.LRUCache[str, tuple[_Place, int]] = cachetools.LRUCache(
            _MAX_PREDICTIONS
        )
        # For each opener: the number of OPENs that had bytes to request, since the last time that
        # a file of this opener got its first READ.
        self._unread: cachetools.LRUCache[int, int] = cachetools.LRUCache(_MAX_OPENERS)
        self._unread_revisits = 0
        # Hashes of the keys of objects that have been read. Keys with equal hashes count as one.
        self._read_keys: dict[int, None] = {}

    def plan(
        self,
        key: ObjectKey,
        size: int,
        opener: int,
        *,
        is_cached: bool,
        is_ready: Callable[[int], bool],
        window: int = FIRST_WINDOW_BYTES,
    ) -> Opening:
        """Plan the OPEN of an object of `size` bytes by the thread `opener`.

        `is_cached` says whether any byte of the object is cached. `is_ready` returns whether the
        byte at an offset is cached. `window` is the length in bytes of a full readahead window.
        """
        forecast = self._forecasts.forecast(key.name) if size > TINY_OBJECT_BYTES else UNKNOWN
        opening = Opening(key, size, opener, forecast, is_revisit=hash(key) in self._read_keys)
        if size:
            expected, ahead, is_predicted = self._choose(opening, window)
            if not is_cached or (is_predicted and not is_ready(expected.offset)):
                if self._may_request(opening):
                    opening.awaited = expected
                    opening.ahead = self._cut(opening, expected.end, ahead)
            elif forecast.is_part and ahead and self._may_request(opening):
                opening.ahead = ahead
        return opening

    def note_first_read(self, opening: Opening, offset: int, end: int) -> None:
        """Record the first READ of an open file: `[offset, end)`, within the object."""
        if opening.is_revisit:
            self._unread_revisits = 0
        self._unread.pop(opening.opener, None)
        key_hash = hash(opening.key)
        self._read_keys.pop(key_hash, None)
        self._read_keys[key_hash] = None
        if len(self._read_keys) > _MAX_READ_KEYS:
            del self._read_keys[next(iter(self._read_keys))]
        size = opening.size
        if size <= TINY_OBJECT_BYTES:
            return
        if offset == 0:
            # A READ up to the object's end counts as sequential, because the program would read on
            # in a longer object.
            first_read = _Place.START, max(end, KERNEL_READ_BYTES) if end == size else end
        elif size - offset <= _TAIL_BYTES:
            first_read = _Place.END, size - offset
        else:
            first_read = _Place.ELSEWHERE, 0
        directory, suffix = kind_of(opening.key.name)
        self._by_directory[directory] = self._by_suffix[suffix] = first_read

    def note_failed_open(self, opening: Opening) -> None:
        """Do not count a failed OPEN as an OPEN without a READ, because no READ can follow it."""
        if opening.is_revisit:
            self._unread_revisits = max(0, self._unread_revisits - 1)
        elif (unread := self._unread.get(opening.opener, 0)) > 1:
            self._unread[opening.opener] = unread - 1
        else:
            self._unread.pop(opening.opener, None)

    def _may_request(self, opening: Opening) -> bool:
        if opening.is_revisit:
            self._unread_revisits += 1
            return self._unread_revisits <= MAX_UNREAD
        unread = self._unread[opening.opener] = self._unread.get(opening.opener, 0) + 1
        return unread <= (MAX_UNREAD if opening.opener else MAX_UNREAD_UNNAMED)

    def _cut(
        self, opening: Opening, start: int, ahead: tuple[ByteRange, ...]
    ) -> tuple[ByteRange, ...]:
        """Cut what an OPEN requests ahead to 1 MiB if the OPEN before it got no READ.

        Otherwise a program that opens many files before it reads one would hold all memory of
        readahead until it closes them.
        """
        unread = (
            self._unread_revisits if opening.is_revisit else self._unread.get(opening.opener, 0)
        )
        if unread <= 1 or not opening.forecast.is_whole:
            return ahead
        return tuple([each for each in ahead if each.end <= start + FIRST_WINDOW_BYTES])

    def _choose(
        self, opening: Opening, window: int
    ) -> tuple[ByteRange, tuple[ByteRange, ...], bool]:
        """Return what to request: the range to wait for, and further ranges.

        The third value says whether the first READ is expected to need the first range.
        """
        size, forecast = opening.size, opening.forecast
        if size <= TINY_OBJECT_BYTES:
            return ByteRange(0, size), (), True
        place, length = self._predict(opening.key.name) or (_Place.UNKNOWN, KERNEL_READ_BYTES)
        if forecast.is_part:
            parts = forecast.parts(size)
            # Wait for the part that the first READ needs.
            ordered = parts[::-1] if place is _Place.END else parts
            # No more than the window is requested besides the first piece. A part may be terabytes.
            longest = window + PAGE_BYTES
            pieces = [
                piece
                for part in ordered
                for piece in _pieces(part.offset, min(part.end, part.offset + longest))
            ]
            return pieces[0], tuple(pieces[1:]), True
        if place is _Place.ELSEWHERE:
            return ByteRange(0, GRANULE_BYTES), (), False
        if place is _Place.END:
            start = max(0, size - length) // GRANULE_BYTES * GRANULE_BYTES
            return ByteRange(start, size - start), (), True
        if length >= KERNEL_READ_BYTES and size <= SMALL_OBJECT_BYTES:
            return ByteRange(0, size), (), True
        expected = ByteRange(0, min(-(-length // GRANULE_BYTES) * GRANULE_BYTES, size))
        if forecast.is_whole:
            return expected, _pieces(expected.end, min(expected.end + window, size)), True
        if place is _Place.UNKNOWN or length < KERNEL_READ_BYTES:
            return expected, (), True
        end = min(expected.end + FIRST_WINDOW_BYTES, size)
        return expected, _pieces(expected.end, end), True

    def _predict(self, name: str) -> tuple[_Place, int] | None:
        """Return place and length of the first READ of the last similar file; None if unknown."""
        directory, suffix = kind_of(name)
        return self._by_directory.get(directory) or self._by_suffix.get(suffix)


def parts_to_request(forecast: FileForecast, size: int) -> tuple[ByteRange, ...]:
    """Return the forecast parts that are requested before a READ: at most 1 MiB of each.

    Of a longer head, the first MiB is requested, because readahead can continue it. Of a longer
    tail, nothing is requested.
    """
    parts = forecast.parts(size)
    if parts and parts[0].offset == 0:
        parts = ByteRange(0, min(parts[0].length, FIRST_WINDOW_BYTES)), *parts[1:]
    return tuple([part for part in parts if part.length <= FIRST_WINDOW_BYTES])


def _pieces(start: int, end: int) -> tuple[ByteRange, ...]:
    """Divide `[start, end)` into ranges for readahead: short ones in the first MiB of the file."""
    pieces: list[ByteRange] = []
    while start < end:
        size = _PIECE_BYTES if start < FIRST_WINDOW_BYTES else PAGE_BYTES
        length = min(size - start % size, end - start)
        pieces.append(ByteRange(start, length))
        start += length
    return tuple(pieces)
