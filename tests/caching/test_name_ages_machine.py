"""Hypothesis test: no mount ever shows a name that is older than its TTL, whatever happens.

Another writer changes the bucket, mounts end (also by SIGKILL) and start, two of them share the
disk, the machine boots, its clock jumps, files are damaged, and the service goes away.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gcsmux_fs.model.errors import GenerationGone, StorageError
from gcsmux_fs.namespace.tree import ROOT_INODE, NoSuchEntry
from tests.namespace.mounted import follow, object_at, read_names

from .remote_machine import RemoteMachine, RemoteStore

if TYPE_CHECKING:
    from gcsmux_fs.namespace.tree import Tree

_TTL, _NEGATIVE_TTL = 60.0, 5.0
_NAMES = ("a", "d/a", "d/e/a")
_PREFIXES = ("", "d/", "d/e/")
_NS = 10**9
# The time between two steps, so that no two events have the same time.
_STEP_SECONDS = 0.25
# An invalidation is on the disk after this time.
_WRITTEN_SECONDS = 3.0
# The service is known to be back after this time: the longest pause between two probes, and more.
_FOUND_SECONDS = 25.0

Step: TypeAlias = tuple[str, *tuple[object, ...]]

_mounts = st.integers(0, 1)
_names = st.sampled_from(_NAMES)
_steps = st.one_of(
    *[
        st.tuples(st.just("put"), _names),
        st.tuples(st.just("look_up"), _mounts, _names),
        st.tuples(st.just("list_directory"), _mounts, st.sampled_from(["", "d", "d/e"])),
        st.tuples(st.just("restart"), _mounts, st.booleans()),
    ]
    * 3,
    *[
        st.tuples(st.just("delete"), _names),
        st.tuples(st.just("sleep"), st.sampled_from([1.0, 4.0, 8.0, 30.0, 70.0])),
        st.tuples(st.just("invalidate"), _mounts, st.sampled_from(_NAMES + _PREFIXES)),
    ]
    * 2,
    st.tuples(st.just("boot"), st.booleans(), st.sampled_from([-50, 0, 0, 50, 3600])),
    st.tuples(st.just("jump"), st.sampled_from([-3600, -50, 50, 3600])),
    st.tuples(st.just("damage"), st.integers(0, 20), st.integers(0, 300)),
    st.tuples(st.just("away"), st.booleans()),
)


class Story:
    """Takes steps, and compares what the mounts show with what the bucket contained."""

    def __init__(self, folder: Path, *, offline: bool) -> None:
        self.machine = RemoteMachine(folder, RemoteStore())
        self.offline = offline
        self.trees: dict[int, Tree] = {}
        # For each mount, what ends it, and whether it has ended.
        self.ends = [trio.Event(), trio.Event()]
        self.ended = [trio.Event(), trio.Event()]
        self.ends_cleanly = [True, True]
        # When each name had which generation; None if it was absent.
        self.history: dict[str, list[tuple[float, int | None]]] = {
            name: [(-1.0, None)] for name in _NAMES
        }
        # For each mount and name, the time of the last invalidation; and what is on the disk.
        self.dropped: list[dict[str, float]] = [{}, {}]
        self.dropped_on_disk: dict[str, float] = {}
        self.away_until = -1.0

    async def run(self, steps: list[Step]) -> None:
        async with trio.open_nursery() as self.mounts:
            for index in range(2):
                await self.start(index)
            for name, *arguments in steps:
                await trio.sleep(_STEP_SECONDS)
                await getattr(self, name)(*arguments)
            self.machine.store.is_away = False
            await trio.sleep(200)
            for index in range(2):
                await self.end(index)

    async def start(self, index: int) -> None:
        self.ends[index], self.ended[index] = trio.Event(), trio.Event()
        self.dropped[index] = dict(self.dropped_on_disk)
        await self.mounts.start(self.serve, index)

    async def serve(self, index: int, task_status: trio.TaskStatus[None]) -> None:
        async with self.machine.mount(
            ttl_seconds=_TTL,
            negative_ttl_seconds=_NEGATIVE_TTL,
            offline=self.offline,
            ends_cleanly=lambda: self.ends_cleanly[index],
        ) as self.trees[index]:
            task_status.started()
            await self.ends[index].wait()
        self.ended[index].set()

    async def end(self, index: int, *, is_clean: bool = True) -> None:
        self.ends_cleanly[index] = is_clean
        if is_clean:
            self.commit(index)
        self.ends[index].set()
        await self.ended[index].wait()

    def commit(self, index: int) -> None:
        for name, at in self.dropped[index].items():
            self.dropped_on_disk[name] = max(at, self.dropped_on_disk.get(name, at))

    # -- steps

    async def put(self, name: str) -> None:
        self.machine.store.put(name)
        generation = self.machine.store[name].generation
        self.history[name].append((trio.current_time(), generation))

    async def delete(self, name: str) -> None:
        if self.history[name][-1][1] is not None:
            self.machine.store.delete(name)
            self.history[name].append((trio.current_time(), None))

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
        if seconds > _WRITTEN_SECONDS:
            for index in range(2):
                self.commit(index)

    async def look_up(self, index: int, name: str) -> None:
        began = trio.current_time()
        try:
            found = await object_at(self.trees[index], name)
        except StorageError:
            assert self.machine.store.is_away or self.away_until > began
            return
        generation = None if found is None else found[1]
        self.check(index, name, generation, _TTL if found else _NEGATIVE_TTL, began)

    async def list_directory(self, index: int, path: str) -> None:
        began, tree = trio.current_time(), self.trees[index]
        try:
            inode = (await follow(tree, path)).inode if path else ROOT_INODE
            shown = await read_names(tree, inode)
        except (NoSuchEntry, GenerationGone):
            return
        except StorageError:
            assert self.machine.store.is_away or self.away_until > began
            return
        if inode != ROOT_INODE:
            tree.forget(inode, 1)
        location = f"{path}/" if path else ""
        for name in _NAMES:
            below = name.removeprefix(location)
            if name.startswith(location) and "/" not in below:
                self.check(index, name, below.encode() in shown, _TTL, began)

    async def invalidate(self, index: int, name: str) -> None:
        # The folders above are invalidated too, because an absent folder has no names.
        for folder in ("d", "d/e"):
            self.trees[index].invalidate(folder)
        self.trees[index].invalidate(name)
        for each in _NAMES:
            if each == name or ((not name or name.endswith("/")) and each.startswith(name)):
                self.dropped[index][each] = trio.current_time()

    async def restart(self, index: int, is_clean: bool) -> None:
        await self.end(index, is_clean=is_clean)
        await self.start(index)

    async def boot(self, is_clean: bool, error_seconds: int) -> None:
        for index in (1, 0):
            await self.end(index, is_clean=is_clean)
        self.machine.reboot()
        self.machine.day_error_ns = error_seconds * _NS
        self.machine.is_synchronised = error_seconds == 0
        for index in range(2):
            await self.start(index)

    async def jump(self, seconds: int) -> None:
        self.machine.day_error_ns += seconds * _NS
        self.machine.is_synchronised = self.machine.day_error_ns == 0

    async def damage(self, number: int, offset: int) -> None:
        files = sorted(self.machine.folder.glob("*/names/*"))
        if files and not files[number % len(files)].name.endswith(".marks"):
            path = files[number % len(files)]
            content = path.read_bytes()
            path.write_bytes(content[:offset] + os.urandom(4) + content[offset + 4 :])

    async def away(self, is_away: bool) -> None:
        if self.machine.store.is_away and not is_away:
            self.away_until = trio.current_time() + _FOUND_SECONDS
        self.machine.store.is_away = is_away

    # -- checks

    def check(
        self, index: int, name: str, shown: bool | int | None, ttl: float, now: float
    ) -> None:
        """Check that `shown` was true within the TTL, and after the last invalidation.

        `shown` is a generation, None for an absent name, or only whether the name exists.
        """
        earliest = now - ttl
        if self.offline and (self.machine.store.is_away or now < self.away_until):
            earliest = -1.0
        earliest = max(earliest, self.dropped[index].get(name, earliest))
        states = self.history[name]
        ends = [at for at, _ in states[1:]] + [trio.current_time() + 1]
        possible = [
            generation is not None if isinstance(shown, bool) else generation
            for (_, generation), end in zip(states, ends, strict=True)
            if end >= earliest
        ]
        assert shown in possible, (name, shown, earliest, now, states)


# The clock was wrong when the names were invalidated, and was set right by the next boot.
@example(
    steps=[
        ("put", "d/a"),
        ("look_up", 0, "d/a"),
        ("put", "d/a"),
        ("jump", -3600),
        ("invalidate", 0, ""),
        ("boot", True, 0),
        ("look_up", 0, "d/a"),
    ],
    offline=False,
)
# The clock was wrong when the names were invalidated, and was set right before a restart.
@example(
    steps=[
        ("put", "d/a"),
        ("look_up", 0, "d/a"),
        ("put", "d/a"),
        ("jump", -3600),
        ("invalidate", 0, ""),
        ("jump", 3600),
        ("restart", 0, True),
        ("look_up", 0, "d/a"),
    ],
    offline=False,
)
@pytest.mark.expects_log("cannot be reached")
@given(steps=st.lists(_steps, min_size=20, max_size=60), offline=st.booleans())
@settings(max_examples=100)
def test_no_name_is_older_than_its_ttl(steps: list[Step], offline: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder) / "cache", offline=offline)
        trio.run(story.run, steps, clock=trio.testing.MockClock(autojump_threshold=0))
