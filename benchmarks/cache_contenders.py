"""The contenders of the cache on disk: mounts with a cache in several states, and a yardstick.

| contender | description |
|---|---|
| mount, cache on | `gcsmux-mount --cache-dir` with an empty directory |
| mount, cached | another mount has read the files and has ended; the kernel has the pages |
| mount, read once | the same, but that mount has read the files only once |
| mount, cached, names | the same, and both mounts have `--cache-listings` |
| mount, cached, from disk | the same as "mount, cached", without the pages |
| mount, cached, killed | the mount that has read the files was killed by SIGKILL |
| mount, million extents | the cache has a million extents of 16 KiB of the object `wide` |
| mount, empty cache | an empty directory, for comparisons with "mount, million extents" |
| local files | `benchmarks.local_fs` serves the files of the bucket from the kernel's page cache |
| local files, from disk | the same without the pages |
| rclone, cache on; rclone, cached | rclone with `--vfs-cache-mode full` |
| gcsfuse, cache on; gcsfuse, cached | gcsfuse with `--cache-dir` |

A cache is filled once for each bucket and latency, and serves all rounds. Each round mounts, so the
page cache of the mount and the blocks in memory are empty.
"""

from __future__ import annotations

import enum
import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from benchmarks import local_fs
from benchmarks.extents import make_extents
from benchmarks.launches import (
    gcsfuse_launch,
    gcsmux_launch,
    rclone_launch,
    without_gcsfuse,
    without_rclone,
)
from benchmarks.running import Cost, Launch, on_mount, start_seconds
from benchmarks.tasks import Kind, Outcome, Task

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.site import Site
    from tests.support.emulator_process import EmulatorProcess

    # Site, bucket, mount point, directory of the cache, latency in milliseconds.
    Start: TypeAlias = Callable[[Site, str, Path, Path, int], Launch]

__all__ = ["CACHE_CONTENDERS", "CachedMount", "LocalFiles", "State"]

_COPY_BYTES = 1 << 20
_SETTLE_SECONDS = 0.5
_MAX_SETTLE_SECONDS = 60.0
# rclone saves which bytes are in its cache 5 s after a file was closed (--vfs-handle-caching). A
# mount of rclone that ends earlier keeps nothing.
_RCLONE_SECONDS = 6.0


class State(enum.Enum):
    """What is in the cache before a run."""

    EMPTY = "empty"
    FILLED = "filled"
    FROM_DISK = "from disk"
    KILLED = "killed"
    EXTENTS = "extents"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _load_pages(paths: list[Path]) -> None:
    """Read files, so that the kernel's page cache has all their pages."""
    buffer = bytearray(_COPY_BYTES)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _drop_pages(paths: list[Path]) -> None:
    """Remove files from the kernel's page cache."""
    os.sync()
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _settle(folder: Path) -> None:
    """Wait until nothing is written into a cache."""

    def used() -> int:
        total = 0
        for path in _files(folder):
            # The mount may remove a file of its ledgers meanwhile.
            with suppress(FileNotFoundError):
                total += path.stat().st_blocks
        return total

    before, end = used(), time.monotonic() + _MAX_SETTLE_SECONDS
    while time.monotonic() < end:
        time.sleep(_SETTLE_SECONDS)
        now = used()
        if now == before:
            return
        before = now


@dataclass(frozen=True)
class CachedMount:
    """A mount with a cache on disk. Contenders with equal `label` and state share their caches.

    A cache is filled by `fills` mounts, which read all files; more than one, because a mount drops
    what a slow disk cannot take. Each runs for `save_seconds` after its last file was closed.
    """

    label: str
    start: Start
    needs: Callable[[], str]
    state: State
    is_metered: bool = True
    save_seconds: float = 0.0
    fills: int = 1

    def missing(self, task: Task, latency_ms: int) -> str:
        """Return the reason why the contender cannot run the task, or an empty string."""
        return self.needs()

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        """Bring the cache into its state, and run the task on a new mount."""
        emulator = site.emulator(latency_ms) if self.is_metered else None
        state = State.FILLED if self.state is State.FROM_DISK else self.state
        cache = site.folder / "caches" / f"{self.label}-{state.value}-{bucket}-{latency_ms}"
        mountpoint = site.folder / "mnt"
        launch = self.start(site, bucket, mountpoint, cache, latency_ms)
        if state is State.EMPTY:
            shutil.rmtree(cache, ignore_errors=True)
        if not cache.exists():
            cache.mkdir(parents=True, mode=0o700)
            self._fill(cache, launch, mountpoint, bucket, task, emulator)
        if self.state is State.FROM_DISK:
            _drop_pages(_files(cache))
        elif self.state is not State.EXTENTS:
            _load_pages(_files(cache))
        try:
            if task.kind is Kind.START:
                return Outcome(start_seconds(launch, mountpoint)), Cost()
            return on_mount(task, launch, mountpoint, emulator)
        finally:
            if state is State.EMPTY:
                shutil.rmtree(cache, ignore_errors=True)

    def _fill(
        self,
        cache: Path,
        launch: Launch,
        mountpoint: Path,
        bucket: str,
        task: Task,
        emulator: EmulatorProcess | None,
    ) -> None:
        def at_end(process: subprocess.Popen[bytes]) -> None:
            time.sleep(self.save_seconds)
            _settle(cache)
            if self.state is State.KILLED:
                process.kill()

        if self.state is State.EXTENTS:
            assert emulator is not None
            make_extents(cache, emulator, bucket)
        elif self.state is not State.EMPTY:
            # Random reads would fill only a part of the cache.
            whole = replace(task, kind=Kind.SEQUENTIAL, threads=1, block_bytes=_COPY_BYTES)
            fill = task if task.kind is Kind.FILES else whole
            for _ in range(self.fills):
                on_mount(fill, launch, mountpoint, None, at_end)


