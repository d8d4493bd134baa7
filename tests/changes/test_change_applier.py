"""Tests of applying events to a mount: which events count, and what they have an effect on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from gcsmux_fs.changes.change_applier import ChangeApplier
from gcsmux_fs.changes.change_event import Change, ChangeKind
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.namespace.tree import ROOT_INODE, Tree
from tests.namespace.changed_bucket import DAY, Always
from tests.namespace.fake_store import FakeStore, object_info
from tests.namespace.mounted import follow, mounted, object_at, read_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gcsmux_fs.model.values import ObjectInfo, ObjectKey


@dataclass
class Told:
    """A tree, and what the applier has told other parts of the mount."""

    tree: Tree
    store: FakeStore
    applier: ChangeApplier
    released: list[tuple[str, int, int | None]]
    notes: list[float]

    def apply(
        self,
        kind: ChangeKind,
        name: str,
        generation: int,
        info: ObjectInfo | None = None,
        *,
        overwrote: int = 0,
        overwritten_by: int = 0,
    ) -> int:
        """Apply one change, and return the number of changes that were not known."""
        at = DAY + trio.current_time()
        metageneration = 0 if info is None else info.metageneration
        change = Change(
            kind, name, generation, metageneration, at, at, overwrote, overwritten_by, info
        )
        return len(self.applier.apply([change]))

    def metric(self, name: str) -> object:
        registry = Registry()
        self.applier.declare_metrics(registry)
        return registry.value(name)


@asynccontextmanager
async def told(store: FakeStore, prefix: str = "") -> AsyncIterator[Told]:
    async with mounted(store, prefix=prefix, news=Always()) as tree:
        released: list[tuple[str, int, int | None]] = []
        notes: list[float] = []

        def release(key: ObjectKey, size: Callable[[], int | None]) -> None:
            assert key.bucket == "bucket"
            released.append((key.name, key.generation, size()))

        applier = ChangeApplier(
            tree.changes,
            "bucket",
            invalidate=tree.invalidate,
            release=release,
            note_names=lambda: notes.append(trio.current_time()),
            clock=trio.current_time,
            wall=lambda: DAY + trio.current_time(),
        )
        yield Told(tree, store, applier, released, notes)


async def test_an_overwrite_releases_the_old_generation_in_any_order() -> None:
    store = FakeStore()
    store.put("a", size=7)
    async with told(store) as mount:
        await read_names(mount.tree)
        store.put("a")
        mount.apply(ChangeKind.DELETE, "a", 1, overwritten_by=2)
        assert mount.released == [("a", 1, 7)]
        mount.apply(ChangeKind.FINALIZE, "a", 2, store["a"], overwrote=1)
        store.take_requests()
        assert await object_at(mount.tree, "a") == ("a", 2)
        assert store.take_requests() == []
        # The late removal of an even older generation has no effect on the name.
        mount.apply(ChangeKind.DELETE, "a", 1)
        assert await object_at(mount.tree, "a") == ("a", 2)
        assert {name for name, *_ in mount.released} == {"a"}
        assert mount.metric("changes_old") == 1


async def test_repeated_and_foreign_changes_are_no_news() -> None:
    async with told(FakeStore(), "d/") as mount:
        assert mount.apply(ChangeKind.FINALIZE, "d/a", 2) == 1
        assert mount.apply(ChangeKind.FINALIZE, "d/a", 2) == 0
        assert mount.apply(ChangeKind.DELETE, "d/a", 1) == 0
        assert mount.apply(ChangeKind.FINALIZE, "elsewhere", 3) == 0


async def test_objects_outside_of_the_mounted_directory_do_not_matter() -> None:
    store = FakeStore()
    store.put("d/a", "da", "e")
    async with told(store, "d/") as mount:
        await read_names(mount.tree)
        await follow(mount.tree, "a")
        for name in ("da", "e", "d"):
            mount.apply(ChangeKind.FINALIZE, name, 9, object_info(name, 9))
        assert mount.metric("changes_elsewhere") == 3
        assert mount.notes == []
        mount.apply(ChangeKind.FINALIZE, "d/b/c", 9, object_info("d/b/c", 9))
        assert await read_names(mount.tree) == [b"a", b"b"]


async def test_an_event_makes_no_link() -> None:
    store = FakeStore()
    store.put("a")
    async with told(store) as mount:
        await read_names(mount.tree)
        for generation, key in enumerate(
            ("goog-reserved-file-is-symlink", "gcsfuse_symlink_target"), 2
        ):
            forged = replace(object_info("a", generation), metadata={key: "true"})
            mount.apply(ChangeKind.FINALIZE, "a", generation, forged)
            assert mount.tree.lookup_cached(ROOT_INODE, b"a") is None
        entry = await mount.tree.lookup(ROOT_INODE, b"a")
        assert mount.tree.object_of(entry.inode) == store["a"]


@pytest.mark.parametrize(
    "values",
    [
        {"mtime_ns": 1 << 70},
        {"size": 1 << 64},
        {"content_type": "x" * 1_000_000},
        {"metadata": {"key": "x" * 1_000_000}},
        {"finalized": False},
    ],
)
async def test_values_that_no_object_has_are_asked_for(values: dict[str, Any]) -> None:
    store = FakeStore()
    store.put("a")
    async with told(store) as mount:
        await read_names(mount.tree)
        mount.apply(ChangeKind.FINALIZE, "a", 2, replace(object_info("a", 2), **values))
        assert mount.tree.lookup_cached(ROOT_INODE, b"a") is None
        assert await object_at(mount.tree, "a") == ("a", 1)


@pytest.mark.parametrize("name", ["a/" * 600, "\u00e9" * 600])
async def test_a_name_that_is_too_long_is_ignored(name: str) -> None:
    async with told(FakeStore()) as mount:
        mount.apply(ChangeKind.FINALIZE, name, 2, object_info(name, 2))
        assert mount.metric("changes_elsewhere") == 1


async def test_forged_generations_do_not_hide_an_object_for_longer_than_a_minute() -> None:
    store = FakeStore()
    store.put("a")
    async with told(store) as mount:
        await read_names(mount.tree)
        forged = replace(object_info("a"), generation=1 << 62)
        mount.apply(ChangeKind.FINALIZE, "a", 1 << 62, forged)
        entry = await follow(mount.tree, "a")
        # A read of the generation fails, so the service is asked.
        mount.tree.generation_gone(entry.inode)
        assert await object_at(mount.tree, "a") == ("a", 1)
        await trio.sleep(61)
        store.put("a")
        mount.apply(ChangeKind.FINALIZE, "a", 2, store["a"], overwrote=1)
        assert await object_at(mount.tree, "a") == ("a", 2)
        assert mount.metric("changes_contradicting") == 1


async def test_the_kernel_is_noted_once_for_many_changes() -> None:
    store = FakeStore()
    store.put(*"abc")
    async with told(store) as mount:
        for name in "abc":
            await follow(mount.tree, name)
        at = DAY + trio.current_time()
        mount.applier.apply(
            [
                Change(ChangeKind.DELETE, name, number, 0, at, at)
                for number, name in enumerate("abc", 1)
            ]
        )
        assert len(mount.notes) == 1
        mount.apply(ChangeKind.DELETE, "c", 3)
        assert len(mount.notes) == 1
