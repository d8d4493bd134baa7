"""Tests of the whole disk tier in real directories: reads return the right bytes, whatever happens.

The machine reads objects through two mounts of one cache, and checks each byte. In between, objects
change, mounts start again, chunks are evicted, and files are damaged in all ways of `damage`.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel
from crc32c import crc32c
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from gcsmux_fs.caching.cache_folders import CacheDirectoryError
from gcsmux_fs.caching.chunk_format import GRANULE_BYTES
from gcsmux_fs.caching.disk_source import DiskSource
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.values import FinalContent, ObjectKey
from gcsmux_fs.process.deferred_calls import DeferredCalls
from gcsmux_fs.settings.cache_options import CacheOptions
from tests.reading.fakes import ManualSource, content_of
from tests.support.examples import examples
from tests.support.sizes import KIB, MIB

from .damage import DAMAGES, files_below
from .folders import memory_folder
from .trio_thread import TrioThread

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

SIZES = {"tiny": 5_000, "small": 20_000, "third": 48 * KIB, "large": 100 * KIB}
SIZE_BYTES = 300 * KIB
VERSION_FOLDER = "gcsmux-cache-v1"
# The kinds of damage after which the cache may be left alone until it is opened again.
HARD = {
    *("symlink", "symlink_to_itself", "moved_symlink", "directory", "fifo", "socket", "device"),
    *("remove_directory", "replace_directory", "link_directory"),
}


NAMES = st.sampled_from(sorted(SIZES))


class SmallCache(CacheOptions):
    """A cache that is smaller than users may choose, so that chunks are evicted soon."""

    def __post_init__(self) -> None:
        return


class Mount:
    """A mount with a cache on disk, over a service that answers at once."""

    def __init__(self, directory: Path) -> None:
        self.service = ManualSource()
        self.registry = Registry()
        self.requests = 0
        self._directory = directory
        self._ended = trio.Event()
        self._has_ended = trio.Event()

    async def serve(self, task_status: trio.TaskStatus[Exception | None]) -> None:
        """Open the cache, report the error if there is one, and serve until `end`."""
        is_started = False
        try:
            async with trio.open_nursery() as tasks:
                calls = DeferredCalls()
                tasks.start_soon(calls.run)
                options = SmallCache(self._directory, size_bytes=SIZE_BYTES, min_free_bytes=0)
                self.disk = DiskSource(options, "", memory_bytes=64 * MIB, call_soon=calls)
                self.disk.read_from(self.service)
                self.disk.declare_metrics(self.registry)
                async with self.disk.in_use(tasks):
                    is_started = True
                    task_status.started(None)
                    await self._ended.wait()
                tasks.cancel_scope.cancel()
        except* CacheDirectoryError as error:
            if is_started:
                raise
            task_status.started(error.exceptions[0])
        finally:
            self._has_ended.set()

    async def end(self) -> None:
        self._ended.set()
        with trio.fail_after(10):
            await self._has_ended.wait()

    async def read(self, key: ObjectKey, size: int, offset: int, length: int) -> bytes:
        """Read a range of an object as the block cache does."""
        final = FinalContent(size, crc32c(content_of(key, 0, size)))
        self.requests += 1
        at_once = self.disk.read_now(key, offset, length, final)
        if at_once is not None:
            return bytes(at_once)
        answered = trio.Event()
        answers: list[Any] = []

        def done(result: Any) -> None:
            answers.append(result)
            answered.set()

        self.disk.request(key, offset, length, done, final=final)
        with trio.fail_after(10):
            while not answered.is_set():
                self.service.settle_all()
                await trio.lowlevel.checkpoint()
        assert len(answers) == 1
        return bytes(answers[0])

    async def wait_until_written(self) -> None:
        with trio.fail_after(20):
            while self._has_queued():  # noqa: ASYNC110 (threads write)
                await trio.sleep(0.001)

    def _has_queued(self) -> bool:
        return bool(self.registry.snapshot()["disk_cache_queued_bytes"])


class BugReports(logging.Handler):
    """Collects the log records of exceptions that are not errors of the disk."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(logging.Formatter().format(record))


