"""The contenders: the tools and programs that the benchmark compares.

| contender | description |
|---|---|
| client | our client without FUSE: the upper limit for the mount |
| client, zonal | "client" on a zonal bucket |
| raw gRPC | random reads on one stream, without our client |
| mount | `gcsmux-mount` with its defaults |
| mount, 128 KiB | with `--kernel-read-ahead 128KiB`: the READs of a user without privileges |
| mount, tuned | with `--kernel-read-ahead 16MiB` (root) |
| mount, zonal | "mount" on a zonal bucket |
| rclone | `rclone mount` with its defaults: it checks MD5, as our mount checks CRC32C |
| rclone, no checks | with `--no-checksum` |
| gcsfuse | `gcsfuse` over gRPC with its kernel reader, if installed; it uses ReadObject |
| gcsfuse, defaults | without the kernel reader |
| gcsfuse, zonal | on a zonal bucket, which it reads by BidiReadObject, as our mount does |
| pyfuse3 | a pyfuse3 file system that serves one file from memory: the upper limit of pyfuse3 |
| pyfuse3, tuned | with the kernel limits of "mount, tuned" |
| disk | files on the local disk, dropped from the page cache before the run |
| mount, cache on, and others with "cache" | see `benchmarks.cache_contenders` |
| mount, told, and others with "told" | see `benchmarks.change_contenders` |
| READ hit | a READ that the block cache answers, in one process without mount and server |
| READ hit, no histogram | a READ hit without the latency histogram |
| Histogram.observe | one observation of the latency histogram, without a READ |
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from benchmarks import objects
from benchmarks.cache_contenders import CACHE_CONTENDERS
from benchmarks.change_contenders import CHANGE_CONTENDERS
from benchmarks.launches import (
    gcsfuse_launch,
    gcsmux_launch,
    rclone_launch,
    without_gcsfuse,
    without_rclone,
    without_root,
)
from benchmarks.running import Cost, Launch, on_folder, on_mount, without_mount
from benchmarks.tasks import CHANGE_KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.site import Site
    from benchmarks.tasks import Outcome, Task
    from tests.support.emulator_process import EmulatorProcess

__all__ = ["CONTENDERS", "OTHER", "Contender", "mount_of"]

OTHER = "other checkout"
_TUNED_BYTES = 16 * objects.MIB


class Contender(Protocol):
    """A tool or program that runs tasks, or gives the reason why it cannot run a task."""

    def missing(self, task: Task, latency_ms: int) -> str:
        """Return the reason why the contender cannot run the task, or an empty string."""

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        """Run the task with cold caches, in new processes.

        Raises:
            Failed: the contender could not run the task.
        """


@dataclass(frozen=True)
class _ServerClient:
    """A program that sends requests to the server itself, without a mount."""

    module: str
    kinds: frozenset[Kind]
    zonal: bool = False

    def missing(self, task: Task, latency_ms: int) -> str:
        return "" if task.kind in self.kinds else "does not support this task"

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        emulator = site.emulator(latency_ms, zonal=self.zonal)
        command = [sys.executable, "-m", self.module, emulator.endpoint, bucket]
        return without_mount(command, task, emulator)


@dataclass(frozen=True)
class _Mount:
    """A mount of a bucket of the emulator."""

    launch: Callable[[EmulatorProcess, str, Path], Launch]
    needs: Callable[[], str]
    zonal: bool = False

    def missing(self, task: Task, latency_ms: int) -> str:
        return self.needs()

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        mountpoint = site.folder / "mnt"
        emulator = site.emulator(latency_ms, zonal=self.zonal)
        launch = self.launch(emulator, bucket, mountpoint)
        return on_mount(task, launch, mountpoint, emulator)


@dataclass(frozen=True)
class _HttpMount:
    """A mount of a bucket of fake-gcs-server, directly or through a proxy that adds the latency."""

    launch: Callable[[str, str, Path], Launch]
    needs: Callable[[], str]

    def missing(self, task: Task, latency_ms: int) -> str:
        return self.needs()

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        mountpoint = site.folder / "mnt"
        launch = self.launch(site.fake_url(latency_ms), bucket, mountpoint)
        return on_mount(task, launch, mountpoint, None)


@dataclass(frozen=True)
class _Memory:
    """A pyfuse3 file system that serves one file from memory."""

    read_ahead_bytes: int = 0

    def missing(self, task: Task, latency_ms: int) -> str:
        if self.read_ahead_bytes and os.geteuid():
            return "needs root"
        return "" if len(task.names) == 1 else "pyfuse3 serves only one file"

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        mountpoint = site.folder / "mnt"
        command = [sys.executable, "-m", "benchmarks.memory_fs", str(mountpoint)]
        command += [task.names[0], str(task.size_bytes)]
        launch = Launch(command, raised_read_ahead=self.read_ahead_bytes)
        return on_mount(task, launch, mountpoint, None)


@dataclass(frozen=True)
class _Calls:
    """Calls of our code in one process, without a mount and without a server."""

    variant: str

    def missing(self, task: Task, latency_ms: int) -> str:
        return "" if task.kind is Kind.OBSERVE else "does not support this task"

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        command = [sys.executable, "-m", "benchmarks.observation", self.variant]
        return without_mount(command, task, None)


class _Disk:
    """The files on the local disk, read without a mount."""

    def missing(self, task: Task, latency_ms: int) -> str:
        return ""

    def run(self, site: Site, bucket: str, task: Task, latency_ms: int) -> tuple[Outcome, Cost]:
        return on_folder(task, site.buckets / bucket)


def mount_of(checkout: Path) -> Contender:
    """Return the mount of another checkout, whose `scripts/bootstrap` has run."""
    return _Mount(gcsmux_launch(commands=checkout / ".venv" / "bin"), str)


_CLIENT_KINDS = frozenset(Kind) - {
    Kind.REPEAT,
    Kind.TOUCH,
    Kind.HOLD,
    Kind.DIGEST,
    Kind.START,
    Kind.OBSERVE,
    Kind.PROGRAM,
    *CHANGE_KINDS,
}

CONTENDERS: dict[str, Contender] = {
    "client": _ServerClient("benchmarks.client", _CLIENT_KINDS),
    "client, zonal": _ServerClient("benchmarks.client", _CLIENT_KINDS, zonal=True),
    "raw gRPC": _ServerClient("benchmarks.raw_grpc", frozenset({Kind.RANDOM})),
    "mount": _Mount(gcsmux_launch(), str),
    "mount, 128 KiB": _Mount(gcsmux_launch("--kernel-read-ahead=128KiB"), without_root),
    "mount, tuned": _Mount(
        gcsmux_launch("--kernel-read-ahead=16MiB", read_ahead=_TUNED_BYTES), without_root
    ),
    "mount, zonal": _Mount(gcsmux_launch(), str, zonal=True),
    "rclone": _HttpMount(rclone_launch(), without_rclone),
    "rclone, no checks": _HttpMount(rclone_launch("--no-checksum"), without_rclone),
    # Measured: the kernel reader is faster in 10 of 12 programs, and up to 90 times.
    "gcsfuse": _Mount(gcsfuse_launch("--enable-kernel-reader"), without_gcsfuse),
    "gcsfuse, defaults": _Mount(gcsfuse_launch(), without_gcsfuse),
    # gcsfuse keeps a stream open for each cached reader. The option limits the number of readers,
    # because a connection carries at most 100 streams.
    "gcsfuse, zonal": _Mount(
        gcsfuse_launch("--inactive-mrd-cache-size=64"), without_gcsfuse, zonal=True
    ),
    "pyfuse3": _Memory(),
    "pyfuse3, tuned": _Memory(_TUNED_BYTES),
    "disk": _Disk(),
    "READ hit": _Calls("hit"),
    "READ hit, no histogram": _Calls("hit-without-histogram"),
    "Histogram.observe": _Calls("observe"),
    **CACHE_CONTENDERS,
    **CHANGE_CONTENDERS,
}
