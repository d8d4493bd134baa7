"""The error of a request that the file system refuses without asking the service."""

from __future__ import annotations

import errno
import os

from gcsmux_fs.model.errors import GcsmuxError

__all__ = [
    "MOUNT_ENDING",
    "NAME_TOO_LONG",
    "NOT_A_LINK",
    "NO_ATTRIBUTE",
    "READ_ONLY",
    "OperationRefused",
]

NAME_TOO_LONG = errno.ENAMETOOLONG
"""Errno for a file name of more than 255 bytes."""

NOT_A_LINK = errno.EINVAL
"""Errno of readlink(2) on a file that is not a symbolic link."""

NO_ATTRIBUTE = errno.ENODATA
"""Errno if the file has no extended attribute of this name. `getfattr` and `cp -a` treat ENODATA as
an ordinary answer, and any other errno as a failure."""

READ_ONLY = errno.EROFS
"""Errno of an operation that writes, because the mount is read-only."""

MOUNT_ENDING = errno.ENOTCONN
"""Errno of requests while the mount ends. The kernel also answers ENOTCONN for a mount whose
process has ended, so a program sees the same error before and after the end of the process."""


class OperationRefused(GcsmuxError):
    """The file system refuses a request; the program sees `errno`, and the log shows nothing."""

    def __init__(self, errno: int) -> None:
        super().__init__(os.strerror(errno))
        self.errno = errno
