"""The process of a faulty disk: `python -m tests.support.disks.server FD ROOT MOUNT_POINT CACHED`.

The test sends orders through the socket `FD`. When the test closes its end, or ends, the operations
that hang go on, and the disk is unmounted.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import pyfuse3
import trio

from .backing_files import BackingFiles
from .passthrough import Passthrough

if TYPE_CHECKING:
    from .disk_faults import DiskFault

__all__ = ["Order", "State"]

# A request that waits occupies a task, so there are more tasks than requests that tests let hang.
_TASKS = 500
# Without this timer, the loop freezes if a program is killed at a certain instant (see the module
# gcsmux_fs.fuse.wakeups).
_WAKEUP_SECONDS = 0.05

#: Faults, the capacity in bytes and the error of a full disk. None leaves a value as it is.
Order = tuple["tuple[DiskFault, ...] | None", "int | None", "int | None"]
#: The number of operations, of operations that met a fault, and of operations that wait now.
State = tuple[dict[str, int], dict[str, int], int]


async def _obey(connection: Connection, disk: Passthrough, files: BackingFiles) -> None:
    while True:
        await trio.lowlevel.wait_readable(connection.fileno())
        try:
            order: Order = connection.recv()
        except (EOFError, ConnectionResetError):
            disk.order(())
            pyfuse3.terminate()
            return
        faults, capacity, full_errno = order
        if faults is not None:
            disk.order(faults)
        if capacity is not None:
            files.capacity_bytes = capacity
        if full_errno is not None:
            files.full_errno = full_errno
        state: State = (dict(disk.table.operations), dict(disk.table.met), disk.hanging)
        connection.send(state)


async def _serve(connection: Connection, disk: Passthrough, files: BackingFiles) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_obey, connection, disk, files)
        await pyfuse3.main(min_tasks=20, max_tasks=_TASKS)
        nursery.cancel_scope.cancel()


def main(descriptor: str, root: str, mount_point: str, cached: str) -> None:
    """Serve a disk until the test closes the connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    connection = Connection(int(descriptor))
    files = BackingFiles(root, cached=cached == "cached")
    disk = Passthrough(files, cached=cached == "cached")
    options = {*pyfuse3.default_options, "fsname=faulty-disk"}
    if os.geteuid() == 0:
        options.add("allow_other")
    pyfuse3.init(disk, mount_point, options)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, _WAKEUP_SECONDS, _WAKEUP_SECONDS)
    connection.send(None)
    try:
        trio.run(_serve, connection, disk, files)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
