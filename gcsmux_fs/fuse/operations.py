"""The operations of the file system: each decodes, delegates and encodes, nothing more.

File handles and directory handles are numbers of one counter; what they stand for lives in
`namespace` and `reading`. An open file is pinned to the generation its inode stands for. The mount
is read-only: the kernel itself refuses writes with EROFS, and so do the operations here, for what
reaches them all the same.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
from typing import TYPE_CHECKING, Any, NoReturn

import pyfuse3
import trio

from gcsmux_fs.filesystem.directory_prefetch import DirectoryPrefetch
from gcsmux_fs.filesystem.links import LinkReader
from gcsmux_fs.fuse.attributes import AttributeEncoder, absent_entry, extended_attributes
from gcsmux_fs.fuse.guard import answered
from gcsmux_fs.model.errors import GenerationGone
from gcsmux_fs.model.values import ObjectKey
from gcsmux_fs.namespace.recent_snapshots import RecentSnapshots
from gcsmux_fs.namespace.tree import NoSuchEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.model.values import ObjectInfo
    from gcsmux_fs.namespace.tree import DirectoryHandle, Tree
    from gcsmux_fs.reading.open_file import OpenFile
    from gcsmux_fs.reading.read_context import ReadContext

__all__ = ["BucketOperations"]

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_TRUNC

# What statfs shows: a bucket has no size of its own, and programs divide by these numbers.
_BLOCK_BYTES = 4096
_TOTAL_BLOCKS = (1 << 50) // _BLOCK_BYTES
_NAME_MAX_BYTES = 255

# A directory's first two entries; the positions after them are those of the listing plus two.
_DOTS = (b".", b"..")

# Neither `getfattr` nor `cp -a` may take the mount for broken where there is just no attribute.
_NO_ATTRIBUTE = errno.ENODATA


class BucketOperations(pyfuse3.Operations):
    """A bucket as a read-only file system."""

    # NFS servers ask for a file by its number alone, in the form of a lookup of ".".
    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = False

    def __init__(
        self,
        tree: Tree,
        reader: ReadContext,
        encoder: AttributeEncoder,
        *,
        bucket: str,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        super().__init__()
        self._tree = tree
        self._reader = reader
        self._encoder = encoder
        self._bucket = bucket
        self._soon = call_soon
        self.walks = DirectoryPrefetch(tree, reader, bucket)
        self._links = LinkReader(tree, reader, self.walks, bucket, call_soon=call_soon)
        self.on_init: Callable[[], None] | None = None
        self._recent = RecentSnapshots()
        self._handles = itertools.count(1)
        self._files: dict[int, tuple[int, OpenFile]] = {}
        self._directories: dict[int, tuple[int, DirectoryHandle]] = {}

    def init(self) -> None:
        """Tell `on_init` that libfuse is about to answer the kernel's first request."""
        if self.on_init is not None:
            self.on_init()

    @property
    def open_handles(self) -> int:
        """Files and directories that are open, and files fetched before they are."""
        return len(self._files) + len(self._directories) + len(self.walks)

    @property
    def ill_formed_metadata(self) -> int:
        """Values of other tools' metadata that mean nothing, counted once for each file."""
        return self._encoder.ill_formed.values

    def close(self) -> None:
        """Close all that is open: when programs outlive the mount, the kernel never says so."""
        for inode, file in self._files.values():
            file.close()
            self._tree.unpin(inode)
        for _, directory in self._directories.values():
            directory.release()
        self._files.clear()
        self._directories.clear()
        self.walks.close()

    # -- names and attributes

    @answered
    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Find a name; an absent one is answered so that the kernel remembers its absence."""
        if len(name) > _NAME_MAX_BYTES:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        told = self._recent.recall(ctx.pid, parent_inode, name, trio.current_time())
        if told is not None and (entry := self._tree.enter_again(told)) is not None:
            return self._encoder.encode(entry)
        try:
            entry = await self._tree.lookup(parent_inode, name)
        except NoSuchEntry as absent:
            if absent.valid_seconds <= 0:
                raise
            return absent_entry(absent.valid_seconds)
        if entry.grows:
            self._recent.note(ctx.pid, parent_inode, name, entry.inode, trio.current_time())
        return self._encoder.encode(entry)

    @answered
    async def forget(self, inode_list: Sequence[tuple[pyfuse3.InodeT, int]]) -> None:
        """Take back lookup counts."""
        for inode, count in inode_list:
            self._tree.forget(inode, count)

    @answered
    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Return attributes."""
        return self._encoder.encode(self._tree.get(inode))

    @answered
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Return sizes large enough for any program, and the limit of a name."""
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = _BLOCK_BYTES
        data.f_blocks = data.f_bfree = data.f_bavail = _TOTAL_BLOCKS
        data.f_files = data.f_ffree = data.f_favail = _TOTAL_BLOCKS
        data.f_namemax = _NAME_MAX_BYTES
        return data

    @answered
    async def listxattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> Sequence[pyfuse3.XAttrNameT]:
        """Return the names of the extended attributes."""
        return [pyfuse3.XAttrNameT(name) for name in self._extended_attributes(inode)]

    @answered
    async def getxattr(
        self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext
    ) -> bytes:
        """Return one extended attribute."""
        # The kernel asks for security.* at every exec: those never need the service.
        if not name.startswith(b"user.gcs."):
            raise pyfuse3.FUSEError(_NO_ATTRIBUTE)
        try:
            return self._extended_attributes(inode)[name]
        except KeyError:
            raise pyfuse3.FUSEError(_NO_ATTRIBUTE) from None

    def _extended_attributes(self, inode: int) -> dict[bytes, bytes]:
        info = self._tree.object_of(inode)
        return {} if info is None else extended_attributes(info)

    @answered
    async def readlink(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileNameT:
        """Return where a symbolic link leads."""
        target = await self._links.target(inode)
        if target is None:
            raise pyfuse3.FUSEError(errno.EINVAL)
        return pyfuse3.FileNameT(target)

    # -- files

    @answered
    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        """Open a file, pinned to the generation its inode stands for.

        The service is asked for what will be read first, where that is not cached. A generation
        that is gone is refused with ESTALE: the kernel looks the name up again, and opens what it
        leads to now before the program is told anything.
        """
        if flags & _WRITE_FLAGS:
            raise pyfuse3.FUSEError(errno.EROFS)
        self._recent.opened(ctx.pid)
        info = self._tree.pin(inode)
        file = self._reader.open(self._key(info), info.size, grows=not info.finalized)
        try:
            await file.ask_first(ctx.pid)
        except BaseException as error:
            if isinstance(error, GenerationGone):
                self._tree.generation_gone(inode)
            file.close()
            self._tree.unpin(inode)
            raise
        handle = pyfuse3.FileHandleT(next(self._handles))
        self._files[handle] = inode, file
        # An inode is one generation at one size: its pages never change, and outlive the handle.
        return pyfuse3.FileInfo(fh=handle, keep_cache=True)

    def _key(self, info: ObjectInfo) -> ObjectKey:
        return ObjectKey(self._bucket, info.name, info.generation)

    @answered
    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes | memoryview:  # type: ignore[override]
        """Return bytes, fewer than asked for only at the end of the object."""
        inode, file = self._files[fh]
        if off == 0:
            # What is read next comes after what is wanted now.
            now = trio.current_time()
            self._soon(functools.partial(self.walks.observe, inode, file, now))
        data = file.read_cached(off, size)
        if data is not None:
            return data
        try:
            return await file.read(off, size)
        except GenerationGone:
            self._tree.generation_gone(inode)
            raise

    @answered
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Close a file."""
        inode, file = self._files.pop(fh)
        file.close()
        self._tree.unpin(inode)

    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        """Nothing is ever written; ENOSYS, which the kernel remembers, saves a call per close."""
        raise pyfuse3.FUSEError(errno.ENOSYS)

    @answered
    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Nothing is ever written: there is nothing to sync."""

    # -- directories

    @answered
    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        """Open a directory."""
        await self._tree.confirm_directory(inode)
        handle = pyfuse3.FileHandleT(next(self._handles))
        self._directories[handle] = inode, self._tree.open_directory(inode)
        return handle

    @answered
    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        """Fill the reply with entries from `start_id` on; each accepted one counts as a lookup."""
        inode, directory = self._directories[fh]
        position = start_id
        while position < len(_DOTS):
            if not self._reply_dot(inode, _DOTS[position], token, position + 1):
                return
            position += 1
        for after, name, entry in await directory.entries_from(position - len(_DOTS)):
            attributes = self._encoder.encode(entry)
            if not pyfuse3.readdir_reply(token, name, attributes, after + len(_DOTS)):
                self._tree.forget(entry.inode, 1)
                return

    def _reply_dot(self, inode: int, name: bytes, token: pyfuse3.ReaddirToken, after: int) -> bool:
        """Report `.` or `..`, which the kernel never counts as lookups."""
        entry = self._tree.lookup_cached(inode, name)
        assert entry is not None
        try:
            return pyfuse3.readdir_reply(token, name, self._encoder.encode(entry), after)
        finally:
            self._tree.forget(entry.inode, 1)

    @answered
    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        """Close a directory."""
        _, directory = self._directories.pop(fh)
        directory.release()

    @answered
    async def fsyncdir(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Nothing is ever written: there is nothing to sync."""

    # -- what a read-only file system refuses

    async def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise pyfuse3.FUSEError(errno.EROFS)

    setattr = mknod = mkdir = unlink = rmdir = symlink = rename = link = _refuse
    write = create = setxattr = removexattr = _refuse
