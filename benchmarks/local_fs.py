"""A plain pyfuse3 file system that serves a local folder: the yardstick for the cache on disk.

Run as `local_fs.py FOLDER MOUNTPOINT [OPTION]`; it serves until it is unmounted. Each READ is one
`os.pread` on the main thread. The kernel, the allocator and the main loop have the same settings as
in `gcsmux-mount`: a readahead window of 1 MiB (needs root), FUSE_PARALLEL_DIROPS, the limits of
background READs, `keep_cache`, one heap, bursts of requests, and the timer that interrupts blocked
reads. The option `plain-loop` uses the main loop of pyfuse3 without bursts.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pyfuse3
import trio

from benchmarks.objects import MIB
from gcsmux_fs.fuse.kernel_read_ahead import KernelReadAhead
from gcsmux_fs.fuse.main_loop import MAX_REQUESTS
from gcsmux_fs.fuse.mountinfo import mount_table, top_mount
from gcsmux_fs.fuse.negotiation import Negotiation, fuse_descriptors
from gcsmux_fs.fuse.request_turns import request_turns
from gcsmux_fs.fuse.wakeups import wakeups
from gcsmux_fs.process import malloc

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["READ_AHEAD_BYTES"]

READ_AHEAD_BYTES = MIB
_TIMEOUT_SECONDS = 300.0
_PLAIN_LOOP = "plain-loop"


class _Folder(pyfuse3.Operations):
    """Serves a folder. An inode is the place of its path in a list."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._paths = [folder, folder]  # index 0 is never used, index 1 is the root
        self._inodes: dict[Path, int] = {}
        self._listings: list[list[tuple[bytes, int]]] = []
        self.negotiation = Negotiation(None)

    def init(self) -> None:
        self.negotiation.divert()

    def _inode_of(self, path: Path) -> int:
        inode = self._inodes.setdefault(path, len(self._paths))
        if inode == len(self._paths):
            self._paths.append(path)
        return inode

    def _attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        try:
            found = self._paths[inode].stat()
        except FileNotFoundError:
            raise pyfuse3.FUSEError(errno.ENOENT) from None
        attributes = pyfuse3.EntryAttributes()
        attributes.st_ino = pyfuse3.InodeT(inode)
        is_folder = stat.S_ISDIR(found.st_mode)
        attributes.st_mode = pyfuse3.ModeT(
            stat.S_IFDIR | 0o755 if is_folder else stat.S_IFREG | 0o644
        )
        attributes.st_size = found.st_size
        attributes.st_mtime_ns = found.st_mtime_ns
        attributes.entry_timeout = attributes.attr_timeout = _TIMEOUT_SECONDS
        return attributes

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext | None = None
    ) -> pyfuse3.EntryAttributes:
        return self._attributes(inode)

    async def lookup(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        path = self._paths[parent_inode] / os.fsdecode(name)
        if not path.exists():
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._attributes(self._inode_of(path))

    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        paths = sorted(self._paths[inode].iterdir())
        self._listings.append([(os.fsencode(path.name), self._inode_of(path)) for path in paths])
        return pyfuse3.FileHandleT(len(self._listings) - 1)

    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        for place, (name, inode) in enumerate(self._listings[fh][start_id:], start_id + 1):
            entry = self._attributes(inode)
            if not pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), entry, place):
                break

    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        descriptor = os.open(self._paths[inode], os.O_RDONLY | os.O_CLOEXEC)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(descriptor), keep_cache=True)

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        return os.pread(fh, size, off)

    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        raise pyfuse3.FUSEError(errno.ENOSYS)

    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        os.close(fh)


async def _widen(mountpoint: str) -> None:
    """Set the kernel's readahead window. The kernel sets its own when it processes FUSE_INIT."""
    await trio.run_process(["stat", mountpoint], capture_stdout=True, check=False)
    mounted = top_mount(mount_table(), mountpoint)
    if mounted is not None:
        KernelReadAhead(READ_AHEAD_BYTES).attach((mounted.major, mounted.minor))


async def _serve(mountpoint: str, negotiation: Negotiation, options: Sequence[str]) -> None:
    with wakeups(), nullcontext() if _PLAIN_LOOP in options else request_turns():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(negotiation.run)
            nursery.start_soon(_widen, mountpoint)
            await pyfuse3.main(min_tasks=16, max_tasks=MAX_REQUESTS)
            nursery.cancel_scope.cancel()


def main() -> None:
    """Mount the folder and serve it."""
    _, folder, mountpoint, *choices = sys.argv
    malloc.tune()
    operations = _Folder(Path(folder))
    options = {"ro", "default_permissions", "fsname=local", "subtype=local"}
    earlier = fuse_descriptors()
    pyfuse3.init(operations, mountpoint, options)
    try:
        descriptor = next(iter(fuse_descriptors() - earlier))
        with Negotiation(descriptor) as operations.negotiation:
            trio.run(_serve, mountpoint, operations.negotiation, choices)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main()
