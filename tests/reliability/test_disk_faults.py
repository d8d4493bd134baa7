"""Tests of the faults of the disk of the cache: no read fails, and no byte is wrong."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.process.memory_watch import ALLOWANCE_BYTES
from tests.reliability.disk_readers import read_measured
from tests.reliability.disk_rows import DISK_ROWS, Pauses
from tests.reliability.disk_stage import CACHE_OPTIONS, DiskStage, wait_until_written
from tests.soak.samples import state_of
from tests.support.disks.disk_faults import DiskFault
from tests.support.disks.faulty_disk import EVERYTHING, FaultyDisk
from tests.support.disks.loop_disk import LoopDisk, loop_disks_work
from tests.support.harness import EmulatorProcess, MountProcess, wait_until
from tests.support.programs import tagged
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.reliability.disk_rows import DiskRow
    from tests.reliability.disk_stage import DiskOutcome

pytestmark = pytest.mark.mount

# The number of rows that run at the same time. They mostly wait for the mount to use the disk
# again.
_AT_ONCE = 3
# Parts of the warnings that the mount does not read from its cache, or does not write to it, for a
# while.
_PAUSES = ("reading from the service only", "keeping nothing new")
_FILE_BYTES = 20 * MIB + 1
_MEMORY_BYTES = 16 * MIB
# The mount must end within this time, although a thread hangs.
_END_SECONDS = 10
_DEVICE_READS = frozenset({"read"})


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[Callable[[DiskRow], DiskOutcome]]:
    """Start all rows that this run tests; return a function that waits for the outcome of a row."""
    chosen = [
        item.callspec.params.get("row")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    rows = [row for row in DISK_ROWS if row in chosen]
    pausing = [row for row in rows if row.pauses is not Pauses.NO]
    groups = [[row for row in rows if row.pauses is Pauses.NO]]
    groups += [pausing[number : number + 2] for number in range(0, len(pausing), 2)]
    with (
        _new_folder() as folder,
        EmulatorProcess(folder / "buckets") as emulator,
        ThreadPoolExecutor(_AT_ONCE) as threads,
    ):
        played = [
            threads.submit(_play, group, emulator, 10_000 * number, folder / f"stage-{number}")
            for number, group in enumerate(groups)
        ]

        def outcome_of(row: DiskRow) -> DiskOutcome:
            number = next(number for number, group in enumerate(groups) if row in group)
            return played[number].result()[row.fault]

        yield outcome_of


def _play(
    rows: list[DiskRow], emulator: EmulatorProcess, first_tag: int, folder: Path
) -> dict[str, DiskOutcome]:
    """Play rows on one mount. If a row fails, raise its error for all of them."""
    with DiskStage(folder, emulator, first_tag) as stage:
        return {row.fault: stage.play(row) for row in rows}


@contextmanager
def _new_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gcsmux-disk-") as name:
        yield Path(name)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.fault) for row in DISK_ROWS])
def test_readers_do_not_notice_a_fault_of_the_disk(
    row: DiskRow, outcomes: Callable[[DiskRow], DiskOutcome]
) -> None:
    outcome = outcomes(row)
    assert [seen.wrong for seen in outcome.seen] == [0, 0, 0]
    assert outcome.met or not row.faults
    # Reads and writes pause separately. Each pause is logged once.
    said = [sum(text in line for line in outcome.warnings) for text in _PAUSES]
    assert max(said) <= 1, outcome.warnings
    assert sum(said) == len(outcome.warnings), outcome.warnings
    if row.pauses is Pauses.YES:
        assert outcome.warnings
    # On a busy machine, even a working disk may answer too late.
    was_late = row.pauses is Pauses.NO and outcome.late_answers > 0
    if row.pauses is Pauses.NO and not was_late:
        assert not outcome.warnings
    for name, least in ({} if was_late else row.metrics).items():
        increase = outcome.increases[name]
        assert increase >= least if least else increase == 0, f"{name} has increased by {increase}"
    assert outcome.requested_bytes == 0


# -- the start and the end of a mount


@contextmanager
def _cached_mount(
    folder: Path, disk: FaultyDisk, cache: Path, *options: str
) -> Iterator[tuple[EmulatorProcess, MountProcess]]:
    """Start an emulator, and a mount whose cache is on a disk that may fail already."""
    with EmulatorProcess(folder / "buckets") as emulator:
        emulator.place("0", tagged(0, 0, _FILE_BYTES))
        mounted = MountProcess(
            emulator,
            folder,
            ("--cache-dir", str(cache), *CACHE_OPTIONS, *options),
            expected_warnings=[""],
        )
        with mounted:
            try:
                yield emulator, mounted
            finally:
                # A process that waits for the disk cannot end.
                disk.heal()


def _read(mounted: MountProcess) -> None:
    with mounted.program() as program:
        seen = program.call(read_measured, f"{mounted.path}/0", 0, _FILE_BYTES)
    assert seen.wrong == 0


@pytest.mark.parametrize(
    "fault",
    [
        DiskFault(EVERYTHING, errno=errno.EIO),
        DiskFault(EVERYTHING, hangs=True),
    ],
    ids=["failing", "hanging"],
)
def test_a_mount_starts_although_the_disk_fails(fault: DiskFault, tmp_path: Path) -> None:
    with FaultyDisk(tmp_path / "disk") as disk:
        disk.meet(fault)
        with _cached_mount(tmp_path, disk, disk.path / "cache") as (emulator, mounted):
            _read(mounted)
            disk.heal()
            wait_until(lambda: _is_kept(emulator, mounted), "the mount uses the cache")


@pytest.mark.parametrize("end", ["SIGTERM", "umount"])
def test_a_mount_ends_although_a_thread_hangs_in_the_disk(end: str, tmp_path: Path) -> None:
    with (
        FaultyDisk(tmp_path / "disk") as disk,
        _cached_mount(tmp_path, disk, disk.path / "cache") as (_, mounted),
    ):
        disk.hang()
        _read(mounted)
        assert disk.waiting() > 0
        if end == "SIGTERM":
            mounted.process.send_signal(signal.SIGTERM)
        else:
            assert mounted.unmount().returncode == 0
        wait_until(lambda: not _is_mounted(mounted), "the mount point is free", _END_SECONDS)
        # No signal can end a thread that waits for a disk. So only such threads are left.
        wait_until(lambda: state_of(mounted.process.pid) == "Z", "the process exits", _END_SECONDS)
        assert disk.waiting() > 0
        disk.heal()
        assert mounted.process.wait(_END_SECONDS) == 0


def _is_mounted(mounted: MountProcess) -> bool:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == os.fspath(mounted.path) for line in mounts)


def test_the_memory_is_limited_while_the_disk_hangs(tmp_path: Path) -> None:
    with (
        FaultyDisk(tmp_path / "disk") as disk,
        _cached_mount(tmp_path, disk, disk.path / "cache") as (_, mounted),
    ):
        disk.hang(frozenset({"write"}))
        with mounted.program() as program:
            for _ in range(10):
                path = f"{mounted.path}/0"
                assert program.call(read_measured, path, 0, _FILE_BYTES).wrong == 0
        assert mounted.peak_memory_bytes() <= _MEMORY_BYTES + ALLOWANCE_BYTES
        assert 0 < mounted.statistics()["disk_cache_queued_bytes"] < _MEMORY_BYTES


@pytest.mark.skipif(not loop_disks_work(), reason="mounting an image needs root and loop devices")
@pytest.mark.parametrize("fault", ["hangs", "fails"])
def test_a_device_fails_below_a_local_file_system(fault: str, tmp_path: Path) -> None:
    with (
        FaultyDisk(tmp_path / "device") as device,
        LoopDisk(device.path / "image", tmp_path / "disk", 128 * MIB) as disk,
        _cached_mount(tmp_path, device, disk.path / "cache") as (emulator, mounted),
    ):
        assert _is_kept(emulator, mounted)
        # The next reads find nothing in the kernel's cache.
        for chunk in disk.path.rglob("chunks/*/*"):
            with chunk.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if fault == "hangs":
            device.hang(_DEVICE_READS)
        else:
            device.fail(_DEVICE_READS)
        _read(mounted)
        assert sum(device.met().values()) > 0
        device.heal()
        wait_until(lambda: _is_kept(emulator, mounted), "the mount uses the cache")


def _is_kept(emulator: EmulatorProcess, mounted: MountProcess) -> bool:
    _read(mounted)
    wait_until_written(mounted)
    emulator.statistics(reset=True)
    _read(mounted)
    return emulator.statistics().bytes_asked == 0


def test_the_cache_gives_space_back_when_another_program_fills_the_disk(tmp_path: Path) -> None:
    disk = FaultyDisk(tmp_path / "disk", capacity_bytes=64 * MIB)
    with (
        disk,
        _cached_mount(tmp_path, disk, disk.path / "cache", "--cache-min-free", "10MiB") as (
            _,
            mounted,
        ),
    ):
        _read(mounted)
        wait_until_written(mounted)
        # The cache and the other program together need more than the disk has.
        filler = disk.path / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=1M", "count=40"], check=True)

        def has_free_space() -> bool:
            time.sleep(0.2)
            free = subprocess.run(
                ["stat", "-f", "-c", "%a", disk.path], capture_output=True, check=True
            )
            return int(free.stdout) * 4096 >= 10 * MIB

        wait_until(has_free_space, "the cache is smaller", 30)
        _read(mounted)