@dataclass(frozen=True)
class LocalFiles:
    """A plain pyfuse3 file system that serves the files of the bucket."""

    from_disk: bool = False

    def missing(self, task: Task, latency_ms: int) -> str:
        """Return the reason why the contender cannot run the task, or an empty string."""
        return "needs root" if os.geteuid() else ""

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        """Load or drop the pages of the files, and run the task on a new mount."""
        folder, mountpoint = site.buckets / bucket, site.folder / "mnt"
        named = [folder / name for name in task.names]
        paths = [file for path in named for file in (_files(path) if path.is_dir() else [path])]
        (_drop_pages if self.from_disk else _load_pages)(paths)
        command = [sys.executable, "-m", "benchmarks.local_fs", str(folder), str(mountpoint)]
        launch = Launch(command, own_read_ahead=local_fs.READ_AHEAD_BYTES)
        return on_mount(task, launch, mountpoint, None)


def _gcsmux(*options: str) -> Start:
    def start(site: Site, bucket: str, mountpoint: Path, cache: Path, latency_ms: int) -> Launch:
        launch = gcsmux_launch(f"--cache-dir={cache}", *options)
        return launch(site.emulator(latency_ms), bucket, mountpoint)

    return start


def _rclone(site: Site, bucket: str, mountpoint: Path, cache: Path, latency_ms: int) -> Launch:
    launch = rclone_launch(f"--cache-dir={cache}", mode="full")
    return launch(site.fake_url(latency_ms), bucket, mountpoint)


def _gcsfuse(site: Site, bucket: str, mountpoint: Path, cache: Path, latency_ms: int) -> Launch:
    launch = gcsfuse_launch(f"--cache-dir={cache}", "--file-cache-max-size-mb=-1")
    return launch(site.emulator(latency_ms), bucket, mountpoint)


def _mount(state: State, *, fills: int = 2) -> CachedMount:
    return CachedMount(f"mount-{fills}", _gcsmux(), str, state, fills=fills)


def _rclone_mount(state: State) -> CachedMount:
    return CachedMount("rclone", _rclone, without_rclone, state, False, _RCLONE_SECONDS)


CACHE_CONTENDERS: dict[str, CachedMount | LocalFiles] = {
    "mount, cache on": _mount(State.EMPTY),
    "mount, cached": _mount(State.FILLED),
    "mount, cached, names": CachedMount(
        "names", _gcsmux("--cache-listings"), str, State.FILLED, fills=2
    ),
    "mount, cached, from disk": _mount(State.FROM_DISK),
    "mount, read once": _mount(State.FILLED, fills=1),
    "mount, cached, killed": _mount(State.KILLED, fills=1),
    "mount, million extents": _mount(State.EXTENTS),
    "mount, empty cache": _mount(State.EMPTY),
    "local files": LocalFiles(),
    "local files, from disk": LocalFiles(from_disk=True),
    "rclone, cache on": _rclone_mount(State.EMPTY),
    "rclone, cached": _rclone_mount(State.FILLED),
    "rclone, cached, from disk": _rclone_mount(State.FROM_DISK),
    "gcsfuse, cache on": CachedMount("gcsfuse", _gcsfuse, without_gcsfuse, State.EMPTY),
    "gcsfuse, cached": CachedMount("gcsfuse", _gcsfuse, without_gcsfuse, State.FILLED),
}
