"""Tests of --offline: when old names are used, and that they are never used otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.model.errors import NotFound, PermissionDenied, StatusCode, StorageError, Unavailable
from gcsmux_fs.namespace.service_outage import PATIENCE_SECONDS
from gcsmux_fs.namespace.tree import NoSuchEntry, Tree
from tests.namespace.mounted import follow, metric, object_at, read_names

from .remote_machine import RemoteMachine, RemoteStore

if TYPE_CHECKING:
    from pathlib import Path

_AWAY = "the service cannot be reached"


@pytest.fixture
def machine(tmp_path: Path) -> RemoteMachine:
    return RemoteMachine(tmp_path / "cache", RemoteStore())


async def _prepare(machine: RemoteMachine) -> None:
    """Keep the names of a bucket, wait until they are old, and take the service away."""
    machine.store.put("a", "dir/b")
    async with machine.mount(offline=True) as tree:
        await _walk(tree)
    await trio.sleep(1000)
    machine.store.is_away = True


@pytest.mark.expects_log(_AWAY)
async def test_old_names_are_used_after_a_short_patience(machine: RemoteMachine) -> None:
    await _prepare(machine)
    async with machine.mount(offline=True) as tree:
        before = trio.current_time()
        assert await read_names(tree) == [b"a", b"dir"]
        assert PATIENCE_SECONDS <= trio.current_time() - before <= PATIENCE_SECONDS + 1
        before = trio.current_time()
        await _walk(tree)
        assert await object_at(tree, "dir/b") == ("dir/b", 2)
        assert await object_at(tree, "absent") is None
        assert trio.current_time() == before
        assert metric(tree, "name_requests_in_flight") > 0
        await trio.sleep(200)


@pytest.mark.expects_log(_AWAY)
async def test_an_old_name_is_looked_up_again_at_each_use(machine: RemoteMachine) -> None:
    await _prepare(machine)
    async with machine.mount(offline=True, starts_offline=True) as tree:
        assert (await follow(tree, "a")).name_valid_seconds == 0
        handle = tree.open_directory(1)
        for _, _, entry in await handle.entries_from(0):
            assert entry.name_valid_seconds == 0
            tree.forget(entry.inode, 1)
        handle.release()
        with pytest.raises(NoSuchEntry) as absent:
            await follow(tree, "absent")
        assert absent.value.valid_seconds == 0


@pytest.mark.expects_log(_AWAY)
async def test_when_the_service_is_back_names_are_fresh(
    machine: RemoteMachine, caplog: pytest.LogCaptureFixture
) -> None:
    await _prepare(machine)
    caplog.set_level("INFO")
    async with machine.mount(offline=True, starts_offline=True) as tree:
        assert await object_at(tree, "a") == ("a", 1)
        assert metric(tree, "offline") == 1
        await trio.sleep(100)
        machine.store.is_away = False
        machine.store.put("a")
        # Nobody uses the mount, so a probe finds that the service is back.
        await trio.sleep(20)
        assert metric(tree, "offline") == 0
        assert await object_at(tree, "a") == ("a", 3)
        assert await read_names(tree) == [b"a", b"dir"]
        await trio.sleep(1000)
        machine.store.is_away = True
        assert await object_at(tree, "a") == ("a", 3)
        assert metric(tree, "outages") == 2
        await trio.sleep(300)
    assert caplog.text.count(_AWAY) == 2
    assert caplog.text.count("the service answers again") == 1


@pytest.mark.expects_log(_AWAY)
async def test_the_probes_are_few(machine: RemoteMachine) -> None:
    await _prepare(machine)
    machine.store.call_seconds = 0.1
    async with machine.mount(offline=True, starts_offline=True):
        machine.store.take_requests()
        await trio.sleep(600)
        assert 30 < len(machine.store.take_requests()) < 60


async def test_a_slow_service_is_not_away(machine: RemoteMachine) -> None:
    await _prepare(machine)
    machine.store.is_away = False
    machine.store.delay_seconds = 60
    machine.store.put("a", "c")

    async def answer_something() -> None:
        while True:
            await trio.sleep(1)
            machine.store.signs += 1

    async with trio.open_nursery() as others:
        others.start_soon(answer_something)
        async with machine.mount(offline=True) as tree:
            assert await object_at(tree, "a") == ("a", 3)
            assert await read_names(tree) == [b"a", b"c", b"dir"]
        others.cancel_scope.cancel()


@pytest.mark.parametrize(
    "error",
    [
        PermissionDenied("no", code=StatusCode.PERMISSION_DENIED),
        NotFound("no bucket", code=StatusCode.NOT_FOUND),
        Unavailable("quota", code=StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_an_error_of_the_service_is_no_outage(
    machine: RemoteMachine, error: StorageError
) -> None:
    await _prepare(machine)
    machine.store.is_away = False
    machine.store.error = error
    async with machine.mount(offline=True) as tree:
        with pytest.raises(type(error)):
            await read_names(tree)
        with pytest.raises(type(error)):
            await follow(tree, "a")


async def test_without_the_option_no_old_name_is_used(machine: RemoteMachine) -> None:
    await _prepare(machine)
    async with machine.mount() as tree:
        before = trio.current_time()
        with pytest.raises(Unavailable):
            await read_names(tree)
        with pytest.raises(Unavailable):
            await follow(tree, "a")
        assert trio.current_time() - before >= 200
        await trio.sleep(1)


@pytest.mark.expects_log(_AWAY)
async def test_a_name_that_is_not_kept_fails_within_the_deadline(machine: RemoteMachine) -> None:
    await _prepare(machine)
    async with machine.mount(offline=True, starts_offline=True) as tree:
        dropped = (await follow(tree, "dir")).inode
        tree.invalidate("dir/b")
        before = trio.current_time()
        with pytest.raises(Unavailable):
            await tree.lookup(dropped, b"b")
        assert trio.current_time() - before <= 120
        tree.forget(dropped, 1)


@pytest.mark.expects_log(_AWAY)
async def test_a_background_listing_does_not_hide_old_names(machine: RemoteMachine) -> None:
    names = [f"{number:02}" for number in range(20)]
    machine.store.put(*names)
    async with machine.mount(offline=True) as tree:
        await read_names(tree)
        await trio.sleep(100)
        machine.store.is_away = True
        before = trio.current_time()
        # Several lookups that ask the service begin a listing, which gets no page.
        async with trio.open_nursery() as lookups:
            for name in names[:10]:
                lookups.start_soon(object_at, tree, name)
        for number, name in enumerate(names):
            assert await object_at(tree, name) == (name, number + 1)
        assert await object_at(tree, "absent") is None
        assert trio.current_time() - before <= PATIENCE_SECONDS + 1
        await trio.sleep(300)


@pytest.mark.expects_log(_AWAY)
async def test_all_readers_of_a_directory_are_answered_in_an_outage(
    machine: RemoteMachine,
) -> None:
    await _prepare(machine)
    async with machine.mount(offline=True) as tree:
        before = trio.current_time()

        async def read(delay: float) -> None:
            await trio.sleep(delay)
            assert await read_names(tree) == [b"a", b"dir"]
            assert trio.current_time() - before <= PATIENCE_SECONDS + 1

        async with trio.open_nursery() as readers:
            for number in range(4):
                readers.start_soon(read, number * 0.7)
        await trio.sleep(300)


async def _walk(tree: Tree) -> None:
    await read_names(tree)
    entry = await follow(tree, "dir")
    await read_names(tree, entry.inode)
    tree.forget(entry.inode, 1)
    await object_at(tree, "a")
