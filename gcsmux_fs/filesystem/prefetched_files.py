"""Files that are fetched before a program opens them.

A prefetched file stays open until a program reads it, or until the program seems to have stopped
reading in order. An open file keeps its requests alive and protects its blocks from eviction.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, NoReturn, Protocol

import trio

from gcsmux_fs.filesystem.sibling_planner import MAX_WINDOW_FILES

if TYPE_CHECKING:
    from gcsmux_fs.filesystem.object_opener import ObjectOpener
    from gcsmux_fs.model.values import ByteRange, ObjectInfo, ObjectKey
    from gcsmux_fs.reading.open_file import OpenFile

__all__ = ["ABANDONED_SECONDS", "PrefetchedFiles", "Prefetcher"]

ABANDONED_SECONDS = 10.0
"""Time without a step forward after which a walk or a chain counts as abandoned. The program was
interrupted, or takes so long for each file that round trips do not matter. The prefetched files are
then closed. Their bytes stay in the cache and are evicted like bytes that a program has read."""

# Maximum number of prefetched files that are open at the same time. A program walks one directory,
# or a few levels of a tree.
_MAX_OPEN_FILES = 4 * MAX_WINDOW_FILES


class Prefetcher(Protocol):
    """What has prefetched a file: a walk through small files, or a chain of large files."""

    last_step: float
    """The time of the last READ that confirmed the order of the files."""

    def note_unread(self, file: OpenFile) -> None:
        """Record that a prefetched file is closed, and that no program has read it."""


class PrefetchedFiles:
    """The prefetched files of a mount that are open; `len()` is their number."""

    def __init__(self, opener: ObjectOpener) -> None:
        self._opener = opener
        self._files: OrderedDict[ObjectKey, tuple[OpenFile, Prefetcher]] = OrderedDict()
        self._has_files = trio.Event()

    def __len__(self) -> int:
        return len(self._files)

    @property
    def names(self) -> set[str]:
        """The names of the objects."""
        return {key.name for key in self._files}

    def hand_over(self, file: OpenFile) -> Prefetcher | None:
        """Give the prefetched parts of an object to `file`, which a program reads."""
        prefetched = self._files.pop(file.key, None)
        if prefetched is None:
            return None
        file.take_over(prefetched[0])
        return prefetched[1]

    def fetch(self, info: ObjectInfo, parts: tuple[ByteRange, ...], prefetcher: Prefetcher) -> bool:
        """Fetch parts of a file; return False if the memory budget has no room for them now.

        A file that is prefetched already belongs to `prefetcher` from now on.
        """
        key = self._opener.key_of(info)
        if (prefetched := self._files.get(key)) is not None:
            self._files[key] = prefetched[0], prefetcher
            return True
        file = self._opener.open(info)
        if not file.prefetch.fetch(parts):
            file.close()
            return False
        self._files[key] = file, prefetcher
        self._has_files.set()
        if len(self._files) > _MAX_OPEN_FILES:
            self._close(next(iter(self._files)))
        return True

    def close_abandoned(self, now: float) -> float:
        """Close the files of abandoned walks; return the time for the next call of this method.

        The returned time is infinity if no prefetched file is open.
        """
        for key, (_, prefetcher) in list(self._files.items()):
            if prefetcher.last_step + ABANDONED_SECONDS <= now:
                self._close(key)
        steps = (prefetcher.last_step for _, prefetcher in self._files.values())
        return min(steps, default=math.inf) + ABANDONED_SECONDS

    async def run(self) -> NoReturn:
        """Close the files of abandoned walks, until cancelled.

        The method sleeps while no prefetched file is open.
        """
        while True:
            await self._has_files.wait()
            due = self.close_abandoned(trio.current_time())
            if due == math.inf:
                self._has_files = trio.Event()
            else:
                await trio.sleep_until(due)

    def close(self) -> None:
        """Close all prefetched files."""
        for key in list(self._files):
            self._close(key)

    def _close(self, key: ObjectKey) -> None:
        file, prefetcher = self._files.pop(key)
        file.close()
        prefetcher.note_unread(file)
