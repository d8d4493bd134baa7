"""The main loop: answers the kernel's requests until the connection to the kernel ends.

The end of the connection shows in one of two ways. A read from /dev/fuse fails with ENODEV, and
libfuse ends the loop. Or the connection ends while the kernel hands over a request: the read fails
with ECONNABORTED (fuse_dev_do_read in the kernel), and pyfuse3 raises this error. This happened in
1 of 10 lazy unmounts (`umount -l`) when the last reader closed its file.

Both errors also occur when the connection is aborted through fusectl. The mount table then still
lists the mount, and every access to the mount fails.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

import pyfuse3

from gcsmux_fs.fuse.mountinfo import device_of, mount_table, top_mount
from gcsmux_fs.fuse.request_turns import request_turns
from gcsmux_fs.model.errors import MountLost

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_REQUESTS", "answer_requests"]

log = logging.getLogger(__name__)

MAX_REQUESTS = 2048
"""Maximum number of requests that are served at the same time, each by its own task. If all tasks
wait for a service that does not answer, the deadline of the next request starts late, so the limit
is high. The limit is not higher than this, because requests take memory: a waiting READ of a
file that no other program reads takes 48 KiB, including its stream (measured: 71 MiB for 1,500
READs). Each task also owns a buffer of 1 MiB, of which a read-only mount uses one or two
pages."""

_MIN_IDLE_TASKS = 16


async def answer_requests(mountpoint: Path) -> None:
    """Answer the kernel's requests until the mount at `mountpoint`, made by pyfuse3, has ended.

    Raises:
        ConfigError: the mount was removed before the loop began.
        MountLost: the connection was aborted, and the mount is still in the mount table.
    """
    device = device_of(mountpoint)
    try:
        with request_turns():
            await pyfuse3.main(min_tasks=_MIN_IDLE_TASKS, max_tasks=MAX_REQUESTS)
    except* OSError as group:
        if any(error.errno != errno.ECONNABORTED for error in _leaves(group)):
            raise
        log.debug("the kernel withdrew a request, because the connection has ended")
    top = top_mount(mount_table(), os.fspath(mountpoint))
    if top is not None and top.device == os.makedev(*device):
        raise MountLost(f"another process aborted the connection of {mountpoint}: mount it again.")


def _leaves(group: BaseExceptionGroup[OSError]) -> list[OSError]:
    leaves: list[OSError] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
