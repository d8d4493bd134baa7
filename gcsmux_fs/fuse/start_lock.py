"""Locks that keep two starts of this program from each other's way.

A *claim* is a lock (flock(2)) on the inode of the directory that is to be mounted on, held from
before the check of the mount point until the mount is announced. It needs no file, works for every
user who may read the directory, is the same by whatever path the directory is found, and the kernel
releases it when the process ends. Whoever gets it looks at the path only then: a mount that was
made meanwhile covers the directory, and shows.

A dead mount hides the directory below it, so that there is nothing to claim before it is removed.
To remove one takes the *clearing lock*, on the inode of /dev/fuse, which is the same for all mount
points: between the look that finds a mount dead and the call that removes the topmost mount there,
no other start may remove the dead one and mount a live one in its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

__all__ = ["Claim", "clearing_lock"]

log = logging.getLogger(__name__)

_DEVICE = Path("/dev/fuse")
# To look and to unmount takes a tenth of a second; this is enough for a crowd at boot. Anybody may
# hold this lock for ever: that must not keep a mount from starting.
_LONGEST_WAIT_SECONDS = 5.0
_POLL_SECONDS = 0.02


class Claim:
    """A mount point that no other start gets before `release`, or the end of this process.

    `path` is the real path of the directory. `descriptor` holds the lock; it is None where the
    file system of the directory has no locks.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


@contextlib.contextmanager
def clearing_lock() -> Iterator[None]:
    """Hold the lock that removing a dead mount takes; after 5 s go on without it."""
    with contextlib.ExitStack() as cleanup:
        with contextlib.suppress(OSError):
            device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
            cleanup.callback(os.close, device)
            if not _locked_in_time(device):
                log.info("the lock on %s is not released: removing a dead mount anyway", _DEVICE)
        yield


def _locked_in_time(descriptor: int) -> bool:
    end = time.monotonic() + _LONGEST_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True
