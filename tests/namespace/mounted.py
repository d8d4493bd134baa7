"""Makes a tree over a fake store, and checks that no request is in flight at the end of a test."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.namespace.tree import ROOT_INODE, Entry, NoSuchEntry, Tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gcsmux_fs.namespace.name_validity import NewsPromise

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
    on_invalidated: Callable[[int], None] = lambda _: None,
    on_found_gone: Callable[[str], None] = lambda _: None,
    assume_directories: bool = False,
    news: NewsPromise | None = None,
    hierarchical: bool = False,
) -> AsyncIterator[Tree]:
    """Yield a tree whose nursery is cancelled when the `async with` block ends."""
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
            on_invalidated=on_invalidated,
            on_found_gone=on_found_gone,
            assume_directories=assume_directories,
            news=news,
            hierarchical=hierarchical,
        )
        yield tree
        await trio.testing.wait_all_tasks_blocked()
        assert metric(tree, "name_requests_in_flight") == 0
        nursery.cancel_scope.cancel()


def metrics(tree: Tree) -> Registry:
    """Return a registry with the metrics of the tree."""
    registry = Registry()
    tree.declare_metrics(registry)
    return registry


def metric(tree: Tree, name: str) -> float:
    """Return the current value of a gauge of the tree."""
    value = metrics(tree).value(name)
    assert isinstance(value, int | float)
    return value


def observed(tree: Tree, name: str, **labels: str) -> tuple[int, float]:
    """Return the number and the sum of the observations in a histogram of the tree."""
    histogram = metrics(tree).value(name, **labels)
    assert isinstance(histogram, Histogram)
    return histogram.count, histogram.total_seconds


async def follow(tree: Tree, path: str) -> Entry:
    """Look a path up, and forget the inodes of all its components except the last."""
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
    """Return name and generation of the object at a path, or None if there is none."""
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
