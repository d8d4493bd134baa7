"""Tests that no name comes back from disk after an event has changed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from gcsmux_fs.namespace.change_log import MAX_LOGGED_CHANGES
from tests.namespace.changed_bucket import Always
from tests.namespace.mounted import follow, object_at, read_names
from tests.namespace.test_changes import delete, put

from .name_world import Machine

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.namespace.tree import Tree

NEW = {"d/a": 4, "d/new": 5, "e/f/g": 6}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "cache")


async def _walk(tree: Tree) -> None:
    await read_names(tree)
    await read_names(tree, (await follow(tree, "d")).inode)
    await object_at(tree, "d/b")


async def _check_new(tree: Tree) -> None:
    for name, generation in NEW.items():
        assert await object_at(tree, name) == (name, generation)
    assert await object_at(tree, "d/b") is None
    assert await object_at(tree, "d/c") == ("d/c", 3)
    assert sorted(await read_names(tree)) == [b"d", b"e"]
    assert sorted(await read_names(tree, (await follow(tree, "d")).inode)) == [b"a", b"c", b"new"]


def _change(machine: Machine, tree: Tree) -> None:
    store = machine.store
    for name in NEW:
        put(store, tree, name)
    delete(store, tree, "d/b")


async def test_changed_names_stay_changed_after_a_restart(machine: Machine) -> None:
    machine.store.put("d/a", "d/b", "d/c")
    async with machine.mount(negative_ttl_seconds=60, news=Always()) as tree:
        await _walk(tree)
        assert await object_at(tree, "d/new") is None
        await trio.sleep(3)
        _change(machine, tree)
    async with machine.mount(negative_ttl_seconds=60) as tree:
        await _check_new(tree)


@pytest.mark.parametrize("pause", [0.0, 5.0])
async def test_kept_names_that_are_read_later_show_the_changes(
    machine: Machine, pause: float
) -> None:
    machine.store.put("d/a", "d/b", "d/c")
    async with machine.mount(negative_ttl_seconds=60) as tree:
        await _walk(tree)
        assert await object_at(tree, "d/new") is None
    async with machine.mount(negative_ttl_seconds=60, news=Always()) as tree:
        # Nothing has been read from disk yet.
        _change(machine, tree)
        await trio.sleep(pause)
        await _check_new(tree)


async def test_a_kept_name_that_is_being_read_shows_the_change(machine: Machine) -> None:
    machine.store.put("d/a", "d/b", "d/c")
    async with machine.mount(negative_ttl_seconds=60) as tree:
        await _walk(tree)
    machine.disk_seconds = 0.5
    async with machine.mount(negative_ttl_seconds=60, news=Always()) as tree:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_walk, tree)
            await trio.sleep(0.2)
            _change(machine, tree)
        await _check_new(tree)


async def test_neighbours_of_changed_names_are_not_asked_for(machine: Machine) -> None:
    machine.store.put("d/a", "d/b", "d/c")
    async with machine.mount() as tree:
        await _walk(tree)
    async with machine.mount(news=Always()) as tree:
        put(machine.store, tree, "d/a")
        machine.store.take_requests()
        assert await object_at(tree, "d/a") == ("d/a", 4)
        assert await object_at(tree, "d/c") == ("d/c", 3)
        assert machine.store.take_requests() == []


async def test_kept_names_are_used_again_a_minute_after_a_storm_of_changes(
    machine: Machine,
) -> None:
    machine.store.put("d/a")
    async with machine.mount(ttl_seconds=3600) as tree:
        await object_at(tree, "d/a")
    async with machine.mount(ttl_seconds=3600, news=Always()) as tree:
        for number in range(MAX_LOGGED_CHANGES + 1):
            put(machine.store, tree, f"other/{number}")
        await trio.sleep(61)
        machine.store.take_requests()
        assert await object_at(tree, "d/a") == ("d/a", 1)
        assert machine.store.take_requests() == []


async def test_kept_answers_about_single_names_show_the_changes(machine: Machine) -> None:
    machine.store.put("d/a", "d/b", "d/c")
    async with machine.mount(negative_ttl_seconds=60) as tree:
        for name in ("d/a", "d/b", "d/new", "e/f/g"):
            await object_at(tree, name)
    machine.disk_seconds = 0.5
    async with machine.mount(negative_ttl_seconds=60, news=Always()) as tree:
        async with trio.open_nursery() as nursery:
            for name in ("d/a", "d/b", "d/new", "e/f/g"):
                nursery.start_soon(object_at, tree, name)
            await trio.sleep(0.2)
            _change(machine, tree)
        for name, generation in NEW.items():
            assert await object_at(tree, name) == (name, generation)
        assert await object_at(tree, "d/b") is None
