"""Tests of opening, reading and closing files and directories, without a mount."""

from __future__ import annotations

import errno
import os

import pytest
import trio
import trio.testing

from gcsmux_fs.filesystem.file_attributes import AbsentName, FileAttributes
from gcsmux_fs.filesystem.operation_refused import OperationRefused
from gcsmux_fs.model.errors import GenerationGone, NotFound, Unavailable
from gcsmux_fs.model.values import ObjectInfo
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE
from gcsmux_fs.namespace.names import MAX_FILE_NAME_BYTES
from gcsmux_fs.reading.read_request import Outcome

from .served_bucket import THREAD, ServedBucket, served

# -- names


async def test_a_lookup_returns_the_attributes_of_a_file() -> None:
    async with served("file") as bucket:
        attributes = await bucket.look_up("file")
        assert attributes.size == 20_000
        assert bucket.filesystem.attributes(attributes.inode).size == 20_000


async def test_the_absence_of_a_name_has_a_time_to_live() -> None:
    async with served("file") as bucket:
        answer = await bucket.filesystem.lookup(ROOT_INODE, b"absent", THREAD)
        assert isinstance(answer, AbsentName)
        assert 0 < answer.valid_seconds <= 5


async def test_without_a_time_to_live_an_absent_name_is_an_error() -> None:
    async with served("file", ttl_seconds=0) as bucket:
        with pytest.raises(NotFound):
            await bucket.filesystem.lookup(ROOT_INODE, b"absent", THREAD)


async def test_a_name_of_256_bytes_is_refused_without_a_request() -> None:
    async with served("file") as bucket:
        await bucket.filesystem.lookup(ROOT_INODE, b"x" * MAX_FILE_NAME_BYTES, THREAD)
        bucket.store.take_requests()
        with pytest.raises(OperationRefused) as refused:
            await bucket.filesystem.lookup(ROOT_INODE, b"x" * (MAX_FILE_NAME_BYTES + 1), THREAD)
        assert refused.value.errno == errno.ENAMETOOLONG
        assert bucket.store.requests == []


async def test_forgotten_lookups_release_an_inode() -> None:
    async with served("file") as bucket:
        inode = await bucket.inode_of("file")
        assert await bucket.inode_of("file") == inode
        bucket.filesystem.forget([(inode, 1)])
        assert bucket.holds(inode)
        bucket.filesystem.forget([(inode, 1)])
        assert not bucket.holds(inode)


def growing(generation: int, size: int) -> ObjectInfo:
    return ObjectInfo("log", generation, size, 0, finalized=False)


async def test_a_thread_finds_one_snapshot_of_a_growing_object_until_it_opens_the_object() -> None:
    async with served(ttl_seconds=0) as bucket:
        # An OPEN of an empty object sends no request, so no virtual time passes in this test.
        bucket.store.replace_info(growing(1, 0))
        first = await bucket.look_up("log")
        bucket.store.replace_info(growing(1, 200))
        assert (await bucket.look_up("log")).inode == first.inode
        await bucket.filesystem.open(first.inode, 0, THREAD)
        assert (await bucket.look_up("log")).size == 200


# -- opening


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC])
async def test_an_open_for_writing_is_refused_and_pins_nothing(flags: int) -> None:
    async with served("file") as bucket:
        inode = await bucket.inode_of("file")
        with pytest.raises(OperationRefused) as refused:
            await bucket.filesystem.open(inode, flags, THREAD)
        assert refused.value.errno == errno.EROFS
        bucket.filesystem.forget([(inode, 1)])
        assert not bucket.holds(inode)


async def test_the_kernel_may_keep_the_pages_of_each_opened_file() -> None:
    async with served("file") as bucket:
        inode = await bucket.inode_of("file")
        first = await bucket.filesystem.open(inode, os.O_RDONLY, THREAD)
        second = await bucket.filesystem.open(inode, os.O_RDONLY | os.O_APPEND, THREAD)
        assert first.keep_pages
        assert second.keep_pages
        assert first.handle != second.handle


async def test_an_open_file_keeps_its_inode_and_reads_its_generation() -> None:
    async with served("file") as bucket:
        handle = await bucket.open("file")
        inode = await bucket.inode_of("file")
        content = bucket.content("file")
        bucket.store.put("file", size=7)
        bucket.filesystem.forget([(inode, 2)])
        assert bucket.holds(inode)
        assert await bucket.read(handle) == content
        bucket.filesystem.release(handle)
        assert not bucket.holds(inode)


