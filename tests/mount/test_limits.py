"""Mounts at a limit: thousands of open files, many inodes, no free descriptors, a full disk."""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.model.object_table import ObjectTable, Row
from gcsmux_fs.model.values import ObjectInfo
from gcsmux_fs.namespace.inodes import InodeTable
from tests.mount import process_programs
from tests.mount.processes import set_most_files
from tests.support import programs
from tests.support.emulator_process import COMMANDS
from tests.support.harness import END_SECONDS, MountProcess, wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.harness import EmulatorProcess, NewMount

NAMES = 200_000
OPEN_FILES = 5_000
LISTED_FILES = 10_000

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.mark.mount
@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < OPEN_FILES + 100,
    reason="this user may not open so many files",
)
def test_5000_files_are_open_at_once(emulator: EmulatorProcess, mount: NewMount) -> None:
    for tag in range(50):
        emulator.place(f"file-{tag}", programs.tagged(tag, 0, 300_000))
    with mount("--memory", "32MiB") as mounted, mounted.program() as program:
        paths = [f"{mounted.path}/file-{tag}" for tag in range(50)]
        assert program.call(process_programs.open_many, paths, OPEN_FILES) == OPEN_FILES
        assert mounted.statistics()["open_files"] == OPEN_FILES
        for number in range(0, OPEN_FILES, 7):
            content = program.call(process_programs.read_at, number, 200_000, 64)
            assert content == programs.tagged(number % 50, 200_000, 64)
        assert mounted.peak_memory_bytes() <= (32 + 150) * MIB
        program.call(process_programs.close_all)
        wait_until(lambda: mounted.statistics()["open_files"] == 0, "all files are closed")


def columns(start: int, count: int) -> ObjectTable:
    return ObjectTable.of(
        ObjectInfo(
            name=f"directory/{number:07}",
            generation=1_700_000_000_000_000 + number,
            size=number,
            mtime_ns=1_700_000_000_000_000_000 + number,
        )
        for number in range(start, start + count)
    )


