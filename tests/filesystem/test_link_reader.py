"""Tests of the targets of symbolic links, from metadata and from content."""

from __future__ import annotations

import errno

import pytest
import trio
import trio.testing

from gcsmux_fs.filesystem.object_opener import ObjectOpener
from gcsmux_fs.filesystem.operation_refused import OperationRefused
from gcsmux_fs.model.errors import DataCorruption, GenerationGone
from gcsmux_fs.model.values import ObjectInfo

from .served_bucket import ServedBucket, served

IS_LINK = {"goog-reserved-file-is-symlink": "true"}


def link(name: str, generation: int, size: int) -> ObjectInfo:
    return ObjectInfo(name, generation, size, 0, metadata=IS_LINK)


async def settle(bucket: ServedBucket, content: bytes) -> None:
    """Answer the only requested range with `content`."""
    await trio.testing.wait_all_tasks_blocked()
    (request,) = bucket.source.pending
    request.is_open = False
    request.done(memoryview(content))


async def test_a_file_is_not_a_link() -> None:
    async with served("file") as bucket:
        with pytest.raises(OperationRefused) as refused:
            await bucket.filesystem.link_target(await bucket.inode_of("file"))
        assert refused.value.errno == errno.EINVAL


async def test_a_target_in_the_metadata_needs_no_read() -> None:
    async with served() as bucket:
        metadata = {"gcsfuse_symlink_target": "../target"}
        bucket.store.replace_info(ObjectInfo("link", 1, 0, 0, metadata=metadata))
        assert await bucket.filesystem.link_target(await bucket.inode_of("link")) == b"../target"
        assert bucket.source.requests == []


async def test_a_target_in_the_content_is_read_once_and_the_file_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served() as bucket:
        bucket.store.replace_info(link("link", 1, 6))
        bucket.stall("link")
        inode = await bucket.inode_of("link")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(settle, bucket, b"target")
            assert await bucket.filesystem.link_target(inode) == b"target"
        assert bucket.open_objects == 0
        monkeypatch.delattr(ObjectOpener, "open")
        assert await bucket.filesystem.link_target(inode) == b"target"


async def test_a_target_with_a_nul_byte_is_an_error() -> None:
    async with served() as bucket:
        bucket.store.replace_info(link("link", 1, 6))
        bucket.stall("link")
        inode = await bucket.inode_of("link")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(settle, bucket, b"tar\0et")
            with pytest.raises(DataCorruption, match="NUL"):
                await bucket.filesystem.link_target(inode)


async def test_a_link_whose_generation_is_gone_is_looked_up_again() -> None:
    async with served() as bucket:
        bucket.store.replace_info(link("link", 1, 6))
        bucket.stall("link")
        inode = await bucket.inode_of("link")
        bucket.store.replace_info(link("link", 2, 7))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bucket.answer_gone)
            with pytest.raises(GenerationGone):
                await bucket.filesystem.link_target(inode)
        assert bucket.gone == [inode]
        assert bucket.open_objects == 0
        assert (await bucket.look_up("link")).size == 7
