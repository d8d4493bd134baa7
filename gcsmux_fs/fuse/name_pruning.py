"""Makes the kernel drop cached names by notifications: names of single inodes, or all names.

FUSE_NOTIFY_PRUNE (Linux 6.18, FUSE protocol 7.45) drops the unused dentries (cached names) of an
inode. The next program that uses a dropped name makes the kernel look the name up again. The
notification takes no lock of a directory or an inode and waits for no request, so the process that
serves the mount may write the notification from its own loop. The name of an open file is in use
and is not dropped, so the notification is repeated when the file is closed.

An older kernel answers EINVAL, and keeps a cached name until the validity of the name ends. Only an
OPEN of a gone generation makes an older kernel look the name up again, because the OPEN fails with
ESTALE.

FUSE_NOTIFY_INC_EPOCH (Linux 6.16, FUSE protocol 7.44) invalidates all names at once, also absent
names, also names in use. The kernel only increments a counter, and looks each name up again at its
next use. It then also unmounts each file system that is mounted on a directory of this mount, in
all mount namespaces. So the notification is written only if no such mount is found: on request of a
user (see `name_dropping`), and with --changes after a change (see `epoch_notifier`).

Sources: fuse_notify_prune, fuse_try_prune_one_inode, fuse_notify_inc_epoch and
fuse_dentry_revalidate in the kernel's fs/fuse; d_prune_aliases, d_invalidate.
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

__all__ = [
    "EPOCH_MESSAGE",
    "REPEAT_SECONDS",
    "UNDROPPABLE_NAME_SECONDS",
    "NamePruner",
    "prune_message",
]

log = logging.getLogger(__name__)

REPEAT_SECONDS = 0.1
"""Seconds between a notification and its repetition. The kernel sends RELEASE shortly before it
stops using the name, and a notification that arrives between these two moments has no effect."""

UNDROPPABLE_NAME_SECONDS = 60.0
"""Maximum time in seconds for which a kernel caches names that it cannot drop on request. After
this time the kernel asks the mount, which answers from its own cache in microseconds. So
`gcsmux forget` has its whole effect within a minute, also with a longer --metadata-ttl."""

# struct fuse_out_header: length, notification code, unique (0: a notification).
_HEADER = struct.Struct("=IiQ")
# struct fuse_notify_prune_out: count, padding, spare. The inode numbers follow this struct.
_PRUNE = struct.Struct("=IIQ")
# The notification codes of FUSE_NOTIFY_INC_EPOCH and FUSE_NOTIFY_PRUNE.
_INC_EPOCH_CODE = 8
_PRUNE_CODE = 9

EPOCH_MESSAGE = _HEADER.pack(_HEADER.size, _INC_EPOCH_CODE, 0)
"""The FUSE_NOTIFY_INC_EPOCH message: a header without a body."""


def prune_message(inodes: Collection[int]) -> bytes:
    """Return the FUSE_NOTIFY_PRUNE message for these inodes."""
    numbers = struct.pack(f"={len(inodes)}Q", *inodes)
    length = _HEADER.size + _PRUNE.size + len(numbers)
    return _HEADER.pack(length, _PRUNE_CODE, 0) + _PRUNE.pack(len(inodes), 0, 0) + numbers


class NamePruner:
    """Makes the kernel drop cached names of one mount. `write` is called like `os.write`."""

    def __init__(self, write: Callable[[int, bytes], int] = os.write) -> None:
        self._write = write
        self._descriptor: int | None = None
        self._is_supported = True
        self._knows_epochs = True
        self._to_repeat: dict[int, None] = {}
        self._has_work = trio.Event()

    def attach(self, descriptor: int | None) -> None:
        """Write to this descriptor of /dev/fuse from now on. With None, write nothing."""
        self._descriptor = descriptor

    def drop(self, inode: int) -> None:
        """Make the kernel drop the names of an inode, unless a program has the inode open.

        Never waits and never fails.
        """
        if self._send((inode,)):
            self._to_repeat[inode] = None
            self._has_work.set()

    @property
    def can_drop_single_names(self) -> bool:
        """Whether the kernel has accepted all FUSE_NOTIFY_PRUNE messages so far."""
        return self._is_supported

    @property
    def can_drop_all(self) -> bool:
        """Whether the kernel has accepted all FUSE_NOTIFY_INC_EPOCH messages so far."""
        return self._knows_epochs

    def drop_all(self) -> bool:
        """Make the kernel look up every name again at its next use; never waits and never fails.

        Return False if the kernel is too old. The caller must check that no file system is mounted
        on a directory of this mount, because the kernel would unmount it.
        """
        if self._descriptor is None or not self._knows_epochs:
            return False
        try:
            self._write(self._descriptor, EPOCH_MESSAGE)
        except OSError as error:
            # With another error, the mount is ending, and the kernel drops all its names.
            self._knows_epochs = error.errno != errno.EINVAL
            log.debug("the kernel refused a FUSE_NOTIFY_INC_EPOCH message: %s", error)
            return False
        return True

    async def run(self) -> NoReturn:
        """Repeat each notification once. Runs until cancelled; sleeps until `drop` is called."""
        while True:
            await self._has_work.wait()
            await trio.sleep(REPEAT_SECONDS)
            inodes, self._to_repeat = self._to_repeat, {}
            self._has_work = trio.Event()
            self._send(inodes)

    def _send(self, inodes: Collection[int]) -> bool:
        if self._descriptor is None or not self._is_supported:
            return False
        try:
            self._write(self._descriptor, prune_message(inodes))
        except OSError as error:
            if error.errno == errno.EINVAL:
                self._is_supported = False
                log.info(
                    "this kernel cannot drop single names from its cache (Linux 6.18 can): `stat`"
                    " may show a deleted object until the time of --metadata-ttl is over"
                )
            else:
                # The mount is ending, and the kernel drops all its names.
                log.debug("the kernel refused a FUSE_NOTIFY_PRUNE message: %s", error)
            return False
        return True
