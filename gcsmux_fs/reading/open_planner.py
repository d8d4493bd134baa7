"""What an OPEN asks for before it is answered, sans-IO.

Theory of operation

A generation that is asked for while its file is being opened is found gone before a program holds
it: the OPEN is refused, and the kernel opens what the name leads to now. To ask for what the first
READ will want makes that free: the READ finds the bytes, and opening and reading a cold file stays
one round trip. Where that is cached nothing is asked: to open it costs nothing.

What the first READ wants is taken from the last file of the same directory, or else of the same
suffix: its start, as most programs do; its end, where Parquet and zip keep their directories; or
any other place, where 16 KiB at the start answer the question at little cost. Of a small object of
which nothing else is known all is asked for.

Two habits make asking pointless, and are recognised after `MAX_UNREAD` OPENs without any READ:

- A program opens files and does not read them. Counted per opener: the kernel tells its thread.
- Files that were read before are read from the kernel's pages, so that no READ comes. Counted for
  the whole mount and apart from the first: a server of popular files is not such a program.

A READ ends either habit.

Invariants:
1. Nothing is asked for of an empty object, nor where the first byte that would be asked for is
   ready, nor for a guess where any byte is.
2. What is asked for begins at a multiple of 16 KiB, and ends at one or at the object's end.
3. Not more than `MAX_UNREAD` OPENs of one opener ask without a READ in between; of openers that
   the kernel cannot name, `MAX_UNREAD_UNNAMED` together.
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
"""An object up to this size that is read from its start in earnest is fetched whole: one request
instead of several, and no more than a first readahead window would have fetched. Not while READs
wait for half of the memory: those of objects that never answer would soon wait for all of it."""

TINY_OBJECT_BYTES = 64 * 1024
"""An object up to this size is fetched whole by any READ: it is as much as a random READ may move,
and a congested kernel reads such files page by page, each of which would be a round trip."""

MAX_UNREAD = 8
"""OPENs that may ask in vain. At 20 ms a round trip a program that reads nothing loses 160 ms; one
that opens its files before it reads the first, as `paste` does, may have as many."""

MAX_UNREAD_UNNAMED = 64
"""The same for programs of other PID namespaces (in containers), which all have the number 0: some
dozens of them open files at the same time, and read them."""

# A footer is read from its last bytes on: the kernel asks for the page that holds them.
_TAIL_BYTES = 64 * 1024
# The first readahead window in pieces, as the planner cuts it.
_PIECE_BYTES = FIRST_WINDOW_BYTES // 4
_MAX_HABITS = 1024
_MAX_OPENERS = 4096
# 100 bytes each.
_MAX_VISITED = 32_768
_MAX_SUFFIX = 16


class _Place(enum.Enum):
    """Where the first READ of a file was."""

    START = enum.auto()
    END = enum.auto()
    ELSEWHERE = enum.auto()


class Opening:
    """One OPEN: what it asks for and waits for, and what is fetched ahead along with it."""

    __slots__ = ("ahead", "ask", "is_revisit", "key", "opener", "size")

    def __init__(self, key: ObjectKey, size: int, opener: int, *, is_revisit: bool) -> None:
        self.key = key
        self.size = size
        self.opener = opener
        #: The kernel may have pages of it.
        self.is_revisit = is_revisit
        #: None: it is answered without asking.
        self.ask: ByteRange | None = None
        self.ahead: tuple[ByteRange, ...] = ()

    def __repr__(self) -> str:
        return f"<Opening of {self.key} by {self.opener}: {self.ask}, ahead {self.ahead}>"


class OpenPlanner:
    """Decides for all OPENs of a mount."""

    def __init__(self) -> None:
        # Where the first READ of the last file was, and how long: from the start, or to the end.
        self._by_directory: cachetools.LRUCache[str, tuple[_Place, int]] = cachetools.LRUCache(
            _MAX_HABITS
        )
        self._by_suffix: cachetools.LRUCache[str, tuple[_Place, int]] = cachetools.LRUCache(
            _MAX_HABITS
        )
        # OPENs that asked since the last READ; openers without any have no entry.
        self._unread: cachetools.LRUCache[int, int] = cachetools.LRUCache(_MAX_OPENERS)
        self._unread_revisits = 0
        # Hashes of the keys of which a READ has come; two that clash count as one.
        self._visited: dict[int, None] = {}

    def plan(
        self,
        key: ObjectKey,
        size: int,
        opener: int,
        *,
        is_cached: bool,
        is_ready: Callable[[int], bool],
    ) -> Opening:
        """Decide what the OPEN of an object of `size` bytes by the thread `opener` asks for.

        `is_cached`: some of its bytes are; `is_ready` tells whether the one at an offset is.
        """
        opening = Opening(key, size, opener, is_revisit=hash(key) in self._visited)
        if size:
            ask, is_expected = self._choose(opening)
            if is_cached and (not is_expected or is_ready(ask.offset)):
                return opening
            if self._may_ask(opening):
                opening.ask = ask
                opening.ahead = self._window(opening) if is_expected else ()
        return opening

    def observe(self, opening: Opening, offset: int, end: int) -> None:
        """Note the first READ of what was opened, of `[offset, end)` within the object."""
        if opening.is_revisit:
            self._unread_revisits = 0
        self._unread.pop(opening.opener, None)
        visited = hash(opening.key)
        self._visited.pop(visited, None)
        self._visited[visited] = None
        if len(self._visited) > _MAX_VISITED:
            del self._visited[next(iter(self._visited))]
        size = opening.size
        if size <= TINY_OBJECT_BYTES:
            return
        if offset == 0:
            # A READ of all there is would have gone on.
            habit = _Place.START, max(end, KERNEL_READ_BYTES) if end == size else end
        elif size - offset <= _TAIL_BYTES:
            habit = _Place.END, size - offset
        else:
            habit = _Place.ELSEWHERE, 0
        directory, suffix = _kind(opening.key.name)
        self._by_directory[directory] = self._by_suffix[suffix] = habit

    def refused(self, opening: Opening) -> None:
        """Count an OPEN no longer that is refused: its program had no chance to read."""
        if opening.is_revisit:
            self._unread_revisits = max(0, self._unread_revisits - 1)
        elif (unread := self._unread.get(opening.opener, 0)) > 1:
            self._unread[opening.opener] = unread - 1
        else:
            self._unread.pop(opening.opener, None)

    def _may_ask(self, opening: Opening) -> bool:
        if opening.is_revisit:
            self._unread_revisits += 1
            return self._unread_revisits <= MAX_UNREAD
        unread = self._unread[opening.opener] = self._unread.get(opening.opener, 0) + 1
        return unread <= (MAX_UNREAD if opening.opener else MAX_UNREAD_UNNAMED)

    def _choose(self, opening: Opening) -> tuple[ByteRange, bool]:
        """Return what to ask for, and whether a READ of it is expected."""
        size = opening.size
        if size <= TINY_OBJECT_BYTES:
            return ByteRange(0, size), True
        habit = self._habit(opening.key.name)
        if habit is None:
            return ByteRange(0, size if size <= SMALL_OBJECT_BYTES else KERNEL_READ_BYTES), True
        place, length = habit
        if place is _Place.ELSEWHERE:
            return ByteRange(0, GRANULE_BYTES), False
        if place is _Place.END:
            start = max(0, size - length) // GRANULE_BYTES * GRANULE_BYTES
            return ByteRange(start, size - start), True
        if length >= KERNEL_READ_BYTES and size <= SMALL_OBJECT_BYTES:
            return ByteRange(0, size), True
        return ByteRange(0, min(-(-length // GRANULE_BYTES) * GRANULE_BYTES, size)), True

    def _habit(self, name: str) -> tuple[_Place, int] | None:
        directory, suffix = _kind(name)
        return self._by_directory.get(directory) or self._by_suffix.get(suffix)

    def _window(self, opening: Opening) -> tuple[ByteRange, ...]:
        """Return the first readahead window, where files are read from their start in earnest."""
        place, length = self._habit(opening.key.name) or (_Place.ELSEWHERE, 0)
        if place is not _Place.START or length < KERNEL_READ_BYTES or opening.ask is None:
            return ()
        start = opening.ask.end
        target = min(start + FIRST_WINDOW_BYTES, opening.size)
        pieces: list[ByteRange] = []
        while start < target:
            length = min(_PIECE_BYTES - start % _PIECE_BYTES, target - start)
            pieces.append(ByteRange(start, length))
            start += length
        return tuple(pieces)


def _kind(name: str) -> tuple[str, str]:
    """Return the directory and the suffix of a name."""
    directory, _, last = name.rpartition("/")
    _, dot, suffix = last.rpartition(".")
    return directory, suffix if dot and len(suffix) <= _MAX_SUFFIX else ""
