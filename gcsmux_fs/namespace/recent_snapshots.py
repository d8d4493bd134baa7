"""Table of the latest lookup of each thread, if it led to an object that grows; sans-IO.

`cp` and `install` call `stat`, then `open`, then `fstat`, and refuse to copy if the inode number
differs. With a TTL of 0 both `stat` and `open` look the name up. If the object grew between the two
lookups, the second would lead to another inode. So the second lookup of the same thread leads to
the same snapshot (the object at one size), if it follows at once and the thread has not opened a
file since.
"""

from __future__ import annotations

import cachetools

__all__ = ["SAME_CALL_SECONDS", "RecentSnapshots"]

SAME_CALL_SECONDS = 0.001
"""Maximum time between the two lookups: `cp` needs 0.1 ms, appending takes more than 1 ms."""

# Maximum number of threads. Fewer threads look up growing objects within one millisecond.
_MAX_THREADS = 1024


class RecentSnapshots:
    """The inode of the latest lookup, by thread; thread 0 stands for an unknown thread."""

    def __init__(self) -> None:
        # For each thread: directory, name, inode, and time of its latest lookup.
        self._latest: cachetools.LRUCache[int, tuple[int, bytes, int, float]] = cachetools.LRUCache(
            _MAX_THREADS
        )

    def note(self, thread: int, parent: int, name: bytes, inode: int, now: float) -> None:
        """Record that a lookup of a thread at the time `now` leads to an inode."""
        if thread:
            self._latest[thread] = parent, name, inode, now

    def recall(self, thread: int, parent: int, name: bytes, now: float) -> int | None:
        """Return the inode if the thread's latest lookup was recent and of this name, else None."""
        latest = self._latest.get(thread)
        if latest is None:
            return None
        if latest[:2] != (parent, name) or now - latest[3] > SAME_CALL_SECONDS:
            del self._latest[thread]
            return None
        return latest[2]

    def opened(self, thread: int) -> None:
        """Record that a thread opens a file, so its next lookup leads to the newest size."""
        self._latest.pop(thread, None)
