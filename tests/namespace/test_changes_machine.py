"""Tests with random writers, lookups, listings and events in any order: what the mount shows.

An event may arrive late, after younger ones, or repeatedly, while requests are in flight. Events
may be lost, too: then everything that was asked for before is asked for again.

1. No cached answer is older than the newest event about its object that was applied.
2. No answer is older than an earlier answer, unless the object was deleted meanwhile.
3. When all events were applied, each directory has exactly the entries of the bucket.
4. A handle that reads a directory in parts gets each entry that did not change exactly once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcsmux_fs.changes.change_applier import ChangeApplier
from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.model.object_table import Row
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.names import Form, locate, locate_directory, step_from
from gcsmux_fs.namespace.tree import ROOT_INODE, NoSuchEntry, Tree
from tests.support.examples import examples

from .changed_bucket import DAY, ChangedBucket, Interrupted, MovingStore
from .mounted import mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcsmux_fs.namespace.listing_cache import CachedListing
    from gcsmux_fs.namespace.tree import DirectoryHandle

LONG = "L" * 300
NAMES = [
    "a",
    "d/",
    "d/a",
    "d/a-b",
    "d/a/",
    "d/a/x",
    "d/a/y/z",
    "d/b",
    "d//c",
    "e/f/g",
    "e/f/h",
    "%~q",
    "nul\0/x",
    f"d/{LONG}",
    f"{LONG}/x",
]
DIRECTORIES = ["", "d/", "d/a/", "d/a/y/", "d//", "e/", "e/f/", "nul\0/"]

names = st.sampled_from(NAMES)
numbers = st.integers(0, 1000)
steps = st.one_of(
    st.tuples(st.just("put"), names, st.sampled_from([0, 3])),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("touch"), names),
    st.tuples(st.just("deliver"), numbers),
    st.tuples(st.just("deliver"), numbers),
    st.tuples(st.just("deliver again"), numbers),
    st.tuples(st.just("look up"), names),
    st.tuples(st.just("list"), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("open"), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("read"), numbers),
    st.tuples(st.just("lose events")),
    st.tuples(st.just("sleep"), st.sampled_from([0.1, 0.5, 2.0, 30.0])),
)


def path_of(name: str) -> list[bytes]:
    """Return the file names that lead to an object, if no folder has its name."""
    if name.endswith("/"):
        location, parts = name, []
    else:
        location, entry = locate(name, Form.PLAIN)
        parts = [entry]
    while location:
        location, entry = locate_directory(location)
        parts.append(entry)
    return parts[::-1]


class Mount:
    """A tree whose bucket changes, and the programs that use it."""

    def __init__(
        self, tree: Tree, bucket: ChangedBucket, news: Interrupted, tasks: trio.Nursery
    ) -> None:
        self.tree = tree
        self.news = news
        self.bucket = bucket
        self.tasks = tasks
        self.root = tree.changes.root
        self.handles: list[ReadInParts] = []
        # The newest generation and metageneration of each object that was shown.
        self.newest: dict[str, tuple[int, int]] = {}
        self.noted = 0
        self.applier = ChangeApplier(
            tree.changes,
            "bucket",
            invalidate=tree.invalidate,
            release=lambda key, size: None,
            note_names=self._note_names,
            clock=trio.current_time,
            wall=lambda: DAY + trio.current_time(),
        )

    def _note_names(self) -> None:
        self.noted += 1

    # -- steps

    def run_step(self, step: tuple[Any, ...]) -> None:
        kind, *arguments = step
        getattr(self, "step_" + kind.replace(" ", "_"))(*arguments)

    def step_put(self, name: str, size: int) -> None:
        if not name.endswith("/") or size == 0 or name != "d/":
            self.bucket.put(name, size)
            self._touched(name)

    def step_delete(self, name: str) -> None:
        self.bucket.delete(name)
        self._touched(name)

    def step_touch(self, name: str) -> None:
        self.bucket.touch(name)
        self._touched(name)

    def step_deliver(self, number: int) -> None:
        self._deliver(number, again=False)

    def step_deliver_again(self, number: int) -> None:
        self._deliver(number, again=True)

    def step_lose_events(self) -> None:
        self.bucket.lose_events()
        self.news.trusted_after = trio.current_time()

    def step_look_up(self, name: str) -> None:
        if name.startswith(self.root):
            self.tasks.start_soon(self._look_up, path_of(name)[len(path_of(self.root)) :])

    def step_list(self, location: str) -> None:
        self.tasks.start_soon(self._with_directory, location, self._list)

    def step_open(self, location: str) -> None:
        self.tasks.start_soon(self._with_directory, location, self._open)

    def step_read(self, number: int) -> None:
        if self.handles:
            handle = self.handles[number % len(self.handles)]
            self.tasks.start_soon(handle.read, number % 3 + 1)

    def _deliver(self, number: int, *, again: bool) -> None:
        change = self.bucket.take_event(number, again=again)
        if change is not None:
            self.applier.apply([change])

    def _touched(self, name: str) -> None:
        for handle in self.handles:
            handle.touched.add(name)

    async def _look_up(self, path: Iterable[bytes]) -> int | None:
        inode = ROOT_INODE
        try:
            for entry_name in path:
                entry = await self.tree.lookup(inode, entry_name)
                if not entry.is_directory:
                    return None
                inode = entry.inode
        except (NoSuchEntry, StorageError):
            return None
        return inode

    async def _with_directory(self, location: str, use: Callable[[int], Any]) -> None:
        if location.startswith(self.root):
            inode = await self._look_up(path_of(location)[len(path_of(self.root)) :])
            if inode is not None:
                await use(inode)

    async def _list(self, inode: int) -> None:
        handle = self.tree.open_directory(inode)
        position = 0
        while batch := list(await handle.entries_from(position)):
            position = batch[-1][0]
        handle.release()

    async def _open(self, inode: int) -> None:
        location = self.tree._inodes.require_directory(inode).location
        self.handles.append(ReadInParts(self, self.tree.open_directory(inode), location))

    # -- what has to hold

    def check_not_old(self) -> None:
        """Check that no cached answer is older than the newest event about its object."""
        for name in NAMES:
            for form in (Form.PLAIN, Form.FILE):
                if name.startswith(self.root) and not name.endswith("/"):
                    self._check_answer(name, form)

        for reader in self.handles:
            self._check_listing(reader.handle._cached)

    def _check_listing(self, cached: CachedListing) -> None:
        """Check the entries of a listing that a handle reads, which need not be the latest one."""
        for name, child in cached.listing.entries_from(0):
            if cached.trusts(name) and isinstance(child, Row):
                state = child.info.generation, child.info.metageneration
                assert self.bucket.may_show(child.info.name, state), (name, state)

    def _check_answer(self, name: str, form: Form) -> None:
        bucket = self.bucket
        location, entry_name = locate(name, form)
        step = step_from(location, entry_name)
        assert step is not None
        answer = self.tree._names.cache.newest(location, entry_name, step)
        if answer is None:
            return
        child, folder = answer.child, name + "/"
        if isinstance(child, Directory):
            assert bucket.may_be_directory(folder), (name, form)
        elif isinstance(child, Row):
            state = child.info.generation, child.info.metageneration
            assert child.info.name == name
            assert bucket.may_show(name, state), (name, state)
            if not bucket.store.shows_end:
                # Otherwise, the answer to a later request may be older.
                assert state >= self.newest.get(name, state)
                self.newest[name] = state
            if form is Form.PLAIN:
                assert bucket.may_be_no_directory(folder), (name, form)
        elif form is Form.PLAIN:
            assert bucket.may_show(name, None), name
            assert bucket.may_be_no_directory(folder), (name, form)
        else:
            assert bucket.may_show(name, None) or bucket.may_be_no_directory(folder), name

    async def check_end(self) -> None:
        """Check that the mount shows the bucket, when all events were applied."""
        async with mounted(self.bucket.store, prefix=self.root, ttl_seconds=0) as reference:
            for location in DIRECTORIES:
                if not location.startswith(self.root):
                    continue
                path = path_of(location)[len(path_of(self.root)) :]
                shown = await entries_of(self.tree, path)
                assert shown == await entries_of(reference, path), location


class ReadInParts:
    """A handle that reads a directory in parts while it changes."""

    def __init__(self, mount: Mount, handle: DirectoryHandle, location: str) -> None:
        self.mount = mount
        self.handle = handle
        self.location = location
        self.position = 0
        self.read_names: list[bytes] = []
        self.is_busy = False
        # The objects that have changed, or whose events have arrived, since the first read.
        self.touched: set[str] = {event.change.name for event in mount.bucket.undelivered}
        self.at_start = set(mount.bucket.store._objects)

    async def read(self, entries: int) -> None:
        if self.is_busy:
            return
        self.is_busy = True
        batch = []
        for item in await self.handle.entries_from(self.position):
            batch.append(item)
            if len(batch) == entries:
                break
        for position, name, _ in batch:
            self.position = position
            self.read_names.append(name)
        if batch:
            self.is_busy = False
        else:
            self.mount.handles.remove(self)
            self.handle.release()
            self.check()

    def check(self) -> None:
        for name in self.at_start - self.touched:
            if not name.startswith(self.location) or name.endswith("/"):
                continue
            if any(other.startswith(name + "/") for other in {*self.touched, *self.at_start}):
                continue
            location, entry_name = locate(name, Form.PLAIN)
            if location == self.location:
                assert self.read_names.count(entry_name) == 1, name


async def entries_of(tree: Tree, path: Iterable[bytes]) -> dict[bytes, Any] | None:
    """Return what each entry of a directory leads to; None if there is no such directory."""
    inode = ROOT_INODE
    for entry_name in path:
        try:
            entry = await tree.lookup(inode, entry_name)
        except NoSuchEntry:
            return None
        if not entry.is_directory:
            return None
        inode = entry.inode
    handle = tree.open_directory(inode)
    entries: dict[bytes, Any] = {}
    position = 0
    while batch := list(await handle.entries_from(position)):
        for after, name, entry in batch:
            position = after
            assert name not in entries
            object_ = tree.object_of(entry.inode)
            entries[name] = entry.is_directory, entry.mtime_ns, object_
            # A lookup shows the same as the listing.
            looked_up = await tree.lookup(inode, name)
            assert looked_up.inode == entry.inode, name
    handle.release()
    return entries


async def run_steps(
    taken: list[tuple[Any, ...]],
    *,
    has_payload: bool,
    page_size: int,
    prefix: str,
    shows_end: bool,
    delay: float,
) -> None:
    store = MovingStore(delay_seconds=delay, placeholders_listed=True)
    store.shows_end = shows_end
    bucket = ChangedBucket(store, has_payload)
    news = Interrupted()
    async with (
        mounted(store, prefix=prefix, page_size=page_size, news=news) as tree,
        trio.open_nursery() as tasks,
    ):
        mount = Mount(tree, bucket, news, tasks)
        for step in taken:
            if step[0] == "sleep":
                await trio.sleep(step[1])
            else:
                mount.run_step(step)
                await trio.lowlevel.checkpoint()
            mount.check_not_old()
        await trio.sleep(60)
        mount.check_not_old()
        while bucket.undelivered:
            mount.step_deliver(7 * len(bucket.delivered))
            mount.check_not_old()
        await mount.check_end()
        for handle in mount.handles:
            handle.handle.release()


@given(
    st.lists(steps, min_size=20, max_size=60),
    st.booleans(),
    st.sampled_from([1, 2, 1000]),
    st.sampled_from(["", "", "d/"]),
    st.booleans(),
    st.sampled_from([0.0, 0.4]),
)
@settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
def test_the_mount_shows_nothing_older_than_what_events_have_shown(
    taken: list[tuple[Any, ...]],
    has_payload: bool,
    page_size: int,
    prefix: str,
    shows_end: bool,
    delay: float,
) -> None:
    async def run() -> None:
        await run_steps(
            taken,
            has_payload=has_payload,
            page_size=page_size,
            prefix=prefix,
            shows_end=shows_end,
            delay=delay,
        )

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
