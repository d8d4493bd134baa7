"""A mount ends at once after a signal or umount, even if programs use it."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.harness import END_SECONDS, EmulatorProcess, MountProcess, Program, wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.harness import NewMount

pytestmark = pytest.mark.mount


def start_readers(stack: ExitStack, mounted: MountProcess, count: int = 16) -> list[Program]:
    """Start programs that read files again and again until an error occurs."""
    readers = [stack.enter_context(mounted.program()) for _ in range(count)]
    for number, reader in enumerate(readers):
        reader.begin(programs.read_loop, f"{mounted.path}/file-{number % 4}")
    wait_until(lambda: mounted.statistics()["open_files"] >= 4, "readers have opened files")
    return readers


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "umount -l"])
def test_a_mount_ends_under_load_and_its_readers_get_an_errno(
    emulator: EmulatorProcess, mount: NewMount, how: str
) -> None:
    for tag in range(4):
        emulator.place(f"file-{tag}", programs.tagged(tag, 0, 40 * MIB))
    with ExitStack() as stack:
        mounted = stack.enter_context(mount("--memory", "32MiB", "--metadata-ttl", "0"))
        readers = start_readers(stack, mounted)
        if how == "umount -l":
            assert mounted.unmount("-l").returncode == 0
        else:
            mounted.process.send_signal(signal.Signals[how])
        assert mounted.process.wait(END_SECONDS) == 0
        for reader in readers:
            assert reader.answer(END_SECONDS) in (
                "ENOTCONN",  # the FUSE connection was closed before the call
                "ECONNABORTED",  # the FUSE connection was closed during the call
                "ENOENT",  # the call found the empty directory below the mount
                "EIO",
            )


def test_umount_of_a_busy_mount_fails(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("object", b"content")
    with mount() as mounted, mounted.program() as reader:
        descriptor = reader.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
        assert "busy" in mounted.unmount().stderr
        assert reader.call(os.pread, descriptor, 10, 0) == b"content"
        reader.call(os.close, descriptor)


def test_a_mount_ends_although_its_server_is_silent(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for tag in range(4):
        emulator.place(f"file-{tag}", programs.tagged(tag, 0, 40 * MIB))
    with ExitStack() as stack:
        mounted = stack.enter_context(mount("--memory", "32MiB"))
        readers = start_readers(stack, mounted)
        with emulator.stopped():
            wait_until(lambda: mounted.statistics()["waiting_reads"] > 0, "readers wait")
            mounted.process.terminate()
            assert mounted.process.wait(END_SECONDS) == 0
            for reader in readers:
                assert reader.answer(END_SECONDS)


def test_a_read_in_progress_at_sigterm_gets_its_bytes(folder: Path) -> None:
    with EmulatorProcess(folder / "buckets", ["--latency", "100ms"]) as emulator:
        emulator.place("file", programs.tagged(1, 0, 40 * MIB))
        with MountProcess(emulator, folder, ["--read-ahead", "0"]) as mounted, ExitStack() as stack:
            reader, other = (stack.enter_context(mounted.program()) for _ in range(2))
            path = f"{mounted.path}/file"
            descriptor = reader.call(os.open, path, os.O_RDONLY)
            assert len(reader.call(os.pread, descriptor, 4096, 0)) == 4096
            misses = mounted.statistics()["misses"]
            reader.begin(os.pread, descriptor, 4096, 30 * MIB)
            wait_until(lambda: mounted.statistics()["misses"] > misses, "a READ in progress")
            mounted.process.terminate()
            assert reader.answer() == programs.tagged(1, 30 * MIB, 4096)
            assert mounted.process.wait(END_SECONDS) == 0
            with pytest.raises(FileNotFoundError):
                other.call(os.stat, path)