async def test_handles_of_files_and_directories_never_repeat() -> None:
    async with served("file") as bucket:
        handles = [await bucket.open("file") for _ in range(3)]
        handles.append(await bucket.filesystem.open_directory(ROOT_INODE))
        assert bucket.registry.value("open_handles") == 4
        bucket.filesystem.release(handles[0])
        bucket.filesystem.release_directory(handles[3])
        handles.append(await bucket.open("file"))
        assert len(set(handles)) == 5
        assert bucket.registry.value("open_handles") == 3


# -- a generation that is gone


async def test_an_open_of_a_gone_generation_fails_and_the_name_is_looked_up_again() -> None:
    async with served("file") as bucket:
        inode = await bucket.inode_of("file")
        bucket.stall("file")
        bucket.store.put("file", size=7)
        bucket.store.take_requests()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bucket.answer_gone)
            with pytest.raises(GenerationGone):
                await bucket.filesystem.open(inode, 0, THREAD)
        assert set(bucket.gone) == {inode}
        assert bucket.filesystem.open_handles == 0
        # The failed OPEN has released the pin, so the kernel's FORGET removes the inode.
        bucket.filesystem.forget([(inode, 1)])
        assert not bucket.holds(inode)
        assert bucket.store.requests == []
        found = await bucket.look_up("file")
        assert bucket.store.requests != []
        assert (found.size, found.inode != inode) == (7, True)


async def test_a_second_open_of_a_gone_generation_fails_without_a_request() -> None:
    async with served("file") as bucket:
        inode = await bucket.inode_of("file")
        bucket.stall("file")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bucket.answer_gone)
            with pytest.raises(GenerationGone):
                await bucket.filesystem.open(inode, 0, THREAD)
        ranges = len(bucket.source.requests)
        with pytest.raises(GenerationGone):
            await bucket.filesystem.open(inode, 0, THREAD)
        assert len(bucket.source.requests) == ranges


async def test_a_read_of_a_gone_generation_fails_and_the_name_is_looked_up_again() -> None:
    size = 8 * 1024 * 1024
    async with served("file", size=size) as bucket:
        handle = await bucket.open("file")
        inode = await bucket.inode_of("file")
        bucket.stall("file")
        bucket.store.put("file", size=7)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bucket.answer_gone)
            with pytest.raises(GenerationGone):
                await bucket.read(handle, size // 2, 4096)
        assert bucket.gone == [inode]
        assert (await bucket.look_up("file")).size == 7
        # The file is still open. When the file is closed, the namespace reports the inode again.
        bucket.filesystem.release(handle)
        assert bucket.gone == [inode, inode]


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
async def test_an_open_without_an_answer_releases_the_pin_or_succeeds(ending: str) -> None:
    """A cancelled OPEN leaves no open file. After a failed fetch, the OPEN still succeeds."""
    async with served("file") as bucket:
        inode = await bucket.inode_of("file")
        bucket.stall("file")
        if ending == "cancelled":
            with trio.move_on_after(0.1) as scope:
                await bucket.filesystem.open(inode, 0, THREAD)
            assert scope.cancelled_caught
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_pending, bucket)
                opened = await bucket.filesystem.open(inode, 0, THREAD)
            bucket.filesystem.release(opened.handle)
        assert bucket.gone == []
        assert bucket.open_objects == 0
        bucket.filesystem.forget([(inode, 1)])
        assert not bucket.holds(inode)


async def fail_pending(bucket: ServedBucket) -> None:
    await trio.testing.wait_all_tasks_blocked()
    for request in bucket.source.pending:
        request.settle(Unavailable("the service is down", subject=str(request.key)))


async def test_a_failed_read_leaves_the_name_in_the_cache() -> None:
    async with served("file", size=8 * 1024 * 1024) as bucket:
        handle = await bucket.open("file")
        bucket.stall("file")
        bucket.store.take_requests()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_pending, bucket)
            with pytest.raises(Unavailable):
                await bucket.read(handle, 4 * 1024 * 1024, 4096)
        assert bucket.gone == []
        await bucket.look_up("file")
        assert bucket.store.requests == []


# -- reading


async def test_a_read_ends_at_the_end_of_the_object() -> None:
    async with served("file") as bucket:
        handle = await bucket.open("file")
        content = bucket.content("file")
        assert await bucket.read(handle, 0, 100) == content[:100]
        assert await bucket.read(handle, 19_990, 100) == content[19_990:]
        assert await bucket.read(handle, 30_000, 100) == b""


async def test_only_a_read_that_the_cache_answers_counts_as_a_hit() -> None:
    async with served("file", size=8 * 1024 * 1024) as bucket:
        handle = await bucket.open("file")
        await bucket.read(handle, 4 * 1024 * 1024, 4096)
        hits = bucket.context.read_seconds[Outcome.HIT]
        assert hits.count == 0
        for _ in range(3):
            await bucket.read(handle, 4 * 1024 * 1024, 4096)
        assert hits.count == 3


