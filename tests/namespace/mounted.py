"""A tree over a store for the length of a test, which must end with nothing under way."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.namespace.tree import ROOT_INODE, Entry, NoSuchEntry, Tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .fake_store import FakeStore


@asynccontextmanager
async def mounted(
    store: FakeStore,
    *,
    prefix: str = "",
    ttl_seconds: float = 60.0,
    negative_ttl_seconds: float = 5.0,
    page_size: int = 1000,
    max_listed_entries: int = 1_000_000,
    directory_mtime_ns: int = 0,
    deadline_seconds: float = 120.0,
    assume_directories: bool = False,
) -> AsyncIterator[Tree]:
    """Make a tree; its nursery ends with the block."""
    async with trio.open_nursery() as nursery:
        tree = Tree(
            store,
            nursery,
            prefix=prefix,
            ttl_seconds=ttl_seconds,
            negative_ttl_seconds=negative_ttl_seconds,
            page_size=page_size,
            max_listed_entries=max_listed_entries,
            directory_mtime_ns=directory_mtime_ns,
            deadline_seconds=deadline_seconds,
            assume_directories=assume_directories,
        )
        yield tree
        await trio.testing.wait_all_tasks_blocked()
        assert tree.statistics().requests == 0
        nursery.cancel_scope.cancel()


async def follow(tree: Tree, path: str) -> Entry:
    """Look a path up, keeping the count of its last component only."""
    inode = ROOT_INODE
    entry: Entry | None = None
    for component in path.split("/"):
        entry = await tree.lookup(inode, component.encode())
        if inode != ROOT_INODE:
            tree.forget(inode, 1)
        inode = entry.inode
    assert entry is not None
    return entry


async def object_at(tree: Tree, path: str) -> tuple[str, int] | None:
    """Return the object and generation that a path leads to, None if to nothing."""
    try:
        entry = await follow(tree, path)
    except NoSuchEntry:
        return None
    info = tree.object_of(entry.inode)
    tree.forget(entry.inode, 1)
    assert not entry.is_directory
    assert info is not None
    return info.name, info.generation


async def read_names(tree: Tree, inode: int = ROOT_INODE) -> list[bytes]:
    """Read a directory to its end, as `ls` does."""
    handle = tree.open_directory(inode)
    names: list[bytes] = []
    position = 0
    while batch := list(await handle.entries_from(position)):
        for after, name, entry in batch:
            names.append(name)
            position = after
            tree.forget(entry.inode, 1)
    handle.release()
    return names
