"""A file system that serves one file from memory, to measure the upper limit of pyfuse3.

Run as `memory_fs.py MOUNTPOINT NAME SIZE`; it serves until it is unmounted.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

import pyfuse3
import trio

from gcsmux_fs.fuse.wakeups import wakeups

__all__: list[str] = []

_INODE = pyfuse3.InodeT(pyfuse3.ROOT_INODE + 1)
_TIMEOUT_SECONDS = 300.0
_MAX_READ_BYTES = 1 << 20  # the largest READ that libfuse allows
_CONTENT = memoryview(bytes(os.urandom(_MAX_READ_BYTES)))


class _OneFile(pyfuse3.Operations):
    def __init__(self, name: str, size: int) -> None:
        super().__init__()
        self._name = name.encode()
        self._size = size

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext | None = None
    ) -> pyfuse3.EntryAttributes:
        attributes = pyfuse3.EntryAttributes()
        attributes.st_ino = inode
        attributes.entry_timeout = attributes.attr_timeout = _TIMEOUT_SECONDS
        if inode == pyfuse3.ROOT_INODE:
            attributes.st_mode = pyfuse3.ModeT(stat.S_IFDIR | 0o755)
        else:
            attributes.st_mode = pyfuse3.ModeT(stat.S_IFREG | 0o644)
            attributes.st_size = self._size
        return attributes

    async def lookup(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        if name != self._name:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(_INODE)

    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), keep_cache=True)

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes | memoryview:  # type: ignore[override]
        # pyfuse3 accepts any contiguous buffer, but its type stub allows only bytes.
        return _CONTENT[: max(0, min(size, self._size - off))]


async def _serve() -> None:
    with wakeups():
        await pyfuse3.main(min_tasks=16, max_tasks=512)


def main() -> None:
    """Mount the file system and serve it."""
    _, mountpoint, name, size = sys.argv
    options = {"ro", "default_permissions", "fsname=memory", "subtype=memory"}
    pyfuse3.init(_OneFile(name, int(size)), mountpoint, options)
    try:
        trio.run(_serve)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main()
