"""The cache on disk as the block cache uses it, with a real directory and real threads."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from crc32c import crc32c

from gcsmux_fs.caching.cache_directory import CacheDirectoryError
from gcsmux_fs.caching.chunk_store import ChunkStore
from gcsmux_fs.caching.disk_cache import Housekeeping, OpenedCache
from gcsmux_fs.caching.disk_source import DiskSource
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.values import FinalContent
from gcsmux_fs.process.deferred_calls import DeferredCalls
from gcsmux_fs.settings.cache_options import CacheOptions
from tests.reading.fakes import ManualSource, content_of, key_of
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

pytestmark = pytest.mark.real_time

KEY = key_of("object")
SIZE = 9 * MIB + 12_345
PIECE = 2 * MIB


class Mount:
    """A cache in use, over a service that answers at once."""

    def __init__(self, disk: DiskSource, service: ManualSource) -> None:
        self.disk = disk
        self.service = service
        self.registry = Registry()
        disk.declare_metrics(self.registry)

    def metrics(self) -> dict[str, Any]:
        return self.registry.snapshot()

    async def read(
        self, offset: int, length: int, size: int = SIZE, crc32c: int | None = None
    ) -> bytes:
        """Read a range; the service answers what is asked of it."""
        answered = trio.Event()
        answers: list[Any] = []

        def done(result: Any) -> None:
            answers.append(result)
            answered.set()

        self.disk.request(KEY, offset, length, done, final=FinalContent(size, crc32c))
        with trio.fail_after(10):
            while not answered.is_set():
                self.service.settle_all()
                await trio.sleep(0.001)
        return bytes(answers[0])

    async def read_all(self) -> bytes:
        parts = [
            await self.read(start, min(PIECE, SIZE - start)) for start in range(0, SIZE, PIECE)
        ]
        return b"".join(parts)


@asynccontextmanager
async def mounted(directory: Path) -> AsyncIterator[Mount]:
    async with trio.open_nursery() as tasks:
        calls = DeferredCalls()
        tasks.start_soon(calls.run)
        options = CacheOptions(directory, min_free_bytes=0)
        disk = DiskSource(options, "", memory_bytes=256 * MIB, call_soon=calls)
        service = ManualSource()
        disk.read_from(service)
        async with disk.in_use(tasks):
            yield Mount(disk, service)
        tasks.cancel_scope.cancel()


async def test_what_was_read_is_on_the_disk_after_a_restart(tmp_path: Path) -> None:
    expected = content_of(KEY, 0, SIZE)
    async with mounted(tmp_path / "cache") as mount:
        assert await mount.read_all() == expected
        assert mount.service.total == SIZE
    async with mounted(tmp_path / "cache") as mount:
        assert await mount.read_all() == expected
        assert await mount.read(16 * KIB, 16 * KIB) == expected[16 * KIB : 32 * KIB]
        assert mount.service.requests == []
        metrics = mount.metrics()
        assert metrics["disk_cache_hit_bytes"] == SIZE + 16 * KIB
        assert (metrics["disk_cache_state"], metrics["disk_cache_ranges_reading"]) == (1, 0)


async def test_a_closed_cache_has_no_open_file(tmp_path: Path) -> None:
    def open_files() -> list[str]:
        links = Path("/proc/self/fd").iterdir()
        return [path for link in links if str(tmp_path) in (path := os.path.realpath(link))]

    async with mounted(tmp_path / "cache") as mount:
        await mount.read_all()
        assert open_files()
        reading = mount.disk.request(KEY, 0, PIECE, lambda _: None, final=FinalContent(SIZE))
        reading.cancel()
    assert open_files() == []


async def test_an_object_is_not_its_neighbour_or_its_other_size(tmp_path: Path) -> None:
    async with mounted(tmp_path / "cache") as mount:
        await mount.read(0, PIECE)
    async with mounted(tmp_path / "cache") as mount:
        await mount.read(0, PIECE, SIZE + 1)
        assert mount.service.total == PIECE


async def test_a_forgotten_object_is_requested_again(tmp_path: Path) -> None:
    async with mounted(tmp_path / "cache") as mount:
        await mount.read(0, PIECE)
        mount.disk.forget(lambda name: name == "another object")
        mount.disk.forget(lambda name: name == "object")
    async with mounted(tmp_path / "cache") as mount:
        await mount.read(0, PIECE)
        assert mount.service.total == PIECE


@pytest.mark.parametrize(("generation", "size"), [(1, None), (1, SIZE), (2, SIZE)])
async def test_only_a_generation_that_is_gone_is_dropped(
    tmp_path: Path, generation: int, size: int | None
) -> None:
    async with mounted(tmp_path / "cache") as mount:
        await mount.read(0, PIECE)
        if size is None:
            # The mount has read the generation, so it knows its size.
            mount.disk.forget_generation(KEY, lambda: None)
    async with mounted(tmp_path / "cache") as mount:
        if size is not None:
            key = replace(KEY, generation=generation)
            mount.disk.forget_generation(key, lambda: size)
    async with mounted(tmp_path / "cache") as mount:
        await mount.read(0, PIECE)
        assert mount.service.total == (PIECE if generation == 1 else 0)


@pytest.mark.expects_log("another CRC32C than the object")
@pytest.mark.parametrize("size", [MIB, 3 * MIB])
async def test_an_object_whose_checksum_differs_is_not_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    async with mounted(tmp_path / "cache") as mount:
        for start in range(0, size, PIECE):
            await mount.read(start, min(PIECE, size - start), size, crc32c=12345)
    assert mount.metrics()["disk_cache_objects_dropped"] == 1
    assert mount.metrics()["disk_cache_objects_verified"] == 0
    assert caplog.text.count("gs://bucket/'object'#1: its content has another CRC32C") == 1
    async with mounted(tmp_path / "cache") as mount:
        await mount.read(0, MIB, size)
        assert mount.service.total == MIB


@pytest.mark.parametrize("size", [MIB, SIZE])
async def test_an_object_is_checked_before_the_cache_is_closed(tmp_path: Path, size: int) -> None:
    crc = crc32c(content_of(KEY, 0, size))
    async with mounted(tmp_path / "cache") as mount:
        for start in range(0, size, PIECE):
            await mount.read(start, min(PIECE, size - start), size, crc)
    assert mount.metrics()["disk_cache_objects_verified"] > 0


@pytest.mark.expects_log("has not answered within 0.5 s")
async def test_a_disk_that_hangs_delays_one_read_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def hang(*_: object) -> list[object]:
        release.wait(60)
        return []

    monkeypatch.setattr(ChunkStore, "read", hang)
    try:
        async with mounted(tmp_path / "cache") as mount:
            for start in range(0, 3 * PIECE, PIECE):
                assert await mount.read(start, PIECE) == content_of(KEY, start, PIECE)
                assert mount.metrics()["disk_cache_timeouts"] == 1
            assert mount.metrics()["disk_cache_state"] == 2
    finally:
        release.set()


async def test_an_unsafe_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(ExceptionGroup) as raised:
        async with mounted(tmp_path / "cache"):
            pass
    assert raised.group_contains(CacheDirectoryError, match="users can write")


@pytest.mark.expects_log("no cache on disk")
async def test_without_its_disk_a_mount_reads_from_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with mounted(tmp_path / "missing" / "cache") as mount:
        assert await mount.read(0, PIECE) == content_of(KEY, 0, PIECE)
        assert mount.disk.read_now(KEY, 0, KIB, FinalContent(SIZE)) is None
        assert mount.metrics()["disk_cache_state"] == 0
    assert "does not exist: create it, or mount its disk" in caplog.text


def _disk_bytes(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.glob("*/chunks/*/*"))


@pytest.mark.expects_log("cannot be written")
@pytest.mark.parametrize("replace", [False, True], ids=["removed", "replaced"])
async def test_another_directory_is_used_after_the_directory_has_gone(
    replace: bool, tmp_path: Path
) -> None:
    directory = tmp_path / "cache"
    async with mounted(directory) as mount:
        await mount.read_all()
        # The renamed directory is removed afterwards, because the mount may add files meanwhile.
        directory.rename(tmp_path / "gone")
        if replace:
            directory.mkdir(mode=0o700)
        else:
            shutil.rmtree(tmp_path / "gone", ignore_errors=True)
        assert await mount.read_all() == content_of(KEY, 0, SIZE)
        requested = -1
        with trio.fail_after(20):
            # The failed writes make the mount wait for a second before it writes again.
            while requested != mount.service.total or _disk_bytes(directory) < SIZE:
                requested = mount.service.total
                await trio.sleep(0.1)
                await mount.read_all()
    async with mounted(directory) as mount:
        await mount.read_all()
        assert mount.service.requests == []


@pytest.mark.expects_log("please report it as a bug")
async def test_a_bug_in_housekeeping_does_not_end_the_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Housekeeping, "run_once", fail)
    monkeypatch.setattr(OpenedCache, "close", fail)
    async with mounted(tmp_path / "cache") as mount:
        assert await mount.read_all() == content_of(KEY, 0, SIZE)
        assert mount.disk.counters.disk_cache_errors["housekeeping", "RuntimeError"]
