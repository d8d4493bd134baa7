"""Runs rows of the table with faults of the disk of the cache, each stage on one mount."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from tests.reliability.disk_readers import read_measured
from tests.support.disks.faulty_disk import FaultyDisk
from tests.support.harness import MountProcess, Program, wait_until
from tests.support.programs import tagged
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reliability.disk_readers import Measured
    from tests.reliability.disk_rows import DiskRow
    from tests.support.harness import EmulatorProcess

__all__ = ["CACHE_OPTIONS", "FILE_BYTES", "DiskOutcome", "DiskStage", "wait_until_written"]

FILE_BYTES = 3 * MIB + 12_345
CACHE_OPTIONS = (
    *("--memory", "16MiB", "--cache-size", "1GiB", "--cache-min-free", "1MiB"),
    *("--negative-ttl", "0"),
)
# The size of the file that replaces all other blocks in the 16 MiB of memory.
_FILLER_BYTES = 18 * MIB
# The capacity of a full disk: no operation can allocate a byte.
_FULL_BYTES = 1
_REPORTED_LEVELS = (" WARNING ", " ERROR ", " CRITICAL ")
_RECOVERY_SECONDS = 30
_LOOK_SECONDS = 0.05
# The value of the metrics of the state of the cache while it is used.
_IN_USE = 1
# Files that the mount has to keep, to see whether it writes to the disk again.
_ATTEMPT_TAGS = 1000
_ATTEMPT_BYTES = 64 * 1024
# How often files are read until the cache holds them. The cache does not keep content that arrives
# faster than the disk can write.
_MAX_REPETITIONS = 5


@dataclass(frozen=True)
class DiskOutcome:
    """The outcome of a row.

    Attributes:
        seen: what the program saw during the fault, of each file.
        met: the number of operations of the disk that met the fault.
        increases: the increase of each metric of the mount.
        warnings: the warnings that the mount has logged.
        requested_bytes: what the mount requested for the files after the disk works again.
        late_answers: how often the disk answered too late, until the end of the row.
    """

    seen: tuple[Measured, ...]
    met: int
    increases: dict[str, int]
    warnings: tuple[str, ...]
    requested_bytes: int
    late_answers: int


def wait_until_written(mounted: MountProcess) -> None:
    """Wait until the mount has written all blocks in its queue to the disk of the cache."""

    def is_written() -> bool:
        if not mounted.statistics()["disk_cache_queued_bytes"]:
            return True
        # Each look at the metrics makes the mount log all of them, which takes time.
        time.sleep(_LOOK_SECONDS)
        return False

    wait_until(is_written, "the queue is empty")


@dataclass
class DiskStage:
    """A disk, a mount whose cache is on the disk, and a program on the mount.

    Several stages share an emulator. `first_tag` is the first of the tags, and so of the names, of
    the stage's files.
    """

    folder: Path
    emulator: EmulatorProcess
    first_tag: int = 0
    disk: FaultyDisk = field(init=False)
    mounted: MountProcess = field(init=False)
    _program: Program = field(init=False)
    _exits: ExitStack = field(init=False)
    _rows_played: int = 0
    _attempts: int = 0

    def __enter__(self) -> Self:
        self.folder.mkdir()
        with ExitStack() as exits:
            self.disk = exits.enter_context(FaultyDisk(self.folder / "disk"))
            self.mounted = exits.enter_context(
                MountProcess(
                    self.emulator,
                    self.folder,
                    ("--cache-dir", str(self.disk.path / "cache"), *CACHE_OPTIONS),
                    # Each row checks the log lines itself.
                    expected_warnings=[""],
                    log_level="info",
                )
            )
            self._program = exits.enter_context(self.mounted.program())
            self._place(self.first_tag, _FILLER_BYTES)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._exits.__exit__(kind, None, None)

    def play(self, row: DiskRow) -> DiskOutcome:
        """Read two files during the fault, and again after it; return the outcome.

        The cache holds the first file before the fault begins.
        """
        self._rows_played += 1
        kept = self.first_tag + 2 * self._rows_played
        new = kept + 1
        for tag in (kept, new):
            self._place(tag, FILE_BYTES)
        self._keep(kept)
        self._forget_memory()
        wait_until_written(self.mounted)
        before = self.mounted.statistics()
        lines_before = len(self.mounted.log.splitlines())
        met_before = sum(self.disk.met().values())
        try:
            self._begin(row)
            seen = (self._read(kept), self._read(new), self._forget_memory())
            during = self.mounted.statistics()
            met = sum(self.disk.met().values()) - met_before
        finally:
            self.disk.limit(0)
            self.disk.heal()
        wait_until(self._is_on, "the mount uses the cache again", _RECOVERY_SECONDS)
        requested = self._keep(kept, new)
        late = self.mounted.statistics()["disk_cache_timeouts"] - before["disk_cache_timeouts"]
        lines = self.mounted.log.splitlines()[lines_before:]
        return DiskOutcome(
            seen,
            met,
            {name: during[name] - before[name] for name in during},
            tuple(line for line in lines if any(level in line for level in _REPORTED_LEVELS)),
            requested,
            late,
        )

    def _begin(self, row: DiskRow) -> None:
        if row.change is not None:
            row.change(self.disk.behind / "cache")
        elif row.full_errno:
            self.disk.limit(_FULL_BYTES, row.full_errno)
        else:
            self.disk.meet(*row.faults)

    def _keep(self, *tags: int) -> int:
        """Read files until the cache holds them; return the bytes requested by the last reads."""
        requested = -1
        for _ in range(_MAX_REPETITIONS):
            self._forget_memory()
            before = self.mounted.statistics()["bytes_received"]
            for tag in tags:
                assert self._read(tag).wrong == 0
            wait_until_written(self.mounted)
            requested = self.mounted.statistics()["bytes_received"] - before
            if not requested:
                break
        return requested

    def _forget_memory(self) -> Measured:
        return self._read(self.first_tag, _FILLER_BYTES)

    def _read(self, tag: int, size: int = FILE_BYTES) -> Measured:
        return self._program.call(read_measured, f"{self.mounted.path}/{tag}/file", tag, size)

    def _place(self, tag: int, size: int) -> None:
        # Stages run in parallel, but EmulatorProcess.place has one temporary file. Each file has a
        # folder of its own, because a mount may fetch other files of a folder in advance.
        folder = self.emulator.bucket / str(tag)
        folder.mkdir()
        (folder / "file").write_bytes(tagged(tag, 0, size))

    def _is_on(self) -> bool:
        # The mount tries the disk again only if it is used, and after a pause.
        time.sleep(2 * _LOOK_SECONDS)
        self._forget_memory()
        self._attempts += 1
        self._place(self.first_tag + _ATTEMPT_TAGS + self._attempts, _ATTEMPT_BYTES)
        self._read(self.first_tag + _ATTEMPT_TAGS + self._attempts, _ATTEMPT_BYTES)
        states = self.mounted.statistics()
        return states["disk_cache_state"] == states["disk_cache_write_state"] == _IN_USE
