"""The operations of the mount: each decodes a request, delegates it, and encodes the answer.

`BucketFilesystem` holds all state and decides everything. The mount is read-only: the kernel
refuses writes with EROFS, and the operations here refuse a write that the kernel passes on.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NoReturn

import pyfuse3

from gcsmux_fs.filesystem.file_attributes import AbsentName
from gcsmux_fs.fuse.attributes import FOREVER_SECONDS, encode_absence, encode_attributes
from gcsmux_fs.fuse.guard import failure, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
    from gcsmux_fs.filesystem.file_attributes import FileAttributes

__all__ = ["BucketOperations"]

# The sizes that statfs(2) returns. A bucket has no capacity, but programs divide by these numbers,
# so the numbers must not be 0. They describe 1 PiB of free space.
_BLOCK_BYTES = 4096
_TOTAL_BLOCKS = (1 << 50) // _BLOCK_BYTES

# How long the kernel caches the names of a listing if names are dropped at any time.
_LISTED_SECONDS = 1.0


class BucketOperations(pyfuse3.Operations):
    """Answers the requests of the kernel from a `BucketFilesystem`.

    `on_init` is called when libfuse is about to answer FUSE_INIT, the kernel's first request.
    `choose_window` is called just before the answer to each OPEN, with the kernel's readahead
    window for the file in bytes, or None if every window is as good. The kernel caches no name for
    longer than `max_name_seconds`, and no name of a listing for longer than `max_listed_seconds`.
    """

    # An NFS server finds a file by its inode number alone: it looks up the name "." in the inode.
    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, filesystem: BucketFilesystem) -> None:
        super().__init__()
        self._filesystem = filesystem
        self.times = filesystem.operation_times
        self.on_init: Callable[[], None] | None = None
        self.max_name_seconds = FOREVER_SECONDS
        self.max_listed_seconds = FOREVER_SECONDS
        self.choose_window: Callable[[int | None], None] = lambda window_bytes: None

    def limit_names(self, seconds: float) -> None:
        """Let the kernel cache no name for longer than `seconds` from now on.

        Names of a listing are cached for a second, because the kernel may take an old name for a
        new one: if it has got the listing, but not taken the names from it yet, and all names are
        dropped meanwhile (`epoch` in fuse_direntplus_link in the kernel's fs/fuse/readdir.c).
        """
        self.max_name_seconds = seconds
        self.max_listed_seconds = _LISTED_SECONDS

    def init(self) -> None:
        """Call `on_init`, because libfuse is about to answer FUSE_INIT."""
        if self.on_init is not None:
            self.on_init()

    # -- names and attributes

    @guarded
    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Find a name in a directory."""
        answer = await self._filesystem.lookup(parent_inode, name, ctx.pid)
        if isinstance(answer, AbsentName):
            return encode_absence(answer, self.max_name_seconds)
        return encode_attributes(answer, self.max_name_seconds)

    @guarded
    async def forget(self, inode_list: Sequence[tuple[pyfuse3.InodeT, int]]) -> None:
        """Subtract from the lookup counts of the inodes that the kernel forgets."""
        self._filesystem.forget(inode_list)

    @guarded
    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Return the attributes of an inode."""
        return encode_attributes(self._filesystem.attributes(inode))

    @guarded
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Return the size of the file system, 1 PiB, and the longest file name."""
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = _BLOCK_BYTES
        data.f_blocks = data.f_bfree = data.f_bavail = _TOTAL_BLOCKS
        data.f_files = data.f_ffree = data.f_favail = _TOTAL_BLOCKS
        data.f_namemax = self._filesystem.max_name_bytes
        return data

    @guarded
    async def listxattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> Sequence[pyfuse3.XAttrNameT]:
        """Return the names of the extended attributes of an inode."""
        return [pyfuse3.XAttrNameT(name) for name in self._filesystem.extended_attributes(inode)]

    @guarded
    async def getxattr(
        self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext
    ) -> bytes:
        """Return one extended attribute of an inode."""
        return self._filesystem.extended_attribute(inode, name)

    @guarded
    async def readlink(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileNameT:
        """Return the target of a symbolic link."""
        return pyfuse3.FileNameT(await self._filesystem.link_target(inode))

    # -- files

    @guarded
    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        """Open a file."""
        opened = await self._filesystem.open(inode, flags, ctx.pid)
        self.choose_window(opened.window_bytes)
        return pyfuse3.FileInfo(
            fh=pyfuse3.FileHandleT(opened.handle),
            keep_cache=opened.keep_pages,
            direct_io=opened.direct,
        )

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes | memoryview:  # type: ignore[override]
        """Return bytes of a file, fewer than `size` only at the end of the object."""
        # Not `guarded`, because a second coroutine would take as much time as the rest of a READ
        # from the cache.
        try:
            content = self._filesystem.read_cached(fh, off, size)
            if content is None:
                content = await self._filesystem.read(fh, off, size)
        except Exception as error:
            raise failure(self.times, "read", error) from None
        return content

    @guarded
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Close a file."""
        self._filesystem.release(fh)

    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        """Refuse FLUSH by ENOSYS. The kernel remembers this, and sends no FLUSH at later closes."""
        raise pyfuse3.FUSEError(errno.ENOSYS)

    @guarded
    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Do nothing: no file of a read-only mount has unwritten data."""

    # -- directories

    @guarded
    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        """Open a directory."""
        return pyfuse3.FileHandleT(await self._filesystem.open_directory(inode))

    @guarded
    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        """Fill the reply with entries from `start_id` on, until the reply is full."""
        max_name_seconds = min(self.max_name_seconds, self.max_listed_seconds)

        def accept(name: bytes, attributes: FileAttributes, next_position: int) -> bool:
            encoded = encode_attributes(attributes, max_name_seconds)
            return pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), encoded, next_position)

        await self._filesystem.read_directory(fh, start_id, accept)

    @guarded
    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        """Close a directory."""
        self._filesystem.release_directory(fh)

    @guarded
    async def fsyncdir(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Do nothing: no directory of a read-only mount has unwritten data."""

    # -- operations that write

    async def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse a write."""
        raise pyfuse3.FUSEError(errno.EROFS)

    setattr = mknod = mkdir = unlink = rmdir = symlink = rename = link = _refuse
    write = create = setxattr = removexattr = _refuse
