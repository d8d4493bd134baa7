"""Locks between mount commands that run at the same time.

A *claim* is a lock (flock(2)) on the inode of the directory to mount on. A mount command holds the
claim from before the check of the mount point until the mount is ready. A claim needs no file,
works for each user who may read the directory, is the same by each path that leads to the
directory, and ends with the process. A mount command checks the path only while it holds the claim,
so it sees a mount that another mount command has made before.

A dead mount hides the directory below it, so the directory cannot be locked while the dead mount is
there. Two mount commands may then both claim the mount point. While a mount command replaces or
removes a dead mount, it holds the *clearing lock*, on the inode of /dev/fuse, which is the same for
all mount points. The second command then finds the live mount of the first. umount(8) removes the
topmost mount of a path. Without the lock, another mount command could replace the dead mount by a
live mount between the look and the removal, and the live mount would be removed.
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
# Maximum time to wait for the clearing lock. A look and an unmount take 0.1 s, so this is enough
# for many mount commands at boot. The wait is limited, because any process may hold the lock for
# ever.
_LONGEST_WAIT_SECONDS = 5.0
_POLL_SECONDS = 0.02


class Claim:
    """The claim of a mount point. It lasts until `release` or the end of this process.

    `path` is the real path of the directory. `descriptor` holds the lock; it is None if the file
    system of the directory has no locks, or if a dead mount hides the directory (`is_hidden`).
    """

    def __init__(self, path: Path, descriptor: int | None, *, is_hidden: bool = False) -> None:
        self.path = path
        self.is_hidden = is_hidden
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take_over(self, other: Claim) -> None:
        """Become the claim `other` of the same directory, which a dead mount no longer hides."""
        self.release()
        self.is_hidden = other.is_hidden
        self._descriptor, other._descriptor = other._descriptor, None

    def release(self) -> None:
        """Release the lock. Idempotent."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


@contextlib.contextmanager
def clearing_lock() -> Iterator[None]:
    """Hold the lock for the removal of a dead mount. After 5 s, go on without the lock."""
    with contextlib.ExitStack() as cleanup:
        with contextlib.suppress(OSError):
            device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
            cleanup.callback(os.close, device)
            if not _locked_in_time(device):
                log.info(
                    "another process holds the lock on %s for %g s: removing a dead mount anyway",
                    _DEVICE,
                    _LONGEST_WAIT_SECONDS,
                )
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
