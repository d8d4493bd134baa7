"""What a thread was just told of an object that grows, so that two calls in a row see one file.

`cp` and `install` call `stat`, then `open`, then `fstat`, and refuse to copy if the inode number
differs. With a TTL of 0 both `stat` and `open` look the name up, and an object that has grown in
between would be another inode. So the second lookup of the same thread leads to the same snapshot,
if it comes at once and the thread has not opened the snapshot yet.
"""

from __future__ import annotations

import cachetools

__all__ = ["SAME_CALL_SECONDS", "RecentSnapshots"]

SAME_CALL_SECONDS = 0.001
"""`cp` takes 0.1 ms from `stat` to `open`; a request that appends takes longer than this."""

# Threads that look up objects that grow, all within a millisecond.
_MAX_THREADS = 1024


class RecentSnapshots:
    """The snapshot that each thread was told last; thread 0 is one that the kernel cannot name."""

    def __init__(self) -> None:
        self._told: cachetools.LRUCache[int, tuple[int, bytes, int, float]] = cachetools.LRUCache(
            _MAX_THREADS
        )

    def note(self, thread: int, parent: int, name: bytes, inode: int, now: float) -> None:
        """Note that a thread is told at the time `now` that a name leads to a snapshot."""
        if thread:
            self._told[thread] = parent, name, inode, now

    def recall(self, thread: int, parent: int, name: bytes, now: float) -> int | None:
        """Return the inode that the thread was told of this name just now."""
        told = self._told.get(thread)
        if told is None:
            return None
        if told[:2] != (parent, name) or now - told[3] > SAME_CALL_SECONDS:
            del self._told[thread]
            return None
        return told[2]

    def opened(self, thread: int) -> None:
        """Note that a thread opens a file: its next lookup sees the newest."""
        self._told.pop(thread, None)
