"""Tests of the control directory: its files, and that the rest of the bucket does not change."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.filesystem.controlled_filesystem import ControlledFilesystem
from gcsmux_fs.filesystem.file_attributes import FileAttributes
from gcsmux_fs.filesystem.operation_refused import OperationRefused
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE
from gcsmux_fs.namespace.tree import NoSuchEntry
from tests.filesystem.served_bucket import THREAD, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MTIME_NS = 1_700_000_000_000_000_000


@asynccontextmanager
async def controlled(*names: str) -> AsyncIterator[ControlledFilesystem]:
    """A bucket with these objects, and the control files `count` (counts its opens) and `b`."""
    numbers = itertools.count(1)
    async with served(*names) as bucket:
        filesystem = ControlledFilesystem(
            bucket.tree,
            bucket.context,
            bucket.policy,
            bucket="bucket",
            call_soon=lambda call: None,
            clock=trio.current_time,
        )
        filesystem.show(
            {"count": lambda: f"opened {next(numbers)}\n", "b": lambda: "\udcff"}, MTIME_NS
        )
        yield filesystem
        filesystem.close()
        assert filesystem.open_handles == 0


async def found(filesystem: ControlledFilesystem, parent: int, name: bytes) -> FileAttributes:
    attributes = await filesystem.lookup(parent, name, THREAD)
    assert isinstance(attributes, FileAttributes)
    return attributes


async def listed(filesystem: ControlledFilesystem, inode: int) -> list[bytes]:
    """Return the names in a directory; each READDIR has room for one entry."""
    handle = await filesystem.open_directory(inode)
    names: list[bytes] = []
    position = 0
    while True:
        accepted: list[tuple[bytes, int]] = []

        def accept(
            name: bytes,
            _: FileAttributes,
            next_position: int,
            accepted: list[tuple[bytes, int]] = accepted,
        ) -> bool:
            if accepted:
                return False
            accepted.append((name, next_position))
            return True

        await filesystem.read_directory(handle, position, accept)
        if not accepted:
            filesystem.release_directory(handle)
            return names
        names.append(accepted[0][0])
        position = accepted[0][1]


async def test_the_directory_is_found_by_name_but_not_listed() -> None:
    async with controlled("file") as filesystem:
        directory = await found(filesystem, ROOT_INODE, b".gcsmux")
        assert stat.S_ISDIR(directory.mode)
        assert await listed(filesystem, ROOT_INODE) == [b".", b"..", b"file"]
        assert await listed(filesystem, directory.inode) == [b"count", b"b"]
        with pytest.raises(NoSuchEntry):
            await filesystem.lookup(directory.inode, b"absent", THREAD)


async def test_only_the_owner_may_read_and_no_user_may_write() -> None:
    async with controlled() as filesystem:
        directory = await found(filesystem, ROOT_INODE, b".gcsmux")
        file = await found(filesystem, directory.inode, b"count")
        assert (stat.S_IMODE(directory.mode), stat.S_IMODE(file.mode)) == (0o500, 0o400)
        assert (file.uid, file.size, file.mtime_ns) == (1000, 0, MTIME_NS)
        with pytest.raises(OperationRefused) as raised:
            await filesystem.open(file.inode, os.O_WRONLY, THREAD)
        assert raised.value.errno == errno.EROFS


async def test_the_content_is_that_of_the_open_and_is_read_past_the_size() -> None:
    async with controlled() as filesystem:
        directory = await found(filesystem, ROOT_INODE, b".gcsmux")
        file = await found(filesystem, directory.inode, b"count")
        first = await filesystem.open(file.inode, os.O_RDONLY, THREAD)
        second = await filesystem.open(file.inode, os.O_RDONLY, THREAD)
        assert first.direct
        assert not first.keep_pages
        assert filesystem.read_cached(first.handle, 0, 100) == b"opened 1\n"
        assert filesystem.read_cached(second.handle, 7, 1) == b"2"
        assert filesystem.read_cached(first.handle, 9, 100) == b""
        assert filesystem.open_handles == 2
        filesystem.release(first.handle)
        assert filesystem.open_handles == 1
        other = await found(filesystem, directory.inode, b"b")
        third = await filesystem.open(other.inode, os.O_RDONLY, THREAD)
        assert filesystem.read_cached(third.handle, 0, 10) == b"\xff"


async def test_the_kernel_may_use_every_operation_on_control_files() -> None:
    async with controlled() as filesystem:
        directory = await found(filesystem, ROOT_INODE, b".gcsmux")
        file = await found(filesystem, directory.inode, b"b")
        for each in (directory, file):
            assert filesystem.attributes(each.inode) == each
            assert await filesystem.lookup(each.inode, b".", THREAD) == each
            assert filesystem.extended_attributes(each.inode) == {}
            with pytest.raises(OperationRefused):
                filesystem.extended_attribute(each.inode, b"user.gcs.generation")
            with pytest.raises(OperationRefused):
                await filesystem.link_target(each.inode)
        with pytest.raises(OperationRefused) as raised:
            await filesystem.open(directory.inode, os.O_RDONLY, THREAD)
        assert raised.value.errno == errno.EISDIR
        filesystem.forget([(directory.inode, 1), (file.inode, 1)])


async def test_the_bucket_is_read_as_without_the_directory() -> None:
    async with controlled("folder/file") as filesystem:
        folder = await found(filesystem, ROOT_INODE, b"folder")
        file = await found(filesystem, folder.inode, b"file")
        opened = await filesystem.open(file.inode, os.O_RDONLY, THREAD)
        assert not opened.direct
        assert len(await filesystem.read(opened.handle, 0, 100_000)) == 20_000
        assert filesystem.read_cached(opened.handle, 19_999, 5) is not None
        filesystem.release(opened.handle)
        filesystem.forget([(file.inode, 1), (folder.inode, 1)])


async def test_an_object_of_the_same_name_is_hidden_only_in_the_root() -> None:
    async with controlled(".gcsmux/secret", "folder/.gcsmux") as filesystem:
        directory = await found(filesystem, ROOT_INODE, b".gcsmux")
        assert await listed(filesystem, directory.inode) == [b"count", b"b"]
        folder = await found(filesystem, ROOT_INODE, b"folder")
        assert (await found(filesystem, folder.inode, b".gcsmux")).size == 20_000
