"""Tests that an ending mount refuses new requests, and waits for the requests in progress."""

from __future__ import annotations

import errno

import pytest
import trio
import trio.testing

from gcsmux_fs.filesystem.directory_reader import DirectoryReader
from gcsmux_fs.filesystem.operation_refused import OperationRefused
from gcsmux_fs.filesystem.request_gate import RequestGate
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE

from .served_bucket import LATENCY_SECONDS, THREAD, ServedBucket, served


async def request(gate: RequestGate, seconds: float) -> None:
    with gate:
        await trio.sleep(seconds)


async def test_an_idle_gate_drains_at_once() -> None:
    gate = RequestGate()
    began = trio.current_time()
    assert await gate.drain(10)
    assert trio.current_time() == began


async def test_a_drain_ends_with_the_last_request_in_progress() -> None:
    gate = RequestGate()
    async with trio.open_nursery() as nursery:
        for seconds in (1, 3, 2):
            nursery.start_soon(request, gate, seconds)
        await trio.testing.wait_all_tasks_blocked()
        assert gate.in_progress == 3
        began = trio.current_time()
        assert await gate.drain(10)
        assert trio.current_time() - began == pytest.approx(3)
        assert gate.in_progress == 0


async def test_a_drain_waits_no_longer_than_its_time() -> None:
    gate = RequestGate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(request, gate, 60)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        assert not await gate.drain(0.2)
        assert trio.current_time() - began == pytest.approx(0.2)
        assert not await gate.drain(0)
        assert trio.current_time() - began == pytest.approx(0.2)
        nursery.cancel_scope.cancel()
    assert gate.in_progress == 0
    assert await gate.drain(0)


async def test_a_failed_request_leaves_the_gate() -> None:
    gate = RequestGate()
    with pytest.raises(ZeroDivisionError), gate:
        raise ZeroDivisionError
    assert gate.in_progress == 0


async def test_a_closed_gate_refuses_a_request_with_enotconn() -> None:
    gate = RequestGate()
    gate.close()
    with pytest.raises(OperationRefused) as refused, gate:
        pytest.fail("the gate let a request in")
    assert refused.value.errno == errno.ENOTCONN
    assert gate.in_progress == 0


async def test_requests_in_progress_end_and_new_ones_are_refused_while_draining() -> None:
    async with served("file", "other", "link", size=8 * 1024 * 1024) as bucket:
        filesystem = bucket.filesystem
        handle = await bucket.open("file")
        inode = await bucket.inode_of("other")
        directory = await filesystem.open_directory(ROOT_INODE)
        contents: list[bytes] = []

        async def read() -> None:
            contents.append(await bucket.read(handle, 4 * 1024 * 1024, 4096))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(LATENCY_SECONDS / 2)
            began = trio.current_time()
            nursery.start_soon(filesystem.drain, 10)
            await trio.testing.wait_all_tasks_blocked()
            for refuse in (
                lambda: filesystem.lookup(ROOT_INODE, b"file", THREAD),
                lambda: filesystem.open(inode, 0, THREAD),
                lambda: filesystem.read(handle, 6 * 1024 * 1024, 4096),
                lambda: filesystem.link_target(inode),
                lambda: filesystem.open_directory(ROOT_INODE),
                lambda: filesystem.read_directory(directory, 0, lambda *_: True),
            ):
                with pytest.raises(OperationRefused, match="not connected"):
                    await refuse()
        assert trio.current_time() - began == pytest.approx(LATENCY_SECONDS / 2)
        assert contents == [bucket.content("file")[4 * 1024 * 1024 :][:4096]]
        # Requests that never wait are still answered while the mount ends.
        assert filesystem.attributes(inode).size == 8 * 1024 * 1024
        assert filesystem.read_cached(handle, 4 * 1024 * 1024, 4096) is not None
        filesystem.release(handle)
        filesystem.release_directory(directory)


async def test_a_drain_does_not_wait_for_a_service_that_does_not_answer() -> None:
    async with served("file", size=8 * 1024 * 1024) as bucket:
        handle = await bucket.open("file")
        bucket.stall("file")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bucket.read, handle, 4 * 1024 * 1024, 4096)
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            assert not await bucket.filesystem.drain(0.2)
            assert trio.current_time() - began == pytest.approx(0.2)
            nursery.cancel_scope.cancel()


async def test_close_releases_what_programs_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[DirectoryReader] = []
    monkeypatch.setattr(DirectoryReader, "release", lambda reader: released.append(reader))
    async with served("file", "other") as bucket:
        await open_much(bucket)
        bucket.filesystem.close()
        assert len(released) == 1
        assert bucket.filesystem.open_handles == 0
        assert bucket.open_objects == 0
        bucket.filesystem.close()
        with pytest.raises(OperationRefused):
            await bucket.filesystem.lookup(ROOT_INODE, b"file", THREAD)


async def open_much(bucket: ServedBucket) -> None:
    for name in ("file", "other", "file"):
        await bucket.open(name)
    await bucket.filesystem.open_directory(ROOT_INODE)
    assert bucket.filesystem.open_handles == 4


async def test_close_unpins_the_inodes_of_open_files() -> None:
    async with served("file") as bucket:
        inode = await bucket.inode_of("file")
        await bucket.filesystem.open(inode, 0, THREAD)
        bucket.filesystem.forget([(inode, 1)])
        assert bucket.holds(inode)
        bucket.filesystem.close()
        assert not bucket.holds(inode)
