"""Answering the kernel's requests, until it has none left to give.

The kernel ends the loop in one of two ways: reading from it says ENODEV, which libfuse takes for
the end, or a request that is just being handed over while the connection is shut down is taken back
with ECONNABORTED (fuse_dev_do_read), which pyfuse3 raises: measured in 1 of 10 lazy unmounts whose
last reader goes away. Neither tells whether the mount was unmounted or its connection aborted
(through fusectl): that is seen by whether it is still mounted, and then it is dead.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

import pyfuse3

from gcsmux_fs.fuse.mountinfo import device_of, mount_table, top_mount
from gcsmux_fs.model.errors import MountLost

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_REQUESTS", "answer_requests"]

log = logging.getLogger(__name__)

# Requests served at a time, each by a task of its own. A READ that waits holds its task, and while
# all tasks wait for a silent service, the next request begins its deadline late. Each task owns a
# buffer of 1 MiB of which a read-only mount touches a page or two; with the stream of an object
# that nobody else reads it takes 48 KiB (1,500 waiting READs of as many files: 71 MiB), so that
# more of them would not fit into the memory that a mount may take beside its budget.
MAX_REQUESTS = 2048
_MIN_IDLE_TASKS = 16


async def answer_requests(mountpoint: Path) -> None:
    """Answer the kernel until `mountpoint`, as pyfuse3 has mounted it, is unmounted.

    Raises:
        ConfigError: it was unmounted before it could begin.
        MountLost: it is still mounted, but its connection was aborted.
    """
    device = device_of(mountpoint)
    try:
        await pyfuse3.main(min_tasks=_MIN_IDLE_TASKS, max_tasks=MAX_REQUESTS)
    except* OSError as group:
        if any(error.errno != errno.ECONNABORTED for error in _leaves(group)):
            raise
        log.debug("a request was taken back")
    top = top_mount(mount_table(), os.fspath(mountpoint))
    if top is not None and top.device == os.makedev(*device):
        raise MountLost(
            f"the connection of {mountpoint} was aborted by somebody else: mount it again."
        )


def _leaves(group: BaseExceptionGroup[OSError]) -> list[OSError]:
    found: list[OSError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