async def test_files_read_in_order_cause_a_prefetch_and_other_reads_do_not() -> None:
    names = [f"dir/{number}" for number in range(9)]
    async with served(*names) as bucket:
        directory = await bucket.filesystem.open_directory(await bucket.inode_of("dir"))
        await bucket.filesystem.read_directory(directory, 0, Reply(100).accept)
        for offset, prefetched in ((100, 0), (0, 4)):
            for name in names[:3]:
                handle = await bucket.open(name)
                await bucket.read(handle, offset, 100)
                bucket.filesystem.release(handle)
            await trio.testing.wait_all_tasks_blocked()
            # The number 1 stands for the directory, which is an open handle, too.
            assert bucket.filesystem.open_handles == 1 + prefetched


# -- directories


class Reply:
    """A reply to READDIR that has room for `room` entries."""

    def __init__(self, room: int) -> None:
        self.entries: list[tuple[bytes, FileAttributes, int]] = []
        self._room = room
        self._is_full = False

    def accept(self, name: bytes, attributes: FileAttributes, next_position: int) -> bool:
        assert not self._is_full, "an entry after the reply was full"
        self._is_full = len(self.entries) == self._room
        if self._is_full:
            return False
        self.entries.append((name, attributes, next_position))
        return True

    @property
    def names(self) -> list[bytes]:
        return [name for name, _, _ in self.entries]


@pytest.mark.parametrize("room", [1, 2, 3, 100])
async def test_a_directory_lists_dot_names_and_each_entry_once(room: int) -> None:
    async with served("a", "b", "dir/c") as bucket:
        handle = await bucket.filesystem.open_directory(ROOT_INODE)
        names: list[bytes] = []
        position = 0
        while True:
            reply = Reply(room)
            await bucket.filesystem.read_directory(handle, position, reply.accept)
            if not reply.entries:
                break
            names += reply.names
            position = reply.entries[-1][2]
        assert names == [b".", b"..", b"a", b"b", b"dir"]


async def test_an_accepted_entry_counts_one_lookup_and_a_refused_one_none() -> None:
    async with served("a", "b") as bucket:
        handle = await bucket.filesystem.open_directory(ROOT_INODE)
        reply = Reply(3)
        await bucket.filesystem.read_directory(handle, 0, reply.accept)
        accepted = reply.entries[2][1].inode
        assert bucket.holds(accepted)
        refused = await bucket.inode_of("b")
        bucket.filesystem.forget([(refused, 1), (accepted, 1)])
        assert not bucket.holds(refused)
        assert not bucket.holds(accepted)


async def test_an_exception_of_the_reply_leaves_no_lookup_behind() -> None:
    async with served("a") as bucket:
        handle = await bucket.filesystem.open_directory(ROOT_INODE)
        inode = await bucket.inode_of("a")

        def fail(name: bytes, attributes: FileAttributes, next_position: int) -> bool:
            raise ValueError(name)

        with pytest.raises(ValueError, match="a"):
            await bucket.filesystem.read_directory(handle, 2, fail)
        bucket.filesystem.forget([(inode, 1)])
        assert not bucket.holds(inode)


async def test_dot_names_are_the_directory_and_its_parent() -> None:
    async with served("dir/file") as bucket:
        inode = await bucket.inode_of("dir")
        handle = await bucket.filesystem.open_directory(inode)
        reply = Reply(100)
        await bucket.filesystem.read_directory(handle, 0, reply.accept)
        inodes = [attributes.inode for _, attributes, _ in reply.entries]
        assert inodes[:2] == [inode, ROOT_INODE]
        # The kernel counts no lookups of `.` and `..`, so one FORGET removes the directory's inode.
        bucket.filesystem.release_directory(handle)
        bucket.filesystem.forget([(inode, 1)])
        assert not bucket.holds(inode)


async def test_an_open_asks_whether_an_assumed_directory_exists() -> None:
    async with served("file", assume_directories=True) as bucket:
        bucket.store.may_list = lambda prefix: False
        inode = await bucket.inode_of("absent")
        bucket.store.may_list = lambda prefix: True
        with pytest.raises(GenerationGone):
            await bucket.filesystem.open_directory(inode)
        assert bucket.filesystem.open_handles == 0


async def test_a_file_is_not_opened_as_a_directory() -> None:
    async with served("file") as bucket:
        inode = await bucket.inode_of("file")
        with pytest.raises(GenerationGone):
            await bucket.filesystem.open_directory(inode)
        assert bucket.filesystem.open_handles == 0
