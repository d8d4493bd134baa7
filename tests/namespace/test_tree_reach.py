"""Tests with any object names: a walk finds each object once, and lookups find the same objects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.namespace.names import MAX_FILE_NAME_BYTES
from gcsmux_fs.namespace.tree import ROOT_INODE, Tree

from .fake_store import FakeStore
from .mounted import metric, mounted
from .object_names import buckets, names


@dataclass
class Walk:
    """Result of a walk: object names by paths of files, and the paths of directories."""

    files: dict[tuple[bytes, ...], str] = field(default_factory=dict)
    directories: set[tuple[bytes, ...]] = field(default_factory=set)


async def walk(tree: Tree) -> Walk:
    """Read all directories, look each entry up by its name, and forget all entries."""
    seen = Walk()
    pending: list[tuple[int, tuple[bytes, ...]]] = [(ROOT_INODE, ())]
    while pending:
        directory, path = pending.pop()
        handle = tree.open_directory(directory)
        position = 0
        while batch := list(await handle.entries_from(position)):
            for position, name, entry in batch:  # noqa: B007
                looked_up = await tree.lookup(directory, name)
                assert entry.inode == looked_up.inode
                tree.forget(looked_up.inode, 1)
                entry_path = (*path, name)
                assert entry_path not in seen.files
                assert entry_path not in seen.directories
                if entry.is_directory:
                    above = await tree.lookup(entry.inode, b"..")
                    assert directory == above.inode
                    tree.forget(above.inode, 1)
                    seen.directories.add(entry_path)
                    pending.append((entry.inode, entry_path))
                else:
                    info = tree.object_of(entry.inode)
                    assert info is not None
                    seen.files[entry_path] = info.name
                    tree.forget(entry.inode, 1)
        handle.release()
        if directory != ROOT_INODE:
            tree.forget(directory, 1)
    return seen


@given(
    bucket=buckets,
    page_size=st.integers(1, 4),
    ttl_seconds=st.sampled_from([0.0, 60.0]),
    placeholders_listed=st.booleans(),
    prefix=st.just("") | names.map(lambda name: name[: name.find("/") + 1]),
)
def test_a_walk_finds_every_object_at_its_own_path(
    bucket: dict[str, int],
    page_size: int,
    ttl_seconds: float,
    placeholders_listed: bool,
    prefix: str,
) -> None:
    store = FakeStore(placeholders_listed=placeholders_listed)
    for name, size in bucket.items():
        store.put(name, size=size)

    async def run() -> Walk:
        async with trio.open_nursery() as nursery:
            tree = Tree(
                store,
                nursery,
                prefix=prefix,
                ttl_seconds=ttl_seconds,
                negative_ttl_seconds=0,
                page_size=page_size,
            )
            seen = await walk(tree)
            assert metric(tree, "inodes") == 1
            assert metric(tree, "name_requests_in_flight") == 0
            nursery.cancel_scope.cancel()
        return seen

    seen = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    expected = {
        name
        for name, size in bucket.items()
        if name.startswith(prefix) and (size or not name.endswith("/"))
    }
    assert sorted(expected) == sorted(seen.files.values())
    for path in [*seen.files, *seen.directories]:
        assert 1 <= len(path[-1]) <= MAX_FILE_NAME_BYTES
        assert path[-1] not in (b".", b"..")
        assert not set(b"/\0") & set(path[-1])
    # Every folder is a directory, even if its only object is its placeholder.
    folders = {
        name[: index + 1]
        for name in bucket
        if name.startswith(prefix)
        for index in range(len(prefix), len(name))
        if name[index] == "/"
    }
    parts = [path for path in seen.directories if path[-1].startswith(b"%part~")]
    assert len(folders) == len(seen.directories) - len(parts)


@pytest.mark.parametrize("page_size", [1, 2, 1000])
async def test_an_object_is_marked_though_its_folder_is_listed_pages_later(
    page_size: int,
) -> None:
    store = FakeStore()
    store.put("foo", "foo!", "foo-bar", "foo.txt", "foo/x", "zoo")
    async with mounted(store, page_size=page_size) as tree:
        seen = await walk(tree)
    assert seen.files == {
        (b"%file~foo",): "foo",
        (b"foo!",): "foo!",
        (b"foo-bar",): "foo-bar",
        (b"foo.txt",): "foo.txt",
        (b"foo", b"x"): "foo/x",
        (b"zoo",): "zoo",
    }


def documented_names() -> list[tuple[list[str], list[str]]]:
    """Return objects and their paths from each row of the table in docs/NAMES.md."""
    text = (Path(__file__).parents[2] / "docs" / "NAMES.md").read_text()
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 5
    cells = [[re.findall("`(.*?)`", cell) for cell in row] for row in rows]
    # The row with L and R stands for names that are too long to write in the document.
    return [(objects, paths) for objects, paths in cells if objects != ["L", "R"]]


@pytest.mark.parametrize(("objects", "paths"), documented_names())
async def test_paths_are_as_documented(objects: list[str], paths: list[str]) -> None:
    store = FakeStore()
    row_is_about_a_placeholder = paths == ["foo"]
    size = 0 if row_is_about_a_placeholder else 3
    store.put(*(name.replace("\\0", "\0") for name in objects), size=size)
    async with mounted(store) as tree:
        seen = await walk(tree)
    shown = seen.directories if row_is_about_a_placeholder else seen.files
    assert sorted(b"/".join(path) for path in shown) == sorted(map(str.encode, paths))
