"""Decides what an OPEN requests before it is answered, sans-IO.

Theory of operation

An OPEN that requests bytes finds out whether its object generation still exists. If the generation
is gone, the OPEN fails, and the kernel looks the name up again and opens the new object. The bytes
are those that the first READ is expected to need. So the check costs no extra round trip: to open
and read a cold file takes one round trip, as without the check. If the bytes are cached, the OPEN
requests nothing and costs nothing.

The first READ is predicted from the last file of the same directory, or else of the same suffix:
the start of the file, as in most programs; the end, where Parquet and zip files keep their
directories; or another place, for which 16 KiB at the start are requested, because they answer the
question cheaply. If nothing is known about a small object, all of it is requested.

Two patterns make requests useless. The planner detects each one after `MAX_UNREAD` OPENs without a
READ:

- A program opens files and reads none. Counted per opener: the kernel sends the thread's number.
- READs are answered from the kernel's page cache, because the files have been read before. Counted
  for the whole mount, and separately, because a server of popular files does read its files.

A READ ends either pattern.

Invariants:
1. Nothing is requested of an empty object, nor if the first byte of the predicted range is cached,
   nor, without a prediction, if any byte is cached.
2. A requested range begins at a multiple of 16 KiB, and ends at one or at the object's end.
3. At most `MAX_UNREAD` OPENs of one opener request bytes without a READ in between. All openers
   without a number together have at most `MAX_UNREAD_UNNAMED`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import cachetools

from gcsmux_fs.model.values import ByteRange
from gcsmux_fs.reading.block_index import GRANULE_BYTES
from gcsmux_fs.reading.readahead import FIRST_WINDOW_BYTES, KERNEL_READ_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey

__all__ = [
    "MAX_UNREAD",
    "MAX_UNREAD_UNNAMED",
    "SMALL_OBJECT_BYTES",
    "TINY_OBJECT_BYTES",
    "OpenPlanner",
    "Opening",
]

SMALL_OBJECT_BYTES = 1024 * 1024
"""An object up to this size is fetched whole by a READ of at least 128 KiB at its start: one
request instead of several, for no more bytes than a first readahead window. Not while READs wait
for half of the memory: READs of objects that never answer would soon wait for all of it."""

TINY_OBJECT_BYTES = 64 * 1024
"""An object up to this size is fetched whole by any READ. A random READ may load as many bytes, and
a congested kernel reads such files page by page: each page would be a round trip."""

MAX_UNREAD = 8
"""OPENs of one opener that may request bytes without a READ. At 20 ms a round trip, a program that
reads nothing loses 160 ms. A program such as `paste` opens all its files before it reads one."""

MAX_UNREAD_UNNAMED = 64
"""`MAX_UNREAD` for all programs in other PID namespaces (containers) together. The kernel sends the
number 0 for each of them, and some dozens may open files at the same time."""

# A footer is read from its last bytes on: the kernel reads the pages that hold them.
_TAIL_BYTES = 64 * 1024
# The first readahead window is cut into ranges as the readahead planner cuts it.
_PIECE_BYTES = FIRST_WINDOW_BYTES // 4
_MAX_PREDICTIONS = 1024
_MAX_OPENERS = 4096
# Each key takes 100 bytes.
_MAX_READ_KEYS = 32_768
_MAX_SUFFIX_LENGTH = 16


class _Place(enum.Enum):
    """Where the first READ of a file was."""

    START = enum.auto()
    END = enum.auto()
    ELSEWHERE = enum.auto()


class Opening:
    """One OPEN: the range that it requests and waits for, and the ranges to fetch along with it."""

    __slots__ = ("ahead", "awaited", "is_revisit", "key", "opener", "size")

    def __init__(self, key: ObjectKey, size: int, opener: int, *, is_revisit: bool) -> None:
        self.key = key
        self.size = size
        self.opener = opener
        #: The object has been read before, so the kernel may have pages of it.
        self.is_revisit = is_revisit
        #: The range to wait for; None if the OPEN is answered at once.
        self.awaited: ByteRange | None = None
        self.ahead: tuple[ByteRange, ...] = ()

    def __repr__(self) -> str:
        return f"<Opening of {self.key} by {self.opener}: {self.awaited}, ahead {self.ahead}>"

    @property
    def ranges(self) -> tuple[ByteRange, ...]:
        """All ranges to request."""
        return self.ahead if self.awaited is None else (self.awaited, *self.ahead)


class OpenPlanner:
    """Plans all OPENs of a mount."""

    def __init__(self) -> None:
        # The first READ of the last file: its place, and its length from the start or to the end.
        self._by_directory: cachetools.LRUCache[str, tuple[_Place, int]] = cachetools.LRUCache(
            _MAX_PREDICTIONS
        )
        self._by_suffix: cachetools.LRUCache[str, tuple[_Place, int]] = cachetools.LRUCache(
            _MAX_PREDICTIONS
        )
        # OPENs with a request since the last READ, by opener.
        self._unread: cachetools.LRUCache[int, int] = cachetools.LRUCache(_MAX_OPENERS)
        self._unread_revisits = 0
        # Hashes of the keys that have been read; two keys with the same hash count as one key.
        self._read_keys: dict[int, None] = {}

    def plan(
        self,
        key: ObjectKey,
        size: int,
        opener: int,
        *,
        is_cached: bool,
        is_ready: Callable[[int], bool],
    ) -> Opening:
        """Plan the OPEN of an object of `size` bytes by the thread `opener`.

        `is_cached`: any byte of the object is cached. `is_ready` returns whether the byte at an
        offset is cached.
        """
        opening = Opening(key, size, opener, is_revisit=hash(key) in self._read_keys)
        if size:
            expected, is_predicted = self._choose(opening)
            if is_cached and (not is_predicted or is_ready(expected.offset)):
                return opening
            if self._may_request(opening):
                opening.awaited = expected
                opening.ahead = self._first_window(opening) if is_predicted else ()
        return opening

    def note_first_read(self, opening: Opening, offset: int, end: int) -> None:
        """Note the first READ of an open file: `[offset, end)`, within the object."""
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
            # A READ up to the object's end counts as sequential: it would go on in a longer object.
            first_read = _Place.START, max(end, KERNEL_READ_BYTES) if end == size else end
        elif size - offset <= _TAIL_BYTES:
            first_read = _Place.END, size - offset
        else:
            first_read = _Place.ELSEWHERE, 0
        directory, suffix = _directory_and_suffix(opening.key.name)
        self._by_directory[directory] = self._by_suffix[suffix] = first_read

    def note_failed_open(self, opening: Opening) -> None:
        """Do not count a failed OPEN as unread, because its program could not read the file."""
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

    def _choose(self, opening: Opening) -> tuple[ByteRange, bool]:
        """Return the range to request, and whether the first READ is predicted to need it."""
        size = opening.size
        if size <= TINY_OBJECT_BYTES:
            return ByteRange(0, size), True
        first_read = self._predict(opening.key.name)
        if first_read is None:
            return ByteRange(0, size if size <= SMALL_OBJECT_BYTES else KERNEL_READ_BYTES), True
        place, length = first_read
        if place is _Place.ELSEWHERE:
            return ByteRange(0, GRANULE_BYTES), False
        if place is _Place.END:
            start = max(0, size - length) // GRANULE_BYTES * GRANULE_BYTES
            return ByteRange(start, size - start), True
        if length >= KERNEL_READ_BYTES and size <= SMALL_OBJECT_BYTES:
            return ByteRange(0, size), True
        return ByteRange(0, min(-(-length // GRANULE_BYTES) * GRANULE_BYTES, size)), True

    def _predict(self, name: str) -> tuple[_Place, int] | None:
        """Return place and length of the first READ of the last similar file."""
        directory, suffix = _directory_and_suffix(name)
        return self._by_directory.get(directory) or self._by_suffix.get(suffix)

    def _first_window(self, opening: Opening) -> tuple[ByteRange, ...]:
        """Return the first readahead window, if a sequential run from the start is predicted."""
        place, length = self._predict(opening.key.name) or (_Place.ELSEWHERE, 0)
        if place is not _Place.START or length < KERNEL_READ_BYTES or opening.awaited is None:
            return ()
        start = opening.awaited.end
        target = min(start + FIRST_WINDOW_BYTES, opening.size)
        pieces: list[ByteRange] = []
        while start < target:
            length = min(_PIECE_BYTES - start % _PIECE_BYTES, target - start)
            pieces.append(ByteRange(start, length))
            start += length
        return tuple(pieces)


def _directory_and_suffix(name: str) -> tuple[str, str]:
    directory, _, last = name.rpartition("/")
    _, dot, suffix = last.rpartition(".")
    return directory, suffix if dot and len(suffix) <= _MAX_SUFFIX_LENGTH else ""
