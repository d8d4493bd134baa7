"""Readahead across files: what is fetched before a READ, and when the next file is due.

The file system decides which file is the next one. This module fetches parts of a file that no
program reads yet, and reports when nearly all of a file has been requested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.reading.bandwidth_estimator import MINIMUM_WINDOW_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ByteRange
    from gcsmux_fs.reading.block_fetcher import BlockFetcher
    from gcsmux_fs.reading.block_index import BlockIndex
    from gcsmux_fs.reading.readahead_driver import ReadaheadDriver

__all__ = ["FilePrefetch"]

# A file is nearly fetched if at most this part of it, or a window, has not been requested.
_NEARLY_FETCHED_DIVISOR = 8


class FilePrefetch:
    """The prefetch of one open file of `size` bytes, and its sign for the prefetch of the next."""

    __slots__ = ("_fetcher", "_index", "_on_nearly_fetched", "_parts", "_readahead", "_size")

    def __init__(
        self, fetcher: BlockFetcher, index: BlockIndex, readahead: ReadaheadDriver, size: int
    ) -> None:
        self._fetcher = fetcher
        self._index = index
        self._readahead = readahead
        self._size = size
        self._parts: tuple[ByteRange, ...] = ()
        self._on_nearly_fetched: Callable[[int], None] | None = None

    @property
    def length(self) -> int:
        """The number of bytes in the fetched parts."""
        return sum([part.length for part in self._parts])

    def fetch(self, parts: tuple[ByteRange, ...]) -> bool:
        """Request parts of the file before its first READ.

        If memory is short, the last parts are not requested. Return False if no part is requested.
        """
        fetched = 0
        for part in parts:
            if not self._fetcher.read_ahead(self._index, part, first_window=False):
                break
            fetched += 1
        self._parts = parts[:fetched]
        return bool(fetched)

    def take_over(self, prefetched: FilePrefetch) -> None:
        """Take the parts that another open file of the same object has fetched."""
        self._parts, prefetched._parts = prefetched._parts, ()

    def release(self) -> None:
        """End the protection of the parts: their bytes stay cached, but may be evicted."""
        for part in self._parts:
            self._fetcher.release(self._index, part)
        self._parts = ()
        self._on_nearly_fetched = None

    def when_nearly_fetched(self, callback: Callable[[int], None]) -> None:
        """Call `callback` once, when nearly all bytes of the file have been requested.

        The argument of `callback` is the number of bytes to fetch of the next file, so that its
        reader does not have to wait: half a window, or more if the window is short.
        """
        self._on_nearly_fetched = callback
        self.check()

    def check(self) -> None:
        """Call the callback of `when_nearly_fetched` if it is due."""
        callback = self._on_nearly_fetched
        if callback is None:
            return
        limit = self._readahead.limit
        window = max(limit // 2, min(limit, MINIMUM_WINDOW_BYTES))
        rest = min(window, self._size // _NEARLY_FETCHED_DIVISOR)
        if self._index.requested_bytes >= self._size - rest:
            self._on_nearly_fetched = None
            callback(window)
