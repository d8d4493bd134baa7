"""Chooses the one mount of a cache directory that cleans.

The mount that holds the lock of `ledgers/cleaner` cleans. No mount waits for the lock. A mount that
is stopped (SIGSTOP), or whose disk thread hangs, keeps the lock without cleaning. So the holder
changes the file regularly. If the file has not changed for `STALE_SECONDS`, another mount removes
the file, and locks a new one. The old holder notices that its file has been removed.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from gcsmux_fs.caching.usage_file import LEDGERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.caching.cache_files import CacheFiles

__all__ = ["STALE_SECONDS", "CleanerLock", "is_due"]

STALE_SECONDS = 60
"""Time after which a holder that does not clean loses its lock. A holder on a slow disk needs
seconds for a step."""

_BEAT_SECONDS = 5
_ATTEMPT_SECONDS = 1
_PATH = f"{LEDGERS}/cleaner"
_COUNTED = struct.Struct("<d16s")  # time and boot of the last count


def is_due(due_at: float, pause: float, now: float) -> bool:
    """Return whether a pause that ends at `due_at` is over.

    It is also over if the clock was set back meanwhile, because it would take too long otherwise.
    """
    return now >= due_at or now < due_at - pause


class CleanerLock:
    """The lock, as seen by one mount.

    Args:
        files: the cache directory.
        clock: returns the time in seconds since the Unix epoch.
        boot: 16 bytes that change when the machine is started.

    Attributes:
        counted_at: time of the last complete count of the chunks, by any mount; 0 if the machine
            was started since. A power cut may restore an older usage table, which looks right.
    """

    def __init__(self, files: CacheFiles, clock: Callable[[], float], boot: bytes) -> None:
        self.counted_at = 0.0
        self._files = files
        self._clock = clock
        self._boot = boot
        self._descriptor = -1
        self._next = 0.0

    @property
    def held(self) -> bool:
        """Whether this mount has held the lock at the last call of `hold`."""
        return self._descriptor >= 0

    def hold(self) -> bool:
        """Take or keep the lock; return whether this mount cleans. Raises OSError."""
        now = self._clock()
        if self.held:
            return self._keep(now)
        if not is_due(self._next, _ATTEMPT_SECONDS, now):
            return False
        self._next = now + _ATTEMPT_SECONDS
        return self._take(now)

    def note_count(self, now: float) -> None:
        """Note that all chunks have been counted."""
        self.counted_at = now
        self._write()

    def close(self) -> None:
        """Release the lock."""
        if self.held:
            self._files.close(self._descriptor)
            self._descriptor = -1

    def _keep(self, now: float) -> bool:
        if self._files.status(self._descriptor).links == 0:
            self.close()
            return False
        if is_due(self._next, _BEAT_SECONDS, now):
            self._next = now + _BEAT_SECONDS
            self._write()
        return True

    def _take(self, now: float) -> bool:
        self._files.make_directory(LEDGERS)
        descriptor = self._files.open(_PATH, os.O_RDWR | os.O_CREAT)
        status = self._files.status(descriptor)
        if self._files.try_lock(descriptor):
            if status.links:
                content = self._files.read(descriptor, _COUNTED.size, 0)
                complete = len(content) == _COUNTED.size
                counted_at, boot = _COUNTED.unpack(content) if complete else (0.0, b"")
                self.counted_at = counted_at if boot == self._boot else 0.0
                self._descriptor = descriptor
                return self._keep(now)
        elif now - status.modified_at > STALE_SECONDS:
            self._files.remove(_PATH)
        self._files.close(descriptor)
        return False

    def _write(self) -> None:
        self._files.write(self._descriptor, _COUNTED.pack(self.counted_at, self._boot), 0)
