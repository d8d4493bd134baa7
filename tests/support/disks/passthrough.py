"""A file system that passes each operation on to a directory, after it has met its faults."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyfuse3
import trio

from .disk_faults import FaultTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyfuse3 import (
        FileHandleT,
        FileNameT,
        FlagT,
        InodeT,
        ModeT,
        ReaddirToken,
        RequestContext,
        SetattrFields,
    )

    from .backing_files import BackingFiles
    from .disk_faults import DiskFault

__all__ = ["Passthrough"]

_RENAME_NOREPLACE = 1


@contextmanager
def _fuse_errors() -> Iterator[None]:
    """Turn an OSError into the error that pyfuse3 sends to the kernel."""
    try:
        yield
    except OSError as error:
        raise pyfuse3.FUSEError(error.errno or errno.EIO) from None


class Passthrough(pyfuse3.Operations):
    """The files of a directory as a file system, with faults.

    If `cached` is true, the kernel keeps pages, names and attributes, as it does for a local disk.
    Otherwise each call reaches this process.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, files: BackingFiles, *, cached: bool) -> None:
        super().__init__()
        self.table = FaultTable()
        self.hanging = 0
        self._cached = cached
        self._files = files
        self._released = trio.Event()
        self._listings: dict[int, list[str]] = {}

    # -- faults

    def order(self, faults: tuple[DiskFault, ...]) -> None:
        """Replace all faults, and let the operations that hang go on."""
        self.table.replace(faults)
        self._released.set()
        self._released = trio.Event()

    async def _meet(self, operation: str, inode: int) -> None:
        fault = self.table.meets(operation, self._files.path(inode))
        if fault is None:
            return
        released = self._released
        self.hanging += 1
        try:
            if fault.hangs:
                await released.wait()
            elif fault.seconds:
                with trio.move_on_after(fault.seconds):
                    await released.wait()
        finally:
            self.hanging -= 1
        if fault.errno:
            raise pyfuse3.FUSEError(fault.errno)

    # -- inodes

    async def forget(self, inode_list: list[tuple[InodeT, int]]) -> None:  # type: ignore[override]
        for inode, lookups in inode_list:
            self._files.forget(inode, lookups)

    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        await self._meet("lookup", parent_inode)
        with _fuse_errors():
            return self._files.look_up(parent_inode, name)

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> pyfuse3.EntryAttributes:
        await self._meet("getattr", inode)
        with _fuse_errors():
            return self._files.attributes(self._files.descriptor(inode))

    async def setattr(
        self,
        inode: InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> pyfuse3.EntryAttributes:
        await self._meet("setattr", inode)
        path = self._files.reopening(inode)
        with _fuse_errors():
            if fields.update_size:
                size = attr.st_size
                self._files.allocate(lambda: os.truncate(path, size), 0, path)
            if fields.update_mode:
                os.chmod(path, stat.S_IMODE(attr.st_mode))
            if fields.update_uid or fields.update_gid:
                owner = attr.st_uid if fields.update_uid else -1
                group = attr.st_gid if fields.update_gid else -1
                os.chown(path, owner, group)
            if fields.update_atime or fields.update_mtime:
                old = os.stat(path)
                read = attr.st_atime_ns if fields.update_atime else old.st_atime_ns
                changed = attr.st_mtime_ns if fields.update_mtime else old.st_mtime_ns
                os.utime(path, ns=(read, changed))
            return self._files.attributes(self._files.descriptor(inode))

    # -- directories

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        await self._meet("open", inode)
        with _fuse_errors():
            names = sorted(os.listdir(self._files.reopening(inode)))
            handle = os.dup(self._files.descriptor(inode))
        self._listings[handle] = names
        return pyfuse3.FileHandleT(handle)

    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        inode = self._files.attributes(fh).st_ino
        await self._meet("readdir", inode)
        for number, name in enumerate(self._listings[fh][start_id:], start_id + 1):
            try:
                entry = self._files.look_up(inode, os.fsencode(name))
            except OSError:
                continue
            if not pyfuse3.readdir_reply(token, os.fsencode(name), entry, number):
                await self.forget([(entry.st_ino, 1)])
                return

    async def releasedir(self, fh: FileHandleT) -> None:
        del self._listings[fh]
        os.close(fh)

    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        await self._meet("mkdir", parent_inode)
        parent = self._files.descriptor(parent_inode)
        with _fuse_errors():
            os.mkdir(name, mode & ~ctx.umask, dir_fd=parent)
            self._give_to_user(parent, name, ctx)
            return self._files.look_up(parent_inode, name)

    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        await self._meet("rmdir", parent_inode)
        with _fuse_errors():
            os.rmdir(name, dir_fd=self._files.descriptor(parent_inode))

    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        await self._meet("unlink", parent_inode)
        with _fuse_errors():
            self._files.unlink(parent_inode, name)

    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        await self._meet("rename", parent_inode_old)
        old, new = (
            self._files.descriptor(parent_inode_old),
            self._files.descriptor(parent_inode_new),
        )
        with _fuse_errors():
            if flags & ~_RENAME_NOREPLACE:
                raise OSError(errno.EINVAL, "exchanging names is not supported")
            if flags and os.path.lexists(
                os.path.join(os.fsencode(self._files.reopening(parent_inode_new)), name_new)
            ):
                raise OSError(errno.EEXIST, "the new name exists")
            os.rename(name_old, name_new, src_dir_fd=old, dst_dir_fd=new)

    async def link(
        self,
        inode: InodeT,
        new_parent_inode: InodeT,
        new_name: FileNameT,
        ctx: RequestContext,
    ) -> pyfuse3.EntryAttributes:
        await self._meet("link", inode)
        folder = self._files.descriptor(new_parent_inode)
        with _fuse_errors():
            os.link(self._files.reopening(inode), new_name, dst_dir_fd=folder)
            return self._files.look_up(new_parent_inode, new_name)

    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        await self._meet("symlink", parent_inode)
        with _fuse_errors():
            os.symlink(target, name, dir_fd=self._files.descriptor(parent_inode))
            return self._files.look_up(parent_inode, name)

    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        await self._meet("readlink", inode)
        with _fuse_errors():
            return pyfuse3.FileNameT(os.readlink(b"", dir_fd=self._files.descriptor(inode)))

    # -- files

    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        await self._meet("create", parent_inode)
        parent = self._files.descriptor(parent_inode)
        with _fuse_errors():
            handle = os.open(
                name, (flags | os.O_CREAT) & ~os.O_APPEND, mode & ~ctx.umask, dir_fd=parent
            )
            self._give_to_user(parent, name, ctx)
            return self._file(handle), self._files.look_up(parent_inode, name)

    def _give_to_user(self, parent: int, name: bytes, ctx: RequestContext) -> None:
        """Change the owner of a new entry to the user of the program that made it."""
        if os.geteuid() == 0:
            inherits = os.fstat(parent).st_mode & stat.S_ISGID
            group = -1 if inherits else ctx.gid
            os.chown(name, ctx.uid, group, dir_fd=parent, follow_symlinks=False)

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> pyfuse3.FileInfo:
        await self._meet("open", inode)
        with _fuse_errors():
            # The kernel itself appends and checks O_NOFOLLOW. The descriptor of a link has to be
            # followed here.
            dropped = os.O_APPEND | os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL
            return self._file(os.open(self._files.reopening(inode), flags & ~dropped))

    def _file(self, handle: int) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(
            fh=pyfuse3.FileHandleT(handle), direct_io=not self._cached, keep_cache=self._cached
        )

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        await self._meet("read", self._files.attributes(fh).st_ino)
        with _fuse_errors():
            return os.pread(fh, size, off)

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        await self._meet("write", self._files.attributes(fh).st_ino)
        with _fuse_errors():
            return self._files.allocate(lambda: os.pwrite(fh, buf, off), len(buf), fh)

    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        await self._meet("fsync", self._files.attributes(fh).st_ino)

    async def flush(self, fh: FileHandleT) -> None:
        await self._meet("flush", self._files.attributes(fh).st_ino)

    async def release(self, fh: FileHandleT) -> None:
        os.close(fh)

    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        await self._meet("statfs", pyfuse3.ROOT_INODE)
        with _fuse_errors():
            return self._files.space()