class TierMachine(RuleBasedStateMachine):
    """Two mounts, of which the second one may be absent."""

    def __init__(self) -> None:
        super().__init__()
        self._folder: AbstractContextManager[Path] = memory_folder()
        self._root = self._folder.__enter__() / "cache"
        self._trio = TrioThread()
        self._mounts: list[Mount | None] = [None, None]
        self._generations = dict.fromkeys(SIZES, 1)
        self._bugs = BugReports()
        logging.getLogger("gcsmux_fs").addHandler(self._bugs)

    @initialize()
    def begin(self) -> None:
        self._start(0)

    @rule(
        number=st.integers(0, 1),
        name=NAMES,
        first=st.integers(0, 6),
        count=st.integers(1, 7),
    )
    def read(self, number: int, name: str, first: int, count: int) -> None:
        mount = self._mounts[number] or self._mounts[0]
        if mount is None:
            return
        size = SIZES[name]
        offset = first * GRANULE_BYTES % size // GRANULE_BYTES * GRANULE_BYTES
        length = min(count * GRANULE_BYTES, size - offset)
        key = ObjectKey("bucket", name, self._generations[name])
        content = self._trio.run(mount.read, key, size, offset, length)
        assert content == content_of(key, offset, length)

    @rule(number=st.integers(0, 1))
    def read_all(self, number: int) -> None:
        for name, size in SIZES.items():
            self.read(number, name, 0, -(-size // GRANULE_BYTES))
        self.write_everything()

    @rule(number=st.integers(0, 1))
    def read_all_again(self, number: int) -> None:
        self.read_all(number)

    @rule(name=NAMES)
    def overwrite_object(self, name: str) -> None:
        self._generations[name] += 1

    @rule(name=NAMES)
    def restore_generation(self, name: str) -> None:
        self._generations[name] = 1

    @rule()
    def write_everything(self) -> None:
        for mount in self._mounts:
            if mount is not None:
                self._trio.run(mount.wait_until_written)

    @rule(number=st.integers(0, 1))
    def restart(self, number: int) -> None:
        self._stop(number)
        self._start(number)

    @rule(number=st.integers(0, 1), name=NAMES)
    def forget(self, number: int, name: str) -> None:
        mount = self._mounts[number]
        if mount is not None:

            async def forget() -> None:
                mount.disk.forget(lambda known: known == name)

            self._trio.run(forget)

    @rule(
        kind=st.sampled_from(sorted(DAMAGES.keys() - HARD)),
        seed=st.integers(0, 2**32),
        place=st.sampled_from(["chunks", "chunks", "ledgers", "."]),
    )
    def damage(self, kind: str, seed: int, place: str) -> None:
        self.write_everything()
        found = files_below(self._root / VERSION_FOLDER / place)
        if found:
            random = Random(seed)
            # The mounts evict and replace files meanwhile.
            with suppress(OSError):
                DAMAGES[kind](random.choice(found), random.choice(found), random)

    @rule(
        kind=st.sampled_from(["remove", "version", *sorted(HARD)]),
        seed=st.integers(0, 2**32),
        happens=st.sampled_from([False, False, False, True]),
    )
    def destroy(self, kind: str, seed: int, happens: bool) -> None:
        if not happens:
            return
        folder = self._root / VERSION_FOLDER
        random = Random(seed)
        found = files_below(folder)
        with suppress(OSError):
            if kind == "remove":
                shutil.rmtree(self._root)
            elif kind == "version":
                folder.rename(self._root / "gcsmux-cache-v2")
            elif found:
                DAMAGES[kind](random.choice(found), random.choice(found), random)

    @invariant()
    def no_exception_was_logged(self) -> None:
        assert not self._bugs.found, self._bugs.found[0]

    @invariant()
    def requests_are_counted(self) -> None:
        for mount in self._mounts:
            if mount is not None:
                counters = mount.disk.counters
                assert mount.requests == (
                    counters.disk_cache_hits
                    + counters.disk_cache_partial_hits
                    + counters.disk_cache_misses
                    + counters.disk_cache_bypasses
                    + counters.disk_cache_timeouts
                )

    def teardown(self) -> None:
        try:
            for number in range(2):
                self._stop(number)
        finally:
            logging.getLogger("gcsmux_fs").removeHandler(self._bugs)
            self._trio.close()
            self._folder.__exit__(None, None, None)

    def _start(self, number: int) -> None:
        error = self._try_start(number)
        if error is not None:
            # Damage that a user has to remove. The message names the place.
            assert str(self._root) in str(error)
            shutil.rmtree(self._root, ignore_errors=True)
            if self._root.is_symlink() or self._root.exists():
                self._root.unlink()
            assert self._try_start(number) is None

    def _try_start(self, number: int) -> Exception | None:
        async def start() -> Any:
            mount = Mount(self._root)
            error = await self._trio.start(mount.serve)
            if error is None:
                self._mounts[number] = mount
            return error

        result: Exception | None = self._trio.run(start)
        return result

    def _stop(self, number: int) -> None:
        mount, self._mounts[number] = self._mounts[number], None
        if mount is not None:
            self._trio.run(mount.end)


@pytest.mark.slow
@pytest.mark.expects_log("the cache on disk", "the mount has no cache")
def test_tier() -> None:
    run_state_machine_as_test(
        TierMachine, settings=settings(max_examples=examples(15), stateful_step_count=40)
    )
