"""Making the kernel drop the names of an inode whose generation was found gone.

FUSE_NOTIFY_PRUNE (Linux 6.18, FUSE protocol 7.45) drops the dentries of an inode that nobody uses:
the next program that uses such a name makes the kernel look it up again. It takes neither the lock
of the directory nor that of the inode and waits for no request, so that the process which serves
the mount may write it from its own loop. A name is in use while a file is open by it: so it is
dropped again when the file has been closed.

An older kernel answers EINVAL and goes on as before: a name lives until its time is over. Only an
OPEN of an inode that was found gone is refused with ESTALE there, which makes the kernel look that
one name up again.

FUSE_NOTIFY_INC_EPOCH (Linux 6.16), which invalidates all names at once, is not used: the kernel
then detaches whatever is mounted on a directory of this mount, in other mount namespaces as well.

Sources: fuse_notify_prune and fuse_try_prune_one_inode in the kernel's fs/fuse, d_prune_aliases.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
from typing import TYPE_CHECKING, NoReturn

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["REPEAT_SECONDS", "NamePruner", "prune_message"]

log = logging.getLogger(__name__)

# The kernel sends RELEASE an instant before it lets go of the name, and may be interrupted between.
REPEAT_SECONDS = 0.1

# struct fuse_out_header: length, notification code, unique (0: a notification).
_HEADER = struct.Struct("=IiQ")
# struct fuse_notify_prune_out: count, padding, spare; the numbers of the inodes follow.
_PRUNE = struct.Struct("=IIQ")
_CODE = 9


def prune_message(inodes: Collection[int]) -> bytes:
    """Return the notification that drops the unused names of these inodes."""
    numbers = struct.pack(f"={len(inodes)}Q", *inodes)
    length = _HEADER.size + _PRUNE.size + len(numbers)
    return _HEADER.pack(length, _CODE, 0) + _PRUNE.pack(len(inodes), 0, 0) + numbers


class NamePruner:
    """The names that the kernel remembers of one mount; `write` is `os.write`."""

    def __init__(self, write: Callable[[int, bytes], int] = os.write) -> None:
        self._write = write
        self._descriptor: int | None = None
        self._is_offered = True
        self._again: dict[int, None] = {}
        self._holds_some = trio.Event()

    def attach(self, descriptor: int | None) -> None:
        """Use this descriptor of /dev/fuse from now on; None: do nothing."""
        self._descriptor = descriptor

    def drop(self, inode: int) -> None:
        """Make the kernel look the names of an inode up again, if none of its files is open.

        Never waits and never fails.
        """
        if self._send((inode,)):
            self._again[inode] = None
            self._holds_some.set()

    async def run(self) -> NoReturn:
        """Drop once more what was dropped, until cancelled; wakes only after a `drop`."""
        while True:
            await self._holds_some.wait()
            await trio.sleep(REPEAT_SECONDS)
            again, self._again = self._again, {}
            self._holds_some = trio.Event()
            self._send(again)

    def _send(self, inodes: Collection[int]) -> bool:
        if self._descriptor is None or not self._is_offered:
            return False
        try:
            self._write(self._descriptor, prune_message(inodes))
        except OSError as error:
            if error.errno == errno.EINVAL:
                self._is_offered = False
                log.info(
                    "this kernel cannot drop single names (Linux 6.18 can): the name of a deleted"
                    " object may show in `stat` until its --metadata-ttl ends"
                )
            else:
                # The mount is ending, and its names end with it.
                log.debug("the kernel does not take the notification: %s", error)
            return False
        return True