@pytest.mark.long
@pytest.mark.slow
def test_200_000_inodes_are_stored_and_freed() -> None:
    table = InodeTable("")
    numbers: list[int] = []
    for start in range(0, NAMES, 1000):
        page = columns(start, 1000)
        numbers += [table.files.remember(Row(page, row))[0] for row in range(1000)]
    assert len(table) == NAMES + 1
    row = table.files.get(numbers[NAMES // 2])
    assert row is not None
    assert row.size == NAMES // 2
    for number in numbers:
        table.forget(number, 1)
    assert len(table) == 1
    assert repr(table.files) == "<FileInodes: 0 in 0 leaves, 0 pinned>"


@pytest.mark.mount
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the kernel forget inodes")
def test_a_mount_frees_ten_thousand_inodes_that_the_kernel_forgets(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    folder = emulator.bucket / "folder"
    folder.mkdir()
    for number in range(LISTED_FILES):
        (folder / f"file-{number}").touch()
    with mount() as mounted:
        done = mounted.run("find", ".", "-type", "f", "-printf", "%s\n")
        assert done.stdout == b"0\n" * LISTED_FILES
        assert mounted.statistics()["inodes"] == LISTED_FILES + 2
        mounted.drop_inodes()
        wait_until(lambda: mounted.statistics()["inodes"] == 1, "only the root inode is left")


# -- file descriptors


def mount_with(most: int, *arguments: str | Path, endpoint: str) -> tuple[int, str]:
    """Run `gcsmux-mount` with at most `most` file descriptors; return its exit code and stderr."""
    done = subprocess.run(
        ["prlimit", f"--nofile={most}:", COMMANDS / "gcsmux-mount", *arguments],
        env=os.environ | {"STORAGE_EMULATOR_HOST_GRPC": endpoint},
        stderr=subprocess.PIPE,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.mount
@pytest.mark.parametrize("foreground", [[], ["-f"]], ids=["detached", "foreground"])
@pytest.mark.parametrize("most", [6, 12, 63])
def test_a_start_with_too_few_descriptors_fails_with_one_sentence(
    emulator: EmulatorProcess, folder: Path, foreground: Sequence[str], most: int
) -> None:
    place = folder / "mnt"
    place.mkdir()
    code, said = mount_with(
        most, *foreground, emulator.bucket_name, place, endpoint=emulator.endpoint
    )
    (sentence,) = said.splitlines()
    assert code in (1, 78)
    assert sentence.startswith("gcsmux-mount: ")
    assert "open files" in sentence or f"may open only {most} files" in sentence
    assert f" {place} " not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.mount
def test_a_mount_works_with_the_minimum_of_descriptors(
    emulator: EmulatorProcess, folder: Path
) -> None:
    for tag in range(100):
        emulator.place(f"file-{tag}", b"content")
    place = folder / "mnt"
    place.mkdir()
    try:
        assert mount_with(64, emulator.bucket_name, place, endpoint=emulator.endpoint) == (0, "")
        done = subprocess.run(
            ["sh", "-c", 'cat "$0"/file-* | wc -c', place],
            stdout=subprocess.PIPE,
            timeout=END_SECONDS,
            check=True,
        )
        assert int(done.stdout) == 700
    finally:
        subprocess.run(["umount", place], timeout=END_SECONDS, check=False)


@pytest.mark.mount
def test_a_mount_without_free_descriptors_recovers_when_it_gets_some(
    emulator: EmulatorProcess, mount: NewMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without this setting, gRPC prints messages on stderr.
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")
    emulator.place("before", programs.tagged(1, 0, MIB))
    emulator.place("after", programs.tagged(2, 0, MIB))
    with mount("--read-timeout", "2s") as mounted, mounted.program() as program:
        # gRPC reports the failed connection with bytes that are not UTF-8, and logs a warning about
        # these bytes.
        mounted.expected_warnings = ["ETIMEDOUT", "EIO", "cygrpc: Invalid encoding"]
        before = f"{mounted.path}/before"
        assert program.call(programs.read_tags, before, 0, MIB) == {1}
        set_most_files(mounted.process.pid, 3)
        # When the emulator is killed, all connections close. The mount has no descriptor for a new
        # connection.
        emulator.kill()
        emulator.start()
        with pytest.raises(OSError, match=r"timed out|Input/output"):
            program.call(programs.read_tags, f"{mounted.path}/after", 0, MIB)
        # Bytes in the cache can still be read.
        assert program.call(programs.read_tags, before, 0, MIB) == {1}
        set_most_files(mounted.process.pid, 1024)

        def serves() -> bool:
            with suppress(OSError):
                return program.call(programs.read_tags, f"{mounted.path}/after", 0, MIB) == {2}
            return False

        wait_until(serves, "the mount serves reads again", 60)


# -- the disk


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A mounted tmpfs with 256 KiB."""
    place = folder / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


@pytest.mark.mount
@needs_root
def test_a_full_disk_loses_only_log_lines(emulator: EmulatorProcess, small_disk: Path) -> None:
    size = 8 * MIB
    for tag in range(4):
        emulator.place(f"file-{tag}", programs.tagged(tag, 0, size))
    with ExitStack() as stack:
        mounted = stack.enter_context(MountProcess(emulator, small_disk))
        program = stack.enter_context(mounted.program())
        filler = fill(small_disk)
        for tag in range(4):
            # For each stream that ends, the mount writes one line into its log on the full disk.
            emulator.cut_streams(MIB, times=20)
            path = f"{mounted.path}/file-{tag}"
            assert program.call(programs.read_tags, path, 0, size) == {tag}
        emulator.clear_faults()
        filler.unlink()
        assert mounted.statistics()["open_files"] == 4
        unreadable = [line for line in mounted.log.splitlines() if not line.startswith("2")]
        assert len(unreadable) <= 1
