"""Tests of the operations without a mount: each operation's arguments, answer and errno."""

from __future__ import annotations

import errno
import os
import stat
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest

from gcsmux_fs.fuse.operations import BucketOperations
from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.model.values import ObjectInfo
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE
from tests.filesystem.served_bucket import THREAD, ServedBucket, served
from tests.support.sizes import MIB

CONTEXT: Any = SimpleNamespace(pid=THREAD)
ROOT = pyfuse3.InodeT(ROOT_INODE)
WRITES = [
    *["setattr", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link"],
    *["write", "create", "setxattr", "removexattr"],
]


async def errno_of(coroutine: Any) -> int:
    with pytest.raises(pyfuse3.FUSEError) as raised:
        await coroutine
    return raised.value.errno


def file_name(text: str) -> pyfuse3.FileNameT:
    return pyfuse3.FileNameT(text.encode())


async def test_a_lookup_is_answered_with_attributes_or_a_cached_absence() -> None:
    async with served("file") as bucket:
        operations = BucketOperations(bucket.filesystem)
        found = await operations.lookup(ROOT, file_name("file"), CONTEXT)
        assert (found.st_size, stat.S_ISREG(found.st_mode)) == (20_000, True)
        assert (await operations.getattr(found.st_ino, CONTEXT)).st_size == 20_000
        absent = await operations.lookup(ROOT, file_name("absent"), CONTEXT)
        assert absent.st_ino == 0
        assert 0 < absent.entry_timeout <= 5
        await operations.forget([(found.st_ino, 1)])
        assert not bucket.holds(found.st_ino)


async def test_an_absence_that_must_not_be_cached_is_enoent() -> None:
    async with served(ttl_seconds=0) as bucket:
        operations = BucketOperations(bucket.filesystem)
        lookup = operations.lookup(ROOT, file_name("absent"), CONTEXT)
        assert await errno_of(lookup) == errno.ENOENT


async def test_a_long_name_is_enametoolong() -> None:
    async with served() as bucket:
        operations = BucketOperations(bucket.filesystem)
        lookup = operations.lookup(ROOT, file_name("x" * 256), CONTEXT)
        assert await errno_of(lookup) == errno.ENAMETOOLONG


async def test_statfs_shows_free_space_and_the_longest_name() -> None:
    async with served() as bucket:
        data = await BucketOperations(bucket.filesystem).statfs(CONTEXT)
        assert data.f_bsize * data.f_bavail == 1 << 50
        assert data.f_namemax == 255


async def test_a_file_is_opened_read_and_closed() -> None:
    async with served("file") as bucket:
        operations = BucketOperations(bucket.filesystem)
        inode = pyfuse3.InodeT(await bucket.inode_of("file"))
        info = await operations.open(inode, pyfuse3.FlagT(os.O_RDONLY), CONTEXT)
        assert info.keep_cache
        assert not info.direct_io
        content = bucket.content("file")
        # The first READ waits for the service, the second is answered from the cache.
        for offset in (0, 100):
            answer = await operations.read(info.fh, offset, 50)
            assert bytes(answer) == content[offset : offset + 50]
        assert bytes(await operations.read(info.fh, 20_000, 50)) == b""
        await operations.fsync(info.fh, False)
        assert await errno_of(operations.flush(info.fh)) == errno.ENOSYS
        await operations.release(info.fh)
        assert bucket.filesystem.open_handles == 0


async def test_a_failed_read_is_answered_with_its_errno() -> None:
    async with served("file", size=8 * 1024 * 1024) as bucket:
        operations = BucketOperations(bucket.filesystem)
        handle = pyfuse3.FileHandleT(await bucket.open("file"))
        bucket.stall("file")
        assert await errno_of(read_of_a_gone_generation(bucket, operations, handle)) == errno.ESTALE


async def read_of_a_gone_generation(
    bucket: ServedBucket, operations: BucketOperations, handle: pyfuse3.FileHandleT
) -> None:
    bucket.nursery.start_soon(bucket.answer_gone)
    await operations.read(handle, 4 * 1024 * 1024, 4096)


@pytest.mark.expects_log("read: EIO: unexpected exception")
async def test_an_unknown_handle_is_eio_and_does_not_end_the_mount() -> None:
    async with served() as bucket:
        operations = BucketOperations(bucket.filesystem)
        assert await errno_of(operations.read(pyfuse3.FileHandleT(99), 0, 1)) == errno.EIO


async def test_a_directory_is_listed_through_readdir_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replies: list[tuple[bytes, int, int]] = []

    def reply(
        token: object, name: bytes, attributes: pyfuse3.EntryAttributes, position: int
    ) -> bool:
        assert token == "token"
        replies.append((name, attributes.st_mode, position))
        return len(replies) < 4

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    async with served("a", "b", "c") as bucket:
        operations = BucketOperations(bucket.filesystem)
        handle = await operations.opendir(ROOT, CONTEXT)
        token: Any = "token"
        await operations.readdir(handle, 0, token)
        directory, file = stat.S_IFDIR | 0o750, stat.S_IFREG | 0o640
        assert replies == [
            (b".", directory, 1),
            (b"..", directory, 2),
            (b"a", file, 3),
            (b"b", file, 4),
        ]
        await operations.fsyncdir(handle, False)
        await operations.releasedir(handle)
        assert bucket.filesystem.open_handles == 0


async def test_links_and_extended_attributes_are_returned() -> None:
    async with served("file") as bucket:
        metadata = {"gcsfuse_symlink_target": "target"}
        bucket.store.replace_info(ObjectInfo("link", 1, 0, 0, metadata=metadata))
        operations = BucketOperations(bucket.filesystem)
        link = pyfuse3.InodeT(await bucket.inode_of("link"))
        file = pyfuse3.InodeT(await bucket.inode_of("file"))
        assert await operations.readlink(link, CONTEXT) == b"target"
        assert await errno_of(operations.readlink(file, CONTEXT)) == errno.EINVAL
        generation = pyfuse3.XAttrNameT(b"user.gcs.generation")
        assert generation in await operations.listxattr(file, CONTEXT)
        assert await operations.getxattr(file, generation, CONTEXT) == b"1"
        absent = pyfuse3.XAttrNameT(b"security.capability")
        assert await errno_of(operations.getxattr(file, absent, CONTEXT)) == errno.ENODATA


@pytest.mark.parametrize("name", WRITES)
async def test_an_operation_that_writes_is_erofs(name: str) -> None:
    async with served() as bucket:
        operation = getattr(BucketOperations(bucket.filesystem), name)
        assert await errno_of(operation(1, 2, 3)) == errno.EROFS


async def test_an_open_for_writing_is_erofs() -> None:
    async with served("file") as bucket:
        inode = pyfuse3.InodeT(await bucket.inode_of("file"))
        operations = BucketOperations(bucket.filesystem)
        opening = operations.open(inode, pyfuse3.FlagT(os.O_RDWR), CONTEXT)
        assert await errno_of(opening) == errno.EROFS


async def test_a_request_after_the_end_of_the_mount_is_enotconn() -> None:
    async with served("file") as bucket:
        operations = BucketOperations(bucket.filesystem)
        await bucket.filesystem.drain(0)
        lookup = operations.lookup(ROOT, file_name("file"), CONTEXT)
        assert await errno_of(lookup) == errno.ENOTCONN


async def test_init_calls_on_init() -> None:
    async with served() as bucket:
        operations = BucketOperations(bucket.filesystem)
        operations.init()
        calls: list[str] = []
        operations.on_init = lambda: calls.append("init")
        operations.init()
        assert calls == ["init"]


def test_only_operations_with_a_safe_default_are_inherited_from_pyfuse3() -> None:
    """The kernel checks access and polls regular files without a request to the mount."""
    inherited = {
        name
        for name, operation in vars(pyfuse3.Operations).items()
        if not name.startswith("_") and callable(operation) and name not in vars(BucketOperations)
    }
    assert inherited <= {"access", "poll", "stacktrace"}


async def test_the_kernel_caches_no_name_for_longer_than_allowed() -> None:
    async with served("file") as bucket:
        operations = BucketOperations(bucket.filesystem)
        operations.max_name_seconds = 2.0
        found = await operations.lookup(ROOT, file_name("file"), CONTEXT)
        absent = await operations.lookup(ROOT, file_name("absent"), CONTEXT)
        assert (found.entry_timeout, absent.entry_timeout) == (2, 2)
        # The attributes of a generation never change, so they stay cached.
        assert found.attr_timeout > 60
        await operations.forget([(found.st_ino, 1)])


async def test_the_kernel_caches_listed_names_briefly_if_names_are_dropped_at_any_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timeouts: list[float] = []

    def reply(_token: object, _name: bytes, entry: pyfuse3.EntryAttributes, _next: int) -> bool:
        timeouts.append(entry.entry_timeout)
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    token: Any = None
    async with served("file") as bucket:
        operations = BucketOperations(bucket.filesystem)
        for limit, expected in ((600.0, 1.0), (0.5, 0.5)):
            operations.limit_names(limit)
            handle = await operations.opendir(ROOT, CONTEXT)
            await operations.readdir(handle, 0, token)
            await operations.releasedir(handle)
            assert timeouts.pop() == expected
        found = await operations.lookup(ROOT, file_name("file"), CONTEXT)
        assert found.entry_timeout == 0.5
        await operations.forget([(found.st_ino, 3)])


async def test_a_failed_read_is_counted_by_its_errno() -> None:
    async with served("file", size=4 * MIB) as bucket:
        operations = BucketOperations(bucket.filesystem)
        handle = pyfuse3.FileHandleT(await bucket.open("file"))
        assert len(await operations.read(handle, 0, 4096)) == 4096
        bucket.stall("file")
        bucket.nursery.start_soon(bucket.answer_gone)
        assert await errno_of(operations.read(handle, 3 * MIB, 4096)) == errno.ESTALE
        assert bucket.registry.value("fs_op_errors", op="read", errno="ESTALE") == 1
        times = bucket.registry.value("fs_op_seconds", op="read")
        assert isinstance(times, Histogram)
        assert times.count == 2
